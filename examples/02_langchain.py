"""Stage 2, live: record a LangChain agent, and score each of its turns while it runs.

The agent is real (create_agent, tools, a loop); its model is a few rules, so that this runs offline and says the same
every time. Put your own chat model in its place and nothing else changes.

python examples/02_langchain.py runs.db
"""

import ast
import operator
import sqlite3
import sys
import tempfile
from dataclasses import dataclass
from typing import ClassVar

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import ToolException, tool

from agentprm import PRMCallbackHandler, Scores, Spec, Store, register

# Two tools: a calculator that evaluates arithmetic and nothing else, and a look-up in a small database.

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
SHOP = sqlite3.connect(":memory:", check_same_thread=False)
SHOP.execute("CREATE TABLE price (item TEXT PRIMARY KEY, cents INTEGER)")
SHOP.executemany("INSERT INTO price VALUES (?, ?)", [("apple", 40), ("bread", 350), ("coffee", 899)])


def evaluate(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
    raise ToolException("only numbers and + - *")


@tool
def calculate(expression: str) -> str:
    """Evaluate an arithmetic expression."""
    try:
        return str(evaluate(ast.parse(expression, mode="eval").body))
    except SyntaxError as error:
        raise ToolException(f"not arithmetic: {expression!r}") from error


@tool
def price(item: str) -> str:
    """Look up the price of an item, in cents."""
    row = SHOP.execute("SELECT cents FROM price WHERE item = ?", (item,)).fetchone()
    if row is None:
        raise ToolException(f"no price for {item}; there are apple, bread and coffee")
    return str(row[0])


calculate.handle_tool_error = price.handle_tool_error = True


class Clerk(BaseChatModel):
    """A model made of rules: looks all prices up at once, adds them, answers. Careless: no price counts as nothing."""

    @property
    def _llm_type(self):
        return "clerk"

    def bind_tools(self, tools, **kwargs):
        """Take note of the tools, as a real model does."""
        return self.bind(tools=[str(t) for t in tools], **kwargs)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=reply(messages))])


def reply(messages):
    question = next(m.text for m in messages if isinstance(m, HumanMessage))
    items = question.removeprefix("What do ").removesuffix(" cost?").split(" and ")
    results = [m.text for m in messages if isinstance(m, ToolMessage)]
    if not results:
        return AIMessage("I look up the prices.", tool_calls=[call("price", item=item) for item in items])
    if len(results) == len(items):
        prices = [result if result.isdigit() else "0" for result in results]
        return AIMessage("", tool_calls=[call("calculate", expression=" + ".join(prices))])
    return AIMessage(f"{results[-1]} cents")


def call(name, **arguments):
    return {"name": name, "args": arguments, "id": f"{name} {' '.join(arguments.values())}", "type": "tool_call"}


@register("trust")
@dataclass(frozen=True)
class Trust:
    """A scorer: expects success (`high`) as long as every tool call so far went well, and little (`low`) afterwards."""

    high: float = 0.9
    low: float = 0.2
    unit: ClassVar = "value"
    sees: ClassVar = "result"

    @property
    def spec(self):
        """The recipe that remakes it."""
        return Spec("trust", {"high": self.high, "low": self.low})

    def __call__(self, trajectories, /):
        """Return one value per step."""
        return [Scores(t.id, self.spec, self.unit, self.values(t), sees=self.sees) for t in trajectories]

    def values(self, trajectory):
        """Return `high` until something went wrong."""
        went_wrong = [any(c.status == "error" for c in step.action.tool_calls) for step in trajectory.steps]
        return tuple(self.low if any(went_wrong[: t + 1]) else self.high for t in range(len(went_wrong)))


ANSWERS = {
    "What do apple and bread cost?": "390 cents",
    "What do bread and coffee cost?": "1249 cents",
    "What do apple and tea cost?": "I cannot say: there is no price for tea",
}


def is_right(outputs):
    question, *_, answer = outputs["messages"]
    return float(answer.text == ANSWERS[question.text])


def main(path):
    agent = create_agent(Clerk(), [calculate, price], name="clerk")
    with Store(path) as store:
        handler = PRMCallbackHandler(store, Trust(), outcome=is_right)
        for question in ANSWERS:
            agent.invoke({"messages": [("user", question)]}, config={"callbacks": [handler]})
        handler.flush()  # the agent did not wait for its scores
        for trajectory in store.trajectories():
            show(trajectory, next(store.scores(trajectory.id)))


def show(trajectory, scores):
    print(f"\n{trajectory.task.text}   ({trajectory.ending.status}, outcome {trajectory.outcome:g})")
    for step, score in zip(trajectory.steps, scores.values, strict=True):
        print(f"  {score:.1f}  {step.action.kind}: {step.action.text or step.action.plan}")
        for c in step.action.tool_calls:
            print(f"         {c.name}({', '.join(c.arguments.values())}) {c.status}: {c.output}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(*sys.argv[1:] or [f"{folder}/runs.db"])
