"""Every question, on SQLite and PostgreSQL: the same numbers, a statement to paste, and words when there is nothing."""

import inspect
import json
import math
import re
import sqlite3
from pathlib import Path

import psycopg
import pytest

import agentprm.credit
from agentprm import Store
from agentprm.credit.questions import OVERVIEW, QUESTIONS, find
from agentprm.errors import UnknownName

NAMED = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
EMPTY = {"shaping"}
"""Nothing in the world was paid a shaped reward."""


def asked(question, store, made, **options):
    return question.ask(store, *((made[0][0].id,) if question.name == "timeline" else ()), **options)


def alike(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return None not in (a, b) and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return a == b


@NAMED
def test_both_engines_give_the_same_table(question, lite, elephant, made):
    here, there = asked(question, lite, made), asked(question, elephant[0], made)
    assert (here.title, here.columns, here.note, here.scorer, here.n) == (
        there.title, there.columns, there.note, there.scorer, there.n)  # fmt: skip
    assert len(here) == len(there)
    assert (len(here) > 0) == (question.name not in EMPTY)
    for row, other in zip(here.rows, there.rows, strict=True):
        assert all(map(alike, row, other)), (row, other)


@NAMED
def test_the_statement_runs_as_pasted(question, lite, elephant, made):
    expected = {"length": 1}.get(question.name, len(asked(question, lite, made)))
    path = lite.url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as shell:
        assert len(shell.execute(asked(question, lite, made).sql).fetchall()) == expected
    shell.close()
    with psycopg.connect(elephant[1]) as shell:
        assert len(shell.execute(asked(question, elephant[0], made).sql).fetchall()) == expected


@NAMED
def test_every_answer_travels(question, lite, made):
    table = asked(question, lite, made)
    plain = json.loads(table.to_json())
    assert {"title", "scorer", "n", "rows", "sql"} <= plain.keys()
    assert len(plain["rows"]) == len(table.to_pandas()) == len(table)
    assert table.to_markdown().count("\n") == len(table) + 1
    assert repr(table).startswith(table.title)


@NAMED
def test_an_empty_store_says_what_to_do(question):
    with Store(":memory:") as store:
        if question.name == "timeline":
            return
        table = question.ask(store)
    assert len(table) == 0
    assert "record some" in table.note


@NAMED
def test_filters_compose_on_every_question(question, lite, made):
    if question.name == "timeline":
        return
    nobody = question.ask(lite, policy="ppo@0", env="E-v0", outcome="success", tags={"host": "nowhere"})
    assert len(nobody) == 0
    assert "host" in nobody.note or "shaped" in nobody.note
    with pytest.raises(UnknownName, match="polcy"):
        question.ask(lite, polcy="x")


@NAMED
def test_every_table_says_whose_scores_it_rests_on(question, lite, made):
    taken = inspect.signature(question.ask).parameters
    if "scorer" not in taken:
        return
    table = asked(question, lite, made, scorer="model")
    assert table.scorer.startswith("model@")
    with pytest.raises(UnknownName, match="there are model@"):
        asked(question, lite, made, scorer="nobody")


def test_questions_are_found_by_name_and_by_function():
    assert find("sinking") is find("sinking_steps") is find("sinking-steps")
    assert {find(name).name for name in OVERVIEW} == set(OVERVIEW)
    with pytest.raises(UnknownName, match="there are success"):
        find("nonesuch")


def test_the_package_offers_every_question_by_name():
    assert {question.function for question in QUESTIONS} < set(agentprm.credit.__all__)
    assert sorted(agentprm.credit.__all__) == agentprm.credit.__all__ == sorted(agentprm.credit._HOME)
    for question in QUESTIONS:
        assert getattr(agentprm.credit, question.function) is question.ask
    assert not hasattr(agentprm.credit, "nonesuch")


def test_the_page_has_a_row_per_question():
    page = (Path(__file__).parents[2] / "docs" / "credit.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| `([a-z_]+)\(", page, re.MULTILINE)
    assert rows == [(question.name, question.function) for question in QUESTIONS]


def test_differences_are_called_effects_only_where_episodes_were_played_again(lite, made):
    for question in QUESTIONS:
        columns = asked(question, lite, made).columns
        assert ("effect" in columns) == (question.name in {"effects", "left-out"}), question.name
