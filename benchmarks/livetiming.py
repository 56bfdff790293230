"""The live look on the real clock: how long after a frame its spots and the lattice are known, and what it costs.

    .venv/bin/python -m benchmarks.livetiming [--rate HZ] [--seconds S] [--pairs N] [--step DEG]

Runs cRED on the simulated microscope, whose pictures of 512 x 512 (mordenite, with as many counts as one of half a
second has) are made beforehand and handed out from a file, so that any frame rate can be had and nothing is computed
beside the run but what belongs to it. N pairs of runs, in turns with `live` on and off. Latencies are from the arrival
of a frame; of a lattice, from that of the last frame in it. Lateness: of the begins of frames, as docs/benchmarks.md
has it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import dead_times_ms
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.settings import InstrumentSettings
from protocols.live.computation import search

START_DEG = -30.0
READOUT_S, OVERHEAD_S = 0.002, 0.001
LIKE_S = 0.5
"""Frames have as many counts as one of such an exposure."""

RUN = """
import sys
import numpy as np
from drivers.simulated import shots

pictures = np.load(sys.argv.pop(1), mmap_mode="r")
begin_deg, step_deg = float(sys.argv.pop(1)), float(sys.argv.pop(1))

class Handed(shots.WorkerStudio):
    async def open(self):
        pass

    async def picture(self, shot):
        number = round((shot.start_deg - begin_deg) / step_deg)
        return np.array(pictures[min(max(number, 0), len(pictures) - 1)])

shots.WorkerStudio = Handed
import drivers.simulated.microscope
drivers.simulated.microscope.WorkerStudio = Handed
from engine.commands.main import main
main()
"""


DEVICES = """
[microscope]
driver = "simulated"

[microscope.detector]
readout_s = {readout_s}
overhead_s = [0.0, {overhead_s}]
"""


def prepared(folder: Path, step_deg: float, count: int) -> Path:
    """A file with the pictures of a rotation, each of `step_deg`."""
    file = folder / "pictures.npy"
    settings = InstrumentSettings.read("simulated", True, {})
    maker = PictureMaker(settings.source.load(), settings.geometry, settings.pictures)
    pictures = np.lib.format.open_memmap(file, "w+", np.uint16, (count, *settings.pictures.shape))
    for number in range(count):
        begin_deg = START_DEG + number * step_deg
        pictures[number] = maker.diffraction(begin_deg, begin_deg + step_deg, LIKE_S, noise_seed=number)
    pictures.flush()
    return file


def perform(
    folder: Path, pictures: Path, step_deg: float, rate_hz: float, seconds: float, live: bool
) -> dict[str, Any]:
    """One run in a process of its own: its result, with its folder."""
    devices = folder / "devices.toml"
    devices.write_text(DEVICES.format(readout_s=READOUT_S, overhead_s=OVERHEAD_S), encoding="utf-8")
    plan = {
        "exposure_s": round(1 / rate_hz - READOUT_S - OVERHEAD_S, 6),
        "speed_deg_s": round(step_deg * rate_hz, 6),
        "start_deg": START_DEG,
        "range_deg": round(step_deg * rate_hz * seconds, 6),
        "snapshot_interval": 0,
        "relax_cycles": 0,
        "formats": [],
        "live": live,
    }
    words = [word for key, value in plan.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-c", RUN, str(pictures), str(START_DEG), str(step_deg), "run", "cred", "--json"]
    command += ["--accept-timing", "--devices", str(devices), "--out", str(folder / "runs"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def latencies_ms(trace: Path) -> tuple[list[float], list[float], list[str]]:
    """Of each frame until its spots are known, of each look until its outcome; what was told."""
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    arrived = {r["index"]: r["arrived_ns"] for r in records if r["kind"] == "frame"}
    done = [r for r in records if r["kind"] == "computation" and "result" in r]
    searched = [r for r in done if r["name"] == "live_frames"]
    frame_ms = [(r["end_ns"] - arrived[row[0]]) / 1e6 for r in searched for row in r["arguments"]["frames"]]
    look_ms = []
    for r in done:
        if r["name"] == "live":
            newest = searched[r["earlier"] - 1]["arguments"]["frames"][-1][0]
            look_ms.append((r["end_ns"] - arrived[newest]) / 1e6)
    told = [
        r["text"] for r in records if r["kind"] == "note" and r["name"] == "operator" and "turns at" not in r["text"]
    ]
    return frame_ms, look_ms, told


def processor_ms(pictures: Path) -> float:
    """Of the search in one frame, corrected and searched as in a run; the median of some."""
    settings = InstrumentSettings.read("simulated", True, {})
    maker = PictureMaker(settings.source.load(), settings.geometry, settings.pictures)
    shown = [maker.flatfield, *np.load(pictures)[:64]]
    known = {
        "flatfield": 0,
        "geometry": asdict(settings.geometry),
        "wide_cross": True,
        "saturation": settings.pictures.saturation,
        "beam_px": [settings.geometry.beam_fast_px, settings.geometry.beam_slow_px],
        "look_for_beam": False,
    }
    took_ms = []
    for index in range(1, len(shown)):
        begin_s = time.process_time()
        search({"frames": [[index, index, index, index + 1]], **known}, shown.__getitem__)
        took_ms.append((time.process_time() - begin_s) * 1e3)
    return float(np.median(took_ms))


def three(values: Sequence[float], digits: int = 1) -> str:
    """Median, 99th percentile and largest."""
    if not values:
        return "-"
    return " / ".join(f"{x:.{digits}f}" for x in (np.median(values), np.percentile(values, 99), max(values)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2.0, help="frames per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of rotation in each run")
    parser.add_argument("--step", type=float, default=0.23, help="deg of each frame")
    parser.add_argument("--pairs", type=int, default=1)
    asked = parser.parse_args()
    count = round(asked.rate * asked.seconds * 1.1) + 20
    dead_ms: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        pictures = prepared(folder, asked.step, count)
        print(f"processor time of a frame: {processor_ms(pictures):.1f} ms\n")
        print("Times in ms: median / p99 / max\n")
        print(
            "| live | frames | lost | searched | frame to spots | looks | frame to lattice | start late | dead time |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for pair in range(asked.pairs):
            for live in (False, True) if pair % 2 == 0 else (True, False):
                result = perform(folder, pictures, asked.step, asked.rate, asked.seconds, live)
                trace = Path(result["run_dir"]) / "trace.jsonl"
                frame_ms, look_ms, told = latencies_ms(trace)
                late = "{median:.3f} / {p99:.3f} / {max:.3f}".format(**result["lateness_ms"])
                dead = dead_times_ms(trace)
                dead_ms[live] += dead
                print(
                    f"| {'on' if live else 'off'} | {result['frames']} | {result['lost_slots']} | {len(frame_ms)} "
                    f"| {three(frame_ms)} | {len(look_ms)} | {three(look_ms)} | {late} | {three(dead, 3)} |",
                    flush=True,
                )
                if live and pair == 0:
                    print(*(f"    {text}" for text in told), sep="\n", file=sys.stderr, flush=True)
        print(f"\nDead time of all runs: off {three(dead_ms[False], 3)}, on {three(dead_ms[True], 3)}")


if __name__ == "__main__":
    main()
