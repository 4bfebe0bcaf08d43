"""Every credit question by name: what it asks, in a line, and what a store must hold to answer it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from agentprm.errors import UnknownName
from agentprm.suggest import did_you_mean

__all__ = ["OVERVIEW", "QUESTIONS", "Question", "find"]


class Question(NamedTuple):
    """A question: its name on the command line, its function and module, what it asks and what it needs."""

    name: str
    function: str
    module: str
    asks: str
    needs: str

    @property
    def ask(self) -> Any:
        """The function."""
        return getattr(import_module(f"agentprm.credit.{self.module}"), self.function)


QUESTIONS = tuple(Question(*row) for row in (
    ("success", "success", "policies", "How often did each policy succeed?", "outcomes"),
    ("paired", "paired", "policies", "Which policy is better on the same tasks?", "outcomes, two policies"),
    ("why-better", "why_better", "policies", "Which actions make one policy better?", "scores, two policies"),
    ("sinking", "sinking_steps", "blame", "Which step sank each failed episode?", "scores, outcomes"),
    ("drops", "drops", "blame", "Where did value fall by more than x?", "scores"),
    ("recovery", "recovery", "blame", "After a bad step, how often did it still succeed?", "scores, outcomes"),
    ("subagents", "subagents", "blame", "Which agent of several took the worst step?", "scores, outcomes, subagents"),
    ("actions", "value_by_action", "gains", "Which tool or verb destroys value?", "scores"),
    ("errors", "errors", "gains", "How much value does each kind of error lose?", "scores, tool calls"),
    ("cost", "cost", "gains", "What value was gained per token, second, dollar?", "scores, info"),
    ("agreement", "agreement", "trust", "Does the score agree with the outcome?", "scores, outcomes"),
    ("calibration", "calibration", "trust", "Is the score calibrated, by depth too?", "scores, outcomes"),
    ("length", "length_bias", "trust", "Is the score mere length or position?", "scores, outcomes"),
    ("plans", "plans", "trust", "Which plans were good?", "scores, outcomes, plans"),
    ("disagreement", "disagreement", "opinions", "Where do two scorers or versions differ most?", "two scorers"),
    ("first-errors", "first_errors", "opinions", "Does the scorer find the errors people marked?", "scores, labels"),
    ("label-next", "label_next", "opinions", "Which steps should a person label next?", "scores"),
    ("hacking", "hacking", "alarms", "Does the score rise while the outcome does not?", "scores, outcomes"),
    ("overrated", "overrated", "alarms", "Which high scores failed all the same?", "scores, outcomes"),
    ("drift", "drift", "alarms", "Do new episodes get other scores than old ones?", "scores"),
    ("anchors", "anchor_advantage", "states", "In the same state, which action was better?", "outcomes, same states"),
    ("loops", "loops", "states", "Which steps were wasted in loops?", "episodes"),
    ("effects", "effects", "forks", "What if a step had been different?", "forks, outcomes"),
    ("rollouts", "rollout_values", "forks", "Does the score agree with rollouts from there?", "forks, scores"),
    ("left-out", "leave_one_out", "forks", "What is missed when a step or tool is left out?", "forks, outcomes"),
    ("paid", "paid", "payment", "What was the learner paid, and for what?", "episodes"),
    ("shaping", "shaping", "payment", "Did shaping keep the optimum?", "shaped rewards"),
    ("timeline", "timeline", "episodes", "What happened in one episode, by every scorer?", "one episode"),
    ("training-set", "training_set", "episodes", "Which rows can a model be trained on?", "labels or scores"),
))  # fmt: skip

OVERVIEW = ("success", "sinking", "actions", "agreement", "calibration")
"""What is answered when nothing is asked."""


def find(name: str) -> Question:
    """Return the question of that name, or of that function's name; raises UnknownName with those there are."""
    wanted = name.replace("_", "-")
    for question in QUESTIONS:
        if wanted in (question.name, question.function.replace("_", "-")):
            return question
    names = [q.name for q in QUESTIONS]
    meant = did_you_mean(wanted, [*names, *(q.function.replace("_", "-") for q in QUESTIONS)])
    raise UnknownName(f"no credit question is called {name!r}{meant}; there are {', '.join(names)}")
