"""The contract of stores: inherit it, say how one is made, and every promise of a memory is tested."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
import pytest

from agentprm.errors import InvalidScores, InvalidTrajectory, NoSuchTrajectory, StoreClosed
from agentprm.testing.trajectories import episode, hostile
from agentprm.types import (
    Action,
    Began,
    Ended,
    Ending,
    Event,
    Image,
    Observation,
    Scores,
    Spec,
    Step,
    Stepped,
    Task,
    ToolCall,
    Trajectory,
    new_id,
    utc_now,
)

__all__ = ["StoreContract", "StoreLike", "recording"]


class StoreLike(Protocol):
    """What a store can do that others build on; `agentprm.Store` can do more."""

    @property
    def dropped(self) -> int:
        """Steps that could not be kept, in this store's life."""

    def write(self, event: Event, /) -> None:
        """Record one event; never raise."""

    def add(self, items: Trajectory | Scores | Iterable[Trajectory | Scores], /) -> int:
        """Store what is new, all or none; return how much that was."""

    def trajectories(self, **filters: Any) -> Iterator[Trajectory]:
        """Yield trajectories, oldest first."""

    def scores(self, trajectory: Any = None, **filters: Any) -> Iterator[Scores]:
        """Yield scores, one `Scores` per scorer version and trajectory."""

    def flush(self) -> None:
        """Return when everything written so far is kept."""

    def close(self) -> None:
        """Flush and let go; a second call does nothing."""


def recording(trajectory: Trajectory, **beside: Any) -> Iterator[Event]:
    """Yield the events of an episode, as a recorder writes them; `beside` is added to every step.

    >>> [type(event).__name__ for event in recording(episode(("a door", "open it"), last="a garden"))]
    ['Began', 'Stepped', 'Ended']
    """
    first, *results = trajectory.observations
    yield Began(trajectory._with(steps=(), last=first, ending=None))
    for t, (step, result) in enumerate(zip(trajectory.steps, results, strict=True)):
        yield Stepped(trajectory.id, t, step, result, **beside)
    if trajectory.ending is not None:
        yield Ended(trajectory.id, trajectory.ending)


