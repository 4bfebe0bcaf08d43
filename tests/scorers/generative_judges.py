"""Chat models made of rules: what they say is a function of what they read."""

import hashlib
import math
import threading
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool


class Writing(BaseChatModel):
    """Answers by a function from the messages to a text or a message; counts what it is asked."""

    rule: Callable[[list[Any]], Any]
    label: str = "writing"
    asked: Any = None
    options: Any = None
    lock: Any = None

    def model_post_init(self, context, /):
        self.asked, self.options, self.lock = [], [], threading.Lock()

    @property
    def _llm_type(self):
        return "writing"

    @property
    def _identifying_params(self):
        return {"label": self.label}

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        with self.lock:
            self.asked.append(messages)
            self.options.append(kwargs)
        said = self.rule(messages)
        message = said if isinstance(said, AIMessage) else AIMessage(said)
        return ChatResult(generations=[ChatGeneration(message=message)])


class Calling(Writing):
    """The same, which can be bound to tools."""

    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)


def read(messages):
    """Return what the judge was shown."""
    return messages[1].content


def by_hash(messages):
    """A verdict that depends on every letter that was read."""
    number = hashlib.blake2b(read(messages).encode("utf-8", "surrogatepass"), digest_size=2).digest()[0] % 3
    return f"It is what it is.\nVerdict: {('-1', '0', '+1')[number]}"


def told(*tokens):
    """A reply with chances, as OpenAI sends them: each token a text, or alternatives, the first of them written."""
    content = []
    for token in tokens:
        chances = {token: 1.0} if isinstance(token, str) else token
        tops = [{"token": word, "logprob": math.log(p), "bytes": None} for word, p in chances.items()]
        content.append({**tops[0], "top_logprobs": tops})
    text = "".join(one["token"] for one in content)
    return AIMessage(text, response_metadata={"logprobs": {"content": content, "refusal": None}})
