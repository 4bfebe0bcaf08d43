"""SGLang: ``/classify`` and ``/encode`` judge the end of a text, ``/v1/score`` says the chances of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentprm.errors import BadAnswer, InvalidSpec
from agentprm.scorers._remote_client import Client, Refused
from agentprm.scorers._remote_numbers import Row, as_row
from agentprm.scorers._remote_tokens import Identity, counted, listed
from agentprm.text.windows import Window

__all__ = ["SGLang", "SGLangScore"]

_INFO = ("/model_info", "/get_model_info")
"""As it is called, and as it was called before."""


def _who(client: Client) -> Identity:
    said = _info(client)
    if not isinstance(said, dict) or not isinstance(said.get("model_path"), str):
        raise BadAnswer(f"{client.url}{_INFO[0]} does not name a model: is this SGLang? It says {said!r:.200}")
    return Identity(said["model_path"], [said.get("weight_version")], None)


def _info(client: Client) -> Any:
    try:
        return client.get(_INFO[0])
    except Refused as error:
        if error.status != 404:
            raise
        return client.get(_INFO[1])


@dataclass(frozen=True)
class SGLang:
    """A reward model or classifier, which says its own numbers for the end of each text."""

    client: Client
    path: str
    is_activated: bool | None
    whole: bool = False

    def who(self) -> Identity:
        """Return the model that is served."""
        return _who(self.client)

    def rows(self, windows: Sequence[Window], model: str) -> tuple[list[list[Row]], bool]:
        """Return a row for each text, and whether they are chances."""
        where = self.client.url + self.path
        said = self.client.post(self.path, {"input_ids": [window.ids.tolist() for window in windows]})
        found = listed([said] if isinstance(said, dict) and len(windows) == 1 else said, len(windows), where)
        return [[self._row(one, window, where)] for one, window in zip(found, windows, strict=True)], bool(
            self.is_activated
        )

    def _row(self, one: Any, window: Window, where: str) -> Row:
        if not isinstance(one, dict) or "embedding" not in one:
            raise BadAnswer(f"{where} was expected to say an embedding of each text, and said {one!r:.80}")
        meta = one.get("meta_info")
        counted(meta.get("prompt_tokens") if isinstance(meta, dict) else None, len(window.ids), where)
        return as_row(one["embedding"], where)


@dataclass(frozen=True)
class SGLangScore:
    """A language model that says ``+`` or ``-`` where a step ends, as Math-Shepherd and RLHFlow's do."""

    client: Client
    verdicts: tuple[int, int]
    """The ids of the tokens for *wrong* and *right*."""
    whole: bool = True

    def __post_init__(self) -> None:
        if self.verdicts == (0, 0):
            raise InvalidSpec(
                "/v1/score says the chances of words, and this kind has a head of its own: say api='sglang'"
            )

    def who(self) -> Identity:
        """Return the model that is served."""
        return _who(self.client)

    def rows(self, windows: Sequence[Window], model: str) -> tuple[list[list[Row]], bool]:
        """Return a row for each end of each window; they are chances."""
        return [self._asked(window, model) for window in windows], True

    def _asked(self, window: Window, model: str) -> list[Row]:
        where, ids = f"{self.client.url}/v1/score", window.ids.tolist()
        body = {
            "model": model,
            "query": ids[:1],
            "items": [ids[1 : end + 1] for end in window.ends],
            "label_token_ids": list(self.verdicts),
            "apply_softmax": True,
            "item_first": False,
        }
        said = self.client.post("/v1/score", body)
        found = listed(said.get("scores") if isinstance(said, dict) else said, len(window.ends), where)
        return [as_row(row, where) for row in found]
