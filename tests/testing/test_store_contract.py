"""The contract of stores: ours keeps it, and one that breaks a promise is found out."""

import pytest

from agentprm import Store
from agentprm.testing.store import StoreContract


class TestMemory(StoreContract):
    def make_store(self):
        return Store(":memory:")


@pytest.mark.parametrize("durability", ["step", "group", "episode"])
class TestFile(StoreContract):
    @pytest.fixture(autouse=True)
    def _at(self, tmp_path, durability):
        self.path, self.durability = tmp_path / "runs.db", durability

    def make_store(self):
        return Store(self.path, durability=self.durability)

    def open_again(self):
        return Store(self.path)


class Forgetful(Store):
    """Breaks one promise after another."""

    fault = ""

    def write(self, event):
        if self.fault == "raises" and event is None:
            raise TypeError
        super().write(event)

    def add(self, items):
        n = super().add(items)
        return n + 1 if self.fault == "miscounts" else n

    def trajectories(self, **filters):
        found = list(super().trajectories(**filters))
        return iter(found[::-1] if self.fault == "disorders" else found)

    def scores(self, *args, **filters):
        found = list(super().scores(*args, **filters))
        return iter(found[:1] if self.fault == "forgets" else found)

    @property
    def dropped(self):
        return 0 if self.fault == "conceals" else super().dropped


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("raises", "test_writing_never_raises_and_counts_what_is_lost"),
        ("miscounts", "test_adding_twice_adds_nothing"),
        ("disorders", "test_the_oldest_comes_first"),
        ("forgets", "test_scores_are_facts_of_a_version"),
        ("conceals", "test_writing_never_raises_and_counts_what_is_lost"),
    ],
)
def test_a_broken_promise_is_found_out(fault, test):
    class Broken(StoreContract):
        def make_store(self):
            store = Forgetful(":memory:")
            store.fault = fault
            return store

    with pytest.raises((AssertionError, TypeError)):
        getattr(Broken(), test)()


def test_a_contract_needs_to_know_what_to_test():
    with pytest.raises(NotImplementedError, match="make_store"):
        StoreContract().test_the_oldest_comes_first()
