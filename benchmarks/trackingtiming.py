"""Does tracking make frames late? Pairs of runs on the real clock, tracking off and correct, in turns.

    .venv/bin/python -m benchmarks.trackingtiming [--pairs N] [--seconds S] [--by "image shift"]     # 3 minutes

cRED on the simulated microscope, whose snapshots are computed and whose frames are cheap, in a process of their own;
the crystal drifts, so that something is corrected in most snapshots. Lateness: begin of a frame after its slot's, of
all frames and of the first ones after snapshots. Slack: from when all stands that tracking has set until the next
frame is due, of the corrections. Medians and 99th percentiles of all runs of a kind.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import RUN, dead_times_ms

EXPOSURE_S, READOUT_S, SPEED_DEG_S, START_DEG = 0.25, 0.012, 0.45, -50.0
INTERVAL = 8
SETS = ("deflectors.set", "stagexyz.move_xy", "stagexyz.is_moving")
PROBE = "\npictures.probe_selects = true\npictures.disc_radius_px = 24.0\n"
DEVICES = """
[microscope]
driver = "simulated"
pictures.rendered = "snapshots"
start_deg = -50.0
motion.height_nm = 3000.0
stagexyz.backlash_nm = 0.0
"""


@dataclass
class Kind:
    """All runs with tracking, or without; times in ms."""

    frames: int = 0
    snapshots: int = 0
    lost: int = 0
    late: list[float] = field(default_factory=list)
    late_after: list[float] = field(default_factory=list)
    dead: list[float] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    slack: list[float] = field(default_factory=list)
    corrections: int = 0
    slots_of_snapshot: set[int] = field(default_factory=set)


def perform(folder: Path, tracking: str, by: str, seconds: float) -> dict[str, Any]:
    """One run in a process of its own: its result, with its folder."""
    devices = folder / "devices.toml"
    devices.write_text(DEVICES + (PROBE if by == "beam shift" else ""), encoding="utf-8")
    plan: dict[str, object] = {
        "exposure_s": EXPOSURE_S,
        "speed_deg_s": SPEED_DEG_S,
        "start_deg": START_DEG,
        "range_deg": round(SPEED_DEG_S * seconds, 3),
        "rotation": "commanded",
        "snapshot_interval": INTERVAL,
        "relax_cycles": 0,
        "formats": [],
        "tracking": tracking,
    }
    if tracking == "correct":
        plan["track_by"] = by
    words = [word for key, value in plan.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-c", RUN, "run", "cred", "--json", "--accept-timing", "--accept-gaps"]
    command += ["--devices", str(devices), "--out", str(folder / "runs"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def add(kind: Kind, result: dict[str, Any]) -> None:
    """What one run tells."""
    trace = Path(result["run_dir"]) / "trace.jsonl"
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    settling_ns = round(1e9 * records[0]["instrument"]["deflectors"]["settling_s"])
    kind.frames += result["frames"]
    kind.snapshots += result["snapshots"]
    kind.lost += result["lost_slots"]
    kind.slots_of_snapshot.add(result["snapshot_slots"])
    kind.dead += dead_times_ms(trace)
    kind.looks += [
        (r["end_ns"] - r["asked_ns"]) / 1e6 for r in records if r["kind"] == "computation" and r["name"] == "locate"
    ]
    steps = [r for r in records if r["kind"] == "step" and "start_ns" in r]
    seen, snapshot = False, False
    for step in steps:
        if step["name"] == "frame":
            late_ms = (step["start_ns"] - step["planned_ns"]) / 1e6
            kind.late.append(late_ms)
            if snapshot and seen:
                kind.late_after.append(late_ms)
            seen, snapshot = True, False
        elif step["name"] == "refocus":
            snapshot = True
    frames_ns = [step["planned_ns"] for step in steps if step["name"] == "frame"]
    begin_ns = [r["t_ns"] for r in records if r["kind"] == "tracking" and r["name"] == "corrected"]
    kind.corrections += len(begin_ns)
    for at_ns in begin_ns:
        due_ns = min((t_ns for t_ns in frames_ns if t_ns > at_ns), default=None)
        if due_ns is None:
            continue
        calls = [r for r in records if r["kind"] == "call" and r["name"] in SETS]
        last_ns = max(r["end_ns"] for r in calls if at_ns <= r["begin_ns"] < due_ns)
        kind.slack.append((due_ns - last_ns - settling_ns) / 1e6)


def two(values: Sequence[float], digits: int = 2) -> str:
    """Median and 99th percentile."""
    return " / ".join(f"{x:.{digits}f}" for x in np.percentile(values, (50, 99))) if values else "-"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=16.0, help="of rotation in each run")
    parser.add_argument("--by", default="image shift", choices=("image shift", "beam shift", "stage"))
    asked = parser.parse_args()
    kinds = {"off": Kind(), "correct": Kind()}
    with tempfile.TemporaryDirectory() as where:
        for pair in range(asked.pairs):
            for tracking in list(kinds)[:: 1 if pair % 2 == 0 else -1]:
                result = perform(Path(where), tracking, asked.by, asked.seconds)
                add(kinds[tracking], result)
                print(f"pair {pair + 1}, {tracking}: {result['lateness_ms']}", file=sys.stderr, flush=True)
    print(f"Tracked by {asked.by}. Times in ms: median / p99\n")
    print(
        "| tracking | frames, snapshots | slots a snapshot | lost | late | late after a snapshot | dead time | look |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for tracking, kind in kinds.items():
        slots = ", ".join(map(str, sorted(kind.slots_of_snapshot)))
        times = " | ".join(two(each) for each in (kind.late, kind.late_after, kind.dead, kind.looks))
        print(f"| {tracking} | {kind.frames}, {kind.snapshots} | {slots} | {kind.lost} | {times} |")
    kind = kinds["correct"]
    least = f", at least {min(kind.slack):.0f}" if kind.slack else ""
    print(f"\n{kind.corrections} corrections; slack after them {two(kind.slack, 0)}{least} ms")


if __name__ == "__main__":
    main()
