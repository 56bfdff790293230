import numpy as np
import pytest

from protocols.serialed.aim import Aim, corrected, settings_to

TRUE = Aim((250.0, 262.0), (32768.0, 32768.0), (0.08, -0.02, 0.02, 0.081))


def seen(units: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    return units, TRUE.px_at(units)


def test_a_setting_brings_the_probe_to_where_it_is_asked_for() -> None:
    assert TRUE.px_at(TRUE.units_for((100.0, 400.0))) == pytest.approx((100.0, 400.0))


def test_looks_over_the_field_correct_a_calibration_that_is_off_by_5_percent_and_a_beam_that_lies_elsewhere() -> None:
    off = 1.05 * np.array(TRUE.matrix)
    believed = Aim((258.0, 258.0), TRUE.at_units, tuple(off.tolist()))
    looks = [
        seen((32768.0 + x, 32768.0 + y)) for x, y in ((-2000, -900), (-1500, 1800), (0, 0), (1700, -1600), (2000, 1000))
    ]
    found = corrected(believed, looks)
    assert found.off_share == pytest.approx(0.05 / 1.05, rel=1e-3)
    assert found.aim.px_at((33000.0, 31000.0)) == pytest.approx(TRUE.px_at((33000.0, 31000.0)))
    assert found.left_px == pytest.approx(0.0, abs=1e-6)


def test_one_look_moves_the_beam_and_leaves_the_matrix() -> None:
    believed = TRUE.moved((3.0, -4.0))
    found = corrected(believed, [seen((32768.0, 32768.0))])
    assert found.aim.matrix == TRUE.matrix
    assert found.off_share is None
    assert found.moved_px == pytest.approx((-3.0, 4.0))


@pytest.mark.parametrize(
    ("there", "lag", "settings"),
    [
        ((10.0, 10.0), 4.0, ((10.0, 10.0),)),  # both rise
        ((-10.0, 10.0), 0.0, ((-10.0, 10.0),)),  # nothing lags
        ((-10.0, 10.0), 4.0, ((-16.0, 0.0), (-10.0, 10.0))),
        ((-10.0, -10.0), 4.0, ((-16.0, -16.0), (-10.0, -10.0))),
        ((0.0, -10.0), 4.0, ((0.0, -16.0), (0.0, -10.0))),
    ],
)
def test_what_falls_is_arrived_at_from_below(
    there: tuple[float, float], lag: float, settings: tuple[tuple[float, float], ...]
) -> None:
    assert settings_to((0.0, 0.0), there, lag) == settings
