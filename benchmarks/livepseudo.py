"""Is a pseudo-symmetric crystal told as what it may be? Crystals that are off a higher symmetry by little, and by more.

.venv/bin/python -m benchmarks.livespots --set pseudo --seed 2 --orientations 2 --out FOLDER    # frames, spots: once
.venv/bin/python -m benchmarks.livepseudo --seed 2 --orientations 2 --out FOLDER            # the table

How far off: the true cell's deviation from the higher symmetry, in standard deviations as told with the found cell.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.live import KNOWN, TRUE, TYPES, reflections_until
from benchmarks.livecrystals import Drawn, draw_pseudo
from benchmarks.livespots import load, run_file
from protocols.lattice.cell import Cell, like_basis
from protocols.live.crystal import find_crystal
from protocols.live.latticetype import candidates, deviation_square
from protocols.live.look import observed

DEGREES = (15.0, 30.0)
CLASSES = ((0.0, 2.0), (2.0, 5.0), (5.0, 1e9))
"""Of deviations, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of one crystal. off_sigmas: inf where the truth does not list the higher type at all."""

    off_sigmas: float
    said: str
    listed: tuple[str, ...]


def tell(drawn: Drawn, seed: int, orientation: int, degrees: float, out: Path) -> Told | None:
    """One run; None where no cell is determined, or a wrong one."""
    made = load(run_file(out, seed, drawn, orientation, 0.0))
    found = find_crystal(observed(reflections_until(made, made.frames, degrees)), TRUE, KNOWN)
    true = Cell(*drawn.crystal.cell).reduced(drawn.crystal.group)
    basis = None if found is None else like_basis(found.cell, true)
    if found is None or basis is None or not found.determined:
        return None
    back = np.linalg.inv(basis)
    same = Cell.from_metric(back @ true.metric @ back.T)  # the truth in the axes that were found
    higher = next((e.bravais for e in candidates(same, found.sigma) if e.bravais.symbol == drawn.pseudo), None)
    off = np.inf if higher is None else float(np.sqrt(deviation_square(higher, same, found.sigma)))
    types = candidates(found.cell, found.sigma)
    said = next(each for each in types if each.allowed).bravais.symbol
    return Told(off, said, tuple(each.bravais.symbol for each in types))


def main() -> None:
    """Read the command line, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--orientations", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    for degrees in DEGREES:
        rows: list[tuple[str, str, Told]] = []
        missing = 0
        for orientation in range(asked.orientations):
            for drawn in draw_pseudo(asked.seed):
                if not run_file(asked.out, asked.seed, drawn, orientation, 0.0).exists():
                    continue
                own = TYPES[drawn.crystal.system][drawn.crystal.group[0]]
                told = tell(drawn, asked.seed, orientation, degrees, asked.out)
                if told is None:
                    missing += 1
                    continue
                rows.append((own, drawn.pseudo, told))
                words = f"{own} nearly {drawn.pseudo}: off {told.off_sigmas:.1f} sigma"
                print(f"{degrees:g} deg, {words}; {told.said} is said, {', '.join(told.listed)} listed")
        print(f"after {degrees:g} deg, of {len(rows) + missing} crystals {missing} not determined:")
        print("| off by, in sigmas | crystals | both listed | higher said | own said | another said |")
        print("|---|---|---|---|---|---|")
        for low, high in CLASSES:
            mine = [row for row in rows if low <= row[2].off_sigmas < high or (high > 1e8 and row[2].off_sigmas >= low)]
            both = sum({own, pseudo} <= set(told.listed) for own, pseudo, told in mine)
            higher = sum(told.said == pseudo for _, pseudo, told in mine)
            itself = sum(told.said == own for own, _, told in mine)
            words = f"below {high:g}" if not low else f"{low:g} to {high:g}" if high < 1e8 else f"{low:g} and more"
            print(f"| {words} | {len(mine)} | {both} | {higher} | {itself} | {len(mine) - higher - itself} |")


if __name__ == "__main__":
    main()
