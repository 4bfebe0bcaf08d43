"""Credit questions on a store small enough to answer by hand."""

import json
import sqlite3

import numpy as np
import pytest

from agentprm import Action, Ending, Observation, Scores, Spec, Step, Store, Task, ToolCall, Trajectory, credit
from agentprm.errors import NoSuchTrajectory
from agentprm.ops import agree
from agentprm.ops.credit import deltas, sinking_step
from agentprm.types import new_id

MODEL, OTHER = Spec("model", {"version": 1}), Spec("model", {"version": 2})


def episode(actions, values, outcome, *, policy="p", task="t", scorer=MODEL):
    made = [a if isinstance(a, Action) else Action(a, native=a) for a in actions]
    steps = tuple(Step(Observation(f"seen {i}"), action) for i, action in enumerate(made))
    ending = Ending("terminated", terminated=True, outcome=outcome)
    t = Trajectory(new_id(), Task(task), steps, Observation("end"), ending, policy=policy, env="E-v0")
    return t, Scores(t.id, scorer, "value", tuple(values), sees="action")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.db") as opened:
        yield opened


def fill(store, *episodes):
    store.add([item for pair in episodes for item in pair])
    return [t for t, _ in episodes]


def test_the_step_that_lost_most_is_blamed_in_failed_episodes_only(store):
    failed, worse, won, _ = fill(
        store,
        episode(["go a", "take b", "drop b"], [0.5, 0.7, 0.2], 0.0),
        episode(["go a", "take b", "drop b"], [0.9, 0.1, 0.05], 0.0),
        episode(["go a", "drop b", "take b"], [0.5, 0.1, 0.9], 1.0),
        episode(["go a", "go b"], [0.1, 0.2], 0.0),
    )
    table = credit.sinking_steps(store)
    assert [(row["trajectory"], row["step"], row["action"]) for row in table] == [
        (worse.id, 1, "take b"),
        (failed.id, 2, "drop b"),
    ]
    assert [row["delta"] for row in table] == pytest.approx([-0.8, -0.5])
    assert won.id not in {row["trajectory"] for row in table}
    assert len(credit.sinking_steps(store, limit=1)) == 1


def test_sinking_step_agrees_with_the_plain_function_also_with_gaps(store):
    rng = np.random.default_rng(0)
    made = []
    for _ in range(40):
        n = int(rng.integers(1, 8))
        values = [None if rng.random() < 0.3 else round(float(rng.random()), 2) for _ in range(n)]
        made.append(episode(["a"] * n, values, 0.0))
    fill(store, *made)
    expected = {t.id: sinking_step(s.values) for t, s in made if sinking_step(s.values) is not None}
    assert {row["trajectory"]: row["step"] for row in credit.sinking_steps(store)} == expected


def test_value_by_action_groups_by_tool_else_by_first_word_and_shares_parallel_calls(store):
    both = Action(tool_calls=(ToolCall("search"), ToolCall("calc")))
    fill(
        store,
        episode(["go a", "go b", "take c", both], [0.5, 0.6, 0.4, 0.8], 1.0),
        episode(["go a", "go b", both], [0.5, 0.9, 0.7], 0.0),
    )
    rows = {row["action"]: row for row in credit.value_by_action(store)}
    assert rows.keys() == {"go", "take", "search", "calc"}
    assert rows["go"]["mean_delta"] == pytest.approx((0.1 + 0.4) / 2)
    assert rows["take"]["mean_delta"] == pytest.approx(-0.2)
    assert rows["search"]["mean_delta"] == pytest.approx((0.4 - 0.2) / 2)
    assert (rows["go"]["n"], rows["go"]["episodes"]) == (2, 2)
    assert rows["go"]["low"] is None, "two episodes are too few for an interval"


def test_answers_are_one_kind_of_action(store):
    fill(store, episode([Action("ask", native="ask"), Action("40 cents"), Action("41 cents")], [0.5, 0.6, 0.8], 1.0))
    (row,) = credit.value_by_action(store)
    assert (row["action"], row["n"]) == ("(message)", 2)


def test_interval_of_value_by_action_treats_an_episode_as_one_draw(store):
    rng = np.random.default_rng(1)
    made = [episode(["x"] * 4, np.cumsum(rng.normal(size=4) / 10).tolist(), 1.0) for _ in range(12)]
    fill(store, *made)
    (row,) = credit.value_by_action(store)
    sums = np.array([s.values[-1] - s.values[0] for _, s in made])
    counts = np.full(12, 3.0)
    mean = sums.sum() / counts.sum()
    variance = 12 / 11 * ((sums - mean * counts) ** 2).sum() / counts.sum() ** 2
    low, high = agree.mean_interval(mean, variance)
    assert (row["mean_delta"], row["low"], row["high"]) == pytest.approx((mean, low, high))


