"""The soak can fail: bugs planted on purpose are found. benchmarks/planted.py plants more, and looks for the seeds."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from benchmarks.plantedbugs.registry import PLANTED, planted
from engine.run.registry import experiment_type
from engine.run.trial import Case
from engine.testing.soak import quiet, try_case
from tests.quickly import quick

PLAIN = {
    "exposure_s": 0.2,
    "speed_deg_s": 1.0,
    "start_deg": 0.0,
    "range_deg": 4.24,  # 20 slots
    "rotation": "commanded",
    "snapshot_interval": 0,
    "relax_cycles": 0,
    "unblank": True,
    "formats": [],
}
SNAPSHOTS = {**PLAIN, "snapshot_interval": 7}
LOOKED_AT = {**PLAIN, "live": True, "speed_deg_s": 2.0, "range_deg": 16.96}  # 40 slots

FOUND: dict[str, tuple[dict[str, Any], str | tuple[str, ...], str]] = {
    # bug: plan, trouble or troubles, the rule that breaks
    "blank missing when aborted": (PLAIN, "operator 3.5 abort", "the beam is off, or the alarm says so"),
    "image shift left where tracking has brought it": (
        {**SNAPSHOTS, "tracking": "correct", "range_deg": 12.72},  # 60 slots
        "",
        "the image shift is back where it was, or an alarm says so",
    ),
    "nobody makes sure of the beam": (PLAIN, "beam.blank 1 ignored", "the beam is off, or the alarm says so"),
    "one answer of the blanker believed": (
        PLAIN,
        ("beam.blank 1 ignored", "beam.blank 2 ignored", "beam.is_blanked finalize+1 wrong 1"),
        "the beam is off, or the alarm says so",
    ),
    "beam unblanked while waiting for rotation": (PLAIN, "", "the beam is unblanked when rotation was seen"),
    "stage not stopped": (PLAIN, "detector.start 9 error", "the stage stands, or the alarm says so"),
    "a stop believed": (
        PLAIN,
        ("stage.stop 1 ignored", "stage.stop 2 ignored", "operator 3.5 abort"),
        "the stage stands, or the alarm says so",
    ),
    "a stop believed before the stage was seen to turn": (
        PLAIN,
        ("stage.stop 1 ignored", "stage.stop 2 ignored", "operator wait-for-rotation+0.25 abort"),
        "the stage stands, or the alarm says so",
    ),
    "a reading compared with the last one alone": (
        {
            **PLAIN,
            "exposure_s": 0.5,
            "speed_deg_s": 2.0,
            "start_deg": 12.5,
            "range_deg": 32.768,
            "rotation": "pedal",
            "snapshot_interval": 5,
        },
        ("disk.write 5 slow 2.893", "host finalize+0.044 leap 0.913"),
        "a stage that strays is noticed",
    ),
    "focus forgotten at the end": (SNAPSHOTS, "optics.set_focus 2 error", "the lens is in focus, or the alarm says so"),
    "an alarm that nobody hears": (PLAIN, "beam.blank 1 away 60", "the beam is off, or the alarm says so"),
    "a frame dropped by the pump": (PLAIN, "", "the files of the run agree"),
    "frames numbered on after a lost slot": (PLAIN, "detector.frames 5 late 0.5", "the files of the run agree"),
    "one slot too many after a lost one": (PLAIN, "detector.frames 5 late 0.5", "the files of the run agree"),
    "a lost slot without its name": (PLAIN, "detector.frames 5 late 0.5", "the files of the run agree"),
    "a doubled frame is taken for the next": (PLAIN, "detector.frames 9 double", "frames begin where their slots do"),
    "the period is a mean since the start": (PLAIN, "detector.frames 8 late 0.9", "some late frames do not move"),
    "a stage that strays is not noticed": (
        {**PLAIN, "exposure_s": 0.5, "speed_deg_s": 0.45, "range_deg": 4.0},
        "stage.motion expose+3 jump -0.6",
        "a stage that strays is noticed",
    ),
    "frames of a standing stage are kept": (PLAIN, "stage.motion 4 stop", "angles of kept frames are true"),
    "a swallowed cancellation": (PLAIN, "operator 3.5 stop", "a replay makes the same trace"),
    "a leaked task": (SNAPSHOTS, "", "no task is left"),
    "a leaked thread": (PLAIN, "", "no thread, no file is left"),
    "a disk error ignored": (PLAIN, "disk.write 30 full", "the files of the run agree"),
    "a failed write is followed by others": (PLAIN, "disk.write 30 full", "the files of the run agree"),
    "the journal misses the last state": (PLAIN, "detector.start 9 error", "the files of the run agree"),
    "what a camera leaves open is forgotten": (
        {**PLAIN, "exposure_s": 0.5, "range_deg": 8.0},
        "detector.start 9 shutter 0.11",
        "each kept frame says how far its angle may be off",
    ),
    "what a stage that strays leaves open is forgotten": (
        {**PLAIN, "exposure_s": 0.5, "range_deg": 12.0},
        ("stage.motion expose+2 slip 0.565", "stage.angle expose+4 wrong 0.565"),
        "each kept frame says how far its angle may be off",
    ),
    "nobody watches the frames": (PLAIN, "detector.frames 3 dark", "a camera that shows nothing is noticed"),
    "a run goes on where bad frames are to stop it": (
        {**PLAIN, "bad_frames": "stop"},
        "detector.frames 3 same",
        "bad_frames = stop ends the run",
    ),
    "a run goes on where a look has ended it": (
        {**LOOKED_AT, "stop_if": {"no_lattice_after_deg": 2.5}},
        "",
        "a decision ends the run",
    ),
    "a look decides what nobody has asked for": (LOOKED_AT, "", "only what the plan asks for is decided"),
    "frames of another type are kept": (PLAIN, "detector.frames 5 type", "the files of the run agree"),
    "nobody looks again at the mode": (PLAIN, "mode.changed 3 imaging", "a changed mode is said, and no other"),
}


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    quiet()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("bug", quick(12, FOUND))
def test_a_planted_bug_is_found(bug: str) -> None:
    plan, trouble, rule = FOUND[bug]
    troubles = (trouble,) if isinstance(trouble, str) else trouble
    kind, case = experiment_type("cred"), Case(1, plan, tuple(words for words in troubles if words))
    assert try_case(kind, case).broken == ()
    with planted(bug):
        broken = try_case(kind, case).broken
    assert any(rule in line for line in broken), broken
    assert try_case(kind, case).broken == ()  # it is gone again


def test_bugs_have_names_of_their_own() -> None:
    assert len(PLANTED) >= 30
    assert all(PLANTED[bug]() for bug in PLANTED)
