"""The figures of a judgement, on answers whose figures are known beforehand."""

import numpy as np
import pytest

from protocols.screening.calibration import Calibration, calibration_error, fitted
from protocols.screening.figures import figures
from protocols.screening.labels import Kind
from protocols.screening.model import Answers
from tests.protocols.screening.madescores import made_examples


def test_accuracy_recall_and_false_good_are_counted_by_kind_without_the_borderline_ones() -> None:
    kinds = [Kind.ONE_LATTICE] * 20 + [Kind.SEVERAL_CRYSTALS] * 4 + [Kind.BLANK] * 4
    of = made_examples(kinds, borderline=1)
    good = np.array([0.0] + [0.9] * 18 + [0.3] + [0.95, 0.2, 0.1, 0.1] + [0.0] * 4)
    several = np.array([0.1] * 20 + [0.9] * 4 + [0.5] * 4)
    found = figures(of, Answers(good, np.where(of.lattices > 0, 1.1, 9.0), several))
    assert found.accuracy == pytest.approx(25 / 27)
    assert found.recall == pytest.approx(18 / 19)
    assert found.false_good_at_half == {Kind.SEVERAL_CRYSTALS: 0.25, Kind.BLANK: 0.0}
    assert found.count == {Kind.SEVERAL_CRYSTALS: 4, Kind.BLANK: 4}
    assert found.d_min_error == pytest.approx(0.1)
    assert found.several_auc == 1.0


def test_a_network_that_tells_no_d_min_has_no_figure_for_it() -> None:
    of = made_examples([Kind.ONE_LATTICE, Kind.BLANK])
    nothing = np.full(2, np.nan)
    record = figures(of, Answers(np.array([0.9, 0.1]), nothing, nothing)).record()
    assert record["d_min_error"] is None
    assert record["several_auc"] is None
    assert record["auc"] == 1.0


def test_too_sure_logits_become_probabilities_that_mean_what_they_say() -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 3, 20_000)
    true = rng.random(20_000) < Calibration().probability(honest)
    boasting = 4 * honest + 1
    assert calibration_error(Calibration().probability(boasting), true) > 0.05
    found = fitted(boasting, true)
    assert found.scale == pytest.approx(0.25, rel=0.05)
    assert calibration_error(found.probability(boasting), true) < 0.01


def test_the_calibration_error_is_the_mean_distance_from_the_share_that_is_true() -> None:
    sure = np.array([0.9] * 10 + [0.1] * 10)
    true = np.array([True] * 7 + [False] * 3 + [False] * 10)
    assert calibration_error(sure, true) == pytest.approx((0.2 + 0.1) / 2)
