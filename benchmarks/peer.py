"""cRED beside Instamatic's own, on Instamatic's own servers: when frames really began, and what was lost between them.

    .venv/bin/python -m benchmarks.peer [--rounds N] [--seconds S] [--exposure S]

Both programs drive the same TEM server and the same camera server (PyPI instamatic 2.2.2, processes of their own, fresh
for each run), one after the other, with the same exposures and a defocused snapshot every tenth. The camera
(tests/drivers/instamaticserver.py) exposes for as long as it is asked to and writes down when: both are judged by that
alone. credline's devices file says of the camera what `credline devices check` proposes. Needs `make counterparts`.

Dead time: from the end of an exposure to the begin of the next, snapshots apart. Grid: how far frames begin from the
straight line through the begins of all, by the numbers that the program itself gives them: angles follow from these.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from tests.drivers import counterparts
from tests.drivers.instamaticprocess import (
    ROTATION,
    camserver,
    exposures_file,
    home_of,
    raw_call,
    stand_at_zero,
)

ROOT = Path(__file__).parents[1]
INTERVAL = 10
SPEED_DEG_S = 0.5
CAMERA: dict[str, Any] = {"dimensions": [512, 512], "dtype": "uint16", "readout_s": 0.002}
CREDLINE = [sys.executable, "-c", "from engine.commands.main import main; main()"]
DEVICES = """
[microscope]
driver = "instamatic"
protocol = "pickle"
port = {port}
rotation = {{ pace = {pace}, limits = {limits} }}
stop_by_moving = true
settling_s = 0.0     # of a simulated microscope without lenses; the peer waits for none either

[detector]
driver = "instamatic-camera"
protocol = "pickle"
port = {camera_port}

[geometry]
camera_length_mm = 260.0
"""


@dataclass(frozen=True)
class Timed:
    """One run: who, its frames' numbers, and begin and end of their exposures in seconds."""

    program: str
    numbers: Sequence[int]
    begin_s: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    end_s: "np.ndarray[tuple[int], np.dtype[np.float64]]"

    def row(self) -> str:
        """The figures as a line of a Markdown table."""
        numbers = np.asarray(self.numbers, float)
        next_to = [k for k, (a, b) in enumerate(pairwise(self.numbers)) if b == a + 1]
        dead_ms = np.array([(self.begin_s[k + 1] - self.end_s[k]) * 1e3 for k in next_to])
        period_s, zero_s = np.polyfit(numbers, self.begin_s, 1)
        off_ms = (self.begin_s - (zero_s + period_s * numbers)) * 1e3
        skipped = [b - a - 1 for a, b in pairwise(self.numbers) if b > a + 1]
        lost = f"{np.mean(skipped):.1f}" if skipped else "-"
        return (
            f"| {self.program} | {len(self.numbers)} | {np.median(dead_ms):.1f} / {dead_ms.mean():.1f} "
            f"| {np.percentile(dead_ms, 99):.1f} | {off_ms.std():.2f} | {np.abs(off_ms).max():.1f} | {lost} |"
        )


class Servers:
    """Fresh servers for one run, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.camera_port = 0, 0

    def devices(self, options: dict[str, float]) -> Path:
        """A devices file for them; options: of the camera."""
        text = DEVICES.format(port=self.port, camera_port=self.camera_port, **ROTATION)
        lines = "".join(f"{key} = {value}\n" for key, value in options.items())
        file = self.folder / "devices.toml"
        file.write_text(text.replace("\n[geometry]", f"{lines}\n[geometry]"), encoding="utf-8")
        return file


Gives = TypeVar("Gives")
Run = Callable[[Servers, Path], Timed]
"""What is done with them; the folder of Instamatic's settings comes second."""


