import pytest

from agentprm.errors import TrainingError
from agentprm.record.policies import RandomPolicy
from agentprm.record.replay import Replay
from agentprm.testing.corridor import Corridor
from agentprm.testing.trajectories import corridors
from agentprm.train.order import Order
from agentprm.types import Scores, Spec

PLAYED = next(t for t in corridors(20) if len(t) > 2)
WAITED, WENT = Replay(Corridor(), RandomPolicy()).instead(PLAYED, 1, ["wait", "go left"])
ALL = [PLAYED, WAITED, WENT]


def said(*values):
    """One number for step 1 of each trajectory; the others of an episode play no part."""
    numbers = [(0.5, value, *(0.5,) * (len(t) - 2)) for t, value in zip(ALL, values, strict=True)]
    return [Scores(t.id, Spec("said"), "value", v) for t, v in zip(ALL, numbers, strict=True)]


def order(*labels, least=0.0):
    mine = [Scores(t.id, Spec("labels"), "value", (v,), start=1) for t, v in zip(ALL, labels, strict=True)]
    return Order(zip(ALL, mine, strict=True), least)


def test_it_is_the_share_of_pairs_in_the_labels_order_and_a_tie_is_half_of_one():
    judged = order(0.9, 0.5, 0.1)
    assert len(judged) == 3
    assert judged(lambda _: said(0.9, 0.5, 0.1)) == 1
    assert judged(lambda _: said(0.1, 0.5, 0.9)) == 0
    assert judged(lambda _: said(0.5, 0.9, 0.1)) == pytest.approx(2 / 3)
    assert judged(lambda _: said(0.4, 0.4, 0.4)) == 0.5


def test_labels_that_differ_too_little_are_no_pair():
    assert len(order(0.9, 0.85, 0.1, least=0.1)) == 2
    with pytest.raises(TrainingError, match="forks"):
        order(0.9, 0.85, 0.86, least=0.1)


def test_steps_of_different_states_are_no_pair():
    labels = [Scores(PLAYED.id, Spec("labels"), "value", (0.1, 0.9, *(None,) * (len(PLAYED) - 2)))]
    with pytest.raises(TrainingError):
        Order(zip([PLAYED], labels, strict=True))


def test_what_has_no_score_is_worst():
    assert order(0.9, 0.5, 0.1)(lambda _: said(0.9, 0.5, None)) == 1
