"""Files: read a record at a time, written whole or not at all; ids, names and guesses."""

import gzip
import io
import json
import os
import tracemalloc
from itertools import islice

import pytest
from records import AGENT_BENCH, PLAIN, STEPWISE

from agentprm import formats
from agentprm.errors import InvalidFormat, InvalidScores, OneWayFormat, UnknownName
from agentprm.testing.trajectories import corridors, episode
from agentprm.types import Scores, Spec


def test_a_large_file_is_never_held(tmp_path):
    path = tmp_path / "large.jsonl"
    line = json.dumps(STEPWISE | {"prompt": "x" * 10_000}) + "\n"
    path.write_text(line * 3000)
    array = tmp_path / "large.json"
    array.write_text("[" + ",\n".join([line] * 3000) + "]")
    for file in (path, array):
        tracemalloc.start()
        assert sum(1 for _ in formats.read(file, "trl")) == 6000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8_000_000 < file.stat().st_size


def test_reading_begins_with_the_first_record(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(STEPWISE) + "\n{broken")
    items = formats.read(path)
    assert len(list(islice(items, 2))) == 2
    with pytest.raises(InvalidFormat, match=r"x\.jsonl, line 2: expected one JSON object per line"):
        next(items)


def test_an_error_knows_file_line_and_field(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(STEPWISE) + "\n\n" + json.dumps(STEPWISE | {"prompt": 3}))
    with pytest.raises(InvalidFormat) as raised:
        list(formats.read(path))
    assert (raised.value.file, raised.value.line, raised.value.field) == (str(path), 3, "prompt")


def test_an_error_in_a_list_knows_the_line_where_its_element_begins(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([STEPWISE, STEPWISE, STEPWISE | {"prompt": 3}], indent=0))
    n = path.read_text().split('"prompt": 3')[0].count("\n")
    with pytest.raises(InvalidFormat) as raised:
        list(formats.read(path))
    assert raised.value.line == n, "its brace stands a line above its first key"


def test_one_object_over_many_lines_is_a_record_of_a_json_file(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(STEPWISE, indent=2))
    assert len(list(formats.read(path))) == 2


@pytest.mark.parametrize("form", ["jsonl", "openai_messages", "openinference"])
def test_gzip_is_by_name_and_the_same_items_are_the_same_bytes(tmp_path, form):
    items = corridors(3)
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.gz"):
        formats.write(tmp_path / name, items, form)
    plain, packed, again = ((tmp_path / name).read_bytes() for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.gz"))
    assert gzip.decompress(packed) == plain
    assert packed == again
    assert packed[4:8] == b"\0\0\0\0", "the time of packing is not in it"


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("what was there")

    def breaking():
        yield from corridors(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        formats.write(path, breaking(), "jsonl")
    assert path.read_text() == "what was there"
    assert os.listdir(tmp_path) == ["x.jsonl"]


def test_a_stream_is_written_and_left_open():
    stream = io.BytesIO()
    assert formats.write(stream, corridors(2), "jsonl") == 2
    assert stream.getvalue().count(b"\n") == 2


def test_scores_stand_behind_their_trajectory():
    first, second = episode(("a", "b")), episode(("a", "b"))
    strange = Scores(first.id, Spec("judge"), "value", (1.0,))
    with pytest.raises(InvalidScores, match="give each trajectory, then its scores"):
        formats.write(io.BytesIO(), [first, second, strange], "openai_messages")


def test_a_guess_takes_the_format_that_asks_for_most(tmp_path):
    path = tmp_path / "x.jsonl"
    for record, name in ((AGENT_BENCH, "agentprocessbench"), (PLAIN, "openai_messages"), (STEPWISE, "trl")):
        path.write_text(json.dumps(record))
        assert formats.guess(path) == name


def test_a_guess_leaves_a_stream_where_it_was():
    stream = io.BytesIO(json.dumps(STEPWISE).encode())
    assert formats.guess(stream) == "trl"
    assert len(list(formats.read(stream))) == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"", "the file is empty"), (b'{"colour": 1}', "no format has records with the keys colour: name it, one of"),
     (b"{}", r"\(none\)"), (b"[1, 2]", "expected an object, not 1"), (b"{", "expected one JSON object per line")],
    ids=["empty", "unknown", "no keys", "no object", "no JSON"],
)  # fmt: skip
def test_what_cannot_be_guessed_says_why(tmp_path, data, says):
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    with pytest.raises(InvalidFormat, match=rf"x\.jsonl.*{says}"):
        formats.guess(path)


def test_names_and_ways_are_checked():
    with pytest.raises(UnknownName, match="no format is called 'csv'; there are agentprocessbench, "):
        formats.read("x", "csv")
    with pytest.raises(OneWayFormat, match=r"prm800k is only read: to write, choose one of .*jsonl, openai_messages"):
        formats.write("x", [], "prm800k")


def test_names_of_private_modules_are_none():
    assert not any(name.startswith("_") for name in formats.names())
    with pytest.raises(UnknownName):
        formats.find("_exact")
