"""The contracts of scorers and of models: inherit one in a test module, say how yours is made, run pytest.

>>> from agentprm.scorers.constant import Constant
>>> class TestMine(ScorerContract):
...     def make_scorer(self):
...         return Constant(0.5)
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import numpy as np
import pytest

from agentprm.errors import InvalidSpec
from agentprm.spec import make
from agentprm.testing.trajectories import corridors, hostile
from agentprm.types import Action, Ending, Observation, Scorer, Scores, Spec, Step, StepRewardModel, Task, Trajectory

__all__ = ["ScorerContract", "StepRewardModelContract"]


class ScorerContract:
    """What every scorer and label method owes to those who call it. Override :meth:`make_scorer`."""

    tolerance: ClassVar[float] = 1e-5
    """How far numbers may differ that ought to be the same."""
    can_be_remade: ClassVar[bool] = True
    """False for one that holds a live object without a plain form: then remaking it must raise InvalidSpec."""

    def make_scorer(self) -> Scorer:
        """Return a new scorer, always the same one."""
        raise NotImplementedError("a ScorerContract needs make_scorer()")

    def make_trajectories(self) -> Sequence[Trajectory]:
        """Return what it is tried on; override it where yours needs something special."""
        return [*corridors(6, seed=3), *hostile()]

    def test_every_step_is_scored_in_order(self) -> None:
        """One `Scores` per trajectory, with its id, and a number or None per step."""
        scorer, trajectories = self.make_scorer(), self.make_trajectories()
        scored = scorer(trajectories)
        assert [s.trajectory_id for s in scored] == [t.id for t in trajectories]
        assert [(s.start, len(s)) for s in scored] == [(0, len(t)) for t in trajectories]
        assert scorer([]) == []

    def test_scores_say_where_they_come_from(self) -> None:
        """Source, unit and sight are the scorer's own; values and correctness lie in [0, 1]."""
        scorer = self.make_scorer()
        for scores in scorer(self.make_trajectories()):
            assert (scores.source, scores.unit, scores.sees) == (scorer.spec, scorer.unit, scorer.sees)
            if scorer.unit != "reward":
                assert all(v is None or 0 <= v <= 1 for v in scores.values), f"{scorer.unit} beyond [0, 1]"

    def test_the_company_changes_nothing(self) -> None:
        """A trajectory has the same scores alone, among others, in another order, and when it is asked again."""
        scorer, trajectories = self.make_scorer(), self.make_trajectories()
        together = scorer(trajectories)
        for _ in range(2):
            self._assert_same(together, [scorer([t])[0] for t in trajectories])
        self._assert_same(together[::-1], scorer(trajectories[::-1]))
        self._assert_same(together, self.make_scorer()(trajectories))

    def test_what_lies_beyond_its_sight_changes_nothing(self) -> None:
        """Step t of an episode has the same score when it is cut after what may be seen, and when it went elsewhere."""
        scorer = self.make_scorer()
        for trajectory in self.make_trajectories():
            whole = scorer([trajectory])[0]
            for t in range(len(trajectory)):
                elsewhere = trajectory if scorer.sees == "episode" else _gone_elsewhere(trajectory, t, scorer.sees)
                for other in (trajectory.seen(t, scorer.sees), elsewhere):
                    self._assert_close(whole.values[t], scorer([other])[0].values[t])

    def test_it_is_remade_from_its_spec(self) -> None:
        """The spec is JSON; what is made of it has the same spec and says the same."""
        scorer, trajectories = self.make_scorer(), self.make_trajectories()
        plain = json.loads(scorer.spec.to_json())
        if not self.can_be_remade:
            with pytest.raises(InvalidSpec):
                make(plain)
            return
        again = make(plain)
        assert again.spec == scorer.spec
        self._assert_same(scorer(trajectories), again(trajectories))

    def test_it_draws_no_chance_of_others(self) -> None:
        """The global random states of Python and NumPy are left as they were."""
        scorer, before = self.make_scorer(), _global_states()
        scorer(self.make_trajectories())
        assert _global_states() == before

    def _assert_same(self, expected: Sequence[Scores], actual: Sequence[Scores]) -> None:
        assert [s.trajectory_id for s in actual] == [s.trajectory_id for s in expected]
        for one, other in zip(expected, actual, strict=True):
            for value, again in zip(one.values, other.values, strict=True):
                self._assert_close(value, again)

    def _assert_close(self, one: float | None, other: float | None) -> None:
        assert (one is None) == (other is None), f"{other} instead of {one}"
        assert one is None or other is None or abs(one - other) <= self.tolerance, f"{other} instead of {one}"


