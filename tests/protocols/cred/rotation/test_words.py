"""What the operator is told of the pedal and of the rotation that is seen."""

import dataclasses
from pathlib import Path

import pytest

from drivers.calibration.rotationspeed import RotationCalibration, RotationSpeeds, stage_facts
from drivers.facts import StageFacts
from engine.record.trace import Record
from protocols.cred.plan import CredPlan
from protocols.cred.rotation.words import pedal_words, seen_words
from tests.engine.traces import record_run, records_of

STEPS = RotationSpeeds(RotationCalibration(pace=1.1), {1: 0.25, 2: 0.5, 3: 1.0})
DIAL = RotationSpeeds(RotationCalibration(pace=0.02), None, (0.001, 1.0))
PLAIN = StageFacts((-70.0, 70.0), 0.1)


@pytest.mark.parametrize(
    ("range_deg", "here_deg", "facts", "says"),
    [
        (60.0, -30.02, PLAIN, "hold it towards higher angles, from -30.0 to 31.5 deg, for about 137 s."),
        (-60.0, -30.0, PLAIN, "hold it towards lower angles, from -30.0 to"),
        (60.0, -30.0, PLAIN, "Speed setting: 0.45 deg/s."),
        (60.0, -30.0, stage_facts((-70, 70), 0.1, STEPS), "Speed setting: 2 (0.4545 deg/s, planned 0.45)."),
        (60.0, -30.0, stage_facts((-70, 70), 0.1, DIAL), "Speed setting: 0.009 (0.45 deg/s, planned 0.45)."),
        (60.0, 0.0, PLAIN, "The stage stands at 0.0 deg, the plan begins at -30 deg."),
    ],
)
def test_the_pedal_has_a_direction_an_angle_a_time_and_a_speed_setting(
    range_deg: float, here_deg: float, facts: StageFacts, says: str
) -> None:
    plan = CredPlan(range_deg=range_deg)
    words = pedal_words(plan, facts, here_deg, 31.52 if range_deg > 0 else -91.52)
    assert says in words
    assert ("the plan begins at" in words) == (here_deg == 0.0)


@pytest.mark.parametrize(
    ("rate_deg_s", "sigma_deg_s", "says"),
    [
        (0.4512, 0.002, "The stage turns at 0.4512 +- 0.0020 deg/s, as planned."),
        (-0.46, 0.03, "turns at 0.4600 +- 0.0300 deg/s, as planned."),
        (0.9, 0.002, "PLANNED WERE 0.45 deg/s. Each slot covers 0.4500 instead of 0.2250 deg."),
    ],
)
def test_what_is_seen_is_compared_with_the_plan(rate_deg_s: float, sigma_deg_s: float, says: str) -> None:
    assert says in seen_words(CredPlan(), rate_deg_s, sigma_deg_s, 0.5)


def told(records: list[Record]) -> list[str]:
    return [r["text"].partition(".")[0] for r in records if (r["kind"], r["name"]) == ("note", "operator")]


def test_a_run_by_the_pedal_tells_what_to_do_and_what_is_seen_once(tmp_path: Path) -> None:
    assert told(records_of(record_run(tmp_path))) == [
        "PEDAL: hold it towards higher angles, from -30",
        "Rotation seen: keep the pedal down",
        "The stage turns at 0",
        "Range covered: let the pedal go",
    ]


def test_a_commanded_rotation_asks_for_no_pedal(tmp_path: Path) -> None:
    assert told(records_of(record_run(tmp_path, rotation="commanded"))) == ["Rotation seen", "The stage turns at 0"]


@pytest.mark.parametrize(
    ("facts", "speed_deg_s", "found"),
    [
        (PLAIN, 0.5, None),
        (stage_facts((-70, 70), 0.1, None), 0.5, None),
        (stage_facts((-70, 70), 0.1, RotationSpeeds(levels={0: 10.0, 1: 2.0})), 3.0, (1.0, 2.0)),
        (stage_facts((-70, 70), 0.1, RotationSpeeds(levels={3: 2.0})), 9.0, (3.0, 2.0)),
        (stage_facts((-70, 70), 0.1, RotationSpeeds(limits=(0.1, 1.1))), 0.6, (0.6, 0.6)),
        (stage_facts((-70, 70), 0.1, RotationSpeeds(limits=(0.1, 1.1))), 5.0, (1.1, 1.1)),
        (stage_facts((-70, 70), 0.1, RotationSpeeds()), 0.6, None),
    ],
)
def test_a_setting_is_found_for_a_speed(
    facts: StageFacts, speed_deg_s: float, found: tuple[float, float] | None
) -> None:
    assert facts.setting_for(speed_deg_s) == (None if found is None else pytest.approx(found))
    assert dataclasses.replace(facts, speed_settings=()).setting_for(speed_deg_s) is None
