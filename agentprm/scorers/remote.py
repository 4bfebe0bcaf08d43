"""A scorer that runs elsewhere: `agentprm serve`, vLLM or SGLang, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, ClassVar

from agentprm.errors import BadAnswer, InvalidSpec, ModelChanged
from agentprm.scorers._remote_client import Client, checked_url
from agentprm.scorers._remote_served import Opinion, Served, Speaks
from agentprm.scorers._remote_speaking import Api, speaking, tokenizer_place
from agentprm.spec import register
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["Api", "Remote"]

_ALWAYS = ("url", "api", "unit", "sees", "model", "weights")
_TOKENS = ("tokenizer", "reads", "separator", "right", "activated", "context", "version")
"""Parts of the spec, the latter where the server is asked in tokens."""


@register("remote")
@dataclass(frozen=True, eq=False)
class Remote:
    """What a scorer on another machine says.

    It is asked who it is when this is made, and answers of another model are refused: scores are of one version. Made
    from a recorded spec it is asked at the first call. A key that the server wants stands in the environment variable
    ``AGENTPRM_API_KEY``, and is never recorded.

    Raises InvalidSpec for what is no address; Unreachable when the server gave nothing at the last try, BadAnswer for
    what is no scores, ModelChanged for another model, RemoteError for a refusal; and what the scorer there raised.
    """

    url: str | Mapping[str, str]
    """Of the server's root; in a spec ``{"folder": url}``, for where it is says nothing of what it is."""
    api: Api = "agentprm"
    """What the server speaks."""
    unit: Any = None
    """What its numbers mean; `agentprm serve` says it itself."""
    sees: Any = None
    """How far it looks; `agentprm serve` says it itself."""
    model: str | None = None
    """What the server calls the model that answers; to be said where it serves several."""
    weights: str | None = None
    """What names the model that answers; checked if given, as in a recorded spec."""
    tokenizer: Any = None
    """Of vLLM and SGLang, who are asked in tokens: the tokenizer of the served model, a folder or a name on the Hub."""
    reads: str | None = None
    """How the served model was taught to read: as one of the kinds of `published`, or ``plain`` or ``chat``."""
    separator: str = "\n"
    """Of a token classifier, as in `published`."""
    right: int | None = None
    """Which number of a row stands for a right step; by default the only one, or the second of two."""
    activated: bool | None = None
    """Whether the server's numbers are chances, not the model's own; None finds out of vLLM, and believes SGLang."""
    context: int | None = None
    """How many tokens the served model reads, where the server does not say it."""
    version: str = ""
    """Yours, part of the name: for weights that change behind a name which does not."""
    timeout: float = 60.0
    """Seconds for each try."""
    retries: int = 3
    """Further tries where a server is away, too busy, broken or too slow."""
    batch_size: int = 32
    """Trajectories, or texts, in one request."""
    concurrency: int = 4
    """Requests on their way at once."""
    name: ClassVar[str] = "remote"
    _speaks: Speaks = field(init=False, repr=False)
    _met: list[Served] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        url = self._where()
        if not self.timeout > 0 or self.retries < 0 or min(self.batch_size, self.concurrency) < 1:
            raise InvalidSpec("timeout is more than 0, retries 0 or more, batch_size and concurrency 1 or more")
        self._put(url={"folder": url}, tokenizer=tokenizer_place(self.tokenizer, self.api))
        self._put(_speaks=speaking(self, Client(url, self.timeout, self.retries)))
        if None in (self.unit, self.sees, self.model, self.weights):
            self._put(**self._meet()._asdict())

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it; how long it waits and how much it asks at once change no score."""
        names = [*_ALWAYS, *(_TOKENS if self.api != "agentprm" else ())]
        return Spec(self.name, {name: getattr(self, name) for name in names})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return what the server says of each trajectory."""
        if not trajectories:
            return []
        served = self._met[0] if self._met else self._meet()
        read = [self._speaks.read(trajectory, served) for trajectory in trajectories]
        questions = [self._speaks.questions(one) for one in read]
        answers = iter(self._answers([question for some in questions for question in some], served))
        spec, scores = self.spec, []
        for trajectory, one, some in zip(trajectories, read, questions, strict=True):
            opinion = self._speaks.opinion(one, list(islice(answers, len(some))))
            scores.append(self._scores(trajectory, opinion, spec))
        return scores

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, one.name) for one in fields(self) if one.init)

    def _where(self) -> str:
        given = self.url.get("folder") if isinstance(self.url, Mapping) else self.url
        if not isinstance(given, str):
            raise InvalidSpec(f"url is the address of a server, such as 'http://127.0.0.1:8421', not {self.url!r}")
        return checked_url(given)

    def _put(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _meet(self) -> Served:
        """Ask the server who it is, and return it; raises ModelChanged where it is not who was recorded."""
        served = self._speaks.hello()
        for name, found in served._asdict().items():
            if getattr(self, name) not in (None, found):
                raise ModelChanged(
                    f"{self._where()} serves {served.model} {served.weights[:8]}, whose {name} is {found!r}, not "
                    f"{getattr(self, name)!r} as recorded: leave it out, and it is another version"
                )
        self._met.append(served)
        return served

    def _answers(self, questions: Sequence[Any], served: Served) -> Iterator[Any]:
        """Yield the answer to each question, in order; some requests are on their way at once."""
        size = self.batch_size
        batches = [questions[i : i + size] for i in range(0, len(questions), size)]
        if len(batches) <= 1:
            for batch in batches:
                yield from self._speaks.ask(batch, served)
            return
        pool = ThreadPoolExecutor(self.concurrency, "agentprm-remote")
        try:
            for answers in pool.map(lambda batch: self._speaks.ask(batch, served), batches):
                yield from answers
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _scores(self, trajectory: Trajectory, said: Opinion, spec: Spec) -> Scores:
        if self.unit != "reward" and (beyond := [v for v in said.values if v is not None and not 0 <= v <= 1]):
            raise BadAnswer(
                f"{self._where()} said {beyond[0]} of a step of {trajectory.id}, and a {self.unit} lies in [0, 1]: say "
                "unit='reward' if that is what it means"
            )
        return Scores(trajectory.id, spec, self.unit, said.values, 0, said.parts, said.notes, self.sees)
