"""What scoring costs: an episode scored while it goes on, in the ways there are, and once it is over.

python benchmarks/scoring.py [--turns 80] [--repeats 5] [--quick] [--json]

The model is a Llama of 0.5 million random weights; one thread, whose CPU time is measured. Rows are interleaved and
repeated; the table shows medians. `pipeline` is the loop that TRL's documentation of its PRM trainer shows: a
token-classification pipeline, once per turn, over the whole text so far. `gpu.py` measures larger models on a GPU.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import torch
from transformers import LlamaForTokenClassification, PreTrainedTokenizerFast, pipeline
from worded import backbone, encoder, episode, in_turns, said, step

from agentprm.scorers.promise_progress import PromiseProgress
from agentprm.types import Observation, Step, Trajectory, new_id

WORDS = 26
"""Of an observation: a turn has about 42 tokens."""
Turn = Callable[[int], object]


def model(memory: int = 2**30, **sizes: Any) -> PromiseProgress:
    words = encoder()
    return PromiseProgress(backbone(words.size, **sizes), words, memory=memory)


def seconds(run: Callable[[], object]) -> float:
    """CPU time, of the one thread there is."""
    started = time.process_time()
    run()
    return time.process_time() - started


def prefixes(trajectory: Trajectory) -> list[Trajectory]:
    return [trajectory.seen(t, "action") for t in range(len(trajectory))]


def live(judge: PromiseProgress, so_far: Sequence[Trajectory]) -> list[float]:
    """Seconds of each turn of an episode that is scored while it goes on."""
    judge.reader.cache.clear()
    return [seconds(lambda now=now: judge([now])) for now in so_far]  # type: ignore[misc]


def documented(trajectory: Trajectory) -> Turn:
    """TRL's loop for one turn: the pipeline over the text so far, of which the last token's label is taken."""
    words = encoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words._tokenizer)  # type: ignore[no-untyped-call]
    body = backbone(words.size)
    config = body.config
    config.num_labels = 2
    classify: Any = LlamaForTokenClassification(config).eval()
    classify.model.load_state_dict(body.state_dict())
    classes = pipeline("token-classification", model=classify, tokenizer=tokenizer, device="cpu")
    task, *steps = in_turns(trajectory)

    def turn(t: int) -> object:
        return classes("\n".join([task, *steps[: t + 1]]) + "\n")[-1]["entity"]

    return turn


def plain(judge: PromiseProgress) -> Callable[[Trajectory], object]:
    """The same reading by transformers alone: all tokens of the text so far through all layers, then the head."""
    body, head = backbone(judge.encoder.size).eval(), judge.reader.head

    @torch.no_grad()
    def whole(trajectory: Trajectory) -> object:
        ((window,), _) = judge.read(trajectory)
        states = body(input_ids=torch.tensor([window.ids]), use_cache=False).last_hidden_state
        return head(states[0, list(window.ends)]).tolist()

    return whole


def one_episode(n: int, repeats: int) -> dict[str, Any]:
    """Live, over again, by the pipeline and afterwards: seconds for all turns, and per turn where it matters."""
    trajectory, _ = episode(random.Random(1), n, words=WORDS)
    ours, again, loop = model(), model(memory=0), documented(trajectory)
    alone = plain(ours)
    so_far = prefixes(trajectory)
    found: dict[str, list[float]] = defaultdict(list)
    each: list[list[float]] = []
    for i in range(repeats + 1):
        each.append(live(ours, so_far))
        ours.reader.cache.clear()
        times = {
            "live": sum(each[-1]),
            "one pass": seconds(lambda: ours([trajectory])),
            "one pass, transformers": seconds(lambda: alone(trajectory)),
        }
        if i < 2:  # these take long, and vary little
            times |= {
                "over again": sum(live(again, so_far)),
                "over again, transformers": seconds(lambda: [alone(now) for now in so_far]),
                "pipeline": seconds(lambda: [loop(t) for t in range(n)]),
            }
        for name, value in times.items() if i else ():
            found[name].append(value)
    medians = {name: statistics.median(values) for name, values in found.items()}
    at = [statistics.median(column) for column in zip(*each[1:], strict=True)]
    early, late = statistics.median(at[7:13]), statistics.median(at[-6:])
    return {
        "turns": n,
        "tokens": len(ours.read(trajectory)[0][0].ids),
        "seconds": medians,
        "live against over again": medians["over again"] / medians["live"],
        "live against over again, transformers": medians["over again, transformers"] / medians["live"],
        "live against pipeline": medians["pipeline"] / medians["live"],
        "live against one pass": medians["live"] / medians["one pass"],
        "live against one pass, transformers": medians["live"] / medians["one pass, transformers"],
        "last turns against turn 10": late / early,
    }


def many(n_envs: int, n_turns: int, repeats: int, judge: PromiseProgress, words: int) -> dict[str, Any]:
    """Environments in step, one call for all of them, against one session after the other."""
    chance = random.Random(2)
    played = [prefixes(episode(chance, n_turns, words)[0]) for _ in range(n_envs)]
    together, apart = [], []
    for _ in range(repeats + 1):
        judge.reader.cache.clear()
        together.append(seconds(lambda: [judge([one[t] for one in played]) for t in range(n_turns)]))
        apart.append(seconds(lambda: [live(judge, one) for one in played]))
    both = statistics.median(together[1:]), statistics.median(apart[1:])
    per_second = [n_envs * n_turns / one for one in both]
    return {"environments": n_envs, "turns": n_turns, "steps/s in step": per_second[0], "steps/s apart": per_second[1],
            "in step against apart": per_second[0] / per_second[1]}  # fmt: skip


def candidates(n: int, n_turns: int, repeats: int, judge: PromiseProgress) -> dict[str, Any]:
    """The best of n actions at every turn, against scoring one."""
    found: dict[int, list[float]] = {1: [], n: []}
    for i in range(repeats + 1):
        for k, times in found.items():
            times += [choosing(k, n_turns, judge)] if i else []
    one, several = (statistics.median(times) for times in found.values())
    return {
        "candidates": n,
        "turns": n_turns,
        "seconds of one": one,
        "seconds of all": several,
        "all against one": several / one,
    }


def choosing(n: int, n_turns: int, judge: PromiseProgress) -> float:
    chance, total = random.Random(3), 0.0
    first = episode(chance, 1)[0]
    so_far = Trajectory(new_id(), first.task, (), first.steps[0].observation)
    judge.reader.cache.clear()
    for _ in range(n_turns):
        offered = [Step(so_far.last, step(chance, 0).action) for _ in range(n)]
        taken = [so_far.append(one, so_far.last) for one in offered]
        asked = [one.seen(len(so_far), "action") for one in taken]
        total += seconds(lambda asked=asked: judge(asked))  # type: ignore[misc]
        so_far = so_far.append(offered[0], Observation(said(chance, WORDS)))
    return total


def measured(n_turns: int, repeats: int) -> dict[str, Any]:
    judge = model()
    return {
        "episode": one_episode(n_turns, repeats),
        "many": many(32, 20, repeats, judge, WORDS),
        "many short turns": many(32, 20, repeats, model(hidden_size=64, intermediate_size=256), 2),
        "candidates": candidates(8, min(n_turns, 40), repeats, judge),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "machine": platform.processor() or platform.machine(),
    }


def table(rows: dict[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in rows.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from table(value, f"{indent}  ")
        else:
            yield f"{indent}{name:38} {value:.4g}" if isinstance(value, float) else f"{indent}{name:38} {value}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="20 turns, one repeat")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = measured(20 if asked.quick else asked.turns, 1 if asked.quick else asked.repeats)
    print("\n".join(table(found)))
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
