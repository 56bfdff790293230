"""Ctrl-C where no run is under way: one line that says how beam and lens stand, status 130, nothing half made."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.quickly import quick

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to another process as on Unix"),
]

# A wrapper that presses Ctrl-C when a function is called, the first time: no guessing of times.
PRESSED = """
import os, signal
import {module} as module
owner, name = {owner}, {name!r}
before = getattr(owner, name)
def pressed(*given, **named):
    setattr(owner, name, before)
    {press}
    return before(*given, **named)
setattr(owner, name, pressed)
from engine.commands.program import main
main()
"""
PRESS = "os.kill(os.getpid(), signal.SIGINT)"
SWALLOWED = f"""try:
        {PRESS}
        while True: pass
    except KeyboardInterrupt: pass"""
RUN = ["run", "cred", "--devices", "simulated-timing", "--accept-timing", "--set", "relax_cycles=0"]
CHECK = ["devices", "check", "simulated-timing"]


def pressed_at(place: str, words: list[str], press: str = PRESS) -> subprocess.CompletedProcess[str]:
    """The command with Ctrl-C at a place, `module:function` or `module:Class.method`."""
    module, _, path = place.partition(":")
    owner, _, name = f"module.{path}".rpartition(".")
    program = PRESSED.format(module=module, owner=owner, name=name, press=press)
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60)


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 130, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("credline: ")
    return line


@pytest.mark.parametrize(
    ("place", "press", "says"),
    quick(
        3,
        [
            ("importlib.metadata:entry_points", PRESS, "no run was under way, beam and lens are as they were"),
            ("engine.run.planfile:build_plan", PRESS, "no run was under way, beam and lens are as they were"),
            ("engine.run.planfile:build_plan", SWALLOWED, "interrupted before the run began: nothing was moved"),
            ("engine.views.strip:StripProcess.__init__", PRESS, "interrupted; no run was under way"),
            ("engine.run.devicesfile:instruments_locked", PRESS, "interrupted before the run began: nothing was moved"),
            ("engine.clock.selftest:check_timing", PRESS, "interrupted before the run began: nothing was moved"),
            ("engine.run.instrument:Commands", PRESS, "interrupted before the run began: nothing was moved"),
        ],
    ),
)
def test_before_a_run_it_is_one_line_and_nothing_was_moved(tmp_path: Path, place: str, press: str, says: str) -> None:
    words = RUN
    if "selftest" in place:  # the test of the timing is to find this machine punctual, also while it does other things
        words = [*(word for word in RUN if word != "--accept-timing"), "--set", "exposure_s=4"]
    assert says in only_line(pressed_at(place, [*words, "--out", str(tmp_path / "out")], press))
    assert list(tmp_path.glob("out/*")) == []


def test_while_the_strip_is_drawn_the_run_is_told_as_it_ended(tmp_path: Path) -> None:
    words = [*RUN, "--clock", "virtual", "--set", "range_deg=1", "--out", str(tmp_path)]
    done = pressed_at("engine.views.strip:StripProcess.draw", words)
    assert done.returncode == 0, done.stderr
    assert "mordenite_001: done" in done.stdout
    assert "the timing strip was not drawn" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("drivers.check.command:_check", "interrupted; beam and lens were not touched. Nothing was written."),
        ("drivers.check.measure:_calls", "the beam is blanked, the lens is back at 31000, where it was."),
        pytest.param(
            "drivers.check.measure:_cadence",
            "the beam is blanked, the lens is back at 31000, where it was.",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "drivers.check.rotation:_rotation",
            "the stage was told to stop where it was: look at it.",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_check_of_the_devices_says_how_it_leaves_them(place: str, says: str) -> None:
    words = [*CHECK, "--frames", "4", *(["--move"] if "rotation" in place else [])]
    assert says in only_line(pressed_at(place, words))


def test_a_soak_says_how_far_it_came() -> None:
    done = pressed_at("engine.commands.soakruns:closing", ["soak", "cred", "--seeds", "50"])
    assert only_line(done) == "credline: interrupted after 0 of 50 runs"
    assert done.stdout.startswith("0 runs (), ")
