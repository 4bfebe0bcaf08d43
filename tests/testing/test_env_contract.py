"""The contract passes a puppet that keeps it, and fails each puppet that breaks one of its clauses."""

import pickle
import random
import subprocess
import unittest
from typing import Any

import gymnasium
import pytest
from gymnasium.spaces import Text

from agentprm.testing.elsewhere import call_elsewhere
from agentprm.testing.env import EnvContract

PRINTABLE = "".join(map(chr, range(32, 127)))


class Corridor(gymnasium.Env[str, str]):
    """Walk right to a door at a random distance, then open it."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self):
        self.observation_space, self.action_space = Text(100, charset=PRINTABLE), Text(20, charset=PRINTABLE)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.door, self.rounds = self.draw(), 0
        return self.text(), self.info("", False)

    def draw(self):
        return int(self.np_random.integers(2, 5))

    def step(self, action):
        self.rounds += 1
        opened = action == "open" and self.door == 0
        self.door -= action == "right" and self.door > 0
        return self.text(), float(opened), opened, self.rounds >= 15 and not opened, self.info(action, opened)

    def text(self):
        return f"The door is {self.door} steps to your right."

    def info(self, action, success):
        valid = action in ("", "right", "open")
        return {
            "task": "open the door",
            "task_id": "d",
            "actions": ["right", "open"],
            "valid": valid,
            "success": success,
        }

    def snapshot(self) -> Any:
        return self.door, self.rounds, self.np_random.bit_generator.state

    def restore(self, snapshot: Any) -> None:
        self.door, self.rounds, self.np_random.bit_generator.state = snapshot


class CorridorContract(EnvContract):
    rounds = 15
    env: type[Corridor] = Corridor

    def make_env(self):
        return self.env()


class TestCorridor(CorridorContract):
    pass


class ForgetsTheClock(Corridor):
    def restore(self, snapshot):
        super().restore((snapshot[0], self.rounds, snapshot[2]))


class ForgetsTheClockContract(CorridorContract):
    env = ForgetsTheClock


class NeverPaysRestored(Corridor):
    """What a copy does whose goal still looks at the world that it was copied from."""

    def restore(self, snapshot):
        super().restore(snapshot)
        self.restored = True

    def step(self, action):
        text, reward, *rest = super().step(action)
        return text, 0.0 if hasattr(self, "restored") else reward, *rest


class NeverPaysRestoredContract(CorridorContract):
    env = NeverPaysRestored


class LendsItsState(Corridor):
    def snapshot(self):
        self.state = getattr(self, "state", {})
        self.state["now"] = super().snapshot()
        return self.state

    def restore(self, snapshot):
        super().restore(snapshot["now"])


class LendsItsStateContract(CorridorContract):
    env = LendsItsState


class ForgetsTheGenerator(Corridor):
    def restore(self, snapshot):
        self.door, self.rounds, _ = snapshot


class ForgetsTheGeneratorContract(CorridorContract):
    env = ForgetsTheGenerator


class KeepsItsSnapshotsAtHome(Corridor):
    def snapshot(self):
        state = super().snapshot()
        return lambda: state

    def restore(self, snapshot):
        super().restore(snapshot())


class KeepsItsSnapshotsAtHomeContract(CorridorContract):
    env = KeepsItsSnapshotsAtHome


class Prints(Corridor):
    def reset(self, **kwargs):
        print("Sampling rejected")  # noqa: T201
        return super().reset(**kwargs)


class PrintsContract(CorridorContract):
    env = Prints


class PrintsFromBelow(Corridor):
    def reset(self, **kwargs):
        subprocess.run(["echo", "a library in C"], check=True)
        return super().reset(**kwargs)


class PrintsFromBelowContract(CorridorContract):
    env = PrintsFromBelow


class OrdersByHash(Corridor):
    def text(self):
        return " ".join({"door", "window", "lamp", "rug", "bed", "chair"})


class OrdersByHashContract(CorridorContract):
    env = OrdersByHash


class SharesADie(Corridor):
    def reset(self, *, seed=None, options=None):
        random.seed(seed)
        return super().reset(seed=seed)

    def text(self):
        return f"You roll {random.random()}."


class SharesADieContract(CorridorContract):
    env = SharesADie


class NeverTruncates(Corridor):
    def step(self, action):
        text, reward, terminated, _, info = super().step(action)
        return text, reward, terminated, False, info


class NeverTruncatesContract(CorridorContract):
    env = NeverTruncates


class ListsWhatItRefuses(Corridor):
    def info(self, action, success):
        return super().info(action, success) | {"actions": ["right", "open", "left"]}


class ListsWhatItRefusesContract(CorridorContract):
    env = ListsWhatItRefuses


class TellsOutcomesOnlyAtTheEnd(Corridor):
    def info(self, action, success):
        return {key: value for key, value in super().info(action, success).items() if key != "success" or value}


class TellsOutcomesOnlyAtTheEndContract(CorridorContract):
    env = TellsOutcomesOnlyAtTheEnd


class CannotBeSolved(Corridor):
    def draw(self):
        return int(self.np_random.integers(100, 200))


class CannotBeSolvedContract(CorridorContract):
    env = CannotBeSolved


class ReturnsNumpyFlags(Corridor):
    def step(self, action):
        import numpy as np

        text, reward, terminated, truncated, info = super().step(action)
        return text, reward, np.bool_(terminated), truncated, info


class ReturnsNumpyFlagsContract(CorridorContract):
    env = ReturnsNumpyFlags


class HasNoSnapshots(gymnasium.Wrapper):
    @property
    def unwrapped(self):
        return self


class HasNoSnapshotsContract(EnvContract):
    def make_env(self):
        return HasNoSnapshots(Corridor())


@pytest.mark.parametrize(
    ("contract", "clause"),
    [
        (ForgetsTheClockContract, "restoring_equals_replaying"),
        (NeverPaysRestoredContract, "restoring_equals_replaying"),
        (NeverPaysRestoredContract, "other_processes_continue_from_a_snapshot"),
        (LendsItsStateContract, "restoring_equals_replaying"),
        (ForgetsTheGeneratorContract, "snapshots_remember_the_random_generator"),
        (PrintsContract, "other_processes_give_the_same_episodes_in_silence"),
        (PrintsFromBelowContract, "other_processes_give_the_same_episodes_in_silence"),
        (OrdersByHashContract, "other_processes_give_the_same_episodes_in_silence"),
        (SharesADieContract, "environments_do_not_disturb_each_other"),
        (NeverTruncatesContract, "idling_is_truncated"),
        (ListsWhatItRefusesContract, "listed_actions_are_accepted"),
        (TellsOutcomesOnlyAtTheEndContract, "replies_have_a_constant_form"),
        (CannotBeSolvedContract, "success_is_possible"),
        (ReturnsNumpyFlagsContract, "replies_have_a_constant_form"),
    ],
)
def test_a_broken_environment_fails_its_clause(contract, clause, capfd):
    with pytest.raises(AssertionError):
        getattr(contract(), f"test_{clause}")()


def test_a_snapshot_that_cannot_be_pickled_fails():
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        KeepsItsSnapshotsAtHomeContract().test_other_processes_continue_from_a_snapshot()


def test_an_environment_without_snapshots_skips_their_clauses():
    with pytest.raises(unittest.SkipTest, match="no snapshot"):
        HasNoSnapshotsContract().test_restoring_equals_replaying()


def test_known_successes_are_played_instead_of_searched():
    class Known(CorridorContract):
        env = Corridor
        successes = ((3, ["right"] * 4 + ["open"]),)

    last = Known()._episodes()[-1]
    assert (last.seed, last.replies[-1].info["success"]) == (3, True)


def test_a_contract_without_an_environment_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match="make_env"):
        EnvContract().make_env()


class Adder:
    def add(self, numbers: list[int]) -> int:
        return sum(numbers)


def test_another_process_returns_what_a_method_computes():
    assert call_elsewhere(Adder, "add", [1, 2, 3]) == 6


def test_a_failure_in_another_process_shows_its_traceback():
    with pytest.raises(AssertionError, match="unsupported operand"):
        call_elsewhere(Adder, "add", ["one"])
