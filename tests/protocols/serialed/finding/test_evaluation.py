import numpy as np
import pytest

from protocols.serialed.finding.evaluation import KINDS, TrueField, judged, summary, true_field


def made(*whole: bool) -> TrueField:
    """Five crystals: plain, plain, touching, pale, cut by the edge."""
    values = np.array([100.0, 200.0, 300.0, 400.0, 500.0])
    return TrueField(
        KINDS[0],
        1,
        np.zeros((512, 512), np.uint16),
        11.6,
        values,
        values,
        np.full(5, 20.0),
        np.full(5, 10.0),
        taken=np.array([0.5, 0.5, 0.5, 0.1, 0.5]),
        shown=np.ones(5, bool),
        whole=np.array(whole or [True, True, True, True, False]),
        alone=np.array([True, True, False, True, True]),
    )


def test_what_belongs_together_is_one_to_one_and_the_nearest():
    result = judged(made(), np.array([[102.0, 100.0], [101.0, 100.0], [206.0, 200.0]]))
    assert result.pair.tolist() == [1, -1, -1, -1, -1]
    assert result.wrong.tolist() == [True, False, True]  # half the shorter side is 5 px


def test_recall_asks_for_whole_ones_alone_and_precision_for_all():
    told = summary([judged(made(), np.array([[101.0, 100.0], [300.0, 300.0], [500.0, 501.0], [50.0, 50.0]]))])
    assert told["recall"] == 0.5
    assert told["precision"] == 0.75
    assert told["rms_px"] == pytest.approx(1.0)
    assert (told["recall_touching"], told["recall_paler"]) == (1.0, 0.0)


def test_nothing_found_and_nothing_asked_for():
    told = summary([judged(made(*[False] * 5), np.empty((0, 2)))])
    assert (told["recall"], told["precision"], told["rms_px"]) == (None, None, None)


def test_a_field_is_the_same_for_the_same_seed():
    one, other, another = (true_field(seed, KINDS[2], 128) for seed in (5, 5, 6))
    assert (one.image == other.image).all()
    assert (one.image != another.image).any()
    assert one.shown.any()
