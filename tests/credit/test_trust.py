"""How far to trust a score: intervals, depth, length and plans, by hand."""

import numpy as np
import pytest
from credit_world import episode, fill

from agentprm import Action
from agentprm.credit import agreement, calibration, length_bias, plans
from agentprm.ops.agree import auc, auc_interval, correlation_interval, wilson


def test_agreement_has_an_interval_over_episodes_and_splits_them_by_length(store):
    made = [
        episode(["x"] * n, [v] * n, float(won))
        for n, v, won in [
            (1, 0.9, 1),
            (1, 0.2, 0),
            (2, 0.3, 1),
            (2, 0.6, 0),
            (5, 0.5, 1),
            (5, 0.1, 0),
            (6, 0.7, 1),
            (6, 0.8, 0),
        ]
    ]
    fill(store, *made)
    rows = {row["of"]: row for row in agreement(store)}
    values, won = [0.9, 0.2, 0.3, 0.6, 0.5, 0.1, 0.7, 0.8], [True, False] * 4
    area = auc(values, won)
    assert rows["last score"]["auc"] == pytest.approx(area)
    assert (rows["last score"]["low"], rows["last score"]["high"]) == pytest.approx(auc_interval(area, 4, 4))
    assert rows["last score, shorter half"]["auc"] == pytest.approx(auc(values[:4], won[:4]))
    assert rows["last score, longer half"]["auc"] == pytest.approx(auc(values[4:], won[4:]))
    assert rows["every step"]["low"] is None, "steps of an episode are not independent"
    assert rows["every step"]["n"] == 28


def test_calibration_by_depth_splits_each_bin(store):
    fill(store, episode(["x"] * 3, [0.05, 0.55, 0.95], 1.0), episode(["x"] * 6, [0.05, 0.06, 0.5, 0.5, 0.99, 0.9], 0.0))
    rows = calibration(store, bins=2, by_depth=True).to_dicts()
    assert [(row["depth"], row["score"], row["n"], row["episodes"]) for row in rows] == [
        ("early", "0.00–0.50", 3, 2),
        ("middle", "0.50–1.00", 3, 2),
        ("late", "0.50–1.00", 3, 2),
    ]
    assert rows[0]["success"] == pytest.approx(1 / 3)
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx(wilson(2 / 3, 2))


def test_length_bias_is_the_partial_correlation_given_the_outcome(store):
    rng = np.random.default_rng(0)
    made, positions, values, outcomes, characters = [], [], [], [], []
    for _ in range(30):
        n, won = int(rng.integers(2, 8)), float(rng.random() < 0.5)
        texts = ["x" * int(k) for k in rng.integers(1, 30, n)]
        scores = [
            round(0.3 * won + 0.05 * i + 0.01 * len(text) + 0.1 * rng.random(), 4) for i, text in enumerate(texts)
        ]
        made.append(episode(texts, scores, won))
        positions += range(n)
        values += scores
        outcomes += [won] * n
        characters += map(len, texts)
    fill(store, *made)
    rows = {row["measure"]: row for row in length_bias(store)}
    assert "output tokens" not in rows
    for name, measure in (("position", positions), ("characters of the action", characters)):
        rest = [np.subtract(a, np.polyval(np.polyfit(outcomes, a, 1), outcomes)) for a in (measure, values)]
        assert rows[name]["correlation"] == pytest.approx(np.corrcoef(measure, values)[0, 1])
        assert rows[name]["given_outcome"] == pytest.approx(np.corrcoef(*rest)[0, 1])
        interval = correlation_interval(rows[name]["given_outcome"], 29)
        assert (rows[name]["low"], rows[name]["high"]) == pytest.approx(interval)
    lengths, means = [len(m[0]) for m in made], [np.mean(m[1].values) for m in made]
    assert rows["steps of the episode"]["correlation"] == pytest.approx(np.corrcoef(lengths, means)[0, 1])
    assert (rows["position"]["n"], rows["position"]["episodes"]) == (len(values), 30)


def test_plans_are_one_when_their_first_lines_are(store):
    one, two = Action("a", "First look\nthen go 1"), Action("b", "first look\nthen go 2")
    fill(store, episode([one, two], [0.2, 0.4], 1.0), episode([one, Action("c", "Guess")], [0.6, 0.9], 0.0))
    rows = {row["plan"]: row for row in plans(store)}
    assert (rows["first look"]["n"], rows["first look"]["episodes"]) == (3, 2)
    assert (rows["first look"]["mean_score"], rows["first look"]["success"]) == pytest.approx((0.4, 0.5))
    assert rows["guess"]["success"] == 0.0
