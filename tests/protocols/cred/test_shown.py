"""How a display shows a run of cRED."""

import math

import pytest

from engine.record.document import RunDocument
from engine.run.registry import experiment_type
from protocols.products.resolutionrings import RINGS_A

GEOMETRY = {
    "wavelength_A": 0.02508,
    "camera_length_mm": 250.0,
    "pixel_size_mm": 0.055,
    "beam_fast_px": 261.3,
    "beam_slow_px": 255.1,
}
KIND = experiment_type("cred")


def _shown(geometry, **detector):
    instrument = {"geometry": geometry, "detector": {"shape": [512, 512], "wide_cross": True, **detector}}
    return KIND.shown(RunDocument(protocol="cred", instrument=instrument))


def test_rings_lie_where_their_spacing_is_on_the_detector():
    pattern = _shown(GEOMETRY, wide_cross=False)[0]
    assert pattern.centre_px == (261.3, 255.1)
    radii = {words: radius for radius, words in pattern.rings}
    assert set(radii) == {f"{d:g} A" for d in RINGS_A}
    # 1 A at 250 mm: 250 mm * 0.02508 A / 1 A = 6.27 mm, and 0.05 % more for the angle that is not small
    assert radii["1 A"] == pytest.approx(6.27 / 0.055, rel=1e-3)


@pytest.mark.parametrize(
    ("corrected_px", "raw_px"),
    [(10.0, 10.0), (254.0, 254.0), (256.0, 255.0), (259.0, 256.0), (261.3, 257.3), (515.0, 511.0)],
)
def test_the_beam_lies_in_the_pixels_that_the_camera_gave(corrected_px, raw_px):
    assert _shown({**GEOMETRY, "beam_fast_px": corrected_px})[0].centre_px[0] == pytest.approx(raw_px)


@pytest.mark.parametrize("wrong", [{}, {**GEOMETRY, "wavelength_A": math.nan}, {**GEOMETRY, "pixel_size_mm": "x"}])
def test_what_nobody_knows_leaves_the_rings_out(wrong):
    assert (_shown(wrong)[0].kind, _shown(wrong)[0].rings) == ("diffraction", ())


def test_the_course_is_the_angle_that_the_plan_asks_for():
    course = KIND.course({"start_deg": 30, "range_deg": -60, "speed_deg_s": 0.5})
    assert course is not None
    assert (course.begin, course.end, course.rate) == (30, -30, -0.5)
    assert KIND.course({"start_deg": None}) is None


def test_readings_and_frames_tell_the_angle():
    reading = {"kind": "call", "name": "stage.angle", "result": {"value": 1.5}}
    assert KIND.course_read(reading) == 1.5
    assert KIND.course_read({**reading, "result": None}) is None
    assert KIND.course_read({"kind": "frame", "name": "diffraction", "angle_deg": 2}) == 2
    assert KIND.course_read({"kind": "state", "name": "expose"}) is None
