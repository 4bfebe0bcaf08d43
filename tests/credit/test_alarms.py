"""Alarms: a training run whose score is hacked, a healthy one, high scores that failed, and drift."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from credit_world import MONDAY, episode, fill

from agentprm.credit import drift, hacking, overrated
from agentprm.ops.agree import mean_interval, psi, wilson

NOBODY_KNOWS = datetime(1970, 1, 1, tzinfo=UTC)


def training(store, success, score, *, versions=5, n=60, policy="ppo@{}", long=0):
    """Fill a store with a run: success and mean score go evenly from the first to the second of two values."""
    rng, made = np.random.default_rng(0), []
    for i in range(versions):
        share = i / (versions - 1)
        p, m = (a + (b - a) * share for a, b in (success, score))
        for j in range(n):
            won = float(j < round(p * n))
            level = m + 0.15 * (won - p)
            steps = 2 + (int(rng.integers(0, 10)) if long else 0)
            values = np.clip(level + long * (steps - 6) + rng.normal(0, 0.05, steps), 0, 1).tolist()
            begun = MONDAY + timedelta(hours=i * n + j)
            made.append(
                episode(["x"] * steps, values, won, policy=policy.format(i) if policy else None, started_at=begun)
            )
    fill(store, *made)


def test_a_score_that_rises_while_success_falls_from_82_to_70_percent_rings(store):
    training(store, (0.82, 0.70), (0.7, 0.9))
    table = hacking(store)
    assert table.alarm is True
    assert table.note.startswith("ALARM: from first to last the score changed by +")
    first, last = table.to_dicts()[0], table.to_dicts()[-1]
    assert (first["version"], last["version"]) == ("ppo@0", "ppo@4")
    assert (first["success"], last["success"]) == pytest.approx((49 / 60, 42 / 60))
    assert last["gap"] == pytest.approx(last["mean_score"] - last["success"])
    assert (last["low"], last["high"]) == pytest.approx(wilson(42, 60))


def test_a_score_that_rises_with_success_is_healthy(store):
    training(store, (0.4, 0.8), (0.45, 0.82))
    table = hacking(store)
    assert table.alarm is False
    assert table.note.startswith("healthy")


def test_without_names_of_versions_time_makes_them(store):
    training(store, (0.82, 0.70), (0.6, 0.95), policy="")
    table = hacking(store, windows=4)
    assert [row["version"] for row in table] == ["1", "2", "3", "4"]
    assert table.alarm is True
    assert len(hacking(store, by="policy")) == 1
    table = hacking(store, by="policy")
    assert table.alarm is False
    assert table.note.startswith("undecided: too few versions")


def test_a_score_that_pays_for_length_alone_rings(store):
    training(store, (0.6, 0.6), (0.5, 0.5), long=0.05)
    table = hacking(store)
    assert table.alarm is True
    assert "too much" in table.note
    assert hacking(store, explained=1.0).alarm is False


def test_a_handful_of_episodes_says_nothing_about_length(store):
    means = (0.3, 0.2, 0.6, 0.3, 0.6)
    fill(store, *(episode(["x"] * n, [mean] * n, float(n % 2)) for n, mean in enumerate(means, 1)))
    assert hacking(store).alarm is False


def test_nothing_to_judge_is_no_all_clear(store):
    fill(store, episode(["x"], [0.5], None))
    assert hacking(store).alarm is None


def test_the_interval_of_the_score_is_over_episodes(store):
    rng = np.random.default_rng(1)
    values = rng.random((12, 3))
    fill(store, *(episode(["x"] * 3, v.tolist(), 1.0) for v in values))
    (row,) = hacking(store, by="policy")
    means = values.mean(axis=1)
    assert (row["score_low"], row["score_high"]) == pytest.approx(mean_interval(means.mean(), means.var(ddof=1) / 12))


def test_overrated_are_failures_among_high_mean_scores(store):
    fill(store, episode(["x"] * 2, [0.6, 0.9], 0.0), episode(["x"], [0.8], 1.0), episode(["x"], [0.1], 0.0))
    (row,) = overrated(store)
    assert (row["n"], row["failed"], row["of_all"], row["since"]) == (2, 0.5, pytest.approx(2 / 3), "2026-03-02")


def test_drift_compares_each_week_with_the_first(store):
    later = MONDAY + timedelta(days=7)
    fill(
        store,
        episode(["x"] * 3, [0.1, 0.1, 0.9], 1.0, started_at=MONDAY),
        episode(["x"] * 4, [0.9, 0.9, 1.0, 0.1], 1.0, started_at=later),
        episode(["x"], [0.5], 1.0, started_at=later + timedelta(days=6, hours=23)),
    )
    first, second = drift(store, bins=2)
    assert (first["week"], first["n"], first["psi"]) == ("2026-03-02", 3, 0.0)
    assert (second["week"], second["n"], second["episodes"]) == ("2026-03-09", 5, 2)
    assert second["psi"] == pytest.approx(psi([2, 1], [1, 4]))
    assert second["mean_score"] == pytest.approx(3.4 / 5)
    assert len(drift(store, weeks=2)) == 1


def test_what_has_no_date_is_not_taken_for_1970(store):
    training(store, (0.82, 0.70), (0.7, 0.9))
    undated = [episode(["x"] * 3, [0.9] * 3, 0.0, policy="import", started_at=NOBODY_KNOWS) for _ in range(30)]
    fill(store, *undated)
    table = hacking(store)
    assert [row["since"] for row in table if row["version"] == "import"] == ["undated"]
    assert {row["since"][:4] for row in table if row["version"] != "import"} == {"2026"}
    assert table.note.endswith("what has no date is in no order of time")
    assert hacking(store).note.split(";")[0] == hacking(store, policy=[f"ppo@{i}" for i in range(5)]).note.split(";")[0]
    spans = hacking(store, by="time", windows=2)
    assert [(row["version"], row["n"]) for row in spans] == [("undated", 30), ("1", 150), ("2", 150)]
    assert [row["since"] for row in overrated(store) if row["policy"] == "import"] == ["undated"]
    weeks = drift(store)
    assert weeks.note == "30 episodes without a date are left out"
    assert all(row["week"].startswith("2026") for row in weeks)
    assert len(overrated(store, until=MONDAY)) == 0


def test_where_nothing_has_a_date_there_is_no_trend(store):
    fill(store, *(episode(["x"], [0.9], 0.0, policy=f"p{i % 2}", started_at=NOBODY_KNOWS) for i in range(40)))
    table = hacking(store)
    assert table.note.startswith("undecided: too few versions")
    assert "no scored episode has a date" in drift(store).note
