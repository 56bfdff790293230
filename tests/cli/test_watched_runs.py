"""Whole runs on the real clock that are killed, suspended or hung up: the beam does not stay on the crystal.

The simulated instrument outlives its program here (`register`), so the test can look at the blanker as at hardware.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.simulated.register import Register

pytestmark = [
    pytest.mark.long,
    pytest.mark.realtime,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are killed, suspended and hung up as on Unix"),
]

CREDLINE = [sys.executable, "-c", "from engine.commands.main import main; main()"]
# Long enough for whatever a test does to it.
LONG = ["relax_cycles=0", "exposure_s=0.1", "speed_deg_s=0.5", "range_deg=60", "snapshot_interval=0"]


@pytest.fixture(autouse=True)
def _temporary_files_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is killed leaves the file of its lock there, locked by nobody."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


def command(folder: Path, *words: str) -> list[str]:
    (folder / "devices.toml").write_text(
        f"[microscope]\ndriver = 'simulated-timing'\nregister = '{folder / 'instrument'}'\n"
        "stage = {pedal_wait_s = [0.1, 0.2]}\n"
    )
    settings = [word for setting in LONG for word in ("--set", setting)]
    devices = ["--devices", str(folder / "devices.toml"), "--out", str(folder / "out")]
    return [*CREDLINE, "run", "cred", "--accept-timing", *devices, *settings, *words]


@contextmanager
def program(folder: Path, *words: str, **how: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A run in a process of its own, until the test is over."""
    with (folder / "said").open("wb") as said:
        # Whoever runs the tests may have told their terminal's end not to matter; these programs are to hear of it.
        hears = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)} if sys.platform != "win32" else {}
        process = subprocess.Popen(command(folder, *words), **{"stdout": said, "stderr": said, **hears, **how})
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()


def until(what: Callable[[], bool]) -> None:
    """Wait for something; how long it takes is not judged, but it must not be for ever."""
    overdue = time.monotonic() + 90
    while not what():
        assert time.monotonic() < overdue, "waited in vain"
        time.sleep(0.02)


def beam_is_on(folder: Path) -> bool:
    return (folder / "instrument").exists() and not Register(folder / "instrument").is_blanked()


def exposing(folder: Path) -> bool:
    """Frames are on disk and the beam is on."""
    spool = folder / "out" / "mordenite_001" / "frames.spool"
    return spool.exists() and spool.stat().st_size > 5 * 32 * 32 * 2 and beam_is_on(folder)


def what_it_did(folder: Path) -> list[str]:
    path = folder / "out" / "mordenite_001" / "watchdog.jsonl"
    return [json.loads(line)["what"] for line in path.read_text().splitlines()] if path.exists() else []


