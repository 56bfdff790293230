"""Figures of instruments judged: what cannot be, what is unusual, and the unit that was likely meant."""

from dataclasses import replace
from math import inf, nan, sqrt
from typing import Any

import pytest

from drivers import plausible
from drivers.facts import DetectorFacts, Facts, Geometry, OpticsFacts, StageFacts, Timing
from drivers.judged import (
    cannot_be,
    geometry_cannot_be,
    geometry_unusual,
    impossible,
    meant,
    question,
    questions,
)
from drivers.plausible import Plausible

GEOMETRY = Geometry(0.02508, 250.0, 0.055, -38.5, 261.3, 255.1)
FACTS = Facts(
    GEOMETRY,
    Timing(0.035, 0.06, 0.277),
    StageFacts((-80.0, 80.0), 0.05),
    OpticsFacts(0.35, 0.168),
    DetectorFacts((512, 512), "<u2", 11_810, (0.001, 10.0), 0.008, 0.004, wide_cross=True),
)
TABLE = {
    **{f"geometry.{key}": known for key, known in plausible.GEOMETRY.items()},
    **{f"timing.{key}": known for key, known in plausible.TIMING.items()},
    **{name: known for name, known in vars(plausible).items() if isinstance(known, Plausible)},
}


@pytest.mark.parametrize("name", TABLE)
def test_what_is_usual_is_possible(name: str) -> None:
    known = TABLE[name]
    assert known.possible[0] <= known.usual[0] < known.usual[1] <= known.possible[1]
    for value in known.usual:
        assert impossible(name, value, known) is None
        assert question(name, value, known) is None


@pytest.mark.parametrize("name", TABLE)
def test_nothing_that_is_no_number_is_possible(name: str) -> None:
    assert all(impossible(name, value, TABLE[name]) for value in (nan, inf, -inf))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("camera_length_mm", 0.25, " If 0.25 m was meant, write camera_length_mm = 250."),
        ("camera_length_mm", 25.0, " If 25 cm was meant, write camera_length_mm = 250."),
        ("camera_length_mm", 250.0, ""),
        ("camera_length_mm", -250.0, ""),
        ("wavelength_A", 2.508, " If 2.508 pm was meant, write wavelength_A = 0.02508."),
        ("wavelength_A", 120.0, " If 120 kV was meant, write wavelength_A = 0.03349."),
        ("wavelength_A", 0.0, ""),
        ("pixel_size_mm", 172.0, ""),
        ("pixel_size_mm", 75.0, " If 75 um was meant, write pixel_size_mm = 0.075."),
    ],
)
def test_the_unit_that_was_meant_is_the_one_that_leads_to_a_usual_value(key: str, value: float, says: str) -> None:
    assert meant(f"geometry.{key}", value, plausible.GEOMETRY[key]) == says


@pytest.mark.parametrize("name", [name for name, known in TABLE.items() if known.slips])
def test_no_slip_of_a_middling_value_goes_unnoticed_where_it_leaves_what_is_usual(name: str) -> None:
    known = TABLE[name]
    low, high = known.usual
    middle = sqrt(low * high) if low > 0 else high / 10
    for slip in known.slips:
        if (factor := slip.meant(1.0)) in (0.0, 1.0) or abs(slip.meant(2.0) - 2 * factor) > 1e-9 * abs(factor):
            continue  # not a factor: voltages
        slipped = middle / factor
        if not low <= slipped <= high:
            assert impossible(name, slipped, known) or question(name, slipped, known)
            assert "was meant" in meant(name, slipped, known)


def changed(part: str, **values: Any) -> Facts:
    return replace(FACTS, **{part: replace(getattr(FACTS, part), **values)})


def test_an_ordinary_instrument_is_not_asked_about() -> None:
    assert cannot_be(FACTS) is None
    assert questions(FACTS) == FACTS.questions == ()


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (changed("geometry", camera_length_mm=0.25), "camera_length_mm = 0.25: a camera length is 10 to 50000 mm."),
        (changed("geometry", beam_fast_px=99_999.0), "beam_fast_px = 99999: the detector has 516 pixels there"),
        (changed("geometry", beam_slow_px=-517.0), "geometry.beam_slow_px = -517: the detector has 516 pixels there"),
        (changed("timing", api_call_s=0.07), "timing.api_call_s = 0.07: a typical call cannot take longer"),
        (changed("timing", stage_read_s=277.0), "If 277 ms was meant, write stage_read_s = 0.277."),
        (changed("stage", limits_deg=(42.0, -42.0)), "stage.limits_deg = [42, -42]: the lowest tilt comes first"),
        (changed("stage", limits_deg=(10.0, 10.0)), "stage.limits_deg = [10, 10]"),
        (changed("stage", speeds_deg_s=(2.0, 1.0)), "stage.speeds_deg_s = [2.0, 1.0]: the slowest comes first"),
        (changed("optics", reference_settling_s=350.0), "If 350 ms was meant, write reference_settling_s = 0.35."),
        (changed("detector", overhead_s=80.0), "If 80 ms was meant, write overhead_s = 0.08."),
    ],
)  # fmt: skip
def test_what_no_instrument_has_is_named_with_its_value(facts: Facts, says: str) -> None:
    assert says in (cannot_be(facts) or "")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (changed("geometry", camera_length_mm=9000.0), "a camera length is usually 100 to 8000 mm; is it right?"),
        (changed("geometry", beam_fast_px=-20.0), "the beam is beside it"),
        (changed("geometry", beam_fast_px=0.5), "It is given in pixels"),
        (changed("timing", stage_read_s=2.0), "timing.stage_read_s = 2"),
        (changed("stage", backlash_deg=5.0), "stage.backlash_deg = 5"),
        (changed("detector", readout_s=8.0), "If 8 ms was meant, write readout_s = 0.008."),
    ],
)  # fmt: skip
def test_what_is_unusual_is_one_question(facts: Facts, says: str) -> None:
    assert cannot_be(facts) is None
    (asked,) = questions(facts)
    assert says in asked


def test_of_a_camera_without_pictures_nobody_asks_where_the_beam_is() -> None:
    blind = changed("detector", has_pictures=False)
    far = replace(blind, geometry=replace(GEOMETRY, beam_fast_px=5000.0))
    assert cannot_be(far) is None
    assert questions(far) == ()


def test_a_geometry_alone_is_judged_on_the_grid_of_its_pictures() -> None:
    assert geometry_cannot_be(GEOMETRY, (516, 516)) is None
    assert "the detector has 32 pixels" in (geometry_cannot_be(GEOMETRY, (32, 32)) or "")
    assert geometry_cannot_be(GEOMETRY) is None


def test_of_a_geometry_alone_the_unusual_is_asked_about() -> None:
    geometry = Geometry(0.0251, 25.0, 0.055, 0.0, 258.0, 258.0)
    assert geometry_cannot_be(geometry) is None
    (asked,) = geometry_unusual(geometry)
    assert asked.startswith("geometry.camera_length_mm = 25: a camera length is usually 100 to 8000 mm; is it right?")
    assert geometry_unusual(replace(geometry, camera_length_mm=250.0)) == ()
