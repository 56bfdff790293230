"""How well frame starts keep their slots on the real clock: lateness, gap error, engine dead time.

Runs cRED with `simulated-timing` at 0.05 and 0.5 s exposure, on the machine as it is and with a process beside it
that burns one core. Prints a Markdown table; absolute figures depend on the machine and on what else it does.

    .venv/bin/python benchmarks/timing.py [--slots N]
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


def measure(exposure_s: float, slots: int, out: Path) -> dict[str, Any]:
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
        "from engine.commands.main import main; main()",
        "run",
        "cred",
        "--json",
        "--accept-timing",
    ]
    command += ["--devices", "simulated-timing", "--out", str(out), "--set", "relax_cycles=1", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    dead_ms = dead_times_ms(Path(result["run_dir"]) / "trace.jsonl")
    result["dead_ms"] = {
        "median": float(np.median(dead_ms)),
        "p99": float(np.percentile(dead_ms, 99)),
        "max": max(dead_ms),
    }
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=100, help="slots at 0.5 s; four times as many at 0.05 s")
    slots = parser.parse_args().slots
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
                spreads = " | ".join(
                    "{median:.3f} / {p99:.3f} / {max:.3f}".format(**result[key])
                    for key in ("lateness_ms", "gap_error_ms", "dead_ms")
                )
                print(
                    f"| {exposure_s} | {beside} | {result['frames']} | {result['lost_slots']} | {spreads} |", flush=True
                )
            if burner:
                burner.terminate()
                burner.join()


if __name__ == "__main__":
    main()