def document(folder: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((folder / "out" / "mordenite_001" / "run.json").read_text())
    return whole


def lines_of_trace(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "out" / "mordenite_001" / "trace.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def test_a_run_that_is_killed_does_not_leave_the_beam_on(tmp_path: Path) -> None:
    with program(tmp_path) as engine:
        until(lambda: exposing(tmp_path))
        os.kill(engine.pid, signal.SIGKILL)
        engine.wait()
        until(lambda: not beam_is_on(tmp_path))
    until(lambda: what_it_did(tmp_path)[-1:] == ["blanked"])
    assert what_it_did(tmp_path) == ["watching", "blanking", "blanked"]
    until(lambda: "the program ended before the beam was known to be off" in (tmp_path / "said").read_text())
    # Neither run folder nor instrument is locked any more.
    done = subprocess.run(
        [*CREDLINE, "recover", str(tmp_path / "out" / "mordenite_001")], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    with program(tmp_path):
        until(lambda: (tmp_path / "out" / "mordenite_002").exists())


def test_without_a_watchdog_it_does(tmp_path: Path) -> None:
    with program(tmp_path, "--no-watchdog") as engine:
        until(lambda: exposing(tmp_path))
        os.kill(engine.pid, signal.SIGKILL)
        engine.wait()
    assert beam_is_on(tmp_path)
    assert what_it_did(tmp_path) == []
    assert document(tmp_path)["watchdog"] == "off, as asked"


def test_a_run_that_does_not_answer_is_blanked_and_when_it_comes_back_it_fails_and_says_why(tmp_path: Path) -> None:
    with program(tmp_path) as engine:
        until(lambda: exposing(tmp_path))
        os.kill(engine.pid, signal.SIGSTOP)
        until(lambda: what_it_did(tmp_path)[-1:] == ["blanked"])
        assert not beam_is_on(tmp_path)
        os.kill(engine.pid, signal.SIGCONT)
        assert engine.wait(90) == 1
    assert not beam_is_on(tmp_path)
    whole = document(tmp_path)
    assert whole["status"] == "failed"
    assert whole["reason"].startswith("watchdog: the program did not answer for 3 s; it blanked the beam")
    assert whole["alarms"] == []
    assert whole["result"]["frames"] > 0
    calls = [record["name"] for record in lines_of_trace(tmp_path, "call")]
    assert "stage.stop" in calls
    assert what_it_did(tmp_path)[-1] == "safe"


def test_a_run_that_is_halted_does_not_leave_the_beam_on(tmp_path: Path) -> None:
    with program(tmp_path) as engine:
        until(lambda: exposing(tmp_path))
        for _ in range(3):  # the operator wants out at any price
            os.kill(engine.pid, signal.SIGINT)
            time.sleep(0.05)
        engine.wait(90)
        until(lambda: not beam_is_on(tmp_path))


def test_a_second_program_is_kept_from_the_instrument_in_one_line(tmp_path: Path) -> None:
    with program(tmp_path) as engine:
        until(lambda: exposing(tmp_path))
        second = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 2
        (line,) = second.stderr.strip().splitlines()
        assert line.startswith("credline: refused: devices: simulated instrument ")
        assert f"in use by process {engine.pid} (" in line
        assert not (tmp_path / "out" / "mordenite_002").exists()
        assert beam_is_on(tmp_path)
        exported = subprocess.run(
            [*CREDLINE, "export", str(tmp_path / "out" / "mordenite_001")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert exported.returncode == 2
        assert "a program is still at work on this run; nothing was touched" in exported.stderr


def test_two_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    words = ["run", "cred", "--clock", "virtual", "--devices", "simulated-timing", "--set", "range_deg=3"]
    words += ["--json", "--out", str(tmp_path / "out")]
    both = [subprocess.Popen([*CREDLINE, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(4)]
    folders = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1])["run_dir"] for process in both]
    assert sorted(Path(folder).name for folder in folders) == [f"mordenite_{k:03d}" for k in range(1, 5)]
    assert all((Path(folder) / "frames.h5").exists() for folder in folders)


# --- terminals


@pytest.mark.parametrize("times", [1, 3], ids=["once", "by the terminal and the shell"])
def test_a_hang_up_stops_the_run_in_good_order(tmp_path: Path, times: int) -> None:
    with program(tmp_path) as engine:
        until(lambda: exposing(tmp_path))
        for _ in range(times):
            os.kill(engine.pid, signal.SIGHUP)
            time.sleep(0.05)
        assert engine.wait(90) == 0
    assert document(tmp_path)["status"] == "stopped"
    assert document(tmp_path)["reason"] == "SIGHUP from the operator"
    assert not beam_is_on(tmp_path)


def test_nohup_is_heeded(tmp_path: Path) -> None:
    with program(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as engine:
        until(lambda: exposing(tmp_path))
        os.kill(engine.pid, signal.SIGHUP)
        size = (tmp_path / "out" / "mordenite_001" / "frames.spool").stat().st_size
        until(lambda: (tmp_path / "out" / "mordenite_001" / "frames.spool").stat().st_size > size + 10_000)
        os.kill(engine.pid, signal.SIGTERM)
        assert engine.wait(90) == 0
    assert document(tmp_path)["reason"] == "SIGTERM from the operator"


def test_a_run_survives_the_end_of_its_terminal(tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    ours, its = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where these tests themselves run under nohup

    with program(tmp_path, stdin=its, stdout=its, stderr=its, preexec_fn=own_terminal) as engine:
        os.close(its)
        os.set_blocking(ours, False)
        drawn = bytearray()

        def shown() -> bool:
            try:
                drawn.extend(os.read(ours, 65536))
            except BlockingIOError:
                pass
            return exposing(tmp_path)

        until(shown)
        assert b"expose" in drawn  # the live line was there
        os.close(ours)
        assert engine.wait(90) == 0
    assert document(tmp_path)["status"] == "stopped"
    assert document(tmp_path)["alarms"] == []
    assert not beam_is_on(tmp_path)
    assert [record["name"] for record in lines_of_trace(tmp_path, "state")][-1] == "stopped"


def test_an_alarm_that_nobody_can_read_does_not_keep_the_rest_from_being_made_safe(tmp_path: Path) -> None:
    program = (
        "import asyncio; from drivers.simulated.column import Blanker; from engine.errors import DeviceError\n"
        "async def lost(self): raise DeviceError('beam: gone; not blanked.')\n"
        "Blanker.blank = lost\n"
        "from engine.commands.main import main; main()\n"
    )
    words = ["run", "cred", "--clock", "virtual", "--devices", "simulated-timing", "--set", "range_deg=3"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--out", str(tmp_path / "out")],
        stdout=writer,
        stderr=writer,
        timeout=120,
        check=False,
    )
    os.close(writer)
    assert done.returncode in (0, 1)
    assert "THE BEAM MAY STILL BE ON" in document(tmp_path)["alarms"][0]
    assert document(tmp_path)["status"] != "running"
    calls = [record["name"] for record in lines_of_trace(tmp_path, "call")]
    assert "stage.stop" in calls
    assert calls[-1] == "detector.disarm" or "detector.disarm" in calls
