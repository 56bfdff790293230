"""The scale of a run: it falls to the bottom of its axis when the crystal leaves, and only then."""

import numpy as np
import pytest

from protocols.products.corrections import Clipped
from protocols.products.scale import FADED_FRAMES, brightness_of, faded, scale_of, smoothed
from protocols.products.survey import FrameSurvey, survey


def spots(height: float, rng: np.random.Generator) -> np.ndarray:
    counts = rng.poisson(4, (256, 256)).astype(float)
    for y, x in rng.integers(10, 246, (40, 2)):
        counts[y - 1 : y + 2, x - 1 : x + 2] += height
    y, x = np.mgrid[:256, :256] + 0.5
    counts += 4000 * np.exp(-((x - 128) ** 2 + (y - 128) ** 2) / (2 * 3.0**2))
    return np.rint(counts).astype(np.uint16)


def looked_at(heights: list[float]) -> list[FrameSurvey]:
    rng = np.random.default_rng(9)
    return [survey(k, spots(h, rng), Clipped(), (128.0, 128.0), None) for k, h in enumerate(heights, start=1)]


def told(*spot_counts: float) -> list[FrameSurvey]:
    """Surveys with so many counts in spots, slot after slot."""
    return [
        FrameSurvey(slot, 0.0, 0.0, 1000, 0.0, 1 if counts else 0, counts, 0, Clipped())
        for slot, counts in enumerate(spot_counts, start=1)
    ]


def test_the_scale_follows_a_crystal_of_which_half_leaves_the_beam() -> None:
    seen = looked_at([200.0] * 8 + [100.0] * 4)
    scale = scale_of(seen)
    assert scale[:8] == pytest.approx(1.0, abs=0.08)
    assert scale[8:] == pytest.approx(0.5, abs=0.08)
    assert all(s.beam_fast_px == pytest.approx(128.0, abs=0.5) for s in seen)


def test_without_the_crystal_the_scale_is_nearly_zero_and_the_brightness_stays() -> None:
    seen = looked_at([200.0] * 8 + [0.0] * 4)
    assert scale_of(seen)[8:].max() < 0.05
    assert brightness_of(seen)[8:] == pytest.approx(0.8, abs=0.2)


def test_a_frame_without_spots_is_zero_among_others_and_unknown_where_none_has_any() -> None:
    assert scale_of(told(5, 5, 0, 5)).tolist() == [1, 1, 0, 1]
    assert scale_of(told(0, 0, 0, 4)).tolist() == [0, 0, 0, 1]
    assert np.isnan(scale_of(told(0, 0))).all()
    assert scale_of([]).tolist() == []


def test_a_bright_zone_does_not_move_the_smoothed_scale() -> None:
    scale = np.array([1.0] * 10 + [40.0] * 4 + [1.0] * 10)
    assert smoothed(scale).tolist() == [1.0] * 24


def usual(frames: int) -> list[float]:
    """Counts as a crystal that stays gives them: by a factor of ten up and down."""
    return list(np.exp(np.random.default_rng(4).normal(0, 1.0, frames)) * 1000)


def test_a_crystal_that_stays_has_not_faded() -> None:
    assert faded(told(*usual(200))) == []


@pytest.mark.parametrize(("begin", "end"), [(100, 200), (0, 100), (80, 120)])
def test_slots_without_the_crystal_are_named(begin: int, end: int) -> None:
    counts = usual(200)
    counts[begin:end] = [20.0] * (end - begin)
    found = faded(told(*counts))
    assert found == list(range(found[0], found[-1] + 1))
    assert abs(found[0] - (begin + 1)) <= 5
    assert abs(found[-1] - end) <= 5


def test_a_short_absence_is_no_warning() -> None:
    counts = usual(200)
    counts[50 : 50 + FADED_FRAMES - 4] = [20.0] * (FADED_FRAMES - 4)
    assert faded(told(*counts)) == []


@pytest.mark.parametrize("counts", [[], [0.0] * 30, [5.0] * 3])
def test_runs_without_spots_and_short_runs_have_not_faded(counts: list[float]) -> None:
    assert faded(told(*counts)) == []


@pytest.mark.parametrize("highest", [0, 1, 300, 11_810, 65_535])
def test_totals_and_medians_are_exact_whatever_the_counts(highest: int) -> None:
    counts = np.random.default_rng(highest).integers(0, highest + 1, (61, 95)).astype(np.uint16)
    seen = survey(1, counts, Clipped(), (48.0, 30.0), None)
    assert seen.total == counts.sum(dtype=np.int64)
    assert seen.background == np.median(counts[::4, ::4])
    assert (seen.minimum, seen.maximum) == (counts.min(), counts.max())


def test_spots_stand_out_of_the_median_of_their_own_square() -> None:
    counts = np.full((70, 101), 4, np.uint16)
    counts[:12] = 60  # a limit of 99 here, and of 14 below
    counts[39:42, 49:52] = 60_000
    counts[[5, 20, 69], [80, 3, 100]] = 99, 14, 15
    seen = survey(1, counts, Clipped(), (50.0, 40.0), None)
    assert (seen.spot_pixels, seen.spot_mean) == (1, 11.0)
    counts[[5, 20], [80, 3]] += 1
    seen = survey(1, counts, Clipped(), (50.0, 40.0), None)
    assert seen.spot_pixels == 3
    assert seen.spot_mean == pytest.approx((40 + 11 + 11) / 3)
