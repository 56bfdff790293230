from datetime import date
from typing import Any

import pytest

from drivers.calibration.calibratedvalue import CalibratedValue
from drivers.calibration.imagefacts import image_values


def value(name: str, number: Any, unit: str, **holds: float) -> CalibratedValue:
    told: dict[str, Any] = {"name": name, "value": number, "unit": unit, "date": date(2026, 11, 1), "data": "a_001"}
    is_matrix = isinstance(number, tuple)
    told |= {"sigma": (0.0,) * 4 if is_matrix else 0.0, "program": "test"} | holds
    return CalibratedValue.model_validate(told | ({"covariance": ((0.0,) * 4,) * 4} if is_matrix else {}))


STAGE = value("stage", (0.1, 0.0, 0.0, -0.1), "px per nm", magnification=2500.0, high_tension_kV=200.0)
SHIFT = value("beam_shift", (0.08, 0.0, 0.0, 0.08), "px per unit", magnification=2500.0, high_tension_kV=200.0)
LAG = value("beam_shift_hysteresis", 60.0, "units")


def test_images_are_known_where_the_stage_was_calibrated_and_the_beam_shift_where_it_was_too() -> None:
    other = value("stage", (0.2, 0.0, 0.0, -0.2), "px per nm", magnification=5000.0, high_tension_kV=200.0)
    known = image_values([other, STAGE, SHIFT, LAG], 200.0)
    assert known is not None
    here, there = known.at(2500.0), known.at(5000.0)
    assert here is not None
    assert there is not None
    assert here.nm_per_px == pytest.approx(10.0)
    assert (here.beam_shift_px, there.beam_shift_px) == ((0.08, 0.0, 0.0, 0.08), None)
    assert known.beam_shift_hysteresis == 60.0
    assert known.at(3000.0) is None


def test_at_another_high_tension_or_without_a_stage_nothing_is_known() -> None:
    assert image_values([STAGE, SHIFT], 300.0) is None
    assert image_values([SHIFT, LAG], 200.0) is None
