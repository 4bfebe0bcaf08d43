"""Text environments under a random policy: success, actions to choose from, speed, and what a snapshot costs.

The policy draws uniformly from ``info["actions"]``; episode i has seed i. Times are CPU times of this process.

    python benchmarks/envs.py --episodes 2000
    python benchmarks/envs.py UnlockPickup PickupLoc --json
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import gymnasium

LADDER = [
    *("GoToLocal", "GoToObjMazeS4R2", "GoToSeqS5R2", "UnlockLocal", "OpenDoorsOrderN4", "SynthS5R2", "SynthLoc"),
    *("PickupLoc", "MiniBossLevel", "FindObjS5", "BossLevel", "Pickup", "Unlock", "KeyInBox", "UnlockPickup"),
    *("PutNextS5N1", "PutNextLocal", "KeyCorridorS3R3", "BlockedUnlockPickup", "MoveTwoAcrossS5N2"),
]
COLUMNS = ("level", "success", "95 % interval", "actions", "rounds", "steps/s", "reset ms", "snapshot ms", "restore ms")


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, 95 % by default."""
    p, scale = successes / trials, 1 + z * z / trials
    middle = (p + z * z / (2 * trials)) / scale
    half = z / scale * ((p * (1 - p) + z * z / (4 * trials)) / trials) ** 0.5
    return middle - half, middle + half


def cpu_ms(action: Callable[[], object], repeats: int) -> float:
    """Return the mean CPU milliseconds of a call."""
    begun = time.process_time()
    for _ in range(repeats):
        action()
    return 1000 * (time.process_time() - begun) / repeats


def measure(level: str, episodes: int) -> dict[str, Any]:
    env: Any = gymnasium.make(f"agentprm_envs:BabyAIText/{level}-v0").unwrapped
    chance, successes, rounds, actions = random.Random(0), 0, 0, 0
    begun = time.process_time()
    for seed in range(episodes):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            actions += len(info["actions"])
            _, _, terminated, truncated, info = env.step(chance.choice(info["actions"]))
            rounds, over = rounds + 1, terminated or truncated
        successes += info["success"]
    seconds = time.process_time() - begun
    snapshot = env.snapshot()
    return {
        "level": level,
        "episodes": episodes,
        "success": successes / episodes,
        "interval_95": wilson(successes, episodes),
        "actions": actions / rounds,
        "rounds": rounds / episodes,
        "steps_per_s": rounds / seconds,
        "snapshot_ms": cpu_ms(env.snapshot, 300),
        "restore_ms": cpu_ms(lambda: env.restore(snapshot), 300),
        "reset_ms": cpu_ms(lambda: env.reset(seed=chance.randrange(10**6)), 100),
    }


def row(result: dict[str, Any]) -> str:
    low, high = result["interval_95"]
    return (
        f"| {result['level']} | {100 * result['success']:.1f} % | {100 * low:.1f}–{100 * high:.1f} % | "
        f"{result['actions']:.1f} | {result['rounds']:.1f} | {result['steps_per_s']:,.0f} | {result['reset_ms']:.2f} | "
        f"{result['snapshot_ms']:.3f} | {result['restore_ms']:.3f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("levels", nargs="*", default=LADDER, help="names of agentprm_envs.LEVELS")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args(arguments)
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    results = []
    for level in options.levels:
        results.append(measure(level, options.episodes))
        print(row(results[-1]), flush=True)
    if options.json:
        versions = {name: version(name) for name in ("gymnasium", "minigrid")}
        print(json.dumps({"python": platform.python_version(), "versions": versions, "results": results}))


if __name__ == "__main__":
    main()
