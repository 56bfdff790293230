"""The lit disc: its middle from its edge, whatever lies in it; none where it is not wholly on the camera."""

import numpy as np
import pytest

from drivers.simulated.imaging import ImageScale, LitDisc, electrons_s
from drivers.simulated.specimengrid import SpecimenGrid
from protocols.calibrate.moves.disc import find_disc

GRID = SpecimenGrid(5, 62_000.0, 25_000.0, 0.2, 0.05)


def frame(radius_px: float, at_px: tuple[float, float], stage_nm: float = 0.0, brightest: float = 300.0) -> np.ndarray:
    disc = LitDisc(10.0 * radius_px, (10.0 * at_px[0], 10.0 * at_px[1]), 1.0)
    lit = electrons_s(
        GRID, ImageScale(10.0), disc, (128, 128), (stage_nm, 2 * stage_nm, 0.0), 0.0, (0.0, 0.0), (0.0, 0.0)
    )
    return np.random.default_rng(1).poisson(lit / lit.max() * brightest + 0.05).astype(float)


@pytest.mark.parametrize("stage_nm", [0.0, 3000.0, 5500.0, 9000.0])
@pytest.mark.parametrize(("radius", "at"), [(18.0, (0.0, 0.0)), (12.0, (-30.3, 21.7)), (24.0, (7.7, -3.1))])
def test_the_middle_is_found_whatever_lies_in_the_disc(radius: float, at: tuple[float, float], stage_nm: float) -> None:
    found = find_disc(frame(radius, at, stage_nm))
    assert found is not None
    assert (found.fast_px - 64, found.slow_px - 64) == pytest.approx(at, abs=0.25)
    assert found.radius_px == pytest.approx(radius, abs=0.4)


NONE = {
    "a disc over the border": frame(20.0, (50.0, 0.0)),
    "light everywhere": frame(200.0, (0.0, 0.0)),
    "no light": np.random.default_rng(1).poisson(0.1, (128, 128)).astype(float),
    "a disc as small as a spot": frame(2.0, (0.0, 0.0)),
}


@pytest.mark.parametrize("picture", NONE.values(), ids=NONE)
def test_there_is_none_in(picture: np.ndarray) -> None:
    assert find_disc(picture) is None
