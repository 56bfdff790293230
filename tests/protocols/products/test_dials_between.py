"""What dials.sh does between DIALS' programs: the arithmetic, without DIALS. The whole is in test_dials_processing."""

import numpy as np
import pytest

from protocols.products.dials_between import (
    INTERVAL_DEG,
    SCALE_ERROR,
    excluded,
    links,
    parted,
    recorded,
    scale_error,
    slots,
)

GAPS = np.array([9, 10, 19])


def test_gaps_travel_as_words() -> None:
    assert slots(["10", "20-22", "30"]) == [10, 20, 21, 22, 30]
    assert slots([]) == []


@pytest.mark.parametrize(
    ("first", "last", "old", "wanted"),
    [
        (1, 30, True, ["9", "19", "29"]),
        (1, 30, False, ["0:10:10", "0:20:20", "0:30:30"]),
        (6, 25, True, ["4", "14"]),  # refinement has cut off five pictures: the old counting begins at the sixth
        (6, 25, False, ["0:10:10", "0:20:20"]),
        (11, 19, True, []),
    ],
)
def test_pictures_are_excluded_as_dials_counts_them(first: int, last: int, old: bool, wanted: list[str]) -> None:
    assert excluded([10, 20, 30], first, last, old) == wanted


def test_the_recorded_part_is_the_rocking_curve_outside_of_the_gaps() -> None:
    z, width = np.array([9.5, 9.0, 11.0, 5.0, 10.0, 19.2]), np.array([0.3, 0.4, 0.4, 0.5, 1.2, 0.35])
    fine = np.arange(-20.0, 60.0, 0.0005)
    outside = ~np.isin(np.floor(fine).astype(int), GAPS)
    curves = np.exp(-0.5 * ((fine - z[:, None]) / width[:, None]) ** 2)
    wanted = (curves * outside).sum(axis=1) / curves.sum(axis=1)
    np.testing.assert_allclose(recorded(z, width, GAPS), wanted, atol=1e-3)


def test_no_gap_no_loss() -> None:
    np.testing.assert_array_equal(recorded(np.array([3.2, 8.0]), np.array([0.3, 0.3]), GAPS[:0]), 1.0)


def test_the_uncertain_part_is_that_of_a_reflection_on_the_edge_of_a_gap() -> None:
    _, error = parted(np.array([9.0, 10.0, 3.0]), np.array([0.3, 0.3, 0.3]), GAPS, 0.05)
    assert error[0] == pytest.approx(0.05 / 0.3 * 0.399, rel=0.02)  # place error times the height of the curve
    assert error[2] == 0.0
    assert error[1] < error[0]  # in the middle of a gap of two all is lost, wherever exactly


def test_friedel_mates_at_one_angle_say_nothing_of_the_scale() -> None:
    groups = np.array([1, 1, 2, 2, 3, 3, 3])
    angle_deg = np.array([5.0, 6.0, 14.9, 15.1, 0.0, 20.0, 40.0])
    assert links(groups, angle_deg).tolist() == [[4, 5], [5, 6]]
    assert links(groups[:4], angle_deg[:4]).tolist() == []


NOISE = 2 * 0.1**2
"""Variance of the logarithm of a ratio of two intensities of 10 % each."""


def anywhere(n: int) -> np.ndarray:
    """Pairs of angles of which each is as likely as the others, within 90 deg."""
    pairs = np.random.default_rng(n).uniform(0.0, 90.0, (2 * n, 2))
    return pairs[np.abs(np.diff(pairs)[:, 0]) >= INTERVAL_DEG][:n]


def mirrored(n: int) -> np.ndarray:
    """Pairs that lie mirrored at the middle of the scan, as those of a two-fold axis across the rotation do."""
    first = np.random.default_rng(n).uniform(0.0, 37.0, n)
    return np.stack([first, 90.0 - first], axis=1)


@pytest.mark.parametrize(
    ("pairs", "determined"),
    [(anywhere(0), False), (anywhere(20), False), (anywhere(500), True), (mirrored(500), False)],
    ids=["none", "few", "many", "many that leave half of all scales open"],
)
def test_only_what_comparisons_determine_is_refined(pairs: np.ndarray, determined: bool) -> None:
    error = scale_error(pairs, np.full(len(pairs), NOISE), 0.0, 90.0, None)
    assert (error < SCALE_ERROR) == determined


def test_the_error_of_the_scale_is_the_one_that_a_fit_has() -> None:
    random, pairs = np.random.default_rng(5), anywhere(300)
    knots = np.linspace(0.0, 90.0, 7)
    seen = np.linspace(0.0, 90.0, 60)
    rows = np.stack([np.interp(pairs[:, 0], knots, one) - np.interp(pairs[:, 1], knots, one) for one in np.eye(7)], 1)
    off = []
    for _ in range(200):
        fitted = np.linalg.lstsq(rows, random.normal(0.0, np.sqrt(NOISE), len(pairs)), rcond=1e-9)[0]
        scale = np.interp(seen, knots, fitted)
        off.append(np.mean((scale - scale.mean()) ** 2))
    told = scale_error(pairs, np.full(len(pairs), NOISE), 0.0, 90.0, None)
    assert told == pytest.approx(np.sqrt(np.mean(off)), rel=0.1)


def test_decay_asks_for_more() -> None:
    pairs = anywhere(500)
    s2 = np.random.default_rng(1).uniform(0.05, 1.5, len(pairs))
    noise = np.full(len(pairs), NOISE)
    assert scale_error(pairs, noise, 0.0, 90.0, s2) > 1.3 * scale_error(pairs, noise, 0.0, 90.0, None)
