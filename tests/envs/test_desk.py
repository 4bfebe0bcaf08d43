"""The desk: its two worlds, its tools and what they make of hostile arguments, its tasks, and the text environment."""

import contextlib
import doctest
import importlib
import json
import os
import sqlite3
import subprocess
import sys

import gymnasium
import pytest
from gymnasium.error import InvalidAction, ResetNeeded

from agentprm import Store, TrajectoryRecorder
from agentprm.record.rollout import play
from agentprm.testing.env import EnvContract
from agentprm_envs.desk import Desk
from agentprm_envs.desk_clerk import Clerk
from agentprm_envs.desk_tasks import KINDS, is_right, make_tasks, stated
from agentprm_envs.desk_tools import COLUMNS, ToolError, Tools, evaluate
from agentprm_envs.desk_turns import Answer, Call, parse
from agentprm_envs.desk_words import WORDS
from agentprm_envs.desk_world import folder_of, make_world


def solved(split, number):
    """The actions that answer a task."""
    env = gymnasium.make("agentprm_envs:Desk-v0", split=split)
    return [step.action.text for step in play(Clerk(error_rate=0.0), env, number).steps]


class TestDesk(EnvContract):
    rounds = 12
    successes = ((3, solved("train", 3)), (10, solved("train", 10)))

    def make_env(self):
        return gymnasium.make("agentprm_envs:Desk-v0")


class TestDeskHeldOut(EnvContract):
    rounds = 12
    seeds = (0, 5)
    successes = ((4, solved("test", 4)),)

    def make_env(self):
        return gymnasium.make("agentprm_envs:Desk-v0", split="test")


@pytest.fixture(scope="module")
def tools():
    return Tools(folder_of("train", 0))


@pytest.mark.parametrize(
    "name",
    ["desk", "desk_agent", "desk_clerk", "desk_tasks", "desk_tools", "desk_turns", "desk_world", "local_chat_calls"],
)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(f"agentprm_envs.{name}")).failed == 0


# The world


def test_a_held_out_world_has_no_name_or_thing_in_common_with_the_other():
    train, test = WORDS["train"], WORDS["test"]
    for field in train.__slots__:
        assert not set(getattr(train, field)) & set(getattr(test, field))
    words = [{word for text in w.products + w.defects for word in text.split()} for w in (train, test)]
    assert not words[0] & words[1]
    assert not {t.question for t in make_tasks("train")} & {t.question for t in make_tasks("test")}


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_topic_is_that_of_one_letter_and_every_letter_is_about_an_order_of_its_writer(split):
    world = make_world(split)
    assert len({(letter.product, letter.defect) for letter in world.letters}) == len(world.letters)
    for letter in world.letters:
        order = world.orders[letter.order_id]
        assert (order.customer_id, order.product) == (letter.customer_id, letter.product)


def test_namesakes_live_in_different_towns():
    people = list(make_world().customers.values())
    assert len({person.name for person in people}) < len(people)
    assert len({(person.name, person.town) for person in people}) == len(people)


def test_the_files_hold_what_the_world_holds():
    world, folder = make_world("test", 3), folder_of("test", 3)
    assert len(list(folder.glob("letters/*.txt"))) == len(world.letters)
    with sqlite3.connect(folder / "shop.db") as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in COLUMNS]
    connection.close()
    assert counts == [len(world.customers), len(world.orders), len(world.products)]


def test_worlds_and_tasks_are_the_same_in_every_process():
    code = "from agentprm_envs.desk_tasks import make_tasks; print(hash(str(make_tasks('test', 2))) if 0 else "
    code += "__import__('hashlib').sha256(repr(make_tasks('test', 2)).encode()).hexdigest())"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(said) == 1


# The tools


def test_a_search_names_file_and_line(tools):
    letter = make_world().letters[0]
    hits = tools.search_files(letter.defect.upper()).splitlines()
    assert any(hit.startswith(f"{letter.path}: ") and letter.product in hit for hit in hits)
    assert tools.search_files("no such words") == "nothing found"


