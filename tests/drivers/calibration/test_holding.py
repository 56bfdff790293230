"""What of an instrument file holds: for the settings of now, with what is said of others; in plan and instrument."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.calibration.calibrationarrays import CameraArrays
from drivers.calibration.calibrationfacts import CalibratedFigure, CalibrationFacts
from drivers.calibration.holding import holding
from drivers.calibration.instrumentfile import store
from drivers.contract import Microscope
from drivers.facts import Facts
from drivers.geometry import wavelength_A
from engine.clock import utc_now
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from engine.run.devicesfile import connect_devices, instrument_file
from engine.run.planbasis import declared_basis, told_basis
from tests.drivers.calibration.test_instrumentfile import arrays, value
from tests.engine.virtually import virtual

AT_200_KV = wavelength_A(200e3)
SHAPE = (6, 4)
AXIS = value("rotation_axis_deg", value=-38.0, sigma=0.02, camera_length_mm=250.0)
LONG = value("rotation_axis_deg", value=-50.0, sigma=0.02, camera_length_mm=400.0)

# What is stored; wavelength in A and nominal camera length in mm of now; the axis that holds; what is said.
SETTINGS: dict[str, tuple[list[Any], float | None, float | None, float | None, str]] = {
    "as calibrated": ([AXIS], AT_200_KV, 250.0, -38.0, ""),
    "one of two camera lengths": ([AXIS, LONG], AT_200_KV, 400.0, -50.0, ""),
    "a camera length that nobody tells, and one only": ([AXIS], AT_200_KV, None, -38.0, ""),
    "a camera length that nobody tells, and two": ([AXIS, LONG], AT_200_KV, None, None, "which is set nobody tells"),
    "another camera length": ([AXIS], AT_200_KV, 300.0, None, "known for 200 kV 250 mm, not for 200 kV 300 mm"),
    "another high tension": ([AXIS], wavelength_A(300e3), 250.0, None, "not for 300 kV 250 mm"),
    "nothing": ([], AT_200_KV, 250.0, None, ""),
}


@pytest.mark.parametrize(("stored", "wave_A", "length_mm", "axis_deg", "said"), SETTINGS.values(), ids=SETTINGS)
def test_a_value_holds_for_its_high_tension_and_camera_length_and_is_said_otherwise(
    tmp_path: Path, stored: list[Any], wave_A: float | None, length_mm: float | None, axis_deg: float | None, said: str
) -> None:
    store(tmp_path / "titan.toml", stored)
    found = holding(tmp_path / "titan.toml", wave_A, length_mm, SHAPE)
    assert found.geometry.get("rotation_axis_deg") == axis_deg
    assert found.facts is not None
    assert len(found.facts.said) == bool(said)
    assert said in "".join(found.facts.said)


CAMERAS: dict[str, tuple[CameraArrays, str]] = {
    "its own": (arrays(), ""),
    "another one's": (arrays(8, 4), "is of a camera of 8 x 4 pixels, this one has 6 x 4"),
    "of another high tension": (arrays(high_tension_kV=300.0), "made at 300 kV, the microscope is at 200 kV"),
}


@pytest.mark.parametrize(("stored", "said"), CAMERAS.values(), ids=CAMERAS)
def test_a_flatfield_holds_for_its_camera_and_high_tension(tmp_path: Path, stored: CameraArrays, said: str) -> None:
    store(tmp_path / "titan.toml", [], stored)
    found = holding(tmp_path / "titan.toml", AT_200_KV, 250.0, SHAPE)
    assert (found.arrays is None) is bool(said)
    assert found.facts is not None
    assert said in "".join(found.facts.said)


def tracked(**changes: Any) -> list[Any]:
    """What a crystal is followed and brought back by, as calibrated; changes: of the values of the snapshot."""
    numbers = {"aperture_nm": 1500.0, "disc_radius_px": 0.05}
    scalars = [value(name, value=number, sigma=0.01 * number, **changes) for name, number in numbers.items()]
    snapshot = value("snapshot", value=(1e-4, 0.0, 0.0, -1e-4), **changes)
    stage = value("stage", value=(0.1, 0.0, 0.0, -0.1), magnification=5000.0)
    shift = value("image_shift", value=(0.05, 0.01, 0.02, 0.05), magnification=5000.0)
    beam = value("beam_shift", value=(0.09, 0.0, 0.01, 0.09), magnification=5000.0)
    lands = value("stage_repeatability_nm", value=21.0, sigma=3.0)
    return [*scalars, snapshot, stage, shift, beam, lands, value("pattern_shift"), value("diffraction_shift")]


def test_what_tracking_needs_is_put_together_with_its_origin_and_age(tmp_path: Path) -> None:
    store(tmp_path / "titan.toml", tracked())
    found = holding(tmp_path / "titan.toml", AT_200_KV, 250.0, SHAPE)
    assert found.tracking is not None
    assert found.tracking.aperture_nm == 1500.0
    assert found.tracking.image_shift_nm == pytest.approx((0.5, 0.1, -0.2, -0.5))  # px per unit by px per nm
    assert found.tracking.beam_shift_nm == pytest.approx((0.9, 0.0, -0.1, -0.9))
    assert (found.tracking.beam_shift_px, found.tracking.stage_repeatability_nm) == (None, 21.0)
    assert found.tracking.probe_selects is None
    assert found.facts is not None
    in_nm = found.facts.figures["tracking.image_shift_nm"]
    assert (in_nm.unit, in_nm.sigma > 0) == ("nm per unit", True)
    figures = {name for name in found.facts.figures if name.startswith("tracking.")}
    assert figures >= {"tracking.snapshot", "tracking.image_shift_nm", "tracking.image_shift_px"}
    old = found.facts.questions(date(2030, 1, 1))
    assert any("tracking.snapshot is of 2026-11-28" in line for line in old)


@pytest.mark.parametrize("length_mm", [300.0, 400.0])
def test_a_snapshot_of_another_camera_length_tells_nothing(tmp_path: Path, length_mm: float) -> None:
    store(tmp_path / "titan.toml", tracked())
    assert holding(tmp_path / "titan.toml", AT_200_KV, length_mm, SHAPE).tracking is None


@pytest.mark.parametrize(("days", "is_old"), [(0, False), (180, False), (181, True)])
def test_what_is_older_than_the_file_allows_is_said(days: int, is_old: bool) -> None:
    today = date(2026, 11, 28)
    figure = CalibratedFigure(0.02, "deg", (today - timedelta(days=days)).isoformat(), "run_001")
    said = CalibrationFacts("titan.toml", 180.0, {"geometry.rotation_axis_deg": figure}).questions(today)
    assert len(said) == is_old
    assert f"{days} days old" in "".join(said) or not is_old


def devices(folder: Path, text: str = "") -> str:
    path = folder / "devices.toml"
    path.write_text(f'instrument = "titan.toml"\n[microscope]\ndriver = "simulated-timing"\n{text}')
    return str(path)


@virtual
async def test_plan_and_instrument_have_the_same_calibrated_figures_with_their_origin(
    clock: VirtualClock, tmp_path: Path
) -> None:
    store(
        tmp_path / "titan.toml",
        [AXIS, value("camera_length_mm", value=251.3, sigma=0.1), value("api_call_s", value=0.02, sigma=0.001)],
        arrays(32, 32),
    )
    named = devices(tmp_path)
    declared, told = declared_basis(named, {}), await told_basis(named, clock, {})
    assert declared.facts == told.facts
    assert declared.rows == told.rows
    facts = declared.facts
    assert isinstance(facts, Facts)
    assert (facts.geometry.rotation_axis_deg, facts.geometry.camera_length_mm) == (-38.0, 251.3)
    assert facts.timing.api_call_s == 0.02
    assert facts.detector is not None
    assert facts.detector.flatfield
    assert facts.origins["rotation_axis_deg"] == "calibrated"
    said = {(part, text) for part, text, origin in declared.rows if origin == "calibrated, titan.toml"}
    assert ("geometry", "camera_length_mm 251.3 +- 0.1, rotation_axis_deg -38 +- 0.02") in said
    assert Facts.of(facts.as_dict()) == facts, "a replay has the same"
    async with connect_devices(named, clock, 1, {}) as microscope:
        assert isinstance(microscope, Microscope)
        response = microscope.detector.flatfield
    assert response is not None
    assert response[1, 2] == 0, "a bad pixel is a dead one"
    assert np.array_equal(response == 0, arrays(32, 32).bad)


@virtual
async def test_what_is_typed_goes_before_and_three_sigma_apart_is_asked_about(
    clock: VirtualClock, tmp_path: Path
) -> None:
    store(tmp_path / "titan.toml", [AXIS.model_copy(update={"made_on": utc_now().date()})])
    for typed_deg, apart in ((-38.05, False), (-38.07, True), (321.95, False)):
        named = devices(tmp_path, f"[geometry]\nrotation_axis_deg = {typed_deg}\n")
        facts = (await told_basis(named, clock, {})).facts
        assert isinstance(facts, Facts)
        assert facts.geometry.rotation_axis_deg == typed_deg
        assert facts.calibration is not None
        assert facts.calibration.figures == {}, "it does not hold"
        assert declared_basis(named, {}).facts == facts
        question = f"geometry: rotation_axis_deg is {typed_deg:g} (typed) and -38 (calibrated to 0.02); which is right?"
        assert (question in facts.questions) is apart


def test_a_file_that_no_calibration_has_made_yet_is_said(tmp_path: Path) -> None:
    assert "titan.toml does not exist" in "".join(declared_basis(devices(tmp_path), {}).facts.questions)


def test_the_file_lies_where_the_devices_file_says(tmp_path: Path) -> None:
    assert instrument_file(devices(tmp_path)) == tmp_path / "titan.toml"
    assert instrument_file("simulated-timing") is None


@pytest.mark.parametrize("given", ["7", "'titan'", "['titan.toml']"])
def test_what_is_no_name_of_a_file_is_refused(tmp_path: Path, given: str) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(f'instrument = {given}\n[microscope]\ndriver = "simulated-timing"\n')
    with pytest.raises(Refused, match="is no name of a file"):
        instrument_file(str(path))
