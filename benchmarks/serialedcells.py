"""From a grid with crystals of two unknown kinds to the cell of each: a serial run, and `credline zones cell` on its
folder.

    python benchmarks/serialedcells.py [--seeds 1 2 ...] [--um 91] [--keep DIR]

Each seed is another grid with two cells drawn for it (200 to 700 A^3), plates of 10 to 50 nm in any orientation, half
and half, 12 a field. Nothing but the run folder is told to the search. Right: lengths within 1 %, angles within 1 deg
of some basis of the lattice. Wrong: a cell called determined that is neither of the two.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.serialed import MANY, NO_BARS, Case, measured  # noqa: E402
from drivers.simulated.phases import draw_cell  # noqa: E402
from protocols.lattice.cell import Cell, lattice_difference  # noqa: E402

MIXED = Case(
    "two phases",
    {
        "grid": {
            **NO_BARS,
            "crystals_um2": MANY,
            "shape": "plates",
            "thickness_nm": [10.0, 50.0],
            "phase": "random",
            "second_phase": "random",
            "second_share": 0.5,
        }
    },
)
WITHIN, WITHIN_DEG = 0.01, 1.0
ZONES = "from engine.commands.program import main; main()"


def cells_of(run: Path, out: Path, missing: float) -> dict[str, Any]:
    """What `credline zones cell RUN --json` says."""
    asked = ["zones", "cell", str(run), "--json", "--out", str(out), "--missing", str(missing)]
    done = subprocess.run([sys.executable, "-c", ZONES, *asked], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def verdict(seed: int, patterns: int, told: dict[str, Any], run_s: float, zones_s: float) -> str:
    """A line: what became of each of the two cells, and how many others were called determined."""
    found = [Cell(*phase["cell"]) for phase in told["phases"]]
    wrong, words = len(found), []
    for number in (0, 1):
        true = Cell(*draw_cell(seed, number))
        off = [lattice_difference(cell, true) for cell in found]
        right = [(share, deg) for share, deg in off if share < WITHIN and deg < WITHIN_DEG]
        wrong -= len(right)
        how = f"right to {100 * right[0][0]:.2f} %, {right[0][1]:.2f} deg" if right else "not determined"
        words.append(f"V {true.volume_A3:.0f} {how}")
    zones = sum(phase["zones"] for phase in told["phases"])
    return (
        f"grid {seed}: {patterns} patterns, {zones} zones used; {'; '.join(words)}; wrong {wrong}; {told['doubt']} "
        f"run {run_s:.0f} s, cells {zones_s:.0f} s"
    )


def main() -> None:
    """See the module's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--um", type=float, default=91.0, help="side of the region")
    parser.add_argument("--missing", type=float, default=0.0, help="as `credline zones cell`")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for seed in asked.seeds:
            out = (asked.keep or Path(made)) / f"grid{seed}"
            begun = time.perf_counter()
            got = measured(MIXED, seed, asked.um, False, out)
            run_s = time.perf_counter() - begun
            (run,) = (path.parent for path in out.rglob("frames.h5"))
            told = cells_of(run, out / "cells", asked.missing)
            print(verdict(seed, int(got["patterns"]), told, run_s, time.perf_counter() - begun - run_s), flush=True)


if __name__ == "__main__":
    main()
