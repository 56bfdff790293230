"""Sessions on the real clock that are killed or suspended between their children, paused, or between two runs.

The instrument outlives its program (`register`), so the test looks at the blanker as at hardware.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.contract import Microscope
from drivers.simulated.register import Register
from engine.clock import RealClock
from engine.run.contract import Prepared
from engine.run.instrument import Instrument
from engine.run.run import Run
from tests.engine.run.toy_session import TOY, ToyPlan

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are killed and suspended as on Unix"),
]


def session(folder: Path, where: str) -> None:
    """For a process that is going to be killed: a session that stays somewhere with the beam on."""
    devices = folder / "devices.toml"
    devices.write_text(f"[microscope]\ndriver = 'simulated-timing'\nregister = '{folder / 'register'}'\n")

    def watch(run: Run, _: Prepared) -> None:
        if where == "paused" and run.folder.name == "day_001":
            run.commands.pause("operator")

    async def perform() -> None:
        async with Instrument.open(str(devices), RealClock(), signals=False, watch=watch) as instrument:
            if where == "between two runs":
                await instrument.perform(TOY, ToyPlan(sample="day", light_s=0.1), out=folder, accept_timing=True)
                assert isinstance(instrument.microscope, Microscope)
                await instrument.microscope.beam.unblank()  # a person looks for the next crystal
                await asyncio.get_running_loop().create_future()
            long_s = 60.0 if where == "between two children" else 0.1
            plan = ToyPlan(sample="day", children=2, light_s=0.1, relight_s=long_s)
            await instrument.perform(TOY, plan, out=folder, accept_timing=True)

    asyncio.run(perform())


@contextmanager
def program(folder: Path, where: str) -> Iterator["subprocess.Popen[bytes]"]:
    text = (
        "from pathlib import Path; from tests.engine.run.test_watched_sessions import session; "
        f"session(Path({str(folder)!r}), {where!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()


def until(what: Callable[[], bool]) -> None:
    """Wait for something; how long it takes is not judged, but it must not be for ever."""
    overdue = time.monotonic() + 60
    while not what():
        assert time.monotonic() < overdue, "waited in vain"
        time.sleep(0.02)


def beam_is_on(folder: Path) -> bool:
    return (folder / "register").exists() and not Register(folder / "register").is_blanked()


def lines(folder: Path) -> list[str]:
    path = folder / "watchdog.jsonl"
    return [json.loads(line)["what"] for line in path.read_text().splitlines()] if path.exists() else []


def is_there(folder: Path, where: str) -> bool:
    """Whether the session stays where it is to be killed, with the beam on."""
    day = folder / "day_001"
    notes = (day / "trace.jsonl").read_text() if (day / "trace.jsonl").exists() else ""
    reached = {
        "between two children": '"event":"end"' in notes.replace(" ", ""),
        "paused": '"name":"paused"' in notes.replace(" ", "").partition('"kind":"note"')[2],
        "between two runs": lines(day)[-1:] == ["safe"],
    }
    return reached[where] and beam_is_on(folder)


@pytest.mark.parametrize(
    "where", ["between two children", "paused", pytest.param("between two runs", marks=pytest.mark.long)]
)
def test_a_session_that_is_killed_with_its_beam_on_has_it_blanked(where: str, tmp_path: Path) -> None:
    with program(tmp_path, where) as engine:
        until(lambda: is_there(tmp_path, where))
        time.sleep(0.2)
        assert beam_is_on(tmp_path)
        os.kill(engine.pid, signal.SIGKILL)
        engine.wait()
        until(lambda: not beam_is_on(tmp_path))
        told = tmp_path if where == "between two runs" else tmp_path / "day_001"
        until(lambda: lines(told)[-1:] == ["blanked"])


@pytest.mark.long
def test_a_paused_session_that_is_suspended_has_its_beam_blanked(tmp_path: Path) -> None:
    with program(tmp_path, "paused") as engine:
        until(lambda: is_there(tmp_path, "paused"))
        os.kill(engine.pid, signal.SIGSTOP)
        until(lambda: not beam_is_on(tmp_path))
        os.kill(engine.pid, signal.SIGCONT)
        assert engine.wait(60) == 0
    document = json.loads((tmp_path / "day_001" / "run.json").read_text())
    assert document["status"] == "failed"
    assert document["reason"].startswith("watchdog: the program did not answer for 3 s; it blanked the beam")


@pytest.mark.long
def test_each_run_of_a_session_tells_that_it_is_watched(tmp_path: Path) -> None:
    with program(tmp_path, "unwatched by the test") as engine:
        assert engine.wait(60) == 0
    day = tmp_path / "day_001"
    for folder in (day, day / "1_toy", day / "2_toy"):
        assert lines(folder) == ["watching", "safe"]
        assert json.loads((folder / "run.json").read_text())["watchdog"] == "watching"
    assert not (tmp_path / "watchdog.jsonl").exists()
