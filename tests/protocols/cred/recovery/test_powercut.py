"""A power cut, as the worst file system would suffer it: of every file only what had been forced to the disk is left.

A real run writes down each fsync that returned, with the length that the file had before it. The state after a power
cut at any of these instants is then made by cutting every file to its last such length.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.record.spool import read_spool
from engine.record.trace import read_trace
from tests.protocols.cred.wrecks import Held, held, recovered, spooled

RUN = """
import os, sys
log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
fsync = os.fsync

def telling(handle):
    path, size = os.readlink(f"/proc/self/fd/{handle}"), os.fstat(handle).st_size
    fsync(handle)
    os.write(log, f"{size} {path}\\n".encode())

os.fsync = telling
from engine.commands.main import main
main()
"""
PLAN = ("relax_cycles=0", "exposure_s=0.1", "speed_deg_s=2", "range_deg=40", "snapshot_interval=8", "formats=[]")
GROWING = ("frames.spool", "trace.jsonl", "journal.jsonl")
WANTED_FRAMES = 20


@dataclass(frozen=True)
class Life:
    """A run that was killed while it exposed: its folder, and its fsyncs in order (length, name of the file)."""

    folder: Path
    synced: list[tuple[int, str]]

    def after_power_cut(self, number: int, to: Path) -> Path:
        """The folder as a power cut just after fsync `number` leaves it."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to, ignore=shutil.ignore_patterns("run.lock", "watchdog.jsonl"))
        lengths = dict.fromkeys(GROWING, 0) | {
            name: size for size, name in self.synced[: number + 1] if name in GROWING
        }
        for name, length in lengths.items():
            os.truncate(to / name, length)
        return to


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    place = tmp_path_factory.mktemp("powercut")
    log, folder = place / "synced.log", place / "mordenite_001"
    words = ["run", "cred", "--devices", "simulated-timing", "--accept-timing", "--accept-gaps", "--out", str(place)]
    for setting in PLAN:
        words += ["--set", setting]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(log), *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    spool, overdue = folder / "frames.spool", time.monotonic() + 120
    try:
        while time.monotonic() < overdue and process.poll() is None:
            if spool.exists() and spool.stat().st_size > WANTED_FRAMES * 32 * 32 * 2:
                break
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    return Life(folder, [(int(size), Path(path).name) for size, path in lines])


def in_spool(life: Life, length: int) -> Held:
    """The frames of the spool's first so many bytes."""
    part = life.folder.parent / "part.spool"
    part.write_bytes((life.folder / "frames.spool").read_bytes()[:length])
    return spooled(part)


pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks up the files of a process in /proc"),
]


def test_every_frame_is_forced_to_the_disk_by_itself(life: Life) -> None:
    frames = len(list(read_spool(life.folder / "frames.spool")))
    synced = [size for size, name in life.synced if name == "frames.spool"]
    assert len(synced) >= frames - 1  # of the last, the signal may have come before its fsync was written down
    assert sorted(set(synced)) == synced
    assert life.synced[0][1] != "frames.spool"


def test_after_a_power_cut_every_frame_that_was_forced_to_the_disk_is_there(life: Life, tmp_path: Path) -> None:
    began = next(k for k, (_, name) in enumerate(life.synced) if name == ".run.json.new")
    for number in range(began, len(life.synced)):
        cut = life.after_power_cut(number, tmp_path / "cut")
        expected = (
            in_spool(life, (cut / "frames.spool").stat().st_size) if (cut / "frames.spool").stat().st_size else {}
        )
        document, told = recovered(cut)
        assert held(cut) == expected
        assert document["status"] == "failed"
        # The journal may be behind the spool by one state, never the other way round.
        exposing = document["recovered"]["state"] in ("expose", "defocus-snapshot", "refocus")
        assert exposing or len(expected) <= 1
        assert not exposing or "MAY STILL BE ON THE CRYSTAL" in told


def test_after_a_power_cut_the_frames_have_their_angles(life: Life, tmp_path: Path) -> None:
    # The stage is read in the first frame and in every snapshot cycle.
    refocused = [k for k, (_, name) in enumerate(life.synced) if name == "journal.jsonl"][-1]
    cut = life.after_power_cut(refocused, tmp_path / "cut")
    spooled = {slot for kind, slot in in_spool(life, (cut / "frames.spool").stat().st_size) if kind == "diffraction"}
    recorded = {r["slot"] for r in read_trace(cut) if (r["kind"], r["name"]) == ("frame", "diffraction")}
    document, _ = recovered(cut)
    assert document["result"]["oscillation_deg"] is not None
    # On a busy machine slots are lost, and the trace is behind the spool.
    held_frames = document["result"]["frames"] + document["result"]["frames_not_kept"]
    assert held_frames >= len(spooled & recorded) > 3