class StepRewardModelContract(ScorerContract):
    """What every trainable model owes besides. Override :meth:`make_model`; a small one, for it is trained here."""

    learning_rate: ClassVar[float] = 1e-2
    steps: ClassVar[int] = 150
    """Optimiser steps within which four trajectories are learnt by heart."""

    def make_model(self) -> StepRewardModel:
        """Return a new model, always the same one."""
        raise NotImplementedError("a StepRewardModelContract needs make_model()")

    def make_scorer(self) -> Scorer:
        """Return the untrained model."""
        return self.make_model()

    def make_labels(self) -> Sequence[tuple[Trajectory, Scores]]:
        """Return four trajectories that differ in what they say, with labels that nothing foretells."""
        return [_recited(i, word) for i, word in enumerate(("apple", "river", "stone", "cloud"))]

    def test_it_learns_four_trajectories_by_heart(self) -> None:
        """The loss is a finite scalar and falls; afterwards each label comes back."""
        model, labels = self.make_model(), self.make_labels()
        losses = self._train(model)
        assert all(np.isfinite(losses)), "the loss is no number"
        assert losses[-1] < losses[0], f"the loss rose from {losses[0]} to {losses[-1]}"
        for scores, (_, wanted) in zip(model([t for t, _ in labels]), labels, strict=True):
            errors = [abs(v - w) for v, w in zip(scores.values, wanted.values, strict=True) if None not in (v, w)]  # type: ignore[operator]
            assert errors, "no step is both labelled and scored"
            assert max(errors) < 0.2, f"{scores.values} instead of {wanted.values}"

    def test_saved_and_loaded_it_is_the_same(self, tmp_path: Path) -> None:
        """A saved model says the same after loading, has the same spec, and is remade from it."""
        model = self.make_model()
        self._train(model, steps=3)
        model.save(tmp_path / "model")
        trajectories = self.make_trajectories()
        for again in (make(tmp_path / "model"), make(json.loads(model.spec.to_json()))):
            assert again.spec == model.spec
            self._assert_same(model(trajectories), again(trajectories))

    def test_training_changes_its_name(self, tmp_path: Path) -> None:
        """Other weights are another version, which cannot be remade before it is saved."""
        model = self.make_model()
        fresh = model.spec
        self._train(model, steps=1)
        trained = model.spec
        assert trained != fresh
        with pytest.raises(InvalidSpec):
            make(trained)
        model.save(tmp_path / "model")
        assert model.spec == trained
        self._train(model, steps=1)
        assert model.spec != trained

    def test_labels_that_are_none_do_not_count(self) -> None:
        """A trajectory without labels, put beside others, leaves the loss as it was."""
        model, labels = self.make_model(), self.make_labels()
        trajectory, scores = labels[0]
        silent = (trajectory, replace(scores, values=(None,) * len(scores)))
        assert abs(float(model.loss(labels).detach()) - float(model.loss([*labels, silent]).detach())) < 1e-4

    def _train(self, model: StepRewardModel, steps: int | None = None) -> list[float]:
        import torch

        optimiser, labels = torch.optim.AdamW(model.parameters(), lr=self.learning_rate), self.make_labels()
        losses: list[float] = []
        for _ in range(steps or self.steps):
            optimiser.zero_grad()
            loss = model.loss(labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
        return losses


def _recited(i: int, word: str) -> tuple[Trajectory, Scores]:
    turns = [(f"{word} number {t}", f"say {word}") for t in range(3)]
    steps = tuple(Step(Observation(seen), Action(done)) for seen, done in turns)
    trajectory = Trajectory(UUID(int=i + 1), Task(f"recite {word}"), steps, Observation("the end"))
    values = tuple(float((i + t) % 2) for t in range(3))
    return trajectory, Scores(trajectory.id, Spec("recited"), "value", values)


def _gone_elsewhere(trajectory: Trajectory, t: int, sees: str) -> Trajectory:
    """Return an episode that is the same up to what is seen of step t, and another one after it."""
    step = trajectory.steps[t]
    if sees == "action":
        calls = tuple(replace(c, output="another answer", status="ok", attempts=3) for c in step.action.tool_calls)
        action = replace(step.action, tool_calls=calls)
        step = Step(step.observation, action, step.reward + 7.0, {"success": True})
        following = Observation("quite another place")
    else:
        step = replace(step, info={"success": True})
        following = trajectory.observations[t + 1]
        if t + 1 == len(trajectory) and trajectory.ending is not None:
            ending = replace(trajectory.ending, outcome=0.25 if trajectory.outcome != 0.25 else 0.75)
            return replace(trajectory, steps=(*trajectory.steps[:t], step), ending=ending)
    after = Step(following, Action("an unforeseen action"), 99.0)
    steps = (*trajectory.steps[:t], step, after)
    return replace(trajectory, steps=steps, last=Observation("the end"), ending=Ending("failed", outcome=0.25))


def _global_states() -> tuple[Any, ...]:
    state: Callable[..., Any] = np.random.get_state
    name, keys, *rest = state()
    return random.getstate(), name, keys.tobytes(), *rest