def with_servers(folder: Path, run: "Callable[[Servers, Path], Gives]") -> "Gives":
    """What a run gives on fresh servers."""
    folder.mkdir()
    with camserver(folder, "pickle", "exposing", **CAMERA) as (camera_port, _):
        servers = Servers(folder)
        servers.port, servers.camera_port = counterparts.free_port(), camera_port
        # One folder of settings for both servers and the peer's client.
        home = home_of(folder, "pickle", servers.port, camera_port)
        for file in folder.glob("instamatic-*/config/camera/exposing.yaml"):
            if file.parents[2] != home:
                (home / "config" / "camera" / "exposing.yaml").write_text(file.read_text())
        settings = home / "config" / "settings.yaml"
        settings.write_text(settings.read_text().replace("\ncamera: simulate", "\ncamera: exposing"))
        program = counterparts.program("instamatic.temserver")
        with counterparts.running([program, "-t", "simulate"], ready=servers.port, env={"instamatic": str(home)}):
            call = raw_call(servers.port, "pickle")
            call("setFunctionMode", "diff")
            stand_at_zero(servers.port, "pickle")
            call("setRotationSpeed", value=SPEED_DEG_S * 0.6)
            return run(servers, home)


def peer(seconds: float, exposure_s: float) -> Run:
    """Instamatic's own cRED."""

    def run(servers: Servers, home: Path) -> Timed:
        words = [str(word) for word in (seconds, exposure_s, INTERVAL)]
        done = subprocess.run(
            [counterparts.program("python"), "-P", str(ROOT / "benchmarks" / "peercred.py"), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "instamatic": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the peer's run failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        numbers = json.loads(done.stdout.splitlines()[-1])
        # The camera made pictures for its live view before: the last ones of this length are the run's.
        lines = np.loadtxt(exposures_file(servers.folder))
        lines = lines[np.isclose(lines[:, 0], exposure_s)][-len(numbers) :]
        return Timed("Instamatic 2.2.2", numbers, lines[:, 1], lines[:, 2])

    return run


def ours(seconds: float, exposure_s: float, options: dict[str, float]) -> Run:
    """Credline."""

    def run(servers: Servers, _: Path) -> Timed:
        words = ("run", "cred", "--accept-timing", "--accept-gaps")
        done = credline(servers.devices(options), exposure_s, seconds, *words)
        result = json.loads(done.splitlines()[-1])
        with h5py.File(Path(result["run_dir"]) / "frames.h5") as file:
            frames = file["diffraction/frames"][:]
        # Numbered by its driver: the how manieth exposure of the camera each was.
        lines = np.loadtxt(exposures_file(servers.folder))[frames["number"]]
        return Timed("credline", [int(slot) for slot in frames["slot"]], lines[:, 1], lines[:, 2])

    return run


def check(exposure_s: float) -> Callable[[Servers, Path], dict[str, float]]:
    """What `credline devices check` proposes for the camera."""

    def run(servers: Servers, _: Path) -> dict[str, float]:
        devices = str(servers.devices({}))
        done = credline(None, exposure_s, 10.0, "devices", "check", devices, "--no-write", "--frames", "20")
        proposed: dict[str, float] = json.loads(done.splitlines()[-1])["proposed"]
        return proposed

    return run


def credline(devices: Path | None, exposure_s: float, seconds: float, *words: str) -> str:
    """One command of credline; what it wrote to standard output."""
    plan = {
        "exposure_s": exposure_s,
        "speed_deg_s": SPEED_DEG_S,
        "range_deg": seconds * SPEED_DEG_S,
        "start_deg": 0.0,
        "rotation": "commanded",
        "snapshot_interval": INTERVAL,
        "relax_cycles": 1,
        "sample": "beside",
        "formats": [],
    }
    settings = [word for key, value in plan.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    where = [] if devices is None else ["--devices", str(devices), "--out", str(devices.parent / "out")]
    done = subprocess.run(
        [*CREDLINE, *words, *settings, *where, "--json"], capture_output=True, text=True, check=False, env=os.environ
    )
    if not done.stdout.strip() or (words[0] == "run" and done.returncode):
        raise SystemExit(f"credline {' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="of rotation in each run")
    parser.add_argument("--exposure", type=float, default=0.4, help="s")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        options = with_servers(folder / "check", check(asked.exposure))
        print(f"proposed for the camera: {options}\n")
        print(
            "| program | frames | dead time median / mean, ms | p99 | grid std, ms | max | numbers a snapshot takes |"
        )
        print("|---|---|---|---|---|---|---|")
        for turn in range(asked.rounds):
            for name, run in (
                ("peer", peer(asked.seconds, asked.exposure)),
                ("ours", ours(asked.seconds, asked.exposure, options)),
            ):
                print(with_servers(folder / f"{name}{turn}", run).row(), flush=True)


if __name__ == "__main__":
    main()
