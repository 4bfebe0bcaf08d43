"""What a step-reward model does for a LangChain agent with tools: success on held-out questions, by who chooses.

Agents of the desk (``create_agent``, search in files, a database, a calculator; the model is made of rules that err)
answer training questions while PRMCallbackHandler records them. Models learn from labels of those runs alone, and
PRMMiddleware lets the candidate run that they rate best, of n at every turn, on questions about another shop. Baselines
choose by majority, at random, or (the ceiling) by what the rules themselves hold to be right.

    python benchmarks/agent.py --json
    python benchmarks/agent.py --quick
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from langchain.agents import create_agent

from agentprm import PRMCallbackHandler, PRMMiddleware, Recipe, Store, fit
from agentprm.labels.outcome import Outcome
from agentprm.labels.temporal import Temporal
from agentprm.ops.agree import wilson
from agentprm.progress import progress_bar
from agentprm.scorers.constant import Constant
from agentprm.scorers.delexicalised import Delexicalised
from agentprm.scorers.hashed import Hashed
from agentprm.text.describe import action_text
from agentprm.train.batches import Labelled
from agentprm.types import Action, ActionScorer, Scores, Spec, Trajectory
from agentprm_envs.desk_agent import ClerkModel, grader, is_right, make_tasks, tools_of
from agentprm_envs.desk_clerk import Clerk
from agentprm_envs.desk_tasks import Task
from agentprm_envs.desk_turns import Answer, Call, Done

EARLY = {"min_steps": 50, "evaluate_every": 10}
STRONG = {**EARLY, "weight_decay": 0.3}
HELD_OUT_WORLD, EVALUATION = 1, 1000
"""What was tried while this was made was tried in world 0."""


@dataclass(frozen=True)
class Setting:
    """How much is played."""

    error_rate: float
    habit: float
    episodes: int
    tasks: int
    seeds: int
    ns: Sequence[int]


@dataclass(frozen=True)
class Choosing:
    """A scorer of actions made of a function."""

    rate: Callable[[Trajectory, int], float]
    name: str
    sees: ClassVar[Literal["action"]] = "action"
    unit: ClassVar[Literal["value"]] = "value"

    @property
    def spec(self) -> Spec:
        """Its name."""
        return Spec(self.name)

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return what the function says of each step."""
        values = [tuple(self.rate(t, i) for i in range(len(t))) for t in trajectories]
        return [
            Scores(t.id, self.spec, self.unit, v, sees=self.sees) for t, v in zip(trajectories, values, strict=True)
        ]


def at_random(trajectory: Trajectory, index: int) -> float:
    told = [action_text(step.action) for step in trajectory.steps[: index + 1]]
    return random.Random(f"{trajectory.task.text} {told}").random()


def intended_by(clerk: Clerk) -> Callable[[Trajectory, int], float]:
    """Return 1 for what the rules hold to be right after what was seen, 0 for a slip."""

    def rate(trajectory: Trajectory, index: int) -> float:
        calls = [call for step in trajectory.steps[:index] for call in step.action.tool_calls]
        past = [Done(Call(c.name, c.arguments), str(c.output), c.status == "ok") for c in calls]
        right, action = clerk.intended(trajectory.task.text, past), trajectory.steps[index].action
        return float(is_same(right, action))

    return rate


def is_same(right: Call | Answer, action: Action) -> bool:
    if isinstance(right, Answer):
        return action.text == right.said
    return [Call(call.name, call.arguments) for call in action.tool_calls] == [right]


def clerk_of(setting: Setting, seed: int) -> Clerk:
    return Clerk(setting.error_rate, setting.habit, seed=seed)


