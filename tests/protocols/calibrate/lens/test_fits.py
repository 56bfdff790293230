"""Settling, hysteresis and the disc's line from places with noise: as true as they say."""

import numpy as np
import pytest
from scipy.special import ndtr

from engine.errors import DataError
from protocols.calibrate.lens.beamplace import Beam, Extents, beam_at_rest, places
from protocols.calibrate.lens.fits import PLACE_PX, alike_px, fit_approach, fit_hysteresis, fit_line
from protocols.calibrate.lens.tried import tried
from protocols.products.cross import pixel_area, spread

WIDE = [*range(27), 27, 30, *range(33, 60)]
"""Where the raw pixels of a camera of 56 x 56 with a cross begin among 60 even ones."""


@pytest.mark.parametrize("constant_s", [0.05, 0.168, 0.3])
def test_settling_is_an_exponential_after_the_fast_part(constant_s: float) -> None:
    rng = np.random.default_rng(1)
    since_s = np.arange(0.01, 2.0, 0.015)
    off = 1.5 * np.exp(-since_s / constant_s) + 12 * np.exp(-since_s / 0.01)
    seen = np.array([30.0, 40.0]) + off[:, None] * [0.6, -0.8] + rng.normal(0, 0.01, (len(since_s), 2))
    found = fit_approach(seen, since_s, 100.0)
    assert found.time_s == pytest.approx(constant_s, rel=0.05)
    assert found.still_s() == pytest.approx(constant_s * np.log(1.5 / 0.2), rel=0.05)
    assert found.still_s(2.0) - found.still_s() == pytest.approx(found.time_s * np.log(2))


@pytest.mark.parametrize("odd_px", [0.0, 0.03, 0.1])
def test_what_all_turns_are_off_alike_is_seen_in_their_scatter(odd_px: float) -> None:
    since_s = np.linspace(0.014, 0.826, 59, dtype=np.float64)
    way = np.array([4.0, -2.0]) * np.exp(-since_s / 0.2)[:, None]
    alike = odd_px * np.column_stack([np.sin(30 * since_s), np.cos(25 * since_s)])
    rng = np.random.default_rng(3)
    places = [way + alike + rng.normal(0, 0.05, way.shape) for _ in range(6)]
    approaches = [fit_approach(each, since_s, 1.0) for each in places]
    found = alike_px(approaches, [since_s] * 6, places)
    assert found == pytest.approx(odd_px / np.sqrt(2), abs=0.015 + 0.35 * odd_px)


def test_a_beam_that_stands_still_tells_no_settling() -> None:
    seen = 30 + np.random.default_rng(1).normal(0, 0.01, (100, 2))
    with pytest.raises(DataError, match="stood still from the beginning"):
        fit_approach(seen, np.linspace(0, 2, 100), 1.0)


# Off before the first cycle, what a cycle leaves, and how many suffice.
CYCLES = [(1.7, 0.35, 3), (0.15, 0.35, 0), (1.0, 0.1, 1), (3.0, 0.5, 4)]


@pytest.mark.parametrize(("before_px", "left", "enough"), CYCLES)
def test_relax_cycles_bring_the_beam_back_by_the_same_share_each(before_px: float, left: float, enough: int) -> None:
    seen = [50, 50] + before_px * np.array([[0.8, -0.6]]) * left ** np.arange(8.0)[:, None]
    found = fit_hysteresis(seen + np.random.default_rng(2).normal(0, 0.004, seen.shape), np.full(8, 0.004), PLACE_PX)
    assert found.before_px[0] == pytest.approx(before_px, abs=4 * found.before_px[1])
    assert found.left[0] == pytest.approx(left, abs=4 * found.left[1])
    assert found.cycles == enough


def test_the_disc_is_smallest_where_the_line_meets_itself() -> None:
    defocus = np.array([-1500.0, -1000, -600, 600, 1000, 1500])
    radii = 0.02 * np.abs(defocus - 12) + np.random.default_rng(3).normal(0, 0.01, 6)
    found = fit_line(defocus, radii, np.full(6, 0.01))
    assert found.slope[0] == pytest.approx(0.02, abs=4 * found.slope[1])
    assert found.zero[0] == pytest.approx(12, abs=4 * found.zero[1])


def test_the_beam_is_found_to_a_hundredth_of_a_pixel_beside_dead_and_hot_pixels() -> None:
    rng = np.random.default_rng(4)
    wanted = 30 + 2 * rng.random((20, 2))
    taken = []
    for fast, slow in wanted:
        spot = 50_000 * np.outer(*(np.diff(ndtr((np.arange(61.0) - at) / 1.3)) for at in (slow, fast)))
        counts = rng.poisson(spot + 0.1).astype(float)
        counts[31, 29], counts[10, 10] = 0.0, 4000.0
        taken.append(counts)
    bad = np.zeros((60, 60), bool)
    bad[10, 10] = True
    extents = Extents.of((60, 60), wide_cross=False)
    beam = beam_at_rest(taken[0], bad, extents)
    assert beam.width_px == pytest.approx(1.3, abs=0.03)
    assert np.sqrt(np.mean((places(taken, beam, bad, extents) - wanted) ** 2)) < 0.02
    assert np.isnan(places([np.zeros((60, 60))], beam, bad, extents)).all()


def test_a_beam_on_the_wide_cross_is_found_as_well() -> None:
    rng = np.random.default_rng(5)
    extents, even = Extents.of((60, 60), wide_cross=True), np.arange(61.0)
    wanted = 26 + 8 * rng.random((20, 2))  # wide are 27 to 33
    area = pixel_area((56, 56))
    taken = []
    for fast, slow in wanted:
        along = [np.diff(ndtr((even - at) / 1.3)) for at in (slow, fast)]
        spot = 40_000 * np.outer(*along)
        raw = np.add.reduceat(np.add.reduceat(spot, WIDE, axis=0), WIDE, axis=1)
        taken.append(np.asarray(spread(rng.poisson(raw) / area), float))
    bad = np.zeros((60, 60), bool)
    beam = Beam((30.0, 30.0), 1.3, 40_000 / (2 * np.pi * 1.3**2))
    off = places(taken, beam, bad, extents) - wanted
    assert np.sqrt(np.mean(off**2)) < 0.03, "0.3 where the pixels are taken for even ones"


def test_a_lens_that_changes_nothing_is_told() -> None:
    rows, columns = np.indices((40, 40))
    beam = 500 * np.exp(-((columns - 20) ** 2 + (rows - 20) ** 2) / 4)
    said = tried({"rest": 0, "away": 1, "saturation": None}, lambda index: beam * (1 - 0.1 * index))
    assert "the lens does not answer" in said["why"]
