"""A crystal that slips out of the aperture: how often it is found again by looking around, and not its neighbour.

.venv/bin/python -m benchmarks.trackingsearch --holders 40 --seed 1 --jump 600     # 10 s of one core for each holder

Whole virtual runs of the engine over 60 deg with tracking = correct, on drawn holders that slip besides, by --jump nm
(standard deviation along x and y) every 50 deg on average; crystals of 500 nm with neighbours. By the truth: a frame
is lit in which half of the crystal lies in the aperture. Only holders in whose runs tracking says that it is lost.
"""

import argparse
from dataclasses import asdict, replace
from typing import Any, cast

from benchmarks.trackinginterval import away_nm, performed
from drivers.contract import Microscope
from drivers.simulated.crystalmotion import MotionSettings
from engine.run.run import Run
from engine.testing.soak import quiet
from protocols.cred.lookingaround import SEARCHED
from protocols.cred.seencrystal import LOST_AFTER
from protocols.cred.trackedpath import FOUND, NOT_FOUND
from protocols.tracking.path import Seen

OFTEN = {"range_deg": 60.0, "snapshot_interval": 20, "snapshot_when_unsure_nm": 100.0}
EVERY_DEG = 50.0
LIT = 0.5
WRONG_NM = 600.0
"""Of a crystal that tracking believes to hold, in the last frames, by half a run: it holds something else."""


def devices_of(seed: int, worse: float, jump_nm: float, scene: str) -> str:
    """The instrument, as the text of a devices file."""
    motion = MotionSettings.drawn(seed, worse)
    if jump_nm:
        motion = replace(motion, jumps_per_deg=1 / EVERY_DEG, jump_nm=jump_nm)
    lines = [
        f"motion.{name} = {list(value) if isinstance(value, tuple) else value}"
        for name, value in asdict(motion).items()
        if name not in ("drawn_seed", "worse")
    ]
    return "\n".join(
        [
            "[microscope]",
            'driver = "simulated"',
            "start_deg = -50.0",
            f'crystal.scene = "{scene}"',
            f"crystal.orientation_seed = {seed}",
            *lines,
            'pictures.rendered = "snapshots"',
            "",
        ]
    )


def lit(run: Run) -> list[tuple[int, bool]]:
    """Slots of the frames, and whether half of the crystal was lit."""
    truth = cast("Microscope", run.microscope).truth
    if truth is None:
        raise ValueError("this microscope knows no truth")
    frames = [r for r in run.trace.recorded() if r["kind"] == "frame" and r["name"] == "diffraction"]
    return [(f["slot"], truth.crystal_share(f["start_ns"], f["end_ns"]) >= LIT) for f in frames]


def looks(run: Run) -> list[tuple[int, bool]]:
    """Slots of the snapshots, and whether the crystal was found in them and believed."""
    return [
        (r["slot"], r["name"] == FOUND and r["seen"] != Seen.DOUBTED)
        for r in run.trace.recorded()
        if r["kind"] == "tracking" and r["name"] in (FOUND, NOT_FOUND)
    ]


def lost_in(run: Run) -> int | None:
    """The slot in which tracking took it for lost for the first time."""
    seen = looks(run)
    for k in range(LOST_AFTER - 1, len(seen)):
        if not any(found for _, found in seen[k - LOST_AFTER + 1 : k + 1]):
            return seen[k][0]
    return None


def believed(run: Run) -> bool:
    """Whether tracking holds something at the end."""
    return any(found for _, found in looks(run)[-2:])


def judged(run: Run, since: int) -> dict[str, Any]:
    """What became of it after a slot."""
    after = [is_lit for slot, is_lit in lit(run) if slot > since]
    away = away_nm(run)[-20:]
    wrong = believed(run) and len(away) > 0 and float(away.min()) > WRONG_NM
    searched = sum(r["kind"] == "tracking" and r["name"] == SEARCHED for r in run.trace.recorded())
    return {"lit": sum(after), "again": any(after[-20:]) and believed(run), "wrong": wrong, "searched": searched > 0}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holders", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worse", type=float, default=1.0)
    parser.add_argument("--jump", type=float, default=600.0)
    parser.add_argument("--scene", default="plate, 500 nm, neighbours")
    parser.add_argument("--each", action="store_true", help="a line for each that is lost")
    asked = parser.parse_args()
    quiet()
    told: dict[str, list[dict[str, Any]]] = {"go on": [], "search": []}
    lost_lit = 0
    for seed in range(100_000 * asked.seed, 100_000 * asked.seed + asked.holders):
        devices = devices_of(seed, asked.worse, asked.jump, asked.scene)
        run, _ = performed({**OFTEN, "crystal_lost": "go on"}, devices, seed)
        if (since := lost_in(run)) is None:
            continue
        told["go on"].append(judged(run, since))
        lost_lit += any(is_lit for slot, is_lit in lit(run) if since - 4 <= slot <= since)
        run, _ = performed({**OFTEN, "crystal_lost": "search"}, devices, seed)
        told["search"].append(judged(run, since))
        if asked.each:
            print(seed, since, {name: runs[-1] for name, runs in told.items()}, run.ending, flush=True)
    print(f"{len(told['search'])} of {asked.holders} lost; {lost_lit} of these were lit when tracking said so")
    print("| crystal_lost | held again at the end | holds something else | frames lit after that |")
    print("|---|---|---|---|")
    for name, runs in told.items():
        again, wrong, frames = (sum(run[key] for run in runs) for key in ("again", "wrong", "lit"))
        print(f"| {name} | {again} | {wrong} | {frames} |")


if __name__ == "__main__":
    main()
