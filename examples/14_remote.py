"""One model in a process of its own, and agents that ask it over HTTP: learn, serve, pay.

$ python examples/14_remote.py
"""

import json
import subprocess
import sys

from agentprm import PRMRewardWrapper, Recipe, fit
from agentprm.labels.outcome import Outcome
from agentprm.record.policies import RandomPolicy
from agentprm.record.rollout import rollout
from agentprm.scorers.hashed import Hashed
from agentprm.scorers.remote import Remote
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import corridors

# Learn, and save.
played, model = corridors(120, seed=0), Hashed()
fit(model, zip(played, Outcome()(played), strict=True), Recipe(min_steps=60, max_steps=60))
model.save("served")

# Serve: `agentprm serve served`, on any free port.
words = [sys.executable, "-m", "agentprm.cli", "serve", "served", "--port", "0", "--json"]
with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
    try:
        url = json.loads(server.stdout.readline())["url"]
        remote = Remote(url)
        print(f"{remote.model} {remote.weights[:8]} says {remote.unit}s, and sees the {remote.sees}")

        # Score: the same numbers as here.
        same = [there.values == here.values for there, here in zip(remote(played), model(played), strict=True)]
        print(f"{sum(same)} of {len(same)} episodes have the same scores there and here")

        # Pay: every step of an environment is one request.
        env = PRMRewardWrapper(Corridor(), f"remote:url={url}", "remote.db")
        rollout(RandomPolicy(seed=1), env, episodes=5, progress=False)
        print(f"five episodes paid, {env.failed} scores failed")
        env.close()
    finally:
        server.terminate()
