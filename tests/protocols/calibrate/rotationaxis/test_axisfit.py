"""The axis from reflections of an unknown crystal: direction, hand and lean, or the reason why not."""

import numpy as np
import pytest

from engine.errors import DataError
from protocols.calibrate.rotationaxis.axisfit import rotation_axis
from protocols.lattice.rotationfit import Observed
from protocols.lattice.rotationgeometry import RotationGeometry
from tests.protocols.lattice.rotations import crystal, geometry_of, observed

pytestmark = pytest.mark.long

TRUE_OUT_DEG = 0.6


@pytest.mark.parametrize(
    ("axis_deg", "told_deg", "ellipse_percent", "wrong"),
    [
        (-38.5, -38.5, 0.0, 0.0),
        (-38.5, 141.5, 0.0, 0.0),  # told the other way round
        (100.0, 10.0, 0.0, 0.0),
        (170.0, -60.0, 2.4, 0.0),  # an ellipse that nobody knows
        (63.0, 0.0, 0.0, 0.25),
    ],
)
def test_the_axis_is_found_whatever_was_told(
    axis_deg: float, told_deg: float, ellipse_percent: float, wrong: float
) -> None:
    seen, intensity = observed(
        crystal(2), geometry_of(axis_deg, ellipse_percent), 3, TRUE_OUT_DEG, count=500, wrong=wrong
    )
    found = rotation_axis(seen, intensity, RotationGeometry.of(geometry_of(told_deg)))
    off_deg = (found.rotation_axis_deg - axis_deg + 180) % 360 - 180
    assert abs(off_deg) < min(0.06, 4 * found.sigma_deg)
    assert abs(found.out_of_plane_deg - TRUE_OUT_DEG) < min(0.1, 4 * found.out_of_plane_sigma_deg)
    assert found.hand_told
    assert found.beyond >= 30
    assert found.share == pytest.approx(1 - wrong, abs=0.05)


@pytest.mark.long
def test_a_beam_three_pixels_off_is_fitted_with_it() -> None:
    geometry = geometry_of(25.0)
    seen, intensity = observed(crystal(2), geometry, 4)
    shifted = Observed(seen.fast_px + 2, seen.slow_px - 2, seen.angle_deg, seen.position_sigma_px, seen.angle_sigma_deg)
    found = rotation_axis(shifted, intensity, RotationGeometry.of(geometry))
    assert found.rotation_axis_deg == pytest.approx(25.0, abs=0.06)
    assert found.beam_fast_px == pytest.approx(geometry.beam_fast_px + 2, abs=4 * found.beam_sigma_px)
    assert found.beam_slow_px == pytest.approx(geometry.beam_slow_px - 2, abs=4 * found.beam_sigma_px)


@pytest.mark.parametrize("told_deg", [20.0, 200.0])
def test_where_the_hand_cannot_be_told_that_is_said_and_what_was_told_is_kept(told_deg: float) -> None:
    seen, intensity = observed(crystal(2, d_min_A=2.2), geometry_of(25.0), 5, count=300)
    found = rotation_axis(seen, intensity, RotationGeometry.of(geometry_of(told_deg)))
    assert not found.hand_told
    assert found.beyond < 30
    assert abs((found.rotation_axis_deg - told_deg + 180) % 360 - 180) < 10


REFUSED = {
    "few": ({"count": 20}, "20 whole reflections"),
    "short": ({"range_deg": 6.0}, "over 6.0 deg"),
    "wrong": ({"wrong": 1.0}, "lattice"),
}


@pytest.mark.long
@pytest.mark.parametrize("case", REFUSED)
def test_what_tells_no_axis_is_refused_with_the_reason(case: str) -> None:
    changed, words = REFUSED[case]
    seen, intensity = observed(crystal(2), geometry_of(25.0), 6, **changed)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=words):
        rotation_axis(seen, intensity, RotationGeometry.of(geometry_of(25.0)))


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="0 whole reflections"):
        rotation_axis(Observed(*np.empty((5, 0))), np.empty(0), RotationGeometry.of(geometry_of(0.0)))