def record(setting: Setting, seed: int) -> list[Trajectory]:
    tasks = make_tasks("train")
    agent = create_agent(ClerkModel(clerk=clerk_of(setting, seed)), tools_of("train"), name="clerk")
    with Store(":memory:") as store, progress_bar("recording", setting.episodes) as advance:
        handler = PRMCallbackHandler(store, outcome=grader(tasks))
        for i in range(setting.episodes):
            task = tasks[(i + 131 * seed) % len(tasks)]
            agent.invoke(asked(task), {"callbacks": [handler], "metadata": {"task_id": task.key}})
            advance(1, "")
        handler.flush()
        assert handler.dropped == 0
        return list(store.trajectories())


def asked(task: Task) -> dict[str, Any]:
    return {"messages": [("user", task.question)]}


def evaluate(setting: Setting, seed: int, scorer: ActionScorer | None, n: int) -> tuple[list[bool], float]:
    """Return which of the held-out questions of a seed are answered rightly, and the turns that were taken."""
    every = make_tasks("test", HELD_OUT_WORLD)
    tasks = [every[(seed * setting.tasks + i) % len(every)] for i in range(setting.tasks)]
    middleware = [PRMMiddleware(scorer, n=n)] if scorer is not None else []
    model = ClerkModel(clerk=clerk_of(setting, EVALUATION + seed))
    agent = create_agent(model, tools_of("test", HELD_OUT_WORLD), middleware=middleware)
    right, turns = [], 0
    with progress_bar("questions", len(tasks)) as advance:
        for task in tasks:
            messages = agent.invoke(asked(task))["messages"]
            turns += sum(message.type == "ai" for message in messages)
            right.append(is_right(task, messages[-1].text))
            advance(1, "")
    assert not any(m.dropped for m in middleware)
    return right, turns / len(tasks)


def language_model(played: Sequence[Trajectory], seed: int) -> Any:
    """Return a tiny Llama from scratch, trained on outcomes."""
    from agentprm.scorers.promise_progress import PromiseProgress
    from agentprm.text.tokens import texts, train_tokenizer

    model = PromiseProgress.tiny(train_tokenizer(texts(played), vocab_size=1024), hidden=64, layers=2, seed=seed)
    recipe = Recipe(learning_rate=3e-3, batch_size=128, min_steps=100, max_steps=300, held_out=0.1, seed=seed)
    fit(model, Labelled(played, Outcome()), recipe)
    return model


def trained(played: Sequence[Trajectory], seed: int, label: str, recipe: dict[str, Any], *, plain: bool) -> Any:
    inner = Hashed(seed=seed)
    model: Any = inner if plain else Delexicalised(inner)
    labels = {"TD λ=.95": Temporal(model), "TD λ=.8": Temporal(model, 0.8), "last step only": Outcome(last_only=True)}
    fit(model, Labelled(played, labels.get(label, Outcome())), Recipe(seed=seed, **recipe))
    return model


def arms(setting: Setting, seed: int, *, lm: bool) -> Iterator[tuple[str, int, Any]]:
    """Yield who chooses, among how many, and the scorer."""
    yield "the agent alone", 1, None
    yield "a random scorer", 4, Choosing(at_random, "random")
    for n in (4, 8):
        yield "majority", n, Constant(0.5)
    played = record(setting, seed)
    best = trained(played, seed, "TD λ=.95", STRONG, plain=False)
    for n in setting.ns:
        yield "delexicalised, TD λ=.95", n, best
    yield "delexicalised, TD λ=.8", 4, trained(played, seed, "TD λ=.8", STRONG, plain=False)
    yield "delexicalised, outcomes", 4, trained(played, seed, "outcomes", STRONG, plain=False)
    yield "delexicalised, last step only", 4, trained(played, seed, "last step only", STRONG, plain=False)
    yield "delexicalised, TD λ=.95, little decay", 4, trained(played, seed, "TD λ=.95", EARLY, plain=False)
    yield "delexicalised, TD λ=.95, default recipe", 4, trained(played, seed, "TD λ=.95", {}, plain=False)
    yield "hashed, TD λ=.95", 4, trained(played, seed, "TD λ=.95", STRONG, plain=True)
    if lm:
        yield "tiny language model, outcomes", 4, language_model(played, seed)
    yield "the rules themselves (ceiling)", 4, Choosing(intended_by(clerk_of(setting, EVALUATION + seed)), "intended")


