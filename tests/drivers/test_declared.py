"""What drivers declare, unconnected: figures put together, their origins, what nobody knows, what is told otherwise."""

import math
from dataclasses import replace
from typing import Any

import pytest

from drivers.declared import ASSUMED, DECLARED, TOLD, Declared, KnownFacts, by_name
from drivers.facts import DetectorFacts, OpticsFacts, PacedFacts, StageFacts, Timing
from engine.errors import Refused

CAMERA = DetectorFacts((512, 512), "<u2", 65_535, (0.001, 10.0), readout_s=0.008)
MICROSCOPE = Declared(
    stage=StageFacts((-60.0, 60.0), 0.1),
    beam=True,
    optics=OpticsFacts(0.4),
    detector=CAMERA,
    geometry={"wavelength_A": 0.0251, "pixel_size_mm": 0.055},
    timing=Timing(0.05, 0.1, 0.27),
)
WRITTEN = {"camera_length_mm": 250.0, "rotation_axis_deg": -38.5, "beam_fast_px": 256.0, "beam_slow_px": 256.0}


def whole(own: Declared = MICROSCOPE, timing: dict[str, float] | None = None, **others: Declared) -> KnownFacts:
    return own.assembled(others, WRITTEN, timing)


def test_every_fact_has_an_origin() -> None:
    known = whole(timing={"api_call_s": 0.04})
    assert known.origins.keys() == by_name(known.facts).keys()
    assert known.facts.timing == Timing(0.04, 0.1, 0.27)
    assert {name: known.origins[name] for name in known.origins if name.startswith(("geometry", "timing"))} == {
        "geometry.wavelength_A": DECLARED,
        "geometry.camera_length_mm": "written in the devices file",
        "geometry.pixel_size_mm": DECLARED,
        "geometry.rotation_axis_deg": "written in the devices file",
        "geometry.beam_fast_px": "written in the devices file",
        "geometry.beam_slow_px": "written in the devices file",
        "geometry.distortion_amplitude_percent": ASSUMED,
        "geometry.distortion_azimuth_deg": ASSUMED,
        "geometry.rotation_axis_tilt_deg": ASSUMED,
        "timing.api_call_s": "measured in the devices file",
        "timing.api_call_worst_s": DECLARED,
        "timing.stage_read_s": DECLARED,
    }


def test_a_row_for_a_person_has_part_facts_and_origin() -> None:
    known = whole(timing={"api_call_s": 0.04})
    assert ("timing", "api_call_s 0.04", "measured in the devices file") in known.rows
    assert ("timing", "api_call_worst_s 0.1, stage_read_s 0.27", DECLARED) in known.rows
    assert ("stage", "limits_deg (-60, 60), backlash_deg 0.1, can_rotate yes", DECLARED) in known.rows


GEOMETRIES: dict[str, tuple[Declared, dict[str, str], Any]] = {
    "the camera's own word is better than the microscope's": (
        Declared(detector=CAMERA, geometry={"pixel_size_mm": 0.075}),
        {},
        0.075,
    ),
    "what the camera will tell is not what the microscope declares": (
        Declared(detector=CAMERA, unknown={"geometry.pixel_size_mm": "it tells it"}),
        {"geometry.pixel_size_mm": "it tells it"},
        math.nan,
    ),
    "a camera that knows nothing leaves it to the microscope": (Declared(detector=CAMERA), {}, 0.055),
}


@pytest.mark.parametrize(("camera", "unknown", "pixel_size_mm"), GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_more_special_part_says_the_geometry(
    camera: Declared, unknown: dict[str, str], pixel_size_mm: float
) -> None:
    known = whole(detector=camera)
    assert known.unknown == unknown
    assert known.facts.geometry.pixel_size_mm == pytest.approx(pixel_size_mm, nan_ok=True)


def test_what_the_devices_file_says_nobody_needs_to_be_asked() -> None:
    own = replace(MICROSCOPE, geometry={}, unknown={"geometry.wavelength_A": "it tells it"})
    written = {**WRITTEN, "wavelength_A": 0.0197, "pixel_size_mm": 0.055}
    known = own.assembled({}, written)
    assert known.unknown == {}
    assert known.facts.geometry.wavelength_A == 0.0197


def test_what_a_part_that_is_not_taken_would_tell_is_no_question() -> None:
    own = replace(MICROSCOPE, detector=replace(CAMERA, shape=None), unknown={"detector.shape": "it tells it"})
    assert whole(own).unknown == {"detector.shape": "it tells it"}
    assert whole(own, detector=Declared(detector=CAMERA)).unknown == {}


@pytest.mark.parametrize(
    ("own", "others", "words"),
    [
        (replace(MICROSCOPE, detector=None), {}, r"there is no detector.*\[detector\]"),
        (replace(MICROSCOPE, beam=None), {}, r"there is no beam.*\[beam\]"),
        (MICROSCOPE, {"mode": Declared()}, r"driver of \[mode\] has no mode; nothing was started. Leave"),
        (replace(MICROSCOPE, geometry={}), {}, r"\[geometry\] wavelength_A is known to no driver"),
        (replace(MICROSCOPE, timing=None), {}, r"\[timing\] api_call_s is known to no driver"),
    ],
)
def test_what_nobody_has_is_refused_as_of_a_connected_instrument(
    own: Declared, others: dict[str, Declared], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        own.assembled(others, WRITTEN)


# --- asked


def test_what_is_told_otherwise_is_said_with_both_values() -> None:
    known = whole()
    camera = replace(CAMERA, exposure_limits_s=(0.01, 10.0), paced=PacedFacts(0.01, 0.01, 1))
    told = known.asked(replace(known.facts, detector=camera))
    assert told.differences == (
        "detector.exposure_limits_s: told (0.01, 10), declared (0.001, 10)",
        "detector.paced.part_s: told 0.01, declared none",
        "detector.paced.period_s: told 0.01, declared none",
        "detector.paced.spare: told 1, declared none",
        "detector.paced.tells_begin: told no, declared none",
    )
    assert told.origins["detector.exposure_limits_s"] == TOLD
    assert told.origins["detector.readout_s"] == DECLARED
    assert told.facts.detector == camera


def test_what_was_not_known_is_no_difference_and_told() -> None:
    unknown = {"detector.shape": "it tells it", "detector.dtype": "only the first picture tells it"}
    known = whole(replace(MICROSCOPE, detector=replace(CAMERA, shape=None, dtype=""), unknown=unknown))
    told = known.asked(replace(known.facts, detector=replace(CAMERA, dtype="")))
    assert told.differences == ()
    assert told.origins["detector.shape"] == TOLD
    assert told.unknown == {"detector.dtype": "only the first picture tells it"}
    assert not any("dtype" in facts for _, facts, _ in told.rows)


def test_a_plan_of_an_instrument_that_tells_what_it_declares_has_the_same_origins() -> None:
    known = whole(timing={"api_call_s": 0.04})
    assert known.asked(known.facts).origins == known.origins
