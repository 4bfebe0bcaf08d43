"""A report is one file: what is in it, how much, in which order, and that nothing recorded can speak in it."""

import json
import os
import re
from dataclasses import replace

import pytest
from report_world import HOSTILE, MODEL, hostile, many, rose, sank

from agentprm import Scores, Store
from agentprm.credit.report import largest_drops, write_report
from agentprm.credit.report.episodes import Pictures, plain_episodes
from agentprm.credit.report.index import index
from agentprm.credit.report.look import first_look
from agentprm.credit.report.overview import overview
from agentprm.credit.report.page import page, policy
from agentprm.credit.report.plain import embedded
from agentprm.types import Image

BLOCK = re.compile(r'<script type="application/json" id="([^"]*)">(.*?)</script>', re.S)


def blocks(path):
    """Return the data in a page by the id of its element."""
    return {name: json.loads(text) for name, text in BLOCK.findall(path.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def written(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "report.html"
    return write_report(store, path, MODEL), path


def test_failures_come_first_the_deepest_drop_first_among_them(store, made):
    listed = index(store, MODEL)
    first, *rest = listed["episodes"]
    assert listed["total"] == 4
    assert (first["id"], first["sank"], first["delta"]) == (str(made[0].id), 2, -0.5)
    assert first["action"] == "type 0000"
    assert first["curve"] == [0.8, 0.75, 0.25, 0.2]
    assert [episode["outcome"] for episode in rest] == [0.0, None, 1.0]


def test_a_failure_without_any_fall_comes_before_a_success_with_one():
    with Store(":memory:") as store:
        for outcome, values in ((1.0, (0.9, 0.1)), (0.0, (0.1, 0.2)), (0.0, (0.3, 0.1))):
            t, scores = rose()[0], values
            ended = replace(t, steps=t.steps[:2], ending=replace(t.ending, outcome=outcome))
            store.add([ended, Scores(t.id, MODEL, "value", scores, sees="result")])
        listed = index(store)["episodes"]
        assert [(episode["outcome"], episode["delta"]) for episode in listed] == [(0.0, -0.2), (0.0, None), (1.0, -0.8)]
        assert [episode["id"] for episode in index(store, limit=1)["episodes"]] == [listed[0]["id"]]
        assert index(store, limit=1)["total"] == 3


def test_the_first_step_that_people_called_wrong_is_told(store, made):
    marked = {episode["id"]: episode["marked"] for episode in index(store)["episodes"]}
    assert marked.pop(str(made[0].id)) == 2
    assert set(marked.values()) == {None}


def test_the_overview_adds_up(store):
    data = overview(store, MODEL)
    assert data["scorer"].startswith("model@")
    assert data["success"]["n"] == 3
    assert data["success"]["share"] == pytest.approx(1 / 3)
    assert 0 < data["success"]["low"] < 1 / 3 < data["success"]["high"] < 1
    assert set(data["tables"]) == {"success", "agreement", "calibration", "drops", "actions"}


def test_drops_are_counted_per_episode(store):
    table = largest_drops(store, MODEL)
    by_hand = {0.5: "sank", 0.05: "hostile", 0.0: "rose"}
    found = [row for row in table if row["n"]]
    assert table.n == len(by_hand)
    assert sum(row["failed"] for row in found) == 2
    assert found[-1]["low"] <= 0.5 < found[-1]["high"]
    assert found[0]["low"] == 0.0
    assert found[0]["succeeded"] == 1


def test_labels_are_looked_at_where_nothing_is_scored():
    t, _, _, marks = sank()
    with Store(":memory:") as store:
        store.add([t, marks])
        assert first_look(store)["scorer"].startswith("people@")


def test_an_episode_tells_everything(store, made):
    [episode] = plain_episodes(store, [made[0].id])
    turn = episode["turns"][1]
    assert (turn["plan"], turn["saw"]) == ("Perhaps the web knows.", "a keypad")
    assert turn["calls"] == [
        {"name": "search", "asked": "query: the code", "said": "no results", "status": "error", "attempts": 2}
    ]
    assert episode["turns"][0]["images"][0]["data"].startswith("data:image/png;base64,")
    assert episode["last"]["saw"] == "the end"
    assert {one["label"].partition("@")[0] for one in episode["opinions"]} == {"model", "other", "people"}
    people = next(one for one in episode["opinions"] if one["people"])
    assert people["values"] == [1.0, 0.5, 0.0, None]
    assert people["notes"] == {2: "guessing"}


def test_every_episode_is_in_the_file(store, written):
    report, path = written
    data = blocks(path)
    assert set(data) == {"overview", *(f"episode-{t['id']}" for t in data["overview"]["episodes"])}
    assert (report.episodes, report.left_out, report.bytes) == (4, 0, path.stat().st_size)


def test_what_is_left_out_is_said(store, tmp_path):
    report = write_report(store, tmp_path / "report.html", MODEL, limit=1, longest=100, pictures=0)
    data = blocks(tmp_path / "report.html")
    assert (report.episodes, report.left_out) == (1, 3)
    assert data["overview"]["total"] == 4
    [episode] = [value for name, value in data.items() if name != "overview"]
    assert "data" not in episode["turns"][0]["images"][0]
    assert report.pictures_left_out == 1


def test_a_long_text_is_cut_and_its_rest_counted(store, made):
    hostile_one = next(item for item in made if getattr(item, "env", None) == HOSTILE[2])
    [episode] = plain_episodes(store, [hostile_one.id], longest=50)
    assert episode["turns"][-1]["saw"] == ["x" * 50, 999_950]


def test_only_pixels_are_shown_as_pictures():
    show = Pictures(100)
    assert "data" not in show(Image("image/svg+xml", b"<svg/>"))
    assert "data" not in show(Image('image/png" onerror="', b"x"))
    assert "data" in show(Image("image/webp", b"x" * 60))
    assert "data" not in show(Image("image/webp", b"x" * 60)), "there is no room for two"
    assert show.left_out == 3


def test_nothing_recorded_ends_an_element_or_begins_one(written):
    _, path = written
    text = path.read_text(encoding="utf-8")
    assert "window.canary=1" in text
    for data in BLOCK.findall(text):
        assert not set("<>&") & set(data[1])
    ours = BLOCK.sub("", text)
    assert "canary" not in ours
    assert ours.count("<script") == ours.count("</script>") == 1
    assert text.isascii() or "canary" not in re.sub(r"[\x00-\x7f]", "", text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_embedded_comes_back_exactly(text):
    assert json.loads(embedded({text: [text]})) == {text: [text]}
    assert not set("<>&") & set(embedded(text))


def test_a_hostile_title_is_words():
    for text in HOSTILE:
        head, _ = page(text)
        assert head.count("<script") == 1
        assert "<img" not in head
        assert head.isprintable() or "\x00" not in head


def test_the_policy_lets_only_our_own_script_run():
    away = policy(live=False)
    assert "default-src 'none'" in away
    assert "script-src 'sha256-" in away
    assert "style-src 'sha256-" in away
    assert "connect-src 'none'" in away
    assert "unsafe" not in away
    assert "connect-src 'self'" in policy(live=True)


def test_our_own_markup_fetches_nothing():
    head, foot = page("runs.db")
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", head + foot)
    assert not re.findall(
        r"""(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\bsrcdoc|href=["'`]?\$)""", head
    )


def test_a_report_that_fails_leaves_the_one_before(store, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("before")

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(store, path, on_episode=stop)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_report_can_be_read_by_whom_any_file_can(store, tmp_path):
    path, plain = tmp_path / "report.html", tmp_path / "plain"
    plain.write_text("")
    write_report(store, path)
    assert path.stat().st_mode == plain.stat().st_mode


def test_an_empty_store_has_a_page():
    with Store(":memory:") as empty:
        data = first_look(empty)
    assert (data["total"], data["episodes"], data["scorer"]) == (0, [], "")
    assert "the store holds no episodes" in data["tables"]["success"]["note"]


def test_a_thousand_texts_are_read_in_a_few_statements(tmp_path):
    with Store(tmp_path / "runs.db") as store:
        store.add(many(150, 3))
        report = write_report(store, tmp_path / "report.html", limit=120)
        assert (report.episodes, report.left_out) == (120, 30)


def test_numbers_without_json_are_words(store):
    t, scores = hostile()
    with Store(":memory:") as fresh:
        fresh.add([t, scores])
        [episode] = plain_episodes(fresh, [t.id])
    assert episode["turns"][0]["reward"] == "nan"
    assert episode["seed"] == str(2**70)
    json.loads(embedded(episode), parse_constant=pytest.fail)
