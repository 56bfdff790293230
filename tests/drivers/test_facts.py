"""What is known of an instrument without a call: what follows from it, and that a header keeps it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import Microscope
from drivers.facts import DetectorFacts, Facts, OpticsFacts, PacedFacts, StageFacts, Timing
from drivers.simulated.microscope import SIMULATED
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import DataError

CAMERA = DetectorFacts((512, 512), "<u2", 65_535, (0.001, 10.0), readout_s=0.008, overhead_s=0.004)
PACED = replace(CAMERA, readout_s=0.0, overhead_s=0.0, paced=PacedFacts(0.01, 0.012, spare=2, saturation=4095))


def of_the_simulated() -> Facts:
    async def connected(microscopes: list[Microscope]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with SIMULATED.connect(VirtualClock(loop), 1, {}) as parts:
            microscopes.append(parts.assembled())

    found: list[Microscope] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(connected(found))
    return found[0].facts


SIMULATED_FACTS = of_the_simulated()


# --- what follows from them


@pytest.mark.parametrize(
    ("camera", "exposure_s", "cycle_s"),
    [
        (CAMERA, 0.5, 0.512),
        (PACED, 0.01, (1 + 2) * 0.012),
        (PACED, 0.011, (2 + 2) * 0.012),  # whole parts
        (PACED, 0.5, (50 + 2) * 0.012),
        (replace(PACED, overhead_s=0.03), 0.5, (50 + 2) * 0.012 + 0.03),
        (replace(CAMERA, cycles_s=((0.5, 0.6),)), 0.5, 0.6),
        (replace(CAMERA, cycles_s=((0.5, 0.6),)), 0.4, 0.412),
        (PACED.with_dead_time(0.1), 0.5, 0.6),
    ],
)
def test_the_next_exposure_may_begin_after_a_cycle(camera: DetectorFacts, exposure_s: float, cycle_s: float) -> None:
    assert camera.cycle_s(exposure_s) == pytest.approx(cycle_s)


@given(st.floats(1e-3, 100.0), st.floats(1e-3, 0.1))
def test_an_exposure_of_parts_is_never_shorter_than_asked_for(exposure_s: float, part_s: float) -> None:
    assert PacedFacts(part_s, part_s, spare=0).parts(exposure_s) * part_s >= exposure_s - 1e-6 * part_s


@pytest.mark.parametrize(
    ("camera", "exposure_s", "most"), [(CAMERA, 0.5, 65_535), (PACED, 0.05, 5 * 4095), (PACED, 0.5, 65_535)]
)
def test_a_sum_of_parts_is_full_when_each_of_them_is(camera: DetectorFacts, exposure_s: float, most: int) -> None:
    assert camera.saturation_of(exposure_s) == most


@pytest.mark.parametrize(
    ("tells_begin", "overhead_s", "cycle_s", "lead_s"),
    [(False, 0.0, 0.084, 0.0), (False, 0.03, 0.114, 0.0), (True, 0.0, 0.084, 0.006), (True, 0.03, 0.12, 0.006)],
)
def test_a_grid_that_begins_on_a_part_has_whole_parts_as_its_period(
    tells_begin: bool, overhead_s: float, cycle_s: float, lead_s: float
) -> None:
    """An exposure of 5 parts of 12 ms, and 2 that pass."""
    paced = PacedFacts(0.01, 0.012, spare=2, tells_begin=tells_begin)
    assert replace(CAMERA, readout_s=0.0, overhead_s=overhead_s, paced=paced).cycle_s(0.05) == pytest.approx(cycle_s)
    assert paced.lead_s == lead_s


def test_twice_the_defocus_takes_a_constant_time_more_to_settle() -> None:
    lens = OpticsFacts(0.4, 0.2)
    assert lens.settling_s(1500) == pytest.approx(0.4)
    assert lens.settling_s(-3000) - lens.settling_s(1500) == pytest.approx(0.2 * 0.693, abs=1e-3)
    assert lens.settling_s(0) == lens.settling_s(1) == 0.0
    assert OpticsFacts(0.4).settling_s(10) == 0.4  # one figure for any defocus


@pytest.mark.parametrize(
    ("changes", "speed_deg_s", "words"),
    [
        ({}, 0.123, None),
        ({"speeds_deg_s": (0.5, 1.0)}, 0.49, None),
        ({"speeds_deg_s": (0.5, 1.0)}, 0.45, "cannot rotate at 0.45 deg/s, the nearest it can do is 0.5 deg/s"),
        ({"speed_limits_deg_s": (0.1, 2.0)}, 0.3, None),
        ({"speed_limits_deg_s": (0.1, 2.0)}, 5.0, "the nearest it can do is 2 deg/s"),
        ({"can_rotate": False}, 0.5, "only the operator can start a rotation"),
    ],
)
def test_a_speed_that_a_stage_does_not_have_is_known_beforehand(
    changes: dict[str, Any], speed_deg_s: float, words: str | None
) -> None:
    said = replace(StageFacts((-60.0, 60.0), 0.1), **changes).no_speed(speed_deg_s)
    assert said is None if words is None else words in str(said)


# --- a header keeps them


@pytest.mark.parametrize(
    "facts",
    [
        SIMULATED_FACTS,
        replace(SIMULATED_FACTS, detector=PACED),
        replace(SIMULATED_FACTS, detector=replace(PACED, paced=PacedFacts(0.01, 0.01, 2, tells_begin=True))),
        replace(SIMULATED_FACTS, detector=replace(CAMERA, dark_counts=0.0)),
        replace(SIMULATED_FACTS, detector=replace(CAMERA, dtype="", cycles_s=((0.5, 0.6), (0.01, 0.1)))),
        replace(SIMULATED_FACTS, stage=StageFacts((-60, 60), 0, can_rotate=False, speed_limits_deg_s=(0.1, 2.0))),
        Facts(SIMULATED_FACTS.geometry, SIMULATED_FACTS.timing),
    ],
)
def test_a_header_tells_the_same_facts_again(facts: Facts) -> None:
    told = json.loads(json.dumps(facts.as_dict()))
    assert Facts.of(told) == facts
    assert Facts.of({**told, "aberrations": {"Cs_mm": 1.0}}) == facts  # of a later version


def test_facts_hold_no_device() -> None:
    """Numbers, texts and choices, and tables and lists of them: nothing that could be asked or moved."""

    def look(value: object) -> None:
        if is_dataclass(value):
            for item in fields(value):
                look(getattr(value, item.name))
        elif isinstance(value, Mapping):
            for each in (*value.keys(), *value.values()):
                look(each)
        elif isinstance(value, tuple):
            for each in value:
                look(each)
        else:
            assert isinstance(value, bool | int | float | str | Enum | None)

    look(SIMULATED_FACTS)
    assert SIMULATED_FACTS.illumination is not None  # every part was looked into


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("geometry", ..., r"instrument\.geometry: Field required"),
        ("stage", {"limits_deg": [1]}, r"instrument\.stage\.limits_deg"),
        ("optics", {"reference_defocus": 0}, r"instrument\.optics\.reference_defocus"),
        ("detector", {"readout_s": float("nan")}, r"instrument\.detector\.readout_s"),
        ("detector", {"shape": [0, 512]}, r"instrument\.detector\.shape\.0"),
        ("detector", {"dtype": "<c8"}, r"instrument\.detector\.dtype"),
        ("detector", {"paced": {"part_s": 1e-300, "period_s": 1, "spare": 0}}, r"instrument\.detector\.paced\.part_s"),
        ("mode", {"modes": ["lorentz"]}, r"instrument\.mode\.modes"),
    ],
)
def test_a_damaged_header_is_refused_in_one_line(part: str, change: Any, words: str) -> None:
    told = SIMULATED_FACTS.as_dict()
    if change is ...:
        del told[part]
    else:
        told[part] |= change
    with pytest.raises(DataError, match=words) as refused:
        Facts.of(told)
    assert len(str(refused.value).splitlines()) == 1


# --- as earlier versions told them

EARLIER = {
    "geometry": SIMULATED_FACTS.as_dict()["geometry"],
    "timing": {"api_call_s": 0.035, "api_call_worst_s": 0.06, "stage_read_s": 0.035},
    "stage": {"limits_deg": [-80.0, 80.0], "backlash_deg": 0.05},
    "optics": {"settling_s": 0.35},
    "detector": {
        "shape": [64, 64],
        "saturation": 11810,
        "wide_cross": False,
        "flatfield": True,
        "exposure_limits_s": [0.001, 10.0],
        "dead_time_s": 0.012,
    },
}


def test_an_earlier_header_told_times_for_its_plan_and_no_type() -> None:
    facts = Facts.of(EARLIER)
    assert facts.timing == Timing(0.035, 0.06, 0.035)
    assert facts.optics is not None
    assert facts.optics.settling_s(1500) == 0.35
    assert facts.detector is not None
    assert facts.detector.cycle_s(0.5) == 0.5 + 0.012
    assert (facts.detector.dtype, facts.detector.flatfield) == ("<u2", True)


def test_an_earlier_header_may_have_told_another_dead_time_for_another_exposure() -> None:
    facts = Facts.of({**EARLIER, "detector": {**EARLIER["detector"], "dtype": "", "dead_times_s": [[0.01, 0.09]]}})
    assert facts.detector is not None
    assert facts.detector.dtype == ""
    assert facts.detector.cycle_s(0.01) == 0.01 + 0.09
    assert facts.detector.cycle_s(0.5) == 0.5 + 0.012


@pytest.mark.parametrize("others", [7, [7], [["a", 1]], [[10**400, 0.1]]])
def test_an_earlier_header_that_was_damaged_is_refused(others: Any) -> None:
    with pytest.raises(DataError, match=r"instrument\.detector\.cycles_s"):
        Facts.of({**EARLIER, "detector": {**EARLIER["detector"], "dead_times_s": others}})
