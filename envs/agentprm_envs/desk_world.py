"""The desk's world: a shop's customers, orders, products and the letters of those who complain, made from a seed."""

from __future__ import annotations

import atexit
import random
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agentprm_envs.desk_words import WORDS, Split, Words

__all__ = ["Customer", "Letter", "Order", "Product", "World", "folder_of", "make_world", "write_world"]

DATABASE = "shop.db"
LETTERS = "letters"

_OPENINGS = (
    "my {product} arrived with a {defect}.",
    "the {product} that you sent me has a {defect}.",
    "I opened the box and found a {defect} on my {product}.",
    "after one week there is a {defect} on the {product}.",
)
_CLOSINGS = (
    "Please tell me what you can do.",
    "I have been a customer for years and expected better.",
    "I look forward to your answer.",
    "My neighbour had no trouble with hers.",
)


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer; another one may have the same name, in another town."""

    id: int
    name: str
    town: str
    since: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer bought; `price` is that of one piece."""

    id: int
    customer_id: int
    product: str
    quantity: int
    price: str


@dataclass(frozen=True, slots=True)
class Product:
    """What the shop sells today, at what price."""

    id: int
    name: str
    price: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A complaint about one order."""

    path: str
    order_id: int
    customer_id: int
    product: str
    defect: str
    text: str


@dataclass(frozen=True)
class World:
    """All there is to know, under ids; the tools show it piece by piece."""

    split: Split
    seed: int
    customers: dict[int, Customer]
    products: dict[str, Product]
    orders: dict[int, Order]
    letters: tuple[Letter, ...]

    def orders_of(self, customer_id: int) -> list[Order]:
        """Return the orders of a customer, by id."""
        return [order for order in self.orders.values() if order.customer_id == customer_id]


@cache
def make_world(split: Split = "train", seed: int = 0, letters: int = 60) -> World:
    """Return the world of a seed: the same in every process.

    >>> world = make_world("test")
    >>> len(world.customers), len(world.letters), world.letters[0].path
    (60, 60, 'letters/001.txt')
    """
    chance, words = random.Random(f"desk {split} {seed}"), WORDS[split]
    products = {name: Product(i, name, _price(chance)) for i, name in enumerate(words.products, 1)}
    customers = {one.id: one for one in _customers(chance, words, letters)}
    orders = {one.id: one for one in _orders(chance, products, customers)}
    return World(split, seed, customers, products, orders, tuple(_letters(chance, words, customers, orders)))


def _price(chance: random.Random) -> str:
    return f"{chance.randrange(400, 12_000) / 100:.2f}"


def _customers(chance: random.Random, words: Words, n: int) -> list[Customer]:
    """Two thirds of them share their name with somebody in another town."""
    names = [f"{forename} {surname}" for forename in words.forenames for surname in words.surnames]
    chance.shuffle(names)
    shared = [name for name in names[: n // 3] for _ in range(2)] + names[n // 3 : n - n // 3]
    ids = chance.sample(range(101, 1000), n)
    found: list[Customer] = []
    for i, name in enumerate(shared):
        taken = {one.town for one in found if one.name == name}
        town = chance.choice([town for town in words.towns if town not in taken])
        found.append(Customer(ids[i], name, town, chance.randrange(1990, 2024)))
    return sorted(found, key=lambda one: one.id)


def _orders(chance: random.Random, products: dict[str, Product], customers: dict[int, Customer]) -> list[Order]:
    """Two to four orders of each customer, of different products."""
    bought = [
        (customer, name) for customer in customers for name in chance.sample(list(products), chance.randint(2, 4))
    ]
    chance.shuffle(bought)
    ids = sorted(chance.sample(range(2001, 10_000), len(bought)))
    return [
        Order(id, customer, name, chance.randint(1, 6), _price(chance))
        for id, (customer, name) in zip(ids, bought, strict=True)
    ]


def _letters(
    chance: random.Random, words: Words, customers: dict[int, Customer], orders: dict[int, Order]
) -> list[Letter]:
    """One letter of each customer; no two about the same defect of the same product."""
    taken: set[tuple[str, str]] = set()
    found: list[Letter] = []
    for number, customer in enumerate(chance.sample(list(customers.values()), len(customers)), 1):
        mine = [order for order in orders.values() if order.customer_id == customer.id]
        free = [(o, d) for o in mine for d in words.defects if (o.product, d) not in taken]
        order, defect = chance.choice(free)
        taken.add((order.product, defect))
        path = f"{LETTERS}/{number:03}.txt"
        text = _text(chance, customer, order, defect)
        found.append(Letter(path, order.id, customer.id, order.product, defect, text))
    return found


def _text(chance: random.Random, customer: Customer, order: Order, defect: str) -> str:
    opening = chance.choice(_OPENINGS).format(product=order.product, defect=defect)
    head = f"From: {customer.name}, {customer.town}\nOrder: {order.id}\n\n"
    return f"{head}Dear team,\n{opening}\n{chance.choice(_CLOSINGS)}\n"


def write_world(world: World, folder: Path) -> None:
    """Write a world into a folder: an SQLite database, and a file for each letter."""
    (folder / LETTERS).mkdir(parents=True)
    for letter in world.letters:
        (folder / letter.path).write_text(letter.text, encoding="utf-8")
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.executescript(_SCHEMA)
        rows = [(o.id, o.customer_id, o.product, o.quantity, o.price) for o in world.orders.values()]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows)
        people = [(c.id, c.name, c.town, c.since) for c in world.customers.values()]
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", people)
        goods = [(p.id, p.name, p.price) for p in world.products.values()]
        connection.executemany("INSERT INTO products VALUES (?, ?, ?)", goods)


_SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, town TEXT NOT NULL, since INTEGER NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price TEXT NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, product TEXT NOT NULL,
                     quantity INTEGER NOT NULL, price TEXT NOT NULL);
"""


@cache
def folder_of(split: Split, seed: int) -> Path:
    """Return a folder of this process with a world's files; it is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"desk-{split}-{seed}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_world(make_world(split, seed), folder)
    return folder
