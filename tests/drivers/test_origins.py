"""Which figure holds where several sources know it, and what is said where they disagree."""

import re
from dataclasses import replace
from typing import Any

import pytest

from drivers.contract import Microscope, Parts
from drivers.origins import by_precedence, disagreements
from drivers.simulated.microscope import SIMULATED_TIMING
from drivers.turn import Turn
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from tests.engine.virtually import virtual

LAYERS = {
    "default": {"rotation_axis_deg": 0.0, "camera_length_mm": 1.0, "pixel_size_mm": 1.0, "beam_fast_px": 16.0},
    "told": {"rotation_axis_deg": 178.0, "camera_length_mm": 260.0, "pixel_size_mm": 0.055},
    "calibrated": {"rotation_axis_deg": -100.0, "camera_length_mm": 250.0},
    "typed": {"rotation_axis_deg": -179.0},
}


def test_typed_goes_before_calibrated_before_told_before_default() -> None:
    values, origins = by_precedence(LAYERS)
    assert values == {
        "rotation_axis_deg": -179.0,
        "camera_length_mm": 250.0,
        "pixel_size_mm": 0.055,
        "beam_fast_px": 16.0,
    }
    assert origins == {
        "rotation_axis_deg": "typed",
        "camera_length_mm": "calibrated",
        "pixel_size_mm": "told",
        "beam_fast_px": "default",
    }


def test_a_disagreement_is_told_once_and_angles_go_round() -> None:
    assert disagreements(LAYERS) == ["rotation_axis_deg is -179 (typed) and -100 (calibrated)"]


# A typed camera length in mm, what the microscope tells (nominal) or somebody calibrated, and whether they disagree.
LENGTHS = {
    "a nominal one": ({"told": 300.0}, False),
    "far from the nominal one": ({"told": 30.0}, True),
    "a calibrated one": ({"calibrated": 255.0}, False),
    "another than the calibrated one": ({"calibrated": 275.0}, True),
}


@pytest.mark.parametrize(("known", "disagree"), LENGTHS.values(), ids=LENGTHS)
def test_a_nominal_camera_length_may_be_off_and_a_calibrated_one_may_not(
    known: dict[str, float], disagree: bool
) -> None:
    layers = {origin: {"camera_length_mm": length} for origin, length in {"typed": 250.0, **known}.items()}
    assert bool(disagreements(layers)) is disagree


async def assembled(clock: VirtualClock, typed: dict[str, float], **camera: Any) -> Microscope:
    """A simulated microscope whose camera knows something of the geometry."""
    async with SIMULATED_TIMING.connect(clock, 3, {}) as parts:
        only = {name: parts.geometry[name] for name in ("wavelength_A", "camera_length_mm")}
        told = {"pixel_size_mm": 0.11, "rotation_axis_deg": 30.0}
        rest = replace(parts, geometry=only)
        return rest.assembled({"detector": Parts(detector=parts.detector, geometry=told, **camera)}, typed)


@virtual
async def test_where_each_figure_is_from_stands_in_the_facts(clock: VirtualClock) -> None:
    microscope = await assembled(clock, {"rotation_axis_deg": 31.0})
    assert microscope.geometry.rotation_axis_deg == 31.0
    assert microscope.geometry.beam_fast_px == microscope.detector.facts.known_shape[1] / 2
    origins = microscope.facts.as_dict()["origins"]
    assert origins["rotation_axis_deg"] == "typed"
    assert origins["wavelength_A"] == origins["pixel_size_mm"] == "told"
    assert origins["beam_slow_px"] == origins["distortion_amplitude_percent"] == "default"


@virtual
async def test_a_disagreement_is_asked_about_when_parts_become_a_microscope(clock: VirtualClock) -> None:
    assert (await assembled(clock, {"rotation_axis_deg": 31.0})).facts.questions == ()
    assert (await assembled(clock, {"rotation_axis_deg": 75.0})).facts.questions == (
        "geometry: rotation_axis_deg is 75 (typed) and 30 (told); which is right?",
    )


@virtual
async def test_the_camera_length_follows_from_a_calibration_of_unbinned_pixels(clock: VirtualClock) -> None:
    wavelength_A = 0.02508
    per_px_A = 0.055 / (wavelength_A * 260.0)
    microscope = await assembled(clock, {}, per_px_A=per_px_A, binning=2)
    assert microscope.geometry.camera_length_mm == pytest.approx(260.0, rel=1e-3)
    assert microscope.origins["camera_length_mm"] == "calibrated"


# How a calibration says that patterns are turned, how a camera turns its pictures, and whether that is one instrument.
TURNS: dict[str, tuple[Turn | None, Turn | None, bool]] = {
    "no calibration": (None, Turn(1, flipud=True), True),
    "nothing turned": (Turn(), None, True),
    "both alike": (Turn(1, flipud=True), Turn(1, flipud=True), True),
    "a camera that turns nothing": (Turn(1, flipud=True), None, False),
    "another way": (Turn(1, flipud=True), Turn(3, flipud=True), False),
    "only the camera": (Turn(), Turn(2), False),
}


@pytest.mark.parametrize(("calibrated", "camera", "fit"), TURNS.values(), ids=TURNS)
@virtual
async def test_a_calibration_and_a_camera_that_are_turned_otherwise_are_no_instrument(
    clock: VirtualClock, calibrated: Turn | None, camera: Turn | None, fit: bool
) -> None:
    async with SIMULATED_TIMING.connect(clock, 1, {}) as parts:
        others = {"detector": Parts(detector=parts.detector, turn=camera)}
        if fit:
            replace(parts, turn=calibrated).assembled(others)
            return
        with pytest.raises(Refused, match=re.escape(f"Write {calibrated} into the camera's table")):
            replace(parts, turn=calibrated).assembled(others)
