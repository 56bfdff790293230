"""Experiments of other packages through every command: one of the required members only, and the example `stills`.

Each is installed in an environment of its own, and runs in processes there; other commands are carried out here.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pytest

from tests.cli.commandline import command
from tests.packages import CREDLINE, called, installed, seen

pytestmark = pytest.mark.realtime

PROJECTS = {
    "least": Path(__file__).parents[1] / "least",
    "stills": Path(__file__).parents[2] / "examples" / "protocol",
}
# Long enough to be killed in the middle.
ENDLESS = {"least": "light_s=600", "stills": "tilts_deg=[" + ",".join("0" for _ in range(500)) + "]"}


@dataclass(frozen=True)
class Lab:
    """A folder in which a protocol is installed, with a run of each clock: the first virtual, the second real."""

    protocol: str
    folder: Path
    environment: dict[str, str]

    def credline(self, *words: str) -> "subprocess.CompletedProcess[str]":
        with chdir(self.folder):
            return command(*words)

    def good(self, *words: str) -> str:
        """What a command that goes well writes."""
        done = self.credline(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def virtual(self) -> str:
        return f"runs/{self.protocol}_001"

    @property
    def real(self) -> str:
        return f"runs/{self.protocol}_002"

    def document(self, run: str) -> dict[str, Any]:
        whole: dict[str, Any] = json.loads((self.folder / run / "run.json").read_text(encoding="utf-8"))
        return whole


@pytest.fixture(scope="module", params=["least", pytest.param("stills", marks=pytest.mark.long)])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp(request.param)
    lab = Lab(request.param, folder, installed(PROJECTS[request.param], folder / "site"))
    # Rich takes the pipe for a terminal, so that the live line is drawn.
    coloured = {**lab.environment, "FORCE_COLOR": "1"}
    for words in (
        ("--clock", "virtual", "--devices", "simulated", "--seed", "1"),
        ("--accept-timing", "--devices", "simulated-timing"),
    ):
        done = called([*CREDLINE, "run", lab.protocol, *words], coloured, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    with seen(folder / "site"):
        yield lab


def test_a_plan_says_that_it_fits(lab: Lab) -> None:
    said = lab.good("plan", lab.protocol, "--full")
    assert {"least": "The plan fits", "stills": "in the beam at one stop: 2000.0 ms"}[lab.protocol] in said


def test_the_machine_is_drawn(lab: Lab) -> None:
    said = lab.good("graph", lab.protocol)
    assert said.startswith("stateDiagram-v2\n")
    assert "finalize --> done: end_done" in said


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_a_run_is_done_on_either_clock(lab: Lab, clock: str) -> None:
    document = lab.document(lab.virtual if clock == "virtual" else lab.real)
    assert (document["clock"], document["status"], document["alarms"]) == (clock, "done", [])
    assert document["reason"]
    assert document["result"]["frames"] == {"least": 0, "stills": 9}[lab.protocol]


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_a_replay_agrees_to_the_last_record(lab: Lab, clock: str) -> None:
    said = lab.good("replay", lab.virtual if clock == "virtual" else lab.real)
    assert re.fullmatch(r"\d+ records, all agree\.\n", said)


def test_a_what_if_answers_with_the_figures_of_the_protocol(lab: Lab) -> None:
    said = lab.good("replay", lab.virtual, "--what-if", "api_latency=60ms")
    rows = dict(re.findall(r"^. (.*?) +. +(\S+ . +\S+) .$", said, re.MULTILINE))
    figures = {name: [float(value) for value in re.findall(r"[\d.]+", row)] for name, row in rows.items()}
    frames = lab.document(lab.virtual)["result"]["frames"]
    assert figures["frames"] == [frames, frames]
    assert figures["steps over their budget"] == [0, 0]
    if lab.protocol == "stills":
        before_s, after_s = figures["in the beam at one stop, max / s"]
        assert after_s == pytest.approx(before_s + 2 * 0.025, abs=0.01)


def test_a_sweep_is_drawn(lab: Lab) -> None:
    lab.good("replay", lab.virtual, "--sweep", "api_latency=20ms:60ms:20ms", "--plot", "sweep.png")
    assert (lab.folder / "sweep.png").stat().st_size > 1000


def test_a_trace_is_shown_counted_drawn_and_exported(lab: Lab) -> None:
    assert "beam.unblank()" in lab.good("trace", "show", lab.virtual)
    stats = lab.good("trace", "stats", lab.virtual)
    assert re.search(r"frames +" + {"least": "none", "stills": "9 still"}[lab.protocol], stats)
    lab.good("trace", "plot", lab.virtual, "-o", "strip.png")
    assert (lab.folder / "strip.png").stat().st_size > 1000
    for form in ("perfetto", "bluesky"):
        lab.good("trace", "export", lab.virtual, "--format", form, "-o", f"{form}.json")
        assert (lab.folder / f"{form}.json").stat().st_size > 100


@pytest.mark.parametrize("words", [(), ("--formats", "smv")])
def test_an_export_is_refused_in_one_line(lab: Lab, words: tuple[str, ...]) -> None:
    done = lab.credline("export", lab.virtual, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"credline: refused: {lab.virtual}: the protocol {lab.protocol!r} makes no products; nothing was exported."
    ]


def test_devices_are_checked_against_its_plan(lab: Lab) -> None:
    said = lab.good("devices", "check", "simulated-timing", "--protocol", lab.protocol, "--clock", "virtual")
    assert f"The plan of {lab.protocol} works with these devices (" in said


def test_it_is_soaked_with_the_rules_that_hold_for_every_protocol(lab: Lab) -> None:
    assert re.search(r"20 runs .* 0 broken", lab.good("soak", lab.protocol, "--seeds", "20", "--jobs", "1"))


PLACES = ("--set", "tilts_deg=[5]", "--set", "places_nm=[[1000,0],[2000,500]]", "--set", "beam_shifts=[[32700,32760]]")


def test_places_and_beam_shifts_are_visited_and_stand_beside_each_frame(lab: Lab) -> None:
    if lab.protocol != "stills":
        pytest.skip("least has no places")
    lab.good("run", "stills", "--clock", "virtual", "--devices", "simulated-timing", "--out", "places", *PLACES)
    with h5py.File(lab.folder / "places" / "stills_001" / "frames.h5") as file:
        table = file["still/frames"][:]
    rows = [tuple(row) for row in table[["stop", "x_nm", "y_nm", "shift_x", "shift_y"]]]
    assert rows == [(1, 1000, 0, 32700, 32760)] * 3 + [(2, 2000, 500, 32700, 32760)] * 3


def test_a_run_with_places_and_beam_shifts_is_replayed(lab: Lab) -> None:
    if lab.protocol != "stills":
        pytest.skip("least has no places")
    lab.good("run", "stills", "--clock", "virtual", "--devices", "simulated-timing", "--out", "moved", *PLACES)
    assert "all agree" in lab.good("replay", "moved/stills_001")


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed as on Unix")
def test_a_run_that_was_killed_is_recovered(lab: Lab) -> None:
    words = ["run", lab.protocol, "--accept-timing", "--devices", "simulated-timing", "--out", "killed"]
    folder = lab.folder / "killed" / f"{lab.protocol}_001"
    with (lab.folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [*CREDLINE, *words, "--set", ENDLESS[lab.protocol]],
            env=lab.environment, cwd=lab.folder, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            until(lambda: under_way(folder, lab.protocol), process)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    said_then = lab.good("recover", str(folder))
    assert "the program ended in state" in said_then
    document = lab.document(str(folder.relative_to(lab.folder)))
    assert document["status"] == "failed"
    assert document["recovered"]["cut_off"] is True
    assert not (folder / "frames.spool").exists()
    frames = document["result"]["frames"]
    if lab.protocol == "stills":
        assert document["recovered"]["missing"]
        with h5py.File(folder / "frames.h5") as file:
            assert list(file["still/frames"]["stop"]) == [1 + k // 3 for k in range(frames)]
    assert "all agree" in lab.good("replay", str(folder))
    assert "nothing to recover" in lab.good("recover", str(folder))


def under_way(folder: Path, protocol: str) -> bool:
    """The beam is on; of stills, some pictures are on disk."""
    spool = folder / "frames.spool"
    if protocol == "stills":
        return spool.exists() and spool.stat().st_size > 4 * 32 * 32 * 2
    trace = folder / "trace.jsonl"
    return trace.exists() and '"light"' in trace.read_text(encoding="utf-8")


def until(what: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait for something; how long it takes is not judged, but it must not be for ever."""
    overdue = time.monotonic() + 90
    while not what():
        assert process.poll() is None, "the program has ended"
        assert time.monotonic() < overdue, "waited in vain"
        time.sleep(0.02)


def test_columns_of_its_own_stand_beside_each_frame(lab: Lab) -> None:
    if lab.protocol == "least":
        assert not (lab.folder / lab.virtual / "frames.h5").exists()
        return
    with h5py.File(lab.folder / lab.virtual / "frames.h5") as file:
        table = file["still/frames"][:]
    assert list(table["stop"]) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert table["tilt_deg"].round().tolist() == [-10.0] * 3 + [0.0] * 3 + [10.0] * 3
