"""Whoever asks at the same time shares a call, and nobody fails for another."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentprm.errors import MissingText
from agentprm.scorers.constant import Constant
from agentprm.serve.batches import Batches, Full
from agentprm.testing.trajectories import episode


class Slow:
    """A scorer that waits to be let go, and remembers what it was asked."""

    unit, sees = "value", "action"

    def __init__(self):
        self.go, self.entered, self.sizes = threading.Semaphore(0), threading.Semaphore(0), []
        self.spec = Constant(0.5).spec

    def __call__(self, trajectories):
        self.sizes.append(len(trajectories))
        self.entered.release()
        assert self.go.acquire(timeout=20)
        if any(t.task.text == "bad" for t in trajectories):
            raise MissingText("it has no words")
        return Constant(0.5)(trajectories)


def waiting_for(batches, n):
    """Return once `n` questions wait."""
    for _ in range(2_000):
        if len(batches._waiting) == n:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"{len(batches._waiting)} wait, not {n}")


def test_what_came_while_it_was_busy_is_one_call():
    slow = Slow()
    episodes = [episode(("a", "b")) for _ in range(7)]
    with Batches(slow) as batches, ThreadPoolExecutor(8) as pool:
        first = pool.submit(batches.ask, episodes[:1])
        assert slow.entered.acquire(timeout=20)
        others = [pool.submit(batches.ask, [one]) for one in episodes[1:]]
        waiting_for(batches, 6)
        slow.go.release(2)
        said = [one.result(20) for one in (first, *others)]
    assert slow.sizes == [1, 6]
    assert [[s.trajectory_id for s in scores] for scores in said] == [[one.id] for one in episodes]
    assert (batches.calls, batches.asked) == (2, 7)


def test_a_call_holds_so_many_and_a_larger_question_alone():
    slow = Slow()
    with Batches(slow, most=4) as batches, ThreadPoolExecutor(8) as pool:
        first = pool.submit(batches.ask, [episode(("a", "b"))])
        assert slow.entered.acquire(timeout=20)
        asked = []
        for n, size in enumerate((3, 9, 2, 2), 1):
            asked.append(pool.submit(batches.ask, [episode(("a", "b"))] * size))
            waiting_for(batches, n)
        slow.go.release(9)
        sizes = [len(one.result(20)) for one in (first, *asked)]
    assert sizes == [1, 3, 9, 2, 2]
    assert slow.sizes == [1, 3, 9, 4]


def test_nobody_fails_for_another():
    slow = Slow()
    with Batches(slow) as batches, ThreadPoolExecutor(8) as pool:
        first = pool.submit(batches.ask, [episode(("a", "b"))])
        assert slow.entered.acquire(timeout=20)
        good = pool.submit(batches.ask, [episode(("a", "b"))])
        waiting_for(batches, 1)
        bad = pool.submit(batches.ask, [episode(("a", "b"), task="bad")])
        waiting_for(batches, 2)
        slow.go.release(9)
        assert first.result(20)[0].values == good.result(20)[0].values == (0.5,)
        with pytest.raises(MissingText, match="no words"):
            bad.result(20)
    assert slow.sizes == [1, 2, 1, 1]


def test_what_may_wait_is_bounded_and_closing_answers_it():
    slow = Slow()
    batches = Batches(slow, most_waiting=2)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batches.ask, [episode(("a", "b"))])
        assert slow.entered.acquire(timeout=20)
        second = pool.submit(batches.ask, [episode(("a", "b"))] * 2)
        waiting_for(batches, 1)
        with pytest.raises(Full, match="2 trajectories are waiting"):
            batches.ask([episode(("a", "b"))])
        slow.go.release(9)
        batches.close()
        assert len(first.result(20)) + len(second.result(20)) == 3
    with pytest.raises(Full, match="closed"):
        batches.ask([episode(("a", "b"))])


class Miscounting(Slow):
    def __call__(self, trajectories):
        return Constant(0.5)(trajectories)[1:]


def test_a_scorer_that_answers_too_little_is_an_error_and_not_a_shift():
    with Batches(Miscounting()) as batches, pytest.raises(RuntimeError, match="gave 1 scores of 2"):
        batches.ask([episode(("a", "b"))] * 2)
