"""How often the cell is right against degrees and against reflections, drawn from a log of benchmarks/live.py.

.venv/bin/python -m benchmarks.livecurves --log FILE --to docs/images/live.png
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live import UNDISTURBED, VOLUMES_A3

COUNTS = (10, 20, 30, 45, 70, 110, 180, 300, 600, 3000)
"""Reflections so far, borders of the bins of the right half."""
SIZE_IN, DPI = (8.6, 3.3), 90
SHADES = ("#c6563c", "#d9a441", "#4f8f6b", "#2f5d8a")


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    asked = parser.parse_args()
    every = [json.loads(line) for line in asked.log.read_text().splitlines()]
    draw([each for each in every if each["condition"] == UNDISTURBED.name and each["generated"]], asked.to)


def draw(results: list[dict[str, Any]], to: Path) -> None:
    """Right (whole line), and right or within 3 sigma (broken), of the looks whose reflections generate the lattice."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_IN, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    degrees = sorted({each["deg"] for each in results})
    for (low, high), shade in zip(pairwise(VOLUMES_A3[1:]), SHADES, strict=True):
        mine = [each for each in results if low <= each["volume_A3"] < high]
        for verdicts, line in ((("right",), "-"), (("right", "within"), ":")):
            shares = [_share([each for each in mine if each["deg"] == deg], verdicts) for deg in degrees]
            label = f"{low} to {high - 1} A\u00b3" if line == "-" else None
            left.plot(degrees, shares, line, color=shade, marker="o" if line == "-" else None, ms=3, label=label)
    left.set(xlabel="degrees turned", ylabel="share of the runs, %", xlim=(0, 31), ylim=(0, 102))
    left.legend(frameon=False, fontsize=8, loc="lower right")
    for verdicts, line in ((("right",), "-"), (("right", "within"), ":")):
        shares, middles = [], []
        for low, high in pairwise(COUNTS):
            mine = [each for each in results if low <= each["reflections"] < high]
            if mine:
                middles.append(float(np.median([each["reflections"] for each in mine])))
                shares.append(_share(mine, verdicts))
        words = "right" if line == "-" else "right, or within 3 of the sigmas told"
        right.plot(middles, shares, line, color="#333333", marker="o" if line == "-" else None, ms=3, label=words)
    right.set(xlabel="reflections seen so far", xscale="log")
    right.legend(frameon=False, fontsize=8, loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(to, dpi=DPI)


def _share(mine: list[dict[str, Any]], verdicts: tuple[str, ...]) -> float:
    return 100 * sum(each["verdict"] in verdicts for each in mine) / max(len(mine), 1)


if __name__ == "__main__":
    main()
