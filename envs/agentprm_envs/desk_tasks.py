"""What is asked at the desk, the true answers, and whether an answer is right."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from agentprm_envs.desk_words import Split
from agentprm_envs.desk_world import Letter, Order, World, make_world

__all__ = ["KINDS", "Task", "is_right", "make_tasks", "stated"]

_TOLERANCE = 0.005
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Task:
    """A question with its answer."""

    key: str
    """Split, seed of the world, kind, and the letters it is about."""
    kind: str
    question: str
    answer: float


@cache
def make_tasks(split: Split = "train", world: int = 0) -> tuple[Task, ...]:
    """Return every task of the world of that seed, in a random order that is always the same; no question occurs twice.

    >>> tasks = make_tasks("test")
    >>> len(tasks)
    420
    >>> tasks[0].kind, tasks[0].key
    ('exchange', 'desk/test/0/exchange/029')
    """
    made = make_world(split, world)
    chance = random.Random(f"tasks {split} {world}")
    following = [*pairwise(made.letters), (made.letters[-1], made.letters[0])]
    tasks = [_task(made, kind, chance, *letters) for letters in following for kind in KINDS]
    chance.shuffle(tasks)
    return tuple(tasks)


def _task(world: World, kind: str, chance: random.Random, letter: Letter, second: Letter) -> Task:
    question, answer = KINDS[kind](world, chance, letter, second)
    about = (letter, second) if kind == "both" else (letter,)
    numbers = "+".join(one.path[-7:-4] for one in about)
    return Task(f"desk/{world.split}/{world.seed}/{kind}/{numbers}", kind, question, round(answer, 4))


def _topic(letter: Letter) -> str:
    return f"about the {letter.product} with the {letter.defect}"


def _price(order: Order) -> float:
    return order.quantity * float(order.price)


def _total(world: World, chance: random.Random, letter: Letter, second: Letter) -> tuple[str, float]:
    question = f"What do all orders of the customer who complains {_topic(letter)} cost together?"
    return question, sum(map(_price, world.orders_of(letter.customer_id)))


def _dearest(world: World, chance: random.Random, letter: Letter, second: Letter) -> tuple[str, float]:
    question = f"What does the dearest order of the customer who complains {_topic(letter)} cost?"
    return question, max(map(_price, world.orders_of(letter.customer_id)))


def _pieces(world: World, chance: random.Random, letter: Letter, second: Letter) -> tuple[str, float]:
    question = f"How many pieces has the customer who complains {_topic(letter)} ordered in all?"
    return question, sum(order.quantity for order in world.orders_of(letter.customer_id))


def _since(world: World, chance: random.Random, letter: Letter, second: Letter) -> tuple[str, float]:
    question = f"Since which year has the customer who complains {_topic(letter)} bought from us?"
    return question, world.customers[letter.customer_id].since


def _refund(world: World, chance: random.Random, letter: Letter, second: Letter) -> tuple[str, float]:
    percent = chance.randrange(10, 95, 5)
    question = f"What do we pay back if we refund {percent} percent of the order in the complaint {_topic(letter)}?"
    return question, percent / 100 * _price(world.orders[letter.order_id])


def _exchange(world: World, chance: random.Random, letter: Letter, second: Letter) -> tuple[str, float]:
    order = world.orders[letter.order_id]
    other = chance.choice([name for name in world.products if name != order.product])
    piece = f"one piece of the order in the complaint {_topic(letter)}"
    question = f"How much more than {piece} does one {other} cost today?"
    return question, float(world.products[other].price) - float(order.price)


def _both(world: World, chance: random.Random, letter: Letter, second: Letter) -> tuple[str, float]:
    question = f"What do the orders in the complaints {_topic(letter)} and {_topic(second)} cost together?"
    return question, _price(world.orders[letter.order_id]) + _price(world.orders[second.order_id])


KINDS: dict[str, Callable[[World, random.Random, Letter, Letter], tuple[str, float]]] = {
    "total": _total,
    "dearest": _dearest,
    "pieces": _pieces,
    "since": _since,
    "refund": _refund,
    "exchange": _exchange,
    "both": _both,
}
"""Each kind of question, with what asks it and answers it from the world itself."""


def stated(text: str) -> float | None:
    """Return the last number of an answer; None without any.

    >>> stated("2 of them cost 1,234.50 in all."), stated("I do not know")
    (1234.5, None)
    """
    numbers = _NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


def is_right(task: Task, answer: str) -> bool:
    """Tell whether the last number of an answer is the true one, to half a hundredth."""
    number = stated(answer)
    return number is not None and abs(number - task.answer) < _TOLERANCE + 1e-9
