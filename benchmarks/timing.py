"""How well frame starts keep their slots on the real clock: lateness, gap error, engine dead time.

Runs cRED with `simulated-timing` at 0.05 and 0.5 s exposure, on the machine as it is and with a process beside it
that burns one core. Prints a Markdown table; absolute figures depend on the machine and on what else it does.
With `--watched N` instead N pairs of runs of a simulated camera that makes pictures: frames watched, and not.

    .venv/bin/python benchmarks/timing.py [--slots N] [--watched N]
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


def burn() -> None:
    """Keep one core busy until ended."""
    while True:
        sum(range(100_000))


def dead_times_ms(trace: Path) -> list[float]:
    """What the engine itself added: start of a frame minus the later of its boundary and the frame before it."""
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    steps = [r for r in records if r["kind"] == "step" and r["name"] == "frame" and "start_ns" in r]
    return [(after["start_ns"] - max(after["planned_ns"], before["end_ns"])) / 1e6 for before, after in pairwise(steps)]


RUN = "from engine.commands.main import main; main()"
UNWATCHED = (
    "from dataclasses import replace; from protocols.cred.experiment import Cred; "
    "Cred.frame_kinds = tuple(replace(kind, expects='anything') for kind in Cred.frame_kinds); " + RUN
)


def measure(
    exposure_s: float, slots: int, out: Path, devices: str = "simulated-timing", program: str = RUN
) -> dict[str, Any]:
    """One run in a process of its own; its result with the engine's dead times."""
    speed_deg_s = 0.5
    range_deg = slots * (exposure_s + 0.012) * speed_deg_s
    settings = {"exposure_s": exposure_s, "range_deg": range_deg, "speed_deg_s": speed_deg_s, "start_deg": -30.0}
    # A snapshot cycle takes about half a second: one slot at 0.5 s, eight at 0.05 s.
    settings["snapshot_interval"] = 10 if exposure_s > 0.1 else 40
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [
        sys.executable,
        "-c",
        program,
        "run",
        "cred",
        "--json",
        "--accept-timing",
    ]
    command += ["--devices", devices, "--out", str(out), "--set", "relax_cycles=1", *words]
    command += ["--set", "formats=[]"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    dead_ms = dead_times_ms(Path(result["run_dir"]) / "trace.jsonl")
    result["dead_ms"] = {
        "median": float(np.median(dead_ms)),
        "p99": float(np.percentile(dead_ms, 99)),
        "max": max(dead_ms),
    }
    return result


def spread(result: dict[str, Any]) -> str:
    """The columns of a run: median, 99th percentile and largest in ms."""
    keys = ("lateness_ms", "gap_error_ms", "dead_ms")
    return " | ".join("{median:.3f} / {p99:.3f} / {max:.3f}".format(**result[key]) for key in keys)


def watched_and_not(pairs: int, slots: int) -> None:
    """Pairs of runs with pictures of 512 x 512, one with its frames watched and one without, in turns."""
    print("Times in ms: median / p99 / max\n")
    print("| exposure s | frames watched | frames | lost | start late | gap error | dead time |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for exposure_s, count in ((0.1, 3 * slots), (0.5, slots)):
            for pair in range(pairs):
                both = (("no", UNWATCHED), ("yes", RUN))
                for watched, program in both if pair % 2 == 0 else both[::-1]:
                    result = measure(exposure_s, count, Path(folder), "simulated", program)
                    row = f"{exposure_s} | {watched} | {result['frames']} | {result['lost_slots']}"
                    print(f"| {row} | {spread(result)} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=100, help="slots at 0.5 s; four times as many at 0.05 s")
    parser.add_argument("--watched", type=int, default=0, metavar="N", help="pairs of runs with frames watched and not")
    asked = parser.parse_args()
    slots = asked.slots
    if asked.watched:
        watched_and_not(asked.watched, slots)
        return
    print("Times in ms: median / p99 / max\n")
    print("| exposure s | beside it | frames | lost | start late | gap error | dead time |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for beside in ("nothing", "a busy process"):
            burner = multiprocessing.Process(target=burn, daemon=True) if beside != "nothing" else None
            if burner:
                burner.start()
            for exposure_s, count in ((0.05, 4 * slots), (0.5, slots)):
                result = measure(exposure_s, count, Path(folder))
                row = f"{exposure_s} | {beside} | {result['frames']} | {result['lost_slots']}"
                print(f"| {row} | {spread(result)} |", flush=True)
            if burner:
                burner.terminate()
                burner.join()


if __name__ == "__main__":
    main()