def bootstrap(gains: Sequence[int], resamples: int = 10_000) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of paired differences (Efron 1979)."""
    chance = np.random.default_rng(0)
    found = np.array(gains)
    means = np.array([found[chance.integers(len(found), size=len(found))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measure(setting: Setting, *, lm: bool) -> list[dict[str, Any]]:
    right: dict[tuple[str, int], list[bool]] = {}
    turns: dict[tuple[str, int], list[float]] = {}
    by_seed: dict[tuple[str, int], list[float]] = {}
    for seed in range(setting.seeds):
        for name, n, scorer in arms(setting, seed, lm=lm):
            got, taken = evaluate(setting, seed, scorer, n)
            right.setdefault((name, n), []).extend(got)
            turns.setdefault((name, n), []).append(taken)
            by_seed.setdefault((name, n), []).append(sum(got) / len(got))
            print(f"seed {seed}: {name}, n={n}: {by_seed[name, n][-1]:.3f}", flush=True)
    alone = right["the agent alone", 1]
    return [row(name, n, right[name, n], alone, turns[name, n], by_seed[name, n]) for name, n in right]


def row(
    name: str, n: int, right: Sequence[bool], alone: Sequence[bool], turns: Sequence[float], by_seed: Sequence[float]
) -> dict[str, Any]:
    gains = [int(b) - int(a) for a, b in zip(alone, right, strict=True)]
    share = sum(right) / len(right)
    return {
        "chosen by": name,
        "n": n,
        "questions": len(right),
        "success": share,
        "interval_95": wilson(sum(right), len(right)),
        "lift": sum(gains) / len(gains),
        "lift_95": bootstrap(gains),
        "seeds": by_seed,
        "turns": sum(turns) / len(turns),
    }


def line(found: dict[str, Any]) -> str:
    (low, high), (least, most) = found["interval_95"], found["lift_95"]
    seeds = " ".join(f"{share:.2f}".lstrip("0") for share in found["seeds"])
    return (
        f"| {found['chosen by']} | {found['n']} | {found['success']:.3f} | {low:.3f}–{high:.3f} | "
        f"{found['lift']:+.3f} | {least:+.3f} to {most:+.3f} | {seeds} | {found['turns']:.1f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, fewer runs: a minute")
    parser.add_argument("--error-rate", type=float, default=0.4)
    parser.add_argument("--habit", type=float, default=0.6, help="how alike the candidates of a turn are")
    parser.add_argument("--episodes", type=int, default=840, help="recorded runs to learn from, per seed")
    parser.add_argument("--tasks", type=int, default=140, help="held-out questions, per seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--language-model", action="store_true", help="a tiny one, too: minutes per seed")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    setting = Setting(asked.error_rate, asked.habit, asked.episodes, asked.tasks, asked.seeds, (2, 4, 8))
    if asked.quick:
        setting = Setting(asked.error_rate, asked.habit, 210, 60, 1, (2, 4))
    started = time.perf_counter()
    found = measure(setting, lm=asked.language_model)
    print(
        "| chosen by | n | success | 95 % interval | lift | 95 % interval, paired | seeds | turns |\n"
        + "|---" * 8
        + "|"
    )
    for result in found:
        print(line(result))
    if asked.json:
        names = ("agentprm", "langchain", "langchain-core", "langgraph", "torch")
        machine = {"machine": platform.machine(), "system": platform.platform(), "python": platform.python_version()}
        about = {**machine, "versions": {name: version(name) for name in names}}
        seconds = round(time.perf_counter() - started, 1)
        print(json.dumps({**about, "setting": vars(asked), "seconds": seconds, "results": found}, ensure_ascii=False))


if __name__ == "__main__":
    main()