def test_a_search_that_finds_too_much_says_how_much_more(tools):
    assert tools.search_files("dear team").splitlines()[-1] == "... and 48 more"


def test_a_look_up_gives_rows_with_the_names_of_columns(tools):
    person = next(iter(make_world().customers.values()))
    said = tools.lookup("customers", "id", str(person.id))
    assert said == f"id | name | town | since\n{person.id} | {person.name} | {person.town} | {person.since}"
    assert tools.lookup("customers", "id", "7") == "no rows"


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "letters/../../../../etc/passwd",
        "letters/../shop.db",
        "letters",
        "",
        ".",
        "letters/001.txt\0",
        "~/x",
        "\ud800",
        "x" * 5000,
    ],
)
def test_no_path_leads_out_of_the_letters(tools, path):
    with pytest.raises(ToolError, match="no letter"):
        tools.read_file(path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "letters" / "009.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ToolError):
        Tools(tmp_path).read_file("letters/009.txt")


@pytest.mark.parametrize(
    "hostile", ["1 OR 1=1", "1'; DROP TABLE orders; --", '" OR ""="', "%", "*", "\0", "1 UNION SELECT 1"]
)
def test_sql_in_a_value_is_a_value(tools, hostile):
    assert tools.lookup("orders", "id", hostile) == "no rows"
    assert tools.lookup("orders", "product", hostile) == "no rows"


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("orders; DROP TABLE orders", "id"),
        ("sqlite_master", "name"),
        ("orders", "id = 1 OR 1"),
        ("orders", "1=1 --"),
        ("", ""),
    ],
)
def test_sql_in_a_name_is_refused(tools, table, column):
    with pytest.raises(ToolError, match=r"there is no table|has no column"):
        tools.lookup(table, column, "1")
    assert tools.lookup("orders", "product", "kettle").count("\n") > 1, "the table is still there"


def test_the_database_is_opened_for_reading_only(tools, monkeypatch):
    opened, connect = [], sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kw: opened.append((args, kw)) or connect(*args, **kw))
    tools.lookup("orders", "id", "1")
    ((args, kw),) = opened
    with (
        contextlib.closing(connect(*args, **kw)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM orders")


def test_a_value_that_no_database_can_hold_is_refused(tools):
    with pytest.raises(ToolError):
        tools.lookup("orders", "id", "\ud800")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-(2 - 5) / 2", 1.5),
        ("max(1.5, 2) + min(4, 3)", 5),
        ("round(2.345, 2)", 2.35),
        ("2 ** 10", 1024),
    ],
)
def test_arithmetic(expression, value):
    assert evaluate(expression) == pytest.approx(value, abs=0.006)


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9**9",
        "9" * 400,
        "1e308 * 10",
        "(-8) ** 0.5",
        "1 / 0",
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "open('x')",
        "'a' * 9",
        "[1] * 9",
        "True + 1",
        "x",
        "1 +",
        "",
        "(" * 190,
        "-" * 199 + "1",
        "max()",
        "round(1, 2, 3)",
        "abs(1, 2)",
        "max(*[1])",
        "lambda: 1",
        "1 if 1 else 2",
        "\0",
        "1\n2",
        "nan",
    ],
)
def test_what_is_no_arithmetic_or_too_large_is_refused_at_once(expression):
    if expression.startswith("-"):
        assert evaluate(expression) in (1.0, -1.0)
    else:
        with pytest.raises(ToolError):
            evaluate(expression)


# The tasks


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("world", [0, 1])
def test_every_task_is_answered_by_way_of_the_tools_in_several_steps(split, world):
    env = Desk(split, world=world)
    tasks = make_tasks(split, world)
    played = [play(Clerk(error_rate=0.0), env, number) for number in range(0, len(tasks), 5)]
    assert {t.outcome for t in played} == {1.0}
    assert min(map(len, played)) >= 4
    assert {task.kind for task in tasks} == set(KINDS)
    assert len({task.question for task in tasks}) == len({task.key for task in tasks}) == len(tasks) == 420


