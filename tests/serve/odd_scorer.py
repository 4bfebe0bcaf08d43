"""A scorer that does what the task's text says: raises, dies, has no opinion; it keeps a diary."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from agentprm import register
from agentprm.types import Scores, Spec


@register("odd")
@dataclass(frozen=True)
class Odd:
    sees: ClassVar = "result"
    unit: ClassVar = "value"
    diary: str = ""
    """A folder: one file per worker, a line per trajectory scored."""
    seconds: float = 0.0
    """What a batch takes."""
    version: int = 1

    @property
    def spec(self):
        return Spec("odd", {"version": self.version})

    def __call__(self, trajectories, /):
        time.sleep(self.seconds)
        return [self._scored(trajectory) for trajectory in trajectories]

    def _scored(self, trajectory):
        text = trajectory.task.text
        if "poison" in text:
            raise ValueError(f"cannot read {text}")
        if "lethal" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.diary:
            name = f"{os.getpid()}-{os.environ.get('OMP_NUM_THREADS', '')}"
            with Path(self.diary, name).open("a") as diary:
                diary.write(f"{trajectory.id}\n")
        said = None if "mute" in text else 0.5
        return Scores(trajectory.id, self.spec, self.unit, (said,) * len(trajectory), sees=self.sees)