class StoreContract:
    """What every store owes those who record into it and read from it. Override :meth:`make_store`.

    >>> class TestMine(StoreContract):
    ...     def make_store(self):
    ...         from agentprm import Store
    ...
    ...         return Store(":memory:")
    >>> TestMine().test_what_is_recorded_comes_back_as_it_was()
    """

    def make_store(self) -> StoreLike:
        """Return a new, empty store; each test closes the one it asked for."""
        raise NotImplementedError("a StoreContract needs make_store()")

    def open_again(self) -> StoreLike | None:
        """Return the store that was made last, opened anew after it was closed; None where nothing outlives it."""
        return None

    def test_what_is_recorded_comes_back_as_it_was(self) -> None:
        """Began, Stepped and Ended make the episode that they tell of; one without an ending is there as well."""
        with _closing(self.make_store()) as store:
            told = _aged([*hostile(), _filled()])
            for trajectory in told:
                _write(store, trajectory)
            _assert_same(store.trajectories(), told)
            assert store.dropped == 0

    def test_an_episode_is_there_as_far_as_it_went(self) -> None:
        """After each event the steps so far are there, with the observation that the last one led to."""
        with _closing(self.make_store()) as store:
            whole = _filled()
            for n, event in enumerate(recording(whole)):
                store.write(event)
                (seen,) = store.trajectories()
                t = min(n, len(whole))
                assert (seen.steps, seen.last) == (whole.steps[:t], whole.observations[t])
                assert (seen.ending is None) == (n <= len(whole))

    def test_added_and_recorded_are_the_same(self) -> None:
        """A trajectory handed over whole comes back as one that was recorded."""
        with _closing(self.make_store()) as store:
            added = _aged([_filled(), *hostile()])
            assert store.add(added) == len(added)
            _assert_same(store.trajectories(), added)

    def test_episodes_of_several_recorders_keep_apart(self) -> None:
        """Events of many episodes may come in any mixture, and from several threads."""
        with _closing(self.make_store()) as store:
            told = _aged([episode(*[(f"{i} {t}", "go") for t in range(5)], outcome=1.0) for i in range(8)])
            threads = [threading.Thread(target=_interleave, args=(store, told[i::2])) for i in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            _assert_same(store.trajectories(), told)
            assert store.dropped == 0

    def test_the_oldest_comes_first(self) -> None:
        """Trajectories come in the order of their beginning, whatever order they were stored in."""
        with _closing(self.make_store()) as store:
            told = _aged([episode(("here", "go")) for _ in range(5)])
            store.add([told[i] for i in (3, 0, 4, 1, 2)])
            assert [t.id for t in store.trajectories()] == [t.id for t in told]
            assert [t.id for t in store.trajectories(limit=2)] == [t.id for t in told[:2]]

    def test_adding_twice_adds_nothing(self) -> None:
        """What is there already is left as it is and not counted; the first ending stays."""
        with _closing(self.make_store()) as store:
            trajectory = _filled()
            scores = Scores(trajectory.id, Spec("model"), "value", (0.5, None))
            assert (store.add([trajectory, scores]), store.add([trajectory, scores])) == (2, 0)
            _write(store, trajectory)
            store.write(Ended(trajectory.id, Ending("failed")))
            _assert_same(store.trajectories(), [trajectory])
            assert len(list(store.scores())) == 1

    def test_a_running_episode_gets_its_ending_later(self) -> None:
        """One that was stored running is found as such, and by its ending once that was added."""
        with _closing(self.make_store()) as store:
            ended = episode(("here", "go"), outcome=1.0)
            running = ended._with(ending=None)
            assert store.add(running) == 1
            _assert_same(store.trajectories(ended=False), [running])
            assert list(store.trajectories(ended=True)) == []
            assert store.add(ended) == 1
            _assert_same(store.trajectories(ended=True), [ended])

    def test_filters_find_what_they_name(self) -> None:
        """By id, task, policy, status and outcome, one value or several; every filter must hold."""
        with _closing(self.make_store()) as store:
            won, lost = episode(("a", "b"), task="win", outcome=1.0), episode(("a", "b"), task="lose", outcome=0.0)
            won, lost = _aged([won._with(policy="p"), lost._with(policy="q")])
            store.add([won, lost])
            for filters in ({"id": won.id}, {"task": won.task.key}, {"policy": "p"}, {"outcome": (0.5, 1.0)}):
                assert [t.id for t in store.trajectories(**filters)] == [won.id], filters
            assert [t.id for t in store.trajectories(id=[lost.id, won.id], status="terminated")] == [won.id, lost.id]
            assert list(store.trajectories(policy="p", outcome=(0.0, 0.0))) == []

    def test_values_are_exact(self) -> None:
        """Arrays keep dtype and shape; NaN, infinities, bytes, tuples, integers of any size and odd characters stay."""
        with _closing(self.make_store()) as store:
            store.add(_filled())
            (back,) = store.trajectories()
            native: Any = back.steps[0].observation.native
            assert native["pixels"].dtype == np.uint8
            assert native["pixels"].shape == (2, 3, 3)
            assert math.isnan(back.steps[1].reward)
            assert type(back.steps[0].action.native) is np.int64
            assert back.steps[1].info == {"big": 2**90, "raw": b"\x00\xff", "pair": (1, None)}

    def test_scores_are_facts_of_a_version(self) -> None:
        """Versions stand side by side; None stays None; parts, notes and the first index stay; units do not change."""
        with _closing(self.make_store()) as store:
            t = episode(*[("here", "go")] * 3)
            old, new = Spec("model", {"version": 1}), Spec("model", {"version": 2})
            given = [
                Scores(t.id, old, "value", (0.1, None, 0.3), sees="action"),
                Scores(t.id, new, "correctness", (1.0,), 1, {"progress": (-2.5,)}, ("a note",), sees="episode"),
            ]
            store.add(t)
            assert store.add(given) == 2
            assert sorted(store.scores(), key=lambda s: s.source.digest) == sorted(given, key=lambda s: s.source.digest)
            assert list(store.scores(t.id, source=new)) == [given[1]]
            assert [s.id for s in store.trajectories(without=Spec("model", {"version": 3}))] == [t.id]
            assert list(store.trajectories(without=old)) == []
            with pytest.raises(InvalidScores):
                store.add(Scores(t.id, old, "reward", (1.0,)))

    def test_scores_recorded_with_a_step_are_there(self) -> None:
        """What a live scorer said comes with the step it said it of."""
        with _closing(self.make_store()) as store:
            t, source = episode(("here", "go"), ("there", "go")), Spec("live")
            for event in recording(t):
                if isinstance(event, Stepped):
                    said = Scores(t.id, source, "value", (0.25 * event.index,), event.index, sees="result")
                    event = Stepped(t.id, event.index, event.step, event.result, scores=(said,))
                store.write(event)
            assert [s.values for s in store.scores(t.id)] == [(0.0, 0.25)]

    def test_adding_refuses_what_does_not_fit_and_keeps_nothing_of_it(self) -> None:
        """Scores of nothing, scores beyond the end and a second trajectory of one id are errors with a name."""
        with _closing(self.make_store()) as store:
            t, other = episode(("here", "go")), episode(("there", "go"))
            store.add(t)
            for error, item in (
                (NoSuchTrajectory, Scores(new_id(), Spec("model"), "value", (0.5,))),
                (InvalidScores, Scores(t.id, Spec("model"), "value", (0.5, 0.5))),
                (InvalidTrajectory, t._with(last=Observation("elsewhere"))),
                (InvalidTrajectory, "no trajectory at all"),
            ):
                with pytest.raises(error):
                    store.add([other, item])  # type: ignore[list-item]
            _assert_same(store.trajectories(), [t])
            assert list(store.scores()) == []

    def test_writing_never_raises_and_counts_what_is_lost(self) -> None:
        """Nonsense, half an event and a step that cannot be kept disturb nobody; the step is counted."""
        store = self.make_store()
        with _closing(store):
            for nonsense in (None, 7, "event", Began(None), Ended(new_id(), None)):  # type: ignore[arg-type]
                store.write(nonsense)  # type: ignore[arg-type]
            t = episode(("here", "go"), ("there", "go"), outcome=1.0)
            began, first, second, ended = recording(t)
            unkept = Stepped(t.id, 1, t.steps[1], t.last, None, Spec("shaping", {"gamma": object()}))
            for event in (began, first, unkept, second, ended):
                store.write(event)
            store.flush()
            _assert_same(store.trajectories(), [t])
            assert store.dropped == 1
        store.write(first)
        assert store.dropped == 2, "what is written to a closed store is lost, and counted"

    def test_a_closed_store_says_so(self) -> None:
        """Reading and adding raise StoreClosed; closing again does nothing."""
        store = self.make_store()
        store.close()
        store.close()
        for ask in (store.trajectories, store.scores, store.flush, lambda: store.add(episode(("here", "go")))):
            with pytest.raises(StoreClosed):
                ask()

    def test_what_was_flushed_is_there_when_it_is_opened_again(self) -> None:
        """A store outlives whoever made it."""
        store, told = self.make_store(), _aged([_filled(), episode(("here", "go"), status=None)])
        with _closing(store):
            for trajectory in told:
                _write(store, trajectory)
            store.flush()
        again = self.open_again()
        if again is None:
            pytest.skip("this store keeps nothing")
        with _closing(again):
            _assert_same(again.trajectories(), told)


class _closing:
    """Gives a store and closes it."""

    def __init__(self, store: StoreLike) -> None:
        self._store = store

    def __enter__(self) -> StoreLike:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def _aged(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Return trajectories that began a second apart, the first one first."""
    now = utc_now()
    return [t._with(started_at=now + timedelta(seconds=i)) for i, t in enumerate(trajectories)]


def _write(store: StoreLike, trajectory: Trajectory) -> None:
    for event in recording(trajectory):
        store.write(event)


def _interleave(store: StoreLike, trajectories: Sequence[Trajectory]) -> None:
    for events in zip(*map(recording, trajectories), strict=True):
        for event in events:
            store.write(event)


def _assert_same(found: Iterable[Trajectory], expected: Sequence[Trajectory]) -> None:
    found = list(found)
    assert [t.id for t in found] == [t.id for t in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == other, f"trajectory {other.id} came back otherwise"


def _filled() -> Trajectory:
    """Return an episode of two steps with values of every kind."""
    odd = "\ud800\0 日本 \u202e"
    calls = (
        ToolCall("search", {"query": odd, "n": 3}, "call-1", {"hits": [1.5, math.inf]}, "ok", 2),
        ToolCall("stop", "no JSON", None, None, "rejected", 0),
    )
    first = Observation("a picture", {"pixels": np.arange(18, dtype=np.uint8).reshape(2, 3, 3)}, (_PICTURE,))
    steps = (
        Step(first, Action(odd, "think\nthen act", calls, np.int64(3)), -1.5),
        Step(Observation("", (1, b"x")), Action("go"), math.nan, {"big": 2**90, "raw": b"\0\xff", "pair": (1, None)}),
    )
    ending = Ending("truncated", truncated=True, outcome=0.25)
    head = {"external_id": odd, "env": "Env-v0", "policy": "ppo", "seed": 2**70, "group": "g", "meta": {"host": odd}}
    return Trajectory(new_id(), Task("all of it", "key"), steps, Observation(odd, np.float32(0.5)), ending, **head)  # type: ignore[arg-type]


_PICTURE = Image("image/png", b"\x89PNG\0\xff")