def test_agreement_is_the_auc_of_every_pair(store):
    rng = np.random.default_rng(2)
    made = []
    for _ in range(30):
        n, won = int(rng.integers(1, 5)), float(rng.random() < 0.5)
        made.append(
            episode(["x"] * n, [round(float(v), 1) for v in np.clip(rng.normal(0.4 + 0.2 * won, 0.2, n), 0, 1)], won)
        )
    fill(store, *made)
    rows = {row["of"]: row for row in credit.agreement(store)}
    won = [t.outcome == 1.0 for t, _ in made]
    per_episode = {
        "first score": [s.values[0] for _, s in made],
        "last score": [s.values[-1] for _, s in made],
        "mean score": [float(np.mean(s.values)) for _, s in made],
        "min score": [min(s.values) for _, s in made],
    }
    for name, scores in per_episode.items():
        assert rows[name]["auc"] == pytest.approx(agree.auc(scores, won)), name
        assert rows[name]["brier"] == pytest.approx(agree.brier(scores, won)), name
        assert (rows[name]["n"], rows[name]["successes"]) == (30, sum(won))
    steps = [(v, w) for (_, s), w in zip(made, won, strict=True) for v in s.values]
    assert rows["every step"]["auc"] == pytest.approx(agree.auc(*zip(*steps, strict=True)))


def test_agreement_without_both_outcomes_has_no_auc(store):
    fill(store, episode(["x"], [0.5], 1.0))
    assert {row["auc"] for row in credit.agreement(store)} == {None}


def test_calibration_puts_scores_into_bins(store):
    fill(store, episode(["x", "x"], [0.05, 1.0], 1.0), episode(["x", "x"], [0.0, 0.95], 0.0))
    table = credit.calibration(store)
    first, last = table.to_dicts()
    assert (first["score"], first["n"], first["episodes"], first["success"]) == ("0.00–0.10", 2, 2, 0.5)
    assert (last["score"], last["mean_score"], last["success"]) == ("0.90–1.00", pytest.approx(0.975), 0.5)
    assert "0.475" in table.note


def test_success_counts_only_known_outcomes(store):
    fill(store, episode(["x"], [0.1], 1.0), episode(["x"], [0.1], 0.0), episode(["x"], [0.1], None))
    (row,) = credit.success(store)
    low, high = agree.wilson(1, 2)
    assert row == {"policy": "p", "env": "E-v0", "n": 2, "success": 0.5, "low": low, "high": high}


def test_timeline_shows_every_step_with_its_change(store):
    (t,) = fill(store, episode(["a", "b", "c"], [0.5, None, 0.75], 1.0))
    table = credit.timeline(store, t.id)
    assert [(r["action"], r["score"]) for r in table] == [("a", 0.5), ("b", None), ("c", 0.75)]
    assert [r["delta"] for r in table] == deltas([0.5, None, 0.75])


def test_timeline_of_an_unknown_episode_says_so(store):
    with pytest.raises(NoSuchTrajectory, match="no trajectory"):
        credit.timeline(store, new_id())


def test_filters_and_scorers_choose(store):
    a = episode(["x", "y"], [0.9, 0.1], 0.0, policy="a", task="one")
    b = episode(["x", "y"], [0.9, 0.2], 0.0, policy="b", task="two")
    fill(store, a, b)
    store.add(Scores(a[0].id, OTHER, "value", (0.3, 0.2), sees="action"))
    ask = credit.sinking_steps
    assert [row["delta"] for row in ask(store)] == pytest.approx([-0.1]), "the newest scorer by default"
    assert [row["delta"] for row in ask(store, MODEL)] == pytest.approx([-0.8, -0.7])
    assert [row["trajectory"] for row in ask(store, MODEL, policy="b")] == [b[0].id]
    assert [row["trajectory"] for row in ask(store, MODEL, task=Task("one").key)] == [a[0].id]
    assert len(ask(store, MODEL, env="nowhere")) == 0


def test_labels_are_not_mistaken_for_a_models_scores(store):
    t, scores = episode(["x", "y"], [0.9, 0.1], 0.0)
    label = Scores(t.id, Spec("outcome"), "value", (0.0, 0.0))
    store.add([t, scores, label])
    assert [row["delta"] for row in credit.sinking_steps(store)] == pytest.approx([-0.8])


QUESTIONS = [credit.success, credit.sinking_steps, credit.value_by_action, credit.agreement, credit.calibration]


@pytest.mark.parametrize("ask", QUESTIONS, ids=lambda ask: ask.__name__)
def test_sql_can_be_pasted_and_gives_as_many_rows(store, ask):
    fill(store, episode(["a 'quoted' \\ 100%", "b"], [0.9, 0.1], 0.0), episode(["a", "b"], [0.2, 0.7], 1.0))
    table = ask(store)
    rows = sqlite3.connect(store.url.removeprefix("sqlite:///")).execute(table.sql).fetchall()
    assert len(rows) == len(table) > 0
    assert json.loads(table.to_json())["title"] == table.title
    assert len(table.to_pandas()) == len(table)
    assert table.to_markdown().count("\n") == len(table) + 1


@pytest.mark.parametrize("ask", QUESTIONS, ids=lambda ask: ask.__name__)
def test_an_empty_store_has_empty_answers(store, ask):
    assert len(ask(store)) == 0
