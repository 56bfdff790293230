"""How far an image has moved: to a small part of a pixel, through noise, and not at all where nothing is in common."""

import numpy as np
import pytest

from drivers.simulated.imaging import ImageScale, LitDisc, electrons_s
from drivers.simulated.specimengrid import SpecimenGrid
from protocols.calibrate.moves.picture import Camera, binned, filled, lonely, standing
from protocols.calibrate.moves.registration import displacement, flattened

GRID = SpecimenGrid(5, 62_000.0, 25_000.0, 0.2, 0.05)
PX = 96


def frame(stage_nm: tuple[float, float], electrons: float, seed: int, disc_nm: float = 50_000.0) -> np.ndarray:
    """With this many electrons in a pixel; 10 nm per px, x of the stage along fast, y against slow."""
    lit = electrons_s(
        GRID,
        ImageScale(10.0),
        LitDisc(disc_nm, (0.0, 0.0), 1.0),
        (PX, PX),
        (*stage_nm, 0.0),
        0.0,
        (0.0, 0.0),
        (0.0, 0.0),
    )
    return np.random.default_rng(seed).poisson(lit / lit.max() * electrons).astype(float)


CASES = {
    # Move of the stage in nm, electrons per pixel, by how much it may be wrong in px.
    "a part of a pixel": ((3.7, -2.2), 1e6, 0.03),
    "some pixels": ((123.4, 57.0), 1e6, 0.05),
    "half the picture": ((-420.0, 260.0), 1e6, 0.1),
    "in noise": ((101.0, 77.0), 200.0, 1.0),
    "nothing": ((0.0, 0.0), 1e6, 0.01),
}


@pytest.mark.parametrize(("move", "electrons", "within"), CASES.values(), ids=CASES)
def test_a_move_is_measured(move: tuple[float, float], electrons: float, within: float) -> None:
    here = (4000.0, -3000.0)
    before, after = frame(here, electrons, 1), frame((here[0] + move[0], here[1] + move[1]), electrons, 2)
    about = (move[0] / 10 + 3.0, -move[1] / 10 - 2.0)
    found = displacement(flattened(before), flattened(after), about)
    assert found.sure
    assert (found.fast_px, found.slow_px) == pytest.approx((move[0] / 10, -move[1] / 10), abs=within)


def test_without_a_guess_small_moves_are_found_as_well() -> None:
    found = displacement(flattened(frame((0.0, 0.0), 1e6, 1)), flattened(frame((150.0, 0.0), 1e6, 2)))
    assert (found.fast_px, found.slow_px) == pytest.approx((15.0, 0.0), abs=0.1)


NOT_SURE = {
    "another place": (frame((0.0, 0.0), 500.0, 1), frame((20_000.0, 0.0), 500.0, 2)),
    "noise": (np.random.default_rng(1).poisson(50.0, (PX, PX)), np.random.default_rng(2).poisson(50.0, (PX, PX))),
    "an empty picture": (np.zeros((PX, PX)), np.zeros((PX, PX))),
}


@pytest.mark.parametrize(("before", "after"), NOT_SURE.values(), ids=NOT_SURE)
def test_where_nothing_is_in_common_it_is_not_sure(before: np.ndarray, after: np.ndarray) -> None:
    assert not displacement(flattened(before), flattened(after)).sure


def test_defects_that_stand_still_are_found_in_the_mean_and_filled() -> None:
    frames = [frame((70.0 * k, 40.0 * k), 200.0, k) for k in range(12)]
    for each in frames:
        each[20:24, 30:35] = 0.0
        each[50:80, 60] = 0.0
        each[5, 5] *= 3.0
    bad = standing(np.mean(frames, axis=0))
    assert bad[20:24, 30:35].all()
    assert bad[50:80, 60].all()
    assert bad.mean() < 0.03
    mended = filled(frames[0], bad | lonely(frames[0]))
    assert mended[21, 32] == pytest.approx(np.median(frames[0]), rel=0.3)


def test_wide_pixels_are_as_bright_as_others_on_the_grid_of_equal_ones() -> None:
    raw = np.full((8, 8), 10.0)
    raw[3:5] *= 3
    raw[:, 3:5] *= 3
    even = Camera(wide_cross=True).equal(raw)
    assert even.shape == (12, 12)
    assert np.allclose(even, 10.0)
    assert np.allclose(binned(even, 4), 10.0)
