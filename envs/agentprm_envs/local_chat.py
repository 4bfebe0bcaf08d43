"""A Hugging Face causal language model as a LangChain chat model that calls tools: weights on this machine, no network.

``ChatHuggingFace`` (langchain-huggingface 1.2) leaves the tools of a local pipeline out of the prompt, reads no calls
in the reply and takes no tool messages; here both go through the model's own chat template.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr

from agentprm.errors import InvalidSpec, MissingExtra
from agentprm.text.behind import read_behind
from agentprm_envs.local_chat_calls import as_messages, read_reply, without_first_turn

try:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    raise MissingExtra("models", error.name or "torch") from error

__all__ = ["LocalChatModel"]


class LocalChatModel(BaseChatModel):
    """A local causal language model with a chat template, for ``create_agent``.

    Tools are shown through the template (``apply_chat_template(tools=...)``); calls are read from ``<tool_call>`` JSON,
    as Hermes and Qwen write it, or from a reply that is one JSON object. A call that cannot be read is kept as an
    invalid one. Asked again it samples anew, from a generator of its own: with the same `seed`, a fresh model says the
    same things in the same order. Where the context is too small, the
    earliest turns are left out.

    >>> model = LocalChatModel.from_pretrained("Qwen/Qwen2.5-0.5B-Instruct")  # doctest: +SKIP
    >>> agent = create_agent(model, tools)  # doctest: +SKIP

    Raises InvalidSpec for a tokenizer without a chat template.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: Any = Field(repr=False)
    """A causal language model of transformers."""
    tokenizer: Any = Field(repr=False)
    """Its tokenizer, with a chat template."""
    max_new_tokens: int = 512
    temperature: float = 0.7
    """At 0 always the likeliest token."""
    top_p: float = 0.95
    seed: int = 0
    _chance: Any = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, **options: Any) -> None:
        # Before pydantic, which would hide the error in one of its own.
        if not getattr(options.get("tokenizer"), "chat_template", None):
            raise InvalidSpec("this tokenizer has no chat template: take a model that was taught to chat, or set one")
        super().__init__(**options)
        self.model.eval()
        self._chance = torch.Generator(device=self.model.device).manual_seed(self.seed)

    @classmethod
    def from_pretrained(
        cls, path_or_name: str | Path, *, dtype: str = "auto", device: str | None = None, **options: Any
    ) -> LocalChatModel:
        """Return the chat model of a name or a folder; safetensors only, code that comes with it is never run."""
        where = str(path_or_name)
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            where, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        return cls(model=loaded.to(device) if device else loaded, tokenizer=tokenizer, **options)

    @property
    def _llm_type(self) -> str:
        return "local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model.config.name_or_path or self.model.config.model_type, "seed": self.seed}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Show it these tools; `tool_choice` is not supported and has no effect."""
        kwargs.pop("tool_choice", None)
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        prompt = self.prompt(messages, kwargs.get("tools"))
        with self._lock:  # one generator: answers are drawn one after the other
            written = self._write(prompt)
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        for mark in stop or ():
            text = text.partition(mark)[0]
        message = read_reply(text, prefix=f"call_{len(messages)}")
        n_read, n_written = len(prompt), len(written)
        message.usage_metadata = UsageMetadata(
            input_tokens=n_read, output_tokens=n_written, total_tokens=n_read + n_written
        )
        message.response_metadata = {"model_name": self._identifying_params["model_name"]}
        return ChatResult(generations=[ChatGeneration(message=message)])

    def prompt(self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None) -> list[int]:
        """Return the token ids that the model reads, at most as many as leave room for an answer.

        What is too long loses its earliest turns, but not the question and the tools; then its beginning.
        """
        limit = getattr(self.model.config, "max_position_embeddings", None)
        room = max(1, limit - self.max_new_tokens) if limit else None
        ids = self._ids(messages, tools)
        while room and len(ids) > room and (shorter := without_first_turn(messages)):
            messages = shorter
            ids = self._ids(messages, tools)
        return ids[-room:] if room else ids

    def _ids(self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None) -> list[int]:
        found = self.tokenizer.apply_chat_template(
            as_messages(messages), tools=tools or None, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return list(found["input_ids"])

    def _write(self, prompt: Sequence[int]) -> list[int]:
        """Return the tokens of an answer, up to the one that ends it."""
        # Not model.generate: it draws from torch's global generator.
        ids, cache, ends = torch.tensor([prompt], device=self.model.device), None, self._ends()
        written: list[int] = []
        with torch.inference_mode():
            while len(written) < self.max_new_tokens:
                logits, cache = read_behind(self.model, ids, cache)
                token = self._draw(logits[0, -1].float())
                if token in ends:
                    break
                written.append(token)
                ids = ids.new_tensor([[token]])
        return written

    def _draw(self, logits: Any) -> int:
        """Return a token: the likeliest, or one of the nucleus (Holtzman et al. 2020)."""
        if self.temperature == 0:
            return int(logits.argmax())
        chances, tokens = (logits / self.temperature).softmax(-1).sort(descending=True)
        chances[chances.cumsum(-1) - chances >= self.top_p] = 0
        return int(tokens[torch.multinomial(chances, 1, generator=self._chance)])

    def _ends(self) -> set[int]:
        config = getattr(self.model, "generation_config", None)
        ends = getattr(config, "eos_token_id", None) or ()
        listed = ends if isinstance(ends, (list, tuple)) else [ends]
        return {int(token) for token in [*listed, self.tokenizer.eos_token_id] if token is not None}
