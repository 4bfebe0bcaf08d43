"""A scorer that runs elsewhere: `agentprm serve`, vLLM or SGLang, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from agentprm.errors import BadAnswer, InvalidSpec, ModelChanged
from agentprm.scorers._remote_client import Client, checked_url
from agentprm.scorers._remote_ours import Ours
from agentprm.scorers._remote_served import Opinion, Served, Speaks
from agentprm.spec import register
from agentprm.types import Scores, Spec, Trajectory

__all__ = ["Api", "Remote"]

Api: TypeAlias = Literal["agentprm"]


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
    """What the server calls the model that answers."""
    weights: str | None = None
    """What names the model that answers; checked if given, as in a recorded spec."""
    timeout: float = 60.0
    """Seconds for each try."""
    retries: int = 3
    """Further tries where a server is away, too busy, broken or too slow."""
    batch_size: int = 32
    """Trajectories in one request."""
    concurrency: int = 4
    """Requests on their way at once."""
    name: ClassVar[str] = "remote"
    _speaks: Speaks = field(init=False, repr=False)
    _met: list[Served] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        url = self._where()
        if self.api not in get_args(Api):
            raise InvalidSpec(f"api is one of {', '.join(get_args(Api))}, not {self.api!r}")
        if not self.timeout > 0 or self.retries < 0 or min(self.batch_size, self.concurrency) < 1:
            raise InvalidSpec("timeout is more than 0, retries 0 or more, batch_size and concurrency 1 or more")
        self._put(url={"folder": url}, _speaks=Ours(Client(url, self.timeout, self.retries)))
        if None in (self.unit, self.sees, self.model, self.weights):
            self._put(**self._meet()._asdict())

    @property
    def spec(self) -> Spec:
        """The recipe that remakes it; how long it waits and how much it asks at once change no score."""
        names = ("url", "api", "unit", "sees", "model", "weights")
        return Spec(self.name, {name: getattr(self, name) for name in names})

    def __call__(self, trajectories: Sequence[Trajectory], /) -> list[Scores]:
        """Return what the server says of each trajectory."""
        if not trajectories:
            return []
        served = self._met[0] if self._met else self._meet()
        said = [opinion for batch in self._asked(trajectories, served) for opinion in batch]
        return [self._scores(trajectory, one) for trajectory, one in zip(trajectories, said, strict=True)]

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

    def _asked(self, trajectories: Sequence[Trajectory], served: Served) -> Iterator[list[Opinion]]:
        """Yield what is said of each batch, in order; some are on their way at once."""
        size = self.batch_size
        batches = [trajectories[i : i + size] for i in range(0, len(trajectories), size)]
        if len(batches) == 1:
            yield self._speaks.score(batches[0], served)
            return
        pool = ThreadPoolExecutor(self.concurrency, "agentprm-remote")
        try:
            yield from pool.map(lambda batch: self._speaks.score(batch, served), batches)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _scores(self, trajectory: Trajectory, said: Opinion) -> Scores:
        if self.unit != "reward" and (beyond := [v for v in said.values if v is not None and not 0 <= v <= 1]):
            raise BadAnswer(
                f"{self._where()} said {beyond[0]} of a step of {trajectory.id}, and a {self.unit} lies in [0, 1]: say "
                "unit='reward' if that is what it means"
            )
        return Scores(trajectory.id, self.spec, self.unit, said.values, 0, said.parts, said.notes, self.sees)
