"""A conversation worded by a tokenizer's own chat template, and its token ids.

A block's text is what the template adds to
the conversation before it, its ids are those of that text. Where a template rewrites what it said before (reasoning
that is stripped from earlier turns), each step is read in the conversation as it stood then.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from agentprm.errors import InvalidSpec
from agentprm.text._samples import sample_trajectories
from agentprm.text.brief import Brief, BriefEncoder
from agentprm.text.conversation import Message, conversation, plain
from agentprm.text.render import LiveSight, Template
from agentprm.text.tokens import Encoded, Encoder, backend_of
from agentprm.types import Trajectory

# After our own modules, which name the missing extra.
from jinja2 import TemplateError  # isort: skip
from tokenizers import Tokenizer  # isort: skip
from transformers import PreTrainedTokenizerFast  # isort: skip

__all__ = ["Chat", "ChatEncoder", "encoder_of"]

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Around the number of a special token that a text spells, on its way through the template."""
_GUARDED = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_LEFT_OUT = "(Earlier turns are left out here.)"
_MOST_TEXTS = 1024


@dataclass(frozen=True)
class Chat:
    """A chat template of Hugging Face, and the special tokens that it may ask for by name."""

    source: str
    """In Jinja; it runs in the sandbox of transformers."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """For example ``{"bos_token": "<s>"}``."""
    name: Literal["chat"] = "chat"

    @classmethod
    def of(cls, tokenizer: Any) -> Chat:
        """Return the template of a tokenizer of transformers; raises InvalidSpec for one without."""
        source = getattr(tokenizer, "chat_template", None)
        if isinstance(source, dict):
            source = source.get("tool_use") or source.get("default")
        if not isinstance(source, str):
            raise InvalidSpec(f"{type(tokenizer).__name__} has no chat template: leave template=PLAIN")
        known = {key: str(token) for key, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        return cls(source, known)

    @property
    def markers(self) -> tuple[str, ...]:
        """What a hostile text would spell."""
        return tuple(self.tokens.values())

    @property
    def digest(self) -> str:
        """128 bits, in hex, that name what it makes of trajectories."""
        spoken = [conversation(t, sees) for t in sample_trajectories(()) for sees in ("action", "result")]
        text = json.dumps([asdict(self), spoken], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class ChatEncoder(Encoder):
    """A tokenizer that words conversations by a chat template: what turns trajectories into ids.

    A text that spells a special token is tokenised as the letters that it is. Raises InvalidSpec for a template that
    cannot word a conversation.
    """

    template: Any

    def __init__(self, json_text: str, template: Chat, added: tuple[int, ...] = ()) -> None:
        self.json, self.template, self.added = json_text, template, added
        self._tokenizer = self._letters = backend_of(json_text)
        self._letters.encode_special_tokens = True
        self._marked = backend_of(json_text)
        self._speaker: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=backend_of(json_text), chat_template=template.source, **template.tokens
        )
        self._texts: dict[bytes, str | None] = {}

    @cached_property
    def _special(self) -> list[str]:
        added = json.loads(self.json).get("added_tokens", ())
        return sorted((token["content"] for token in added if token.get("special")), key=len, reverse=True)

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, [*self._special, _OPEN, _CLOSE])))

    @cached_property
    def _gap(self) -> array[int]:
        user = {"role": "user", "content": "a"}
        answer = {"role": "assistant", "content": "b"}
        before = self._text([[user], [answer]], None)
        after = self._text([[user], [answer], [{"role": "user", "content": _LEFT_OUT}]], None)
        new = after[len(before) :] if before and after and after.startswith(before) else f"\n{_LEFT_OUT}\n"
        return self._ids(new)

    def readings(self, trajectory: Trajectory, sees: LiveSight) -> list[Encoded]:
        """Return the whole trajectory in token ids; where the template rewrites what it said, each step by itself."""
        blocks = conversation(trajectory, sees)
        tools = trajectory.meta.get("tools") or None
        texts = self._growing(blocks, tools)
        last = range(1 if sees == "action" else 2, len(blocks), 2)
        if all(a is not None and b is not None and b.startswith(a) for a, b in pairwise(texts)):
            return [self._whole([text or "" for text in texts], sees)]
        return [self._until(texts[: i + 1], t, sees) for t, i in enumerate(last)]

    def _growing(self, blocks: list[list[Message]], tools: Any) -> list[str | None]:
        """Return the text of the conversation after each block; None where the template cannot stop there."""
        guarded = [[self._guard(message) for message in block] for block in blocks]
        known = [plain(tool) for tool in tools] if isinstance(tools, Sequence) and not isinstance(tools, str) else None
        tools = self._guard(known) if known else None
        key = hashlib.blake2b(json.dumps(tools, sort_keys=True).encode(), digest_size=16)
        texts: list[str | None] = []
        for i, block in enumerate(guarded):
            key.update(json.dumps(block, sort_keys=True).encode())
            name = key.digest()
            if name not in self._texts:
                if len(self._texts) >= _MOST_TEXTS:
                    self._texts.clear()
                self._texts[name] = self._text(guarded[: i + 1], tools)
            texts.append(self._texts[name])
        if len(texts) > 1 and texts[-1] is None:
            self._speak(guarded, tools)
        return texts

    def _text(self, blocks: list[list[Message]], tools: Any) -> str | None:
        try:
            return self._speak(blocks, tools)
        except InvalidSpec:
            return None

    def _speak(self, blocks: list[list[Message]], tools: Any) -> str:
        messages = [message for block in blocks for message in block]
        try:
            return str(self._speaker.apply_chat_template(messages, tools=tools, tokenize=False))
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise InvalidSpec(f"this chat template cannot word a conversation of {roles}: {error}") from error

    def _whole(self, texts: list[str], sees: LiveSight) -> Encoded:
        pieces = [self._ids(text[len(before) :]) for before, text in zip(["", *texts], texts, strict=False)]
        stops = [0]
        for piece in pieces:
            stops.append(stops[-1] + len(piece))
        ids = array("i")
        for piece in pieces:
            ids += piece
        begins = tuple(stops[1:-1:2])
        ends = tuple(stop - 1 for stop in stops[2::2]) if sees == "action" else tuple(s - 1 for s in stops[3::2])
        return Encoded(ids, ends, begins, self._gap, begins)

    def _until(self, texts: list[str | None], t: int, sees: LiveSight) -> Encoded:
        """Return step `t` in the conversation as it stood then, cut where it stood at the blocks before."""
        text = texts[-1] or ""
        cuts = sorted({0, len(text), *(len(one) for one in texts if one is not None and text.startswith(one))})
        ids = array("i")
        begins = 0
        decision = texts[-2] if sees == "action" else texts[-3]
        for a, b in pairwise(cuts):
            if decision is not None and a == len(decision):
                begins = len(ids)
            ids += self._ids(text[a:b])
        return Encoded(ids, (len(ids) - 1,), (0,), self._gap, (begins,), first=t)

    def _guard(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._spelled.sub(lambda found: f"{_OPEN}{self._number(found.group())}{_CLOSE}", value)
        if isinstance(value, Mapping):
            return {self._guard(key): self._guard(one) for key, one in value.items()}
        return [self._guard(one) for one in value] if isinstance(value, list) else value

    def _number(self, spelled: str) -> int:
        return [*self._special, _OPEN, _CLOSE].index(spelled)

    def _ids(self, text: str) -> array[int]:
        ids = array("i")
        for i, part in enumerate(_GUARDED.split(text)):
            if i % 2:
                spelled = [*self._special, _OPEN, _CLOSE][int(part)]
                ids.extend(self._letters.encode(spelled, add_special_tokens=False).ids)
            elif part:
                ids.extend(self._marked.encode(part, add_special_tokens=False).ids)
        return ids


def encoder_of(tokenizer: Any, template: Template | Chat | Literal["chat"]) -> Encoder:
    """Return the encoder of a tokenizer and a template; ``"chat"`` is the tokenizer's own. An encoder is itself.

    Raises InvalidSpec for a tokenizer without a tokenizer.json, or without a chat template if one is asked for.
    """
    if isinstance(tokenizer, Encoder):
        return tokenizer
    if isinstance(template, Brief):
        return BriefEncoder.of(tokenizer, template)
    if isinstance(template, Template):
        return Encoder.of(tokenizer, template)
    chat = Chat.of(tokenizer) if template == "chat" else template
    if not isinstance(chat, Chat):
        raise InvalidSpec(f"a template is a Template, a Chat or 'chat', not {template!r}")
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, Tokenizer):
        raise InvalidSpec(f"a tokenizer is a fast one, with a tokenizer.json, not {type(tokenizer).__name__}")
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return ChatEncoder(copy.to_str(), chat)
