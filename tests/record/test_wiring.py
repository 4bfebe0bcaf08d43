"""What may not be wired together is refused when the wrapper is made."""

import os

import gymnasium as gym
import pytest
from counters import Counter

from agentprm import PRMRewardWrapper, Store, TrajectoryRecorder, rollout
from agentprm.errors import InvalidSpec
from agentprm.testing.corridor import Corridor


def paid(env, store=None, **options):
    return PRMRewardWrapper(env, "constant:value=0.5", store, **options)


WRAPS = [TrajectoryRecorder, paid]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs.db"


@pytest.mark.parametrize("inner", WRAPS)
@pytest.mark.parametrize("outer", WRAPS)
@pytest.mark.parametrize("form", ["path", "name", "url", "store", "wrapped"])
def test_a_second_recorder_of_the_same_database_is_refused_however_it_is_named(here, inner, outer, form):
    forms = {"path": here, "name": "runs.db", "url": f"sqlite:///{here}", "wrapped": os.fspath(here)}
    with Store(here) as store:
        env = inner(Counter(), forms.get(form, store))
        env = gym.wrappers.TimeLimit(env, 5) if form == "wrapped" else env
        for given in (here, store):
            with pytest.raises(InvalidSpec, match=r"in this environment records to sqlite:///.*runs.db already.*twice"):
                outer(env, given)


def test_two_databases_two_stores_in_memory_and_one_without_a_store_may_stand_together(here):
    paid(TrajectoryRecorder(Counter(), here), here.with_name("other.db"))
    paid(TrajectoryRecorder(Counter()), here)
    paid(TrajectoryRecorder(Counter(), here))
    paid(TrajectoryRecorder(Counter(), ":memory:"), ":memory:")
    with Store(":memory:") as a, Store(":memory:") as b:
        paid(TrajectoryRecorder(Counter(), a), b)
        with pytest.raises(InvalidSpec, match="twice"):
            paid(TrajectoryRecorder(Counter(), a), a)


def test_a_server_is_told_by_its_url_without_the_password():
    inner = TrajectoryRecorder(Counter(), "postgresql://me:s3cr3t@host/db")
    with pytest.raises(InvalidSpec, match="twice") as refused:
        paid(inner, "postgresql+psycopg://me:s3cr3t@host/db")
    assert "s3cr3t" not in str(refused.value)
    paid(inner, "postgresql://me:s3cr3t@host/other")


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_durability_is_that_of_the_store_that_was_given_or_of_the_one_it_opens(here, wrap):
    with Store(here, durability="group") as store:
        wrap(Counter(), store, durability="group")
        with pytest.raises(InvalidSpec, match=r"'step' was asked of an open store, whose own is 'group': say Store\("):
            wrap(Counter(), store, durability="step")
    wrap(Counter(), here, durability="episode")
    with pytest.raises(InvalidSpec, match=r"durability is one of \('step', 'group', 'episode'\), not 'stpe'"):
        wrap(Counter(), here, durability="stpe")


def test_a_store_beside_a_wrapper_that_records_without_one_is_not_ignored(here):
    with pytest.raises(InvalidSpec, match="PRMRewardWrapper in this environment records without a store: give it to"):
        rollout(lambda t, info: "wait", paid(Corridor()), episodes=1, store=here)
    assert not here.exists()
    rollout(lambda t, info: "wait", paid(Corridor(), here), episodes=1, store=here)
    with Store(here) as store:
        assert len(list(store.trajectories())) == 1
