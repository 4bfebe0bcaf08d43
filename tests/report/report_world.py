"""Episodes for pages: one that sank, one that did not, one that is all attack, and who judged them."""

import zlib
from datetime import UTC, datetime, timedelta

from agentprm import Action, Ending, Observation, Scores, Spec, Step, Task, ToolCall, Trajectory
from agentprm.types import Image, new_id

MODEL, OTHER = Spec("model", {"version": 1}), Spec("other")
PEOPLE = Spec("people", {"by": "human"})
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)

HOSTILE = [
    "</script><script>window.canary=1</script>",
    "<!--<script>window.canary=1//-->",
    "]]></style><img src=x onerror=window.canary=1>",
    "javascript:window.canary=1",
    "\"};window.canary=1;//'+alert(1)+'",
    "[[STYLE]][[SCRIPT]][[EPISODES]][[TITLE]]",
    "${window.canary=1}{{window.canary=1}}",
    "\u202eevil\u202c \u2066isolated \u05e9\u05dc\u05d5\u05dd",
    "NUL \x00 escape \x1b[31m bell \x07",
    "surrogate \ud800 alone",
    "emoji \U0001f9d1\u200d\U0001f680 \u2028 \u2029 &amp; &lt;b&gt;",
    "<svg onload=window.canary=1>",
]


def png(colour=(11, 95, 176)):
    """Return a picture of 8 × 8 pixels."""
    rows = b"".join(b"\x00" + bytes(colour) * 8 for _ in range(8))

    def chunk(name, data):
        body = name + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = (8).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return Image("image/png", b"\x89PNG\r\n\x1a\n" + data)


def world():
    """Return trajectories and scores: a failure that sank at step 2, a success, one running, the hostile one."""
    return [*sank(), *rose(), *running(), *hostile()]


def sank():
    call = ToolCall("search", {"query": "the code"}, "call-1", "no results", "error", 2)
    steps = (
        Step(Observation("a vault door", images=(png(),)), Action("look at the door", plan="First look around.")),
        Step(Observation("a keypad"), Action("", "Perhaps the web knows.", (call,)), 0.0, {"agent": "Finder"}),
        Step(Observation("the line is dead"), Action("type 0000")),
        Step(Observation("an alarm"), Action("run"), -1.0),
    )
    t = _trajectory("open the vault", steps, Ending("terminated", True, outcome=0.0), policy="weak@1")
    marks = Scores(t.id, PEOPLE, "correctness", (1.0, 0.5, 0.0, None), notes=(None, None, "guessing", None))
    scores = Scores(t.id, MODEL, "value", (0.8, 0.75, 0.25, 0.2), sees="result")
    return t, scores, Scores(t.id, OTHER, "value", (0.5, 0.1, 0.2, None), sees="action"), marks


def rose():
    steps = tuple(Step(Observation(f"floor {i}"), Action(f"climb {i}")) for i in range(3))
    t = _trajectory("open the vault", steps, Ending("terminated", True, outcome=1.0), policy="strong@2", minutes=1)
    return t, Scores(t.id, MODEL, "value", (0.5, 0.6, 0.9), sees="result")


def running(steps=2):
    made = tuple(Step(Observation(f"here {i}"), Action(f"wait {i}")) for i in range(steps))
    return (_trajectory("wait for it", made, None, policy="weak@1", minutes=2),)


def hostile():
    steps = tuple(_hostile_step(text) for text in HOSTILE)
    t = Trajectory(
        new_id(), Task(" ".join(HOSTILE), HOSTILE[0]), (*steps, _hostile_step("x" * 1_000_000)),
        Observation(HOSTILE[2], images=(Image("image/svg+xml", b"<svg onload='window.canary=1'/>"),)),
        Ending("failed", outcome=0.0), HOSTILE[1], HOSTILE[2], HOSTILE[5], 2**70, HOSTILE[3],
        started_at=MONDAY + timedelta(minutes=3), meta={text: text for text in HOSTILE},
    )  # fmt: skip
    values = tuple(0.9 - 0.05 * i for i in range(len(t)))
    notes = tuple(HOSTILE[i % len(HOSTILE)] for i in range(len(t)))
    return t, Scores(t.id, Spec("model", {"version": 1}), "value", values, notes=notes, sees="result")


def _hostile_step(text):
    calls = (
        ToolCall(text[:200], {text[:50]: text}, text[:99], {"said": text}),
        ToolCall(text[:99], text, None, text, "error"),
    )
    image = Image('image/png" onerror="window.canary=1', b"no picture")
    return Step(Observation(text, images=(image,)), Action(text, text, calls), float("nan"), {"agent": text})


def _trajectory(task, steps, ending, minutes=0, **named):
    began = MONDAY + timedelta(minutes=minutes)
    return Trajectory(
        new_id(), Task(task), steps, Observation("the end"), ending, env="Vault-v0", started_at=began, **named
    )


def many(episodes, steps):
    """Yield trajectories with scores, as many and as long as asked for."""
    for i in range(episodes):
        made = tuple(
            Step(Observation(f"room {i}.{k}: " + "a lamp, a table, a door. " * 8), Action(f"go {k % 7}"))
            for k in range(steps)
        )
        went = float(i % 3 == 0)
        t = _trajectory(
            f"find the exit of house {i % 50}",
            made,
            Ending("terminated", True, outcome=went),
            policy=f"p@{i % 4}",
            minutes=i,
        )
        values = tuple(
            0.5 + (0.4 if went else -0.4) * k / steps + (0.1 if (i * 7 + k) % 11 == 0 else 0.0) for k in range(steps)
        )
        yield from (t, Scores(t.id, MODEL, "value", values, sees="result"))
