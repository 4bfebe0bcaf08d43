"""A causal language model on this machine as a judge: it writes a critique, and its own chances are the verdict."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.scorers._backbones import pretrained
from agentprm.scorers._tokenizers import tokenizer_of
from agentprm.scorers._verdict import Question, Verdict
from agentprm.scorers._verdict_chances import Missing, weighed
from agentprm.scorers._verdict_forms import Form
from agentprm.text.behind import read_behind

try:
    import torch
    from torch import Tensor
    from transformers import AutoModelForCausalLM
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["LocalJudge", "load"]

_LEAD = "\nVerdict:"
_PLACES = "\ue000{}\ue001"
"""Stand for the texts on their way through the chat template."""
_LISTING = 256
"""Tokens of a checklist at most."""


@dataclass(frozen=True)
class LocalJudge:
    """Asks a model of transformers, one question after the other; the likeliest token is always taken.

    The verdict is read behind the critique and a ``Verdict:`` of ours: the chance of a word is that of all its tokens.
    """

    model: Any
    tokenizer: Any
    identity: str
    missing: Missing
    max_tokens: int = 256
    """Of the critique at most; 0 judges without one."""

    def ask(self, questions: Sequence[Question]) -> list[Verdict | BaseException]:
        """Return the answers in order."""
        with torch.inference_mode():
            return [self._asked(question) for question in questions]

    def _asked(self, question: Question) -> Verdict:
        began = time.perf_counter()
        ids = self.prompt(question)
        room = _LISTING if question.form is None else self.max_tokens
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        tail = len(self._letters(_LEAD)) + 16
        if limit is not None and len(ids) + room + tail > limit:
            return Verdict(None, f"no verdict: {len(ids)} tokens leave no room for an answer in {limit} positions")
        written = self._write(ids, room)
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        if question.form is None:
            return Verdict(None, text, None, len(ids), len(written), time.perf_counter() - began)
        behind = ids + self._letters(text + _LEAD if text else _LEAD.lstrip())
        worth, mass = weighed(self.chances(behind, question.form), question.form, self.missing)
        note = text.strip() if worth is not None else f"no verdict: its words have a mass of {mass:.3g}"
        return Verdict(worth, note, mass, len(ids), len(written), time.perf_counter() - began)

    def chances(self, ids: Sequence[int], form: Form) -> dict[str, float]:
        """Return, for each word of the form, the product of the chances of its tokens behind `ids`."""
        logits, cache = read_behind(self.model, self._row(ids), None)
        first = logits[0, -1].float().log_softmax(-1)
        return {word: self._chance(self._letters(f" {word}"), first, cache) for word in form.worth}

    def _chance(self, word: Sequence[int], first: Tensor, cache: Any) -> float:
        logarithm = first[word[0]]
        if len(word) > 1:
            # A copy: reading on changes a cache, and each word begins behind the same text.
            logits, _ = read_behind(self.model, self._row(word[:-1]), copy.deepcopy(cache))
            later = logits[0].float().log_softmax(-1)
            logarithm = logarithm + later.gather(-1, self._row(word[1:]).T).sum()
        return float(logarithm.exp())

    def prompt(self, question: Question) -> list[int]:
        """Return the ids of a question in the model's chat template; what spells a special token is letters."""
        texts = (question.system, question.user)
        if not getattr(self.tokenizer, "chat_template", None):
            return self._marked("") + self._letters("\n\n".join(texts) + "\n\n")
        worded, ids = self._worded(), list[int]()
        for i, text in enumerate(texts):
            before, place, worded = worded.partition(_PLACES.format(i))
            if not place:
                raise InvalidSpec("the chat template of this model leaves out what it is given: take another model")
            ids += self._marked(before) + self._letters(text)
        return ids + self._marked(worded)

    def _worded(self) -> str:
        system, user = _PLACES.format(0), _PLACES.format(1)
        both = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            return str(self.tokenizer.apply_chat_template(both, tokenize=False, add_generation_prompt=True))
        except Exception:  # templates raise errors of their own for a role they do not know
            joint = [{"role": "user", "content": f"{system}\n\n{user}"}]
            return str(self.tokenizer.apply_chat_template(joint, tokenize=False, add_generation_prompt=True))

    def _marked(self, text: str) -> list[int]:
        start = not getattr(self.tokenizer, "chat_template", None)
        return list(self.tokenizer(text, add_special_tokens=start)["input_ids"]) if text or start else []

    def _letters(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def _write(self, ids: Sequence[int], room: int) -> list[int]:
        """Return what the model writes, up to the token that ends it."""
        written: list[int] = []
        following, cache, ends = self._row(ids), None, self._ends()
        while len(written) < room:
            logits, cache = read_behind(self.model, following, cache)
            token = int(logits[0, -1].argmax())
            if token in ends:
                break
            written.append(token)
            following = self._row([token])
        return written

    def _ends(self) -> set[int]:
        known = getattr(self.model.generation_config, "eos_token_id", None)
        several = known if isinstance(known, (list, tuple)) else [known]
        return {token for token in (*several, self.tokenizer.eos_token_id) if token is not None}

    def _row(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(ids)], device=self.model.device)


def load(folder: str, missing: Missing, options: Mapping[str, Any]) -> LocalJudge:
    """Return the judge of a folder; safetensors only, code that comes with it is never run.

    `options` are ``max_tokens``, ``dtype`` and ``device``. Raises InvalidSpec for others, and for a folder that holds
    no causal language model, or lacks weights of one.
    """
    if unknown := set(options) - {"max_tokens", "dtype", "device"}:
        raise InvalidSpec(f"a local judge takes max_tokens, dtype and device, not {', '.join(sorted(unknown))}")
    loaded = pretrained(folder, options.get("dtype", "auto"), AutoModelForCausalLM)
    tokenizer = tokenizer_of(folder)
    rows, last = loaded.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values(), default=-1)
    if last >= rows:
        raise InvalidSpec(
            f"{folder} has a tokenizer of ids up to {last}, and {rows} embeddings: give its own tokenizer"
        )
    model = loaded.to(options["device"]) if "device" in options else loaded
    return LocalJudge(model.eval(), tokenizer, _digest(Path(folder)), missing, int(options.get("max_tokens", 256)))


def _digest(folder: Path) -> str:
    """Return 128 bits, in hex, that name weights, configuration and tokenizer."""
    state = hashlib.blake2b(digest_size=16)
    for path in sorted((*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.jinja"))):
        state.update(f"{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                state.update(block)
    return state.hexdigest()
