"""What is known before anything moves: refusals, and what a person is told of a plan."""

from dataclasses import replace
from typing import Any

import pytest

from drivers.calibration.calibrationfacts import CalibrationFacts
from drivers.contract import Microscope
from drivers.facts import Facts
from engine.errors import Refused
from engine.record.document import RunDocument
from protocols.serialed.experiment import SERIALED
from protocols.serialed.plan import SerialedPlan
from tests.protocols.serialed.runs import devices

GRID: dict[str, Any] = devices()["microscope"]

pytestmark = [pytest.mark.asyncio, pytest.mark.microscope(**GRID)]


def uncalibrated(facts: Facts) -> Facts:
    return replace(facts, images=None, tracking=None, calibration=CalibrationFacts("titan.toml", 180.0, {}))


async def test_a_plan_says_how_many_fields_what_of_the_region_they_see_and_what_it_costs(
    simulated_microscope: Microscope,
) -> None:
    words = SERIALED.prepare(SerialedPlan(), simulated_microscope.facts).words
    assert words["fields"].startswith("225, 13 um apart")
    assert "21 % of the region is seen" in words["a field"]
    assert "patterns an hour" in words["duration"]


async def test_fields_that_overlap_are_said_to(simulated_microscope: Microscope) -> None:
    words = SERIALED.prepare(SerialedPlan(step_um=5), simulated_microscope.facts).words
    assert "fields overlap" in words["a field"]


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"centre_nm": (950e3, 0.0)}, "centre_nm: field .* cannot be reached: x_nm"),
        ({"centre_nm": (0.0, -950e3)}, "centre_nm: field 1 cannot be reached: y_nm"),
        ({"magnification": 2501.0}, "magnification: magnification = 2501 is none of"),
        ({"probe_brightness": 1e6}, "probe_brightness: brightness"),
        ({"image_exposure_s": 100.0}, "image_exposure_s: the camera cannot expose for 100 s"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_key(
    simulated_microscope: Microscope, plan: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        SERIALED.prepare(SerialedPlan(**plan), simulated_microscope.facts)


async def test_the_region_around_where_the_stage_stands_is_looked_at_before_the_run(
    simulated_microscope: Microscope,
) -> None:
    assert await SERIALED.look(SerialedPlan(), simulated_microscope)
    with pytest.raises(Refused, match="cannot be reached"):
        await SERIALED.look(SerialedPlan(width_um=2500), simulated_microscope)


async def test_an_instrument_that_was_not_calibrated_is_refused_with_the_command(
    simulated_microscope: Microscope,
) -> None:
    facts = simulated_microscope.facts
    with pytest.raises(Refused, match="credline calibrate stage --devices FILE --set magnification=2500"):
        SERIALED.prepare(SerialedPlan(), uncalibrated(facts))
    images = facts.images
    assert images is not None
    scale = images.at(2500.0)
    assert scale is not None
    no_shift = replace(images, scales=(replace(scale, beam_shift_px=None),))
    with pytest.raises(Refused, match="credline calibrate beam-shift --devices FILE --set magnification=2500"):
        SERIALED.prepare(SerialedPlan(), replace(facts, images=no_shift))


async def test_a_field_larger_than_the_beam_shift_reaches_is_refused(simulated_microscope: Microscope) -> None:
    facts = simulated_microscope.facts
    images = facts.images
    assert images is not None
    scale = images.at(2500.0)
    assert scale is not None
    weak = replace(images, scales=(replace(scale, beam_shift_px=(0.001, 0.0, 0.0, 0.001)),))
    with pytest.raises(Refused, match=r"from corner to corner a field takes .* Take a higher magnification"):
        SERIALED.prepare(SerialedPlan(), replace(facts, images=weak))


async def test_a_camera_without_pictures_finds_no_crystal(simulated_microscope: Microscope) -> None:
    facts = simulated_microscope.facts
    assert facts.detector is not None
    with pytest.raises(Refused, match="makes no pictures"):
        SERIALED.prepare(SerialedPlan(), replace(facts, detector=replace(facts.detector, has_pictures=False)))


async def test_a_probe_that_lights_the_neighbours_is_said(simulated_microscope: Microscope) -> None:
    plan = SerialedPlan(crystals="isolated", probe_nm=2000)
    assert "its neighbours are lit" in SERIALED.prepare(plan, simulated_microscope.facts).remarks[0]


async def test_words_are_understood_for_the_fields_of_the_run() -> None:
    document = RunDocument(protocol="serialed", plan=SerialedPlan(width_um=26, height_um=26).model_dump(mode="json"))
    assert SERIALED.understood("next  3", document) == "next 3"
    with pytest.raises(Refused, match="fields 1 to 4"):
        SERIALED.understood("skip 5", document)
