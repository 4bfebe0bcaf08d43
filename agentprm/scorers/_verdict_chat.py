"""A LangChain chat model as a judge, asked apart from whatever run it is asked in."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableBinding, RunnableConfig, RunnableLambda
from langchain_core.tracers.context import _configure_hooks

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.scorers._verdict import Question, Verdict, total
from agentprm.scorers._verdict_chances import Missing, chances_at, weighed
from agentprm.scorers._verdict_forms import FORMS, Form, schema
from agentprm.scorers._verdict_parser import find_verdict, worth_of

__all__ = ["ChatJudge", "identity_of", "named"]

TAG = "agentprm:judge"
_AGAIN = 'Your reply held no verdict that could be read. Judge again, and end with one line: "Verdict: " and '
_SHOWN = 200


@dataclass(frozen=True)
class ChatJudge:
    """Asks a chat model; several questions at once, and again where a reply holds no verdict."""

    model: Any
    structured: bool | None
    """Whether the verdict is a tool call; None where the model can."""
    chances: bool
    """Whether the verdict's words are weighed by their chance."""
    missing: Missing
    retries: int
    concurrency: int

    @cached_property
    def identity(self) -> str:
        """What LangChain knows of the model, without secrets."""
        return identity_of(self.model)

    def ask(self, questions: Sequence[Question]) -> list[Verdict | BaseException]:
        """Return the answers in order; what the model raised stands in the place of its answer."""
        said = self._round(questions, [()] * len(questions))
        for _ in range(self.retries):
            again = [i for i, one in enumerate(said) if isinstance(one, Verdict) and _is_mute(one, questions[i])]
            if not again:
                break
            more = [_reminder(questions[i]) for i in again]
            for i, answer in zip(again, self._round([questions[i] for i in again], more), strict=True):
                said[i] = _later(said[i], answer)
        return said

    def _round(
        self, questions: Sequence[Question], more: Sequence[Sequence[BaseMessage]]
    ) -> list[Verdict | BaseException]:
        asked: list[tuple[Question, Sequence[BaseMessage]]] = [
            (one, [SystemMessage(one.system), HumanMessage(one.user), *m])
            for one, m in zip(questions, more, strict=True)
        ]
        config: RunnableConfig = {"max_concurrency": self.concurrency, **_APART}
        return list(_apart().run(RunnableLambda(self._asked).batch, asked, config, return_exceptions=True))

    def _asked(self, asked: tuple[Question, Sequence[BaseMessage]]) -> Verdict:
        question, messages = asked
        asker = self.model if question.form is None else self._asker(question.form)
        began = time.perf_counter()
        reply = asker.invoke(list(messages), _APART)
        seconds = time.perf_counter() - began
        raw = reply["raw"] if isinstance(reply, Mapping) else reply
        usage = getattr(raw, "usage_metadata", None) or {}
        cost = (usage.get("input_tokens"), usage.get("output_tokens"), seconds)
        worth, note, mass = self._read(question, reply, raw)
        return Verdict(worth, note, mass, *cost)

    def _asker(self, form: Form) -> Any:
        return self._askers.setdefault(
            form.name, self.model if not self._calls_tools else _structured(self.model, form)
        )

    @cached_property
    def _askers(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _calls_tools(self) -> bool:
        # A binding hands the question on to the model in it, without what was bound.
        if (
            self.structured is False
            or self.chances
            or (self.structured is None and isinstance(self.model, RunnableBinding))
        ):
            return False
        try:
            _structured(self.model, FORMS["binary"])
        except (NotImplementedError, AttributeError) as error:
            if self.structured:
                raise InvalidSpec(
                    f"{type(self.model).__name__} has no structured output: leave structured=None"
                ) from error
            return False
        return True

    def _read(self, question: Question, reply: Any, raw: Any) -> tuple[float | None, str, float | None]:
        """Return worth, note and mass of a reply."""
        text = raw.text if isinstance(raw, AIMessage) else str(getattr(raw, "content", raw))
        form = question.form
        if form is None:
            return None, str(text), None
        parsed = reply.get("parsed") if isinstance(reply, Mapping) else None
        if isinstance(parsed, Mapping) and (worth := _chosen(parsed, form)) is not None:
            return worth, str(parsed.get("critique") or text), None
        if self.chances:
            return self._weighed(question, raw, form)
        found = find_verdict(text, form, question.record)
        return (found.worth, text.strip(), None) if found else (None, _mute(text, raw), None)

    def _weighed(self, question: Question, raw: Any, form: Form) -> tuple[float | None, str, float | None]:
        told = raw.response_metadata.get("logprobs")
        if told is None and raw.text:
            raise InvalidSpec(
                "chances=True needs a model that tells them, and this one sent no logprobs: make it with "
                "logprobs=True, top_logprobs=10"
            )
        content = (told or {}).get("content") or ()
        text = "".join(token["token"] for token in content)
        found = find_verdict(text, form, question.record)
        if found is None:
            return None, _mute(text, raw), None
        worth, mass = weighed(chances_at(content, found.at, form), form, self.missing)
        note = text.strip() if worth is not None else f"no verdict: its words have a mass of {mass:.3g}\n{text.strip()}"
        return worth, note, mass


_APART: RunnableConfig = {"callbacks": [], "tags": [TAG, "nostream"], "run_name": "judge"}


def _apart() -> Context:
    """Return a context without any run around this one: neither its recorder nor its stream sees it."""
    empty = Context()
    # Recorders of the whole process are defaults of variables, which an empty context still has.
    for variable, *_ in _configure_hooks:
        empty.run(variable.set, None)
    return empty


def _structured(model: Any, form: Form) -> Any:
    return model.with_structured_output(schema(form), include_raw=True)


def _chosen(parsed: Mapping[str, Any], form: Form) -> float | None:
    said = parsed.get("verdict")
    if isinstance(said, float) and said.is_integer():
        said = int(said)
    return worth_of(str(said), form) if isinstance(said, (str, int, float)) else None


def _is_mute(verdict: Verdict, question: Question) -> bool:
    # Where chances were read there was a verdict, though the rule for missing mass may have left no opinion.
    return question.form is not None and verdict.worth is None and verdict.mass is None


def _mute(text: str, raw: Any) -> str:
    refusal = (getattr(raw, "additional_kwargs", None) or {}).get("refusal")
    return f"no verdict: {str(refusal or text).strip()[:_SHOWN]}"


def _reminder(question: Question) -> tuple[BaseMessage, ...]:
    return (HumanMessage(_AGAIN + (question.form.offer if question.form else "")),)


def _later(before: Verdict | BaseException, after: Verdict | BaseException) -> Verdict | BaseException:
    """Return the later answer, with what both cost."""
    if isinstance(before, BaseException) or isinstance(after, BaseException):
        return after
    return replace(
        after,
        tokens_in=total((before.tokens_in, after.tokens_in)),
        tokens_out=total((before.tokens_out, after.tokens_out)),
        seconds=total((before.seconds, after.seconds)),
    )


def named(name: str, options: Mapping[str, Any]) -> Any:
    """Return the chat model that LangChain knows by ``provider:model``; raises InvalidSpec, or MissingExtra."""
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise MissingExtra("langchain", "langchain") from error
    try:
        return init_chat_model(name, **options)
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InvalidSpec(f"model={name!r} is no folder here, and LangChain cannot make it: {said}") from error


def identity_of(model: Any) -> str:
    """Return 128 bits, in hex, that name a chat model by its class and what it says identifies it.

    Raises InvalidSpec for what is no chat model.
    """
    return hashlib.blake2b(
        json.dumps(_described(model), sort_keys=True, default=_kind).encode(), digest_size=16
    ).hexdigest()


def _described(model: Any) -> list[Any]:
    if isinstance(model, RunnableBinding):
        return [*_described(model.bound), dict(model.kwargs)]
    if not isinstance(model, BaseChatModel):
        raise InvalidSpec(
            f"a judge is a chat model of LangChain, 'provider:model' or a folder, not {type(model).__name__}"
        )
    kind = type(model)
    # What a subclass adds counts too: most integrations name their model there alone.
    fields = {name: getattr(model, name, None) for name in ("model_name", "model", "temperature", "seed")}
    return [f"{kind.__module__}.{kind.__qualname__}", dict(model._identifying_params), fields]


def _kind(value: Any) -> str:
    return type(value).__qualname__
