"""Stage 4, live: let a scorer choose among the turns that a LangChain agent might take, and stop it before it errs.

A clerk buys what it is told to. Its model is a few rules that draw at random, so that this runs offline: now and then
it mistakes the item, or orders a hundred times too much. The scorer reads the task and the call, before anything is
bought.

python examples/08_middleware.py runs.db
"""

import random
import sys
import tempfile
from dataclasses import dataclass
from typing import ClassVar

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentprm import PRMMiddleware, Scores, Spec, Store, register

ITEMS = ("apple", "bread", "coffee")


def buy(item: str, number: int) -> str:
    """Buy a number of one item."""
    return f"bought {number} {item}"


class Clerk(BaseChatModel):
    """A model made of rules and chance: some of its orders are wrong."""

    seed: int = 0

    @property
    def _llm_type(self):
        return "clerk"

    def bind_tools(self, tools, **kwargs):
        """Take note of the tools, as a real model does."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.seed += 1
        return ChatResult(generations=[ChatGeneration(message=reply(messages, random.Random(self.seed)))])


def reply(messages, chance):
    if isinstance(messages[-1], ToolMessage) and messages[-1].status == "success":
        return AIMessage(messages[-1].text)
    number, item = wanted(next(m.text for m in messages if isinstance(m, HumanMessage)))
    mistake = chance.random()
    order = {"item": chance.choice(ITEMS) if mistake < 0.2 else item, "number": number * (100 if mistake > 0.8 else 1)}
    return AIMessage(
        "", tool_calls=[{"name": "buy", "args": order, "id": f"call {chance.random()}", "type": "tool_call"}]
    )


def wanted(task):
    _, number, item = task.split()
    return int(number), item


@register("as_told")
@dataclass(frozen=True)
class AsTold:
    """A scorer of actions: what is right about an order, by the words of the task. A trained model takes its place."""

    unit: ClassVar = "value"
    sees: ClassVar = "action"

    @property
    def spec(self):
        """The recipe that remakes it."""
        return Spec("as_told")

    def __call__(self, trajectories, /):
        """Return one value per step."""
        return [Scores(t.id, self.spec, self.unit, self.values(t), sees=self.sees) for t in trajectories]

    def values(self, trajectory):
        """Return the share of number and item that is as told; of an answer 1."""
        number, item = wanted(trajectory.task.text)
        return tuple(
            min((0.5 * (c.arguments["item"] == item) + 0.5 * (c.arguments["number"] == number)
                 for c in step.action.tool_calls), default=1.0)
            for step in trajectory.steps
        )  # fmt: skip


TASKS = [f"buy {number} {item}" for number in range(1, 9) for item in ITEMS]
RULES = {
    "alone": {},
    "best of 3": {"n": 3},
    "veto": {"threshold": 0.9, "on_low": "veto"},
    "best of 3, else stop": {"n": 3, "threshold": 0.9, "on_low": "stop"},
}


def main(path):
    with Store(path) as store:
        for name, rules in RULES.items():
            clerk = Clerk()
            agent = create_agent(clerk, [buy], middleware=[PRMMiddleware(AsTold(), store, **rules)], name=name)
            for task in TASKS:
                agent.invoke({"messages": [("user", task)]})
            orders = [order for t in store.trajectories(policy=name) for order in bought(t)]
            wrong = sum(order != wanted(task) for task, order in orders)
            print(f"{name:22} {len(orders):3} orders, {wrong:2} of them wrong, {clerk.seed:3} calls of the model")
        best = next(store.scores([t.id for t in store.trajectories(policy="best of 3")]))
        print(f"\n{best.notes[0]}")


def bought(trajectory):
    calls = (c for step in trajectory.steps for c in step.action.tool_calls if c.status == "ok")
    return [(trajectory.task.text, (c.arguments["number"], c.arguments["item"])) for c in calls]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(*sys.argv[1:] or [f"{folder}/runs.db"])
