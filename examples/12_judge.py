"""A language model as a judge: what it says of each step, what several votes make of it, and what is asked only once.

The judge is made of rules, so that this runs offline: it reads the task, and whether the last turn goes the right way.
Name a model and nothing else changes: the folder of a chat model of Hugging Face, or a provider and a model that
LangChain knows, such as openai:gpt-5-mini (its key in the environment).

python examples/12_judge.py [runs.db] [model]
"""

import re
import sys
import tempfile

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult

from agentprm import Store
from agentprm.record.policies import RandomPolicy
from agentprm.record.rollout import rollout
from agentprm.scorers.generative import Generative
from agentprm.testing.corridor import Corridor


class Ruled(BaseChatModel):
    """A model made of rules; it answers as a model of weights does, in words."""

    asked: int = 0

    @property
    def _llm_type(self):
        return "ruled"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.asked += 1
        text = judgement(messages[1].content)
        read, written = sum(len(m.text.split()) for m in messages), len(text.split())
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, usage_metadata=usage))])


def judgement(record):
    door = re.search(r"leave by the (\w+) door", record)[1]
    done = record.splitlines()[-3].removeprefix("| ")
    if done == "wait":
        return "Nothing is won by waiting, and nothing lost.\nVerdict: 0"
    if done == f"go {door}":
        return f"The {door} door is asked for, and this leads there.\nVerdict: +1"
    return f"The {door} door is asked for, and this leads away from it.\nVerdict: −1"


def main(path, model=None):
    played = rollout(RandomPolicy(0), Corridor(), episodes=20, seeds=0, progress=False)
    chat = model or Ruled()
    judge = Generative(chat, cache=f"{path}.replies")
    scored = judge(played)
    with Store(path) as store:
        store.add([*played, *scored])
        steps = sum(len(s) for s in store.scores())
    tokens = sum(n or 0 for s in scored for n in s.parts["tokens_in"])
    print(f"{steps} steps of {len(played)} episodes judged in {path}; {tokens:.0f} tokens were read for them\n")

    print(played[0].task.text)
    for step, value, note in zip(played[0].steps, scored[0].values, scored[0].notes, strict=True):
        print(f"  {step.action.text:9} {value if value is not None else '-':>4}  {note.splitlines()[0]}")

    again = Generative(chat, cache=f"{path}.replies")(played)
    same = [s.values for s in again] == [s.values for s in scored]
    calls = f", {chat.asked} calls of the model in all" if isinstance(chat, Ruled) else ""
    print(f"\njudged again: {'the same' if same else 'something else'}{calls}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(*sys.argv[1:] or [f"{folder}/runs.db"])
