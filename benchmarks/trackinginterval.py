"""Snapshots on every n-th slot, and as often as the path of the crystal is unsure: how many, and how well it is held.

.venv/bin/python -m benchmarks.trackinginterval --holders 40 --seed 1        # 15 s of one core for each holder

Whole virtual runs of the engine with tracking = correct, slots of 0.512 s at 0.45 deg/s over 100 deg, on drawn holders
and one plain crystal of 500 nm; where it truly was in each frame.
"""

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from drivers.contract import Microscope
from engine.clock.virtual import VirtualLoop
from engine.run.contract import Prepared
from engine.run.perform import Request, carry_out
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.testing.soak import fast_folder, quiet

PLAN: dict[str, Any] = {
    "start_deg": -50.0,
    "range_deg": 100.0,
    "rotation": "commanded",
    "tracking": "correct",
    "relax_cycles": 0,
    "formats": [],
}
WAYS: dict[str, dict[str, Any]] = {
    "every 10th slot": {"snapshot_interval": 10},
    "every 15th slot": {"snapshot_interval": 15},
    "every 20th slot": {"snapshot_interval": 20},
    "5 to 20 slots, 60 nm": {"snapshot_interval": 20, "snapshot_when_unsure_nm": 60.0},
    "5 to 20 slots, 100 nm": {"snapshot_interval": 20, "snapshot_when_unsure_nm": 100.0},
    "5 to 20 slots, 150 nm": {"snapshot_interval": 20, "snapshot_when_unsure_nm": 150.0},
}


def performed(keys: Mapping[str, Any], devices_text: str, seed: int) -> tuple[Run, dict[str, Any]]:
    """A virtual run, with its computations in this process; and its result."""
    kind = experiment_type("cred")
    seen: list[Run] = []

    def watch(run: Run, prepared: Prepared) -> None:
        run.compute.inline = True
        seen.append(run)

    with TemporaryDirectory(prefix="credline-interval-", dir=fast_folder()) as name:
        devices = Path(name) / "devices.toml"
        devices.write_text(devices_text, encoding="utf-8")
        request = Request(
            kind,
            build_plan_from(kind, {**PLAN, **keys}),
            Path(name) / "runs",
            str(devices),
            virtual=True,
            seed=seed,
            accept_gaps=True,
            draw=False,
            watchdog=False,
            signals=False,
        )
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(carry_out(request, watch))
        return seen[0], dict(seen[0].data.end().result)


def away_nm(run: Run) -> NDArray[np.float64]:
    """How far the crystal truly was from the middle of the aperture in each diffraction frame."""
    truth = cast("Microscope", run.microscope).truth
    if truth is None:
        raise ValueError("this microscope knows no truth")
    frames = [r for r in run.trace.recorded() if r["kind"] == "frame" and r["name"] == "diffraction"]
    return np.array([np.hypot(*truth.crystal_nm(frame["start_ns"], frame["end_ns"])) for frame in frames])


def devices_of(seed: int, worse: float) -> str:
    """The instrument, as the text of a devices file."""
    return f"""[microscope]
driver = "simulated"
start_deg = -50.0
motion.drawn_seed = {seed}
motion.worse = {worse}
pictures.rendered = "snapshots"
"""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holders", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worse", type=float, default=1.0)
    asked = parser.parse_args()
    quiet()
    print("| snapshots | of them | frames | off the middle nm: median | 95 % | 99 % | more than 400 nm off |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, keys in WAYS.items():
        away, snapshots, frames = [], [], []
        for seed in range(100_000 * asked.seed, 100_000 * asked.seed + asked.holders):
            run, result = performed(keys, devices_of(seed, asked.worse), seed)
            away.append(away_nm(run))
            snapshots.append(result["snapshots"])
            frames.append(result["frames"])
        median, most, nearly_all = np.percentile(np.concatenate(away), (50, 95, 99))
        far = float(np.mean(np.concatenate(away) > 400.0))
        print(
            f"| {name} | {np.mean(snapshots):.1f} | {np.mean(frames):.0f} | {median:.0f} | {most:.0f} | "
            f"{nearly_all:.0f} | {100 * far:.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
