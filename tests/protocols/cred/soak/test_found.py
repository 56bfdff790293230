"""What the soak found, each with its reason as its name: a run that broke a rule once keeps them all now."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from engine.run.registry import experiment_type
from engine.run.trial import Case
from engine.testing.soak import quiet, try_case

PLAN: dict[str, Any] = {
    "exposure_s": 0.5,
    "speed_deg_s": 0.45,
    "start_deg": 0.0,
    "range_deg": 2.534,
    "rotation": "commanded",
    "snapshot_interval": 0,
    "relax_cycles": 0,
    "unblank": True,
    "formats": [],
}
QUICK = {**PLAN, "exposure_s": 0.1, "speed_deg_s": 1.0}
TRACKED = {**PLAN, "range_deg": 8.0, "snapshot_interval": 8, "tracking": "correct"}
PEDAL = {**PLAN, "rotation": "pedal", "relax_cycles": 1}

FOUND: dict[str, tuple[int, dict[str, Any], tuple[str, ...]]] = {
    "a stop was ignored of a stage that had begun to turn and was not yet seen to": (
        77101750,
        {**PLAN, "range_deg": 0.633},
        ("stage.stop 1 ignored", "operator 1.27 abort"),
    ),
    "a stop was ignored of a stage whose pedal had just been pressed": (
        77102773,
        {**PEDAL, "exposure_s": 0.05, "range_deg": 0.53},
        ("stage.stop 1 ignored", "operator 2.218 abort"),
    ),
    "a stop was ignored of a slow stage": (
        77104384,
        {**PEDAL, "exposure_s": 0.2, "speed_deg_s": 0.2, "range_deg": 0.89},
        ("stage.stop 1 ignored", "operator 3.541 abort"),
    ),
    "a stop was ignored of a stage that had turned the wrong way": (
        77103603,
        {**PLAN, "exposure_s": 0.1, "range_deg": -1.26, "snapshot_interval": 7, "relax_cycles": 2},
        ("stage.stop 1 ignored", "stage.motion 3.586 reverse"),
    ),
    "a stop was ignored on the way to the start angle": (
        1,
        {**PLAN, "start_deg": -30.0},
        ("stage.stop 1 ignored", "operator 1.5 abort"),
    ),
    "a stop was ignored, and the host stood still while the stage was looked at": (
        91000068,
        {**PLAN, "exposure_s": 0.2, "speed_deg_s": 2.0, "start_deg": -30.0, "range_deg": 8.48},
        ("operator relax+0.569 abort", "stage.stop finalize+1 ignored", "host finalize+0.097 leap 1.002"),
    ),
    "a stop was ignored, and the pedal was pressed while the stage was looked at": (
        91001208,
        {**PLAN, "rotation": "pedal", "speed_deg_s": 2.0, "start_deg": -30.0, "range_deg": 23.552},
        ("operator wait-for-rotation+2.623 abort", "stage.stop finalize+1 ignored"),
    ),
    "a slow reading hid half of a slip, and the reading after it was compared with that one alone": (
        77103794,
        {**PLAN, "relax_cycles": 1},
        ("host 3.397 leap 0.786",),
    ),
    "a stop was ignored of a stage that stood by itself for a moment": (
        60001063,
        {**PLAN, "range_deg": 0.713},
        ("stage.motion expose+0.16 slip 1.083", "stage.stop finalize+1 ignored", "stage.angle finalize+1 slow 0.326"),
    ),
    "short frames went dark, and snapshots lay between those that were looked at": (
        60002978,
        {
            **PLAN,
            "exposure_s": 0.2,
            "start_deg": 12.5,
            "range_deg": 1.622,
            "snapshot_interval": 6,
            "bad_frames": "stop",
        },
        ("detector.frames 4 dark",),
    ),
    "the stage stopped, and the last reading but one, which was near enough, had none beside it": (
        60004287,
        {**QUICK, "range_deg": 2.352},
        ("stage.motion expose+1.877 stop", "stage.angle finalize+3 hang"),
    ),
    "two readings that agreed were near enough to the line, the one not and the other just": (
        62000815,
        {**QUICK, "rotation": "pedal", "range_deg": 1.904, "snapshot_interval": 14},
        ("host expose+0.534 leap 0.318",),
    ),
    "the first reading failed, and the stage slipped before the next": (
        91000558,
        {**PLAN, "range_deg": 7.373, "snapshot_interval": 4, "relax_cycles": 1},
        ("host delay+0.432 leap 0.5", "stage.angle expose+1 error"),
    ),
    "a wrong reading hid a jump of its size after it, in the first slot": (
        1031,
        {**PLAN, "speed_deg_s": 0.2, "range_deg": 0.405, "snapshot_interval": 3},
        ("stage.motion delay+0.821 jump 0.552", "stage.angle expose+1 wrong 0.552"),
    ),
    "a wrong reading hid a jump of its size after it, before the first slot": (
        1031,
        {**PEDAL, "range_deg": 0.405, "relax_cycles": 0},
        ("stage.motion delay+0.4 jump 0.552", "stage.angle delay+1 wrong 0.552"),
    ),
    "a wrong last reading hid a jump of its size before it": (
        7019,
        {**PLAN, "exposure_s": 0.05, "speed_deg_s": 1.0, "start_deg": 12.5, "range_deg": 0.806},
        ("stage.motion delay+0.739 jump 0.816", "stage.angle finalize+1 wrong -0.816"),
    ),
    "a move lay in a long pause between two readings, for the disk held up the run, and tilted the line": (
        73002516,
        {**PLAN, "exposure_s": 1.0, "speed_deg_s": 0.2, "range_deg": 4.858, "relax_cycles": 0},
        ("disk.write 13 slow 9.731", "disk.write 7 slow 9.952", "host 8.329 leap 0.838"),
    ),
    "a move lay in a long pause between two readings, and a wrong one after it by as much was left out": (
        71005016,
        {**PEDAL, "exposure_s": 0.05, "speed_deg_s": 2.0, "start_deg": 12.5, "range_deg": 2.232, "relax_cycles": 0},
        ("host delay+0.549 leap 0.262", "stage.angle finalize+1 wrong -0.262"),
    ),
    "the stage stood for a while in a pause between two readings, and looked like a slower one": (
        73008443,
        {**PEDAL, "exposure_s": 0.05, "speed_deg_s": 1.0, "range_deg": 2.294, "relax_cycles": 0},
        ("detector.frames 1 late 1.2", "disk.write 19 slow 0.734", "stage.motion 3.56 slip 1.316"),
    ),
    "two blanks were ignored, and the blanker's one answer was wrong": (
        93000410,
        {**PLAN, "range_deg": 0.778},
        ("beam.blank 1 ignored", "beam.blank 2 ignored", "beam.is_blanked finalize+1 wrong 1"),
    ),
    "the lens ignored its way back, and its one answer was the one that was hoped for": (
        1,
        {**PLAN, "snapshot_interval": 6},
        (
            "operator defocus-snapshot+0.05 abort",
            "optics.set_focus finalize+1 ignored",
            "optics.focus finalize+1 wrong -1500",
        ),
    ),
    "the stage ignored its stop, and a reading hid by just how much it turned on": (
        1,
        {**PLAN, "speed_deg_s": 2.0, "range_deg": 8.0},
        (
            "operator expose+1 abort",
            "stage.stop finalize+1 ignored",
            "stage.stop finalize+2 ignored",
            "stage.angle finalize+4 wrong -0.47",
        ),
    ),
    "late frames left no time to read the stage, it jumped, and the reading after that was not used": (
        330018910,
        {**PLAN, "exposure_s": 1.0, "speed_deg_s": 2.0, "start_deg": -38.0, "range_deg": 64.768},
        (
            "stage.motion 15.322 jump -0.583",
            *(f"detector.frames {k} late 0.576" for k in (13, 14, 15, 16, 20, 21)),
        ),
    ),
    "the image shift ignored its way back": (
        1,
        TRACKED,
        ("operator expose+5 abort", "deflectors.set finalize+1 ignored"),
    ),
    "a disk failed at the instant at which a state was left": (
        20585,
        {**PLAN, "exposure_s": 0.2, "speed_deg_s": 2.0, "range_deg": -1.272, "snapshot_interval": 7},
        ("disk.write 7 full", "beam.blank 1 error"),
    ),
    "two frames that waited for the disk came at one instant, and a replay searched both at once": (
        352005639,
        {
            **{"exposure_s": 0.5, "speed_deg_s": 2.0, "start_deg": -30.0, "range_deg": 25.6, "rotation": "commanded"},
            **{"snapshot_interval": 11, "relax_cycles": 0, "unblank": True, "rotation_timeout_s": 20.0, "formats": []},
            **{"live": True, "stop_if": {"several_lattices": True}, "tracking": "correct"},
            **{"snapshot_when_unsure_nm": 100.0, "snapshot_interval_least": 8, "crystal_lost": "go on"},
        },
        ("disk.sync 38 slow 2.505", "deflectors.set 5 hang"),
    ),
    "a stage slipped, and the reading after it was wrong by just as much": (
        351031213,
        {**PLAN, "exposure_s": 0.2, "speed_deg_s": 2.0, "start_deg": -30.0, "range_deg": 12.3, "snapshot_interval": 5},
        ("stage.motion expose+0.43 slip 0.565", "stage.angle expose+3 wrong 0.565"),
    ),
    "a stage jumped while its speed was known to 20 %, and two readings agreed that it had been slow": (
        351001988,
        {**PEDAL, "speed_deg_s": 2.0, "start_deg": -30.0, "range_deg": 13.312},
        ("stage.motion delay+0.44 jump -0.341",),
    ),
    "a slip too small to be noticed passed for a slower stage, and its end for a faster one": (
        351031735,
        {**PEDAL, "speed_deg_s": 2.0, "range_deg": 17.408, "snapshot_interval": 8},
        ("stage.motion delay+0.646 slip 0.514",),
    ),
    "a wrong reading and a leap of the clock looked like a stage that had stopped": (
        351026096,
        {**PLAN, "speed_deg_s": 2.0, "start_deg": -30.0, "range_deg": 19.458, "snapshot_interval": 5},
        (
            *("host wait-for-rotation+0.864 leap 0.219", "stage.angle expose+1 wrong 0.219"),
            "operator defocus-snapshot+0.028 abort",
        ),
    ),
}


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    quiet()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("reason", FOUND)
def test_what_broke_a_rule_keeps_them_all(reason: str) -> None:
    seed, plan, troubles = FOUND[reason]
    verdict = try_case(experiment_type("cred"), Case(seed, plan, troubles))
    assert verdict.broken == ()
    assert verdict.never_came == ()
