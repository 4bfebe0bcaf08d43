"""How fast a report opens: 1,000 episodes of 30 steps in headless Chromium, and how large the file is.

python benchmarks/report.py [--episodes 1000] [--steps 30] [--repeats 5] [--json]

Medians over the repeats, each in a window of its own, in milliseconds from the beginning of the navigation: first
paint, the overview drawn (its first frame), DOMContentLoaded (the whole file read); then an episode, from the click to
the frame after its turns. Needs playwright and a Chromium, on the PATH or named in AGENTPRM_CHROMIUM.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from recording import machine

from agentprm import Action, Ending, Observation, Scores, Spec, Step, Store, Task, Trajectory
from agentprm.credit.report import write_report
from agentprm.types import new_id

ROOM = "In front of you in this room you can see several objects: a red ball 2 steps ahead, a yellow box to your left. "
LOAD = """() => {
    const [navigation] = performance.getEntriesByType("navigation");
    const paint = performance.getEntriesByName("first-paint")[0];
    const overview = performance.getEntriesByName("overview")[0];
    return { first_paint: paint?.startTime, overview: overview?.startTime, read: navigation.domContentLoadedEventEnd };
}"""
OPEN = """() => new Promise((done) => {
    const began = performance.now();
    document.querySelector(".row").click();
    const look = () => document.querySelector(".turn")
        ? requestAnimationFrame(() => done(performance.now() - began)) : requestAnimationFrame(look);
    look();
})"""


def episodes(n, length):
    """Yield trajectories with scores: observations of 330 characters, plans, outcomes that follow the score."""
    for i in range(n):
        steps = tuple(
            Step(
                Observation(f"{ROOM * 3}(room {i}, moment {k})"), Action(f"go to door {k % 7}", plan="First the door.")
            )
            for k in range(length)
        )
        went = float(i % 3 == 0)
        done = Ending("terminated", True, outcome=went)
        task = Task(f"find the way out of house {i % 50}")
        t = Trajectory(new_id(), task, steps, Observation("the end"), done, env="Bench-v0", policy=f"ppo@{i % 4}")
        slope = (0.4 if went else -0.4) / length
        values = tuple(0.5 + slope * k + 0.1 * ((i * 7 + k) % 11 == 0) for k in range(length))
        yield from (t, Scores(t.id, Spec("bench"), "value", values, sees="action"))


def opened(path, repeats):
    """Return, per repeat, when what was there."""
    binary = os.environ.get("AGENTPRM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    rows = []
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=binary, args=["--disable-gpu", *sandbox])
        for _ in range(repeats + 1):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector(".tiles")
            rows.append({**page.evaluate(LOAD), "episode": page.evaluate(OPEN)})
            page.close()
        version = browser.version
        browser.close()
    return rows[1:], version


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        with Store(Path(folder) / "runs.db") as store:
            store.add(episodes(options.episodes, options.steps))
            began = time.perf_counter()
            report = write_report(store, path, limit=None)
            written = time.perf_counter() - began
        rows, version = opened(path, options.repeats)
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    slowest = {name: max(row[name] for row in rows) for name in rows[0]}
    result = {"episodes": options.episodes, "steps": options.steps, "bytes": report.bytes, "write_s": written,
              "median_ms": median, "slowest_ms": slowest, "chromium": version, "machine": machine()}  # fmt: skip
    if options.json:
        print(json.dumps(result))
        return
    size = f"{report.bytes / 1e6:.1f} MB, written in {written:.1f} s"
    print(f"{options.episodes:,} episodes of {options.steps} steps: {size}; Chromium {version}\n")
    print("| ms | median | slowest |\n|---|---:|---:|")
    for name in median:
        print(f"| {name.replace('_', ' ')} | {median[name]:.0f} | {slowest[name]:.0f} |")


if __name__ == "__main__":
    main()
