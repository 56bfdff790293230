"""Known cells of a lab, and which of them a lattice is: names instead of numbers.

A file of known cells is CSV with a heading: name,a,b,c,alpha,beta,gamma and, where it is centred, group.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import Refused, shown
from protocols.lattice.cell import Cell, like_basis
from protocols.live.cellsigma import CellSigma

SIGMAS = 4.0
LEAST_RATIO, LEAST_DEG = 0.005, 0.3
"""Cells of the literature are from other temperatures and samples; so much closer is not asked for."""
COLUMNS = ("name", "a", "b", "c", "alpha", "beta", "gamma")


@dataclass(frozen=True, slots=True)
class Phase:
    """A known cell. group: Hermann-Mauguin symbol, of which the letter of the centring counts."""

    name: str
    cell: Cell
    group: str = "P 1"


def read_phases(path: Path) -> list[Phase]:
    """All of a file. Refused, with the line, for what is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"cells: {shown(path)} cannot be read ({shown(error)}); nothing was done.") from error
    phases = []
    for number, row in enumerate(rows, 2):
        try:
            numbers = [float(row[name]) for name in COLUMNS[1:]]
            if not (min(numbers) > 0 and np.isfinite(numbers).all() and max(numbers[3:]) < 180):
                raise ValueError("no cell has such numbers")
            phases.append(Phase(row["name"].strip(), Cell(*numbers), (row.get("group") or "P 1").strip()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(
                f"cells: {shown(path)}, line {number}: {shown(error)}; nothing was done. A line is "
                f"{','.join(COLUMNS)}, and group where the cell is centred."
            ) from error
    return phases


def named(cell: Cell, sigma: CellSigma, phases: list[Phase]) -> list[str]:
    """Names of the known cells that this primitive lattice can be, the nearest first."""
    near = []
    for phase in phases:
        true = phase.cell.reduced(phase.group)
        basis = like_basis(cell, true)
        if basis is None:
            continue
        here = np.array(Cell.from_metric(basis @ cell.metric @ basis.T).parameters)
        there = np.array(true.parameters)
        times = here[:3] / there[:3]
        # A camera length that is off scales all lengths alike.
        scale = abs(float(times.mean()) - 1) / max(LEAST_RATIO, SIGMAS * sigma.camera_length)
        ratio = float(times.max() / times.min() - 1) / max(LEAST_RATIO, SIGMAS * sigma.ratio)
        angle = float(np.abs(here[3:] - there[3:]).max()) / max(LEAST_DEG, SIGMAS * float(sigma.angles_deg.max()))
        if (worst := max(scale, ratio, angle)) <= 1:
            near.append((worst, phase.name))
    return [name for _, name in sorted(near)]
