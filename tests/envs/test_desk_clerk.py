"""The clerk: a policy over what was said, the same for the same seed, that errs as often as it is told to."""

import gymnasium
import pytest

from agentprm.errors import InvalidSpec
from agentprm.record.rollout import rollout
from agentprm.scorers.constant import Constant
from agentprm.search.best_of_n import Reranked
from agentprm.testing.elsewhere import call_elsewhere
from agentprm_envs.desk import Desk, carry_out
from agentprm_envs.desk_clerk import Clerk
from agentprm_envs.desk_slips import SLIPS, slip
from agentprm_envs.desk_tasks import is_right, make_tasks
from agentprm_envs.desk_tools import Tools
from agentprm_envs.desk_turns import Answer, Done
from agentprm_envs.desk_world import folder_of

TASKS = make_tasks("test")


def worked(clerk, task, sample=0, split="test"):
    """The decisions of one conversation."""
    tools, past, decisions = Tools(folder_of(split, 0)), [], []
    while not decisions or not isinstance(decisions[-1], Answer):
        decisions.append(clerk.decide(task.question, past, sample))
        if not isinstance(decisions[-1], Answer):
            said = carry_out(tools, decisions[-1])
            past.append(Done(decisions[-1], said, not said.startswith("error:")))
    return decisions


def success(clerk, n=120):
    return sum(is_right(task, worked(clerk, task)[-1].said) for task in TASKS[:n]) / n


def test_the_more_slips_the_less_success():
    rates = [success(Clerk(error_rate=e)) for e in (0.0, 0.15, 0.3, 0.5, 0.8)]
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert rates[2] > 0.4 > rates[3] > rates[4]


def test_some_mistakes_are_made_good_and_some_are_not():
    clerk, kinds = Clerk(error_rate=0.3), set()
    for task in TASKS[:80]:
        perfect, actual = worked(Clerk(error_rate=0.0), task), worked(clerk, task)
        kinds.add((actual == perfect, is_right(task, actual[-1].said)))
    assert kinds == {(True, True), (False, True), (False, False)}


def test_attention_makes_slips_good():
    assert success(Clerk(error_rate=0.3, attention=1.0)) > success(Clerk(error_rate=0.3, attention=0.0))


def test_it_gives_up_in_time():
    assert all(len(worked(Clerk(error_rate=1.0, patience=5), task)) <= 5 for task in TASKS[:20])


class Elsewhere:
    """What a clerk decides, for another process."""

    def decided(self, seeds):
        return [[d.text for task in TASKS[:5] for d in worked(Clerk(0.4, seed=seed), task, 1)] for seed in seeds]


def test_other_processes_decide_the_same():
    mine = Elsewhere().decided([0, 1])
    assert mine[0] != mine[1]
    for hash_seed in ("1", "2"):
        assert call_elsewhere(Elsewhere, "decided", [0, 1], hash_seed=hash_seed) == mine


def distinct(habit, n=12):
    clerk = Clerk(error_rate=0.5, habit=habit)
    return sum(len({clerk.decide(task.question, (), s).text for s in range(n)}) for task in TASKS[:30])


def test_samples_differ_the_less_the_stronger_the_habit():
    counts = [distinct(habit) for habit in (0.0, 0.5, 0.9, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 30


def test_the_error_rate_is_that_of_every_sample_whatever_the_habit():
    for habit in (0.0, 0.6, 1.0):
        clerk = Clerk(error_rate=0.4, habit=habit)
        right = [clerk.decide(t.question, (), 3) == clerk.intended(t.question, ()) for t in TASKS]
        assert sum(right) / len(right) == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize("name", SLIPS)
def test_every_kind_of_slip_happens_and_differs_from_what_is_right(name):
    import random

    made = 0
    for task in TASKS[:40]:
        past = []
        for decision in worked(Clerk(error_rate=0.0), task):
            wrong = SLIPS[name](random.Random(3), decision, task.question, past)
            made += wrong is not None and wrong != decision
            if not isinstance(decision, Answer):
                past.append(Done(decision, carry_out(Tools(folder_of("test", 0)), decision)))
    assert made > 5


def test_a_slip_is_never_what_is_right_where_anything_else_is_possible():
    import random

    for task in TASKS[:30]:
        right = worked(Clerk(error_rate=0.0), task)[0]
        assert all(slip(random.Random(i), right, task.question, ()) != right for i in range(10))


@pytest.mark.parametrize(
    "question", ["", "What is the weather like?", "about the kettle", "complains about the x with the y z"]
)
def test_questions_that_it_does_not_know_are_answered_somehow(question):
    for sample in range(20):
        assert Clerk(0.5).decide(question, (), sample).text


@pytest.mark.parametrize(
    "wrong", [{"error_rate": 1.5}, {"error_rate": -0.1}, {"habit": 2}, {"attention": float("nan")}]
)
def test_rates_are_chances(wrong):
    with pytest.raises(InvalidSpec, match="is a chance"):
        Clerk(**wrong)


def test_the_same_clerk_plays_the_text_environment_and_proposes_for_it():
    env = gymnasium.make("agentprm_envs:Desk-v0", split="test")
    alone = rollout(Clerk(0.4, habit=0.0), env, episodes=40, seeds=0, progress=False)
    chosen = rollout(Reranked(Clerk(0.4, habit=0.0), Constant(), 5), Desk("test"), episodes=40, seeds=0, progress=False)
    assert sum(t.outcome for t in chosen) > sum(t.outcome for t in alone), "a majority of scattered slips is right"
    assert [t.outcome for t in alone] == [
        float(is_right(task, worked(Clerk(0.4, habit=0.0), task)[-1].said)) for task in TASKS[:40]
    ]
