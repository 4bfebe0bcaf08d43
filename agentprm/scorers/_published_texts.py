"""A question and the steps of its solution as the tokens that each published model was trained on.

Where a step is judged is known from how the text was made, never found again in it.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from agentprm.errors import InvalidSpec

__all__ = ["Tokens", "Wording", "chat_wording", "qwen_wording", "shepherd_wording", "skywork_wording", "trl_wording"]

_QWEN_TAG, _SHEPHERD_TAG = "<extra_0>", "ки"
_QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
_NUMBERED = re.compile(r"Step \d+:")


class Tokens(NamedTuple):
    """What a model reads of a solution."""

    ids: array[int]
    ends: list[int | None]
    """The position at which each step is judged; None where the tokenizer has no token of its own there."""


Words: TypeAlias = Callable[[str, Sequence[str]], Tokens]


class Wording(NamedTuple):
    """How one kind of model reads."""

    words: Words
    tag: str = ""
    """What no step may spell, beside the tokenizer's special tokens."""
    verdicts: tuple[int, int] = (0, 0)
    """The ids of the tokens that stand for *wrong* and *right*, where these are the model's words."""


def qwen_wording(tokenizer: Any, separator: str) -> Wording:
    """Return the wording of Qwen2.5-Math-PRM: the chat template, and ``<extra_0>`` after every step."""
    tag = _added(tokenizer, _QWEN_TAG)

    def words(question: str, steps: Sequence[str]) -> Tokens:
        said = [("system", _QWEN_SYSTEM), ("user", question), ("assistant", "".join(f"{s}{_QWEN_TAG}" for s in steps))]
        text = _chat(tokenizer, said)
        # Nothing else can spell the tag: texts that do are not read.
        places = [found.start() for found in re.finditer(re.escape(_QWEN_TAG), text)][-len(steps) :]
        return _located(tokenizer, text, places, tag, bos=False)

    return Wording(words, _QWEN_TAG)


def shepherd_wording(tokenizer: Any, separator: str) -> Wording:
    """Return the wording of Math-Shepherd: ``question Step 1: … ки``, a line for each step (Wang et al. 2023)."""
    tag, good, bad = (_following(tokenizer, sign) for sign in (_SHEPHERD_TAG, "+", "-"))

    def words(question: str, steps: Sequence[str]) -> Tokens:
        text, places = f"{question} ", []
        for k, step in enumerate(steps):
            text += f"{'' if _NUMBERED.match(step) else f'Step {k + 1}: '}{step} "
            places.append(len(text))
            text += f"{_SHEPHERD_TAG}\n"
        return _located(tokenizer, text.removesuffix("\n"), places, tag, bos=True)

    return Wording(words, _SHEPHERD_TAG, (bad, good))


def chat_wording(tokenizer: Any, separator: str) -> Wording:
    """Return the wording of RLHFlow's models: the user says a step, the assistant ``+``."""
    good, bad = (_answered(tokenizer, sign) for sign in "+-")

    def words(question: str, steps: Sequence[str]) -> Tokens:
        said: list[tuple[str, str]] = []
        places = []
        for step in steps:
            said.append(("user", step if said else f"{question} {step}"))
            places.append(len(_chat(tokenizer, said, answer=True)))
            said.append(("assistant", "+"))
        ids, ends = _located(tokenizer, _chat(tokenizer, said), places, good, bos=False)
        # The token before the answer is the one that foretells it.
        return Tokens(ids, [end - 1 if end else None for end in ends])

    return Wording(words, "", (bad, good))


def skywork_wording(tokenizer: Any, separator: str) -> Wording:
    """Return the wording of Skywork-o1-PRM: a line for each step, tokenised by itself, the line end behind it."""
    if not tokenizer.bos_token:
        raise InvalidSpec("this tokenizer has no bos_token, with which a text for Skywork's model begins")
    line_end = _ids(tokenizer, "\n")[-1:]

    def words(question: str, steps: Sequence[str]) -> Tokens:
        lines = [[ids for line in step.split("\n") for ids in (*_ids(tokenizer, line), *line_end)] for step in steps]
        return _joined(_ids(tokenizer, f"{tokenizer.bos_token}{question}\n"), lines)

    return Wording(words)


def trl_wording(tokenizer: Any, separator: str) -> Wording:
    """Return the wording of TRL's PRMTrainer: question, steps and separators are tokenised apart, and joined."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    behind = _ids(tokenizer, separator)
    if not behind:
        raise InvalidSpec(f"separator={separator!r} is no token here: give the step_separator it was trained with")

    def words(question: str, steps: Sequence[str]) -> Tokens:
        return _joined([*begin, *_ids(tokenizer, question)], [[*_ids(tokenizer, step), *behind] for step in steps])

    return Wording(words, separator.strip())


def _joined(before: Sequence[int], steps: Sequence[Sequence[int]]) -> Tokens:
    """Return everything in one line; a step is judged at its last token."""
    ids, ends = array("i", before), []
    for step in steps:
        ids.extend(step)
        ends.append(len(ids) - 1)
    return Tokens(ids, [*ends])


def _located(tokenizer: Any, text: str, places: Sequence[int], tag: int, *, bos: bool) -> Tokens:
    """Return the tokens of a text, and where those at some of its characters stand; None where one is not `tag`."""
    encoded = tokenizer(text, add_special_tokens=bos, verbose=False)
    ids = encoded["input_ids"]
    at = [encoded.char_to_token(place) for place in places]
    return Tokens(array("i", ids), [i if i is not None and ids[i] == tag else None for i in at])


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _added(tokenizer: Any, token: str) -> int:
    if token not in tokenizer.get_added_vocab():
        raise InvalidSpec(f"this tokenizer does not know {token}, at which the model says its scores: give its own one")
    return int(tokenizer.convert_tokens_to_ids(token))


def _following(tokenizer: Any, sign: str) -> int:
    """Return the id of a sign that stands behind a space, as in the texts that were trained on."""
    ids, before = _ids(tokenizer, f"a {sign}"), _ids(tokenizer, "a")
    if len(ids) != len(before) + 1:
        raise InvalidSpec(f"{sign!r} is {len(ids) - len(before)} tokens here, and the model's signs are one token each")
    return ids[-1]


def _answered(tokenizer: Any, sign: str) -> int:
    """Return the id of a sign that is all the assistant says."""
    place = len(_chat(tokenizer, [("user", "a")], answer=True))
    text = _chat(tokenizer, [("user", "a"), ("assistant", sign)])
    encoded = tokenizer(text, add_special_tokens=False, verbose=False)
    i = encoded.char_to_token(place)
    if i is None or tuple(encoded.token_to_chars(i)) != (place, place + 1) or text[place] != sign:
        raise InvalidSpec(f"{sign!r} is no token of its own in this chat template: it was made for other models")
    return int(encoded["input_ids"][i])


def _chat(tokenizer: Any, said: Sequence[tuple[str, str]], *, answer: bool = False) -> str:
    if not tokenizer.chat_template:
        raise InvalidSpec("this tokenizer has no chat template, and the model was trained on conversations")
    messages = [{"role": role, "content": content} for role, content in said]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer))
