"""vLLM: ``/pooling`` judges every token of a text, ``/classify`` its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agentprm.errors import BadAnswer, InvalidSpec, ModelChanged
from agentprm.scorers._remote_client import Client
from agentprm.scorers._remote_numbers import Row, as_row, which
from agentprm.scorers._remote_tokens import Identity, counted, listed
from agentprm.text.windows import Window

__all__ = ["VLLM"]

_PATHS = {True: "/pooling", False: "/classify"}


@dataclass(frozen=True)
class VLLM:
    """A vLLM server. Rows are asked for as the model's own numbers; a server that cannot say these is found out."""

    client: Client
    whole: bool
    """Whether ``/pooling`` is asked, with a row for each token or, by STEP pooling, for each step's sign."""
    model: str | None
    """Which of its models; None is the only one."""
    is_activated: bool | None
    _found: list[bool] = field(init=False, repr=False, default_factory=list)

    def who(self) -> Identity:
        """Return the model that is asked; raises InvalidSpec where it is not served, or not the only one."""
        found = self.client.get("/v1/models")
        data = found.get("data") if isinstance(found, dict) else None
        if not isinstance(data, list) or not all(isinstance(one, dict) and "id" in one for one in data):
            raise BadAnswer(f"{self.client.url}/v1/models does not list models: is this vLLM? It says {found!r:.200}")
        names = [str(one["id"]) for one in data]
        if self.model not in names and not (self.model is None and len(names) == 1):
            raise InvalidSpec(f"{self.client.url} serves {', '.join(names) or 'nothing'}: say model= which")
        one = data[names.index(self.model) if self.model else 0]
        limit = one.get("max_model_len")
        return Identity(str(one["id"]), [one.get("root")], limit if isinstance(limit, int) else None)

    def rows(self, windows: Sequence[Window], model: str) -> tuple[list[list[Row]], bool]:
        """Return a row for each end of each window, and whether they are chances."""
        is_activated = self._is_activated(windows[0], model)
        return self._asked(windows, model, bool(self.is_activated)), is_activated

    def _is_activated(self, window: Window, model: str) -> bool:
        """Return whether its rows are chances; found out once, by asking for a step with and without."""
        if self.is_activated is not None:
            return self.is_activated
        if not self._found:
            short = [Window(window.ids[: window.ends[0] + 1], window.ends[:1], 0)]
            raw, cooked = (self._asked(short, model, use)[0][0] for use in (False, True))
            self._found.append(which(raw, cooked, self.client.url + _PATHS[self.whole]))
        return self._found[0]

    def _asked(self, windows: Sequence[Window], model: str, activation: bool) -> list[list[Row]]:
        path, where = _PATHS[self.whole], self.client.url + _PATHS[self.whole]
        body = {"model": model, "input": [window.ids.tolist() for window in windows], "use_activation": activation}
        said = self.client.post(path, body | ({"task": "token_classify"} if self.whole else {}))
        if not isinstance(said, dict):
            raise BadAnswer(f"{where} was expected to answer with an object, and said {said!r:.80}")
        if said.get("model") not in (None, model):
            raise ModelChanged(f"{where} was asked for {model}, and answered for {said['model']!r:.80}")
        usage = said.get("usage")
        counted(usage.get("prompt_tokens") if isinstance(usage, dict) else None, _size(windows), where)
        data = _in_order(listed(said.get("data"), len(windows), where), where)
        if self.whole:
            return [_at_ends(one.get("data"), window, where) for one, window in zip(data, windows, strict=True)]
        return [[as_row(one.get("probs"), where)] for one in data]


def _size(windows: Sequence[Window]) -> int:
    return sum(len(window.ids) for window in windows)


def _in_order(data: list[Any], where: str) -> list[dict[str, Any]]:
    """Return the answers in the order of their ``index``."""
    places = [one.get("index") if isinstance(one, dict) else None for one in data]
    if sorted(places, key=str) != sorted(range(len(data)), key=str):
        raise BadAnswer(f"{where} answered for texts {places!r:.80}, and was asked about {len(data)}")
    return sorted(data, key=lambda one: int(one["index"]))


def _at_ends(rows: Any, window: Window, where: str) -> list[Row]:
    """Return the row of each end: of all tokens those, or all where there is one for each end."""
    n = len(rows) if isinstance(rows, list) else 0
    if n == len(window.ids):
        rows = [rows[end] for end in window.ends]
    elif n != len(window.ends) or not n:
        raise BadAnswer(
            f"{where} gave {n} rows for {len(window.ids)} tokens and {len(window.ends)} steps: it should give one for "
            "each token (token_classify, pooling ALL) or each step's sign (pooling STEP, with its step_tag_id)"
        )
    return [as_row(row, where) for row in rows]