@pytest.mark.parametrize(
    ("answer", "number"),
    [("1,234.50 euros", 1234.5), ("-3", -3.0), ("2 of 7", 7.0), ("no idea", None), ("", None), ("It is 5.", 5.0)],
)
def test_the_last_number_of_an_answer_counts(answer, number):
    assert stated(answer) == number


def test_an_answer_is_right_to_half_a_hundredth():
    task = make_tasks()[0]
    assert is_right(task, f"{task.answer + 0.004:.6f}")
    assert not is_right(task, f"{task.answer + 0.02:.6f}")
    assert not is_right(task, "nobody knows")


# The text environment


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", "null", '{"name": 1, "arguments": {}}', '{"name": "x", "arguments": {"a": []}}', "[" * 3000],
)
def test_what_is_no_decision_is_answered_and_changes_nothing(text):
    env = Desk()
    env.reset(seed=0)
    said, reward, terminated, _, info = env.step(text)
    assert said.startswith("error: neither a call nor an answer")
    assert (reward, terminated, info["valid"]) == (0.0, False, False)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"name": "shell", "arguments": {"x": "ls"}}, "error: there is no tool 'shell'"),
        ({"name": "calculate", "arguments": {"sum": "1"}}, "error: calculate takes expression"),
        ({"name": "__init__", "arguments": {"folder": "/"}}, "error: there is no tool"),
        ({"name": "read_file", "arguments": {"path": "../x"}}, "error: there is no letter"),
        ({"name": "lookup", "arguments": {"table": "orders", "column": "id", "value": 1}}, "no rows"),
    ],
)
def test_a_call_that_cannot_be_is_answered_with_the_reason(call, said):
    env = Desk()
    env.reset(seed=0)
    assert env.step(json.dumps(call))[0].startswith(said)


def test_a_text_states_a_call_or_an_answer():
    assert parse(Call("calculate", {"expression": "1"}).text) == Call("calculate", {"expression": "1"})
    assert parse(Answer("7").text) == Answer("7")
    assert parse("  ANSWER:  7 ") == Answer("7")


def test_the_right_answer_pays_and_ends():
    env = Desk("test")
    env.reset(seed=5)
    answer = env.task.answer
    assert env.step(f"answer: {answer}")[1:4] == (1.0, True, False)
    with pytest.raises(ResetNeeded):
        env.step("answer: 1")
    env.reset(seed=5)
    assert env.step(f"answer: {answer + 1}")[1:4] == (0.0, True, False)


def test_a_reset_without_a_seed_draws_a_task_that_a_seed_can_ask_for():
    env = Desk()
    env.reset(seed=1)
    keys = [env.reset()[1]["task_id"] for _ in range(5)]
    assert len(set(keys)) > 1
    assert set(keys) <= {task.key for task in make_tasks()}


@pytest.mark.parametrize("wrong", [{"split": "valid"}, {"max_rounds": 0}, {"render_mode": "human"}])
def test_arguments_are_checked(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Desk(**wrong)


def test_misuse_is_named():
    env = Desk()
    for misuse in (env.snapshot, lambda: env.step("x"), lambda: env.task):
        with pytest.raises(ResetNeeded):
            misuse()
    env.reset(seed=0)
    with pytest.raises(InvalidAction):
        env.step(3)
    with pytest.raises(ValueError, match="world test/0"):
        other = Desk("test")
        other.reset(seed=0)
        env.restore(other.snapshot())


def test_episodes_are_recorded_with_their_outcome():
    with Store(":memory:") as store:
        env = TrajectoryRecorder(gymnasium.make("agentprm_envs:Desk-v0"), store)
        play(Clerk(error_rate=0.0), env, 2)
        env.close()
        (trajectory,) = store.trajectories()
    assert trajectory.outcome == 1.0
    assert trajectory.task.key == make_tasks()[2].key
