"""Data sets as a night would leave them, from cells with noise: no pictures."""

import numpy as np
from scipy.spatial.transform import Rotation

from protocols.lattice.cell import Cell
from protocols.session.judging.dataset import DataSet, data_set

MORDENITE = Cell(18.11, 20.53, 7.528, 90, 90, 90).reduced("C 2/m")
CHABAZITE = Cell(13.675, 13.675, 14.767, 90, 90, 120).reduced("R -3 m")
FERRIERITE = Cell(18.72, 14.07, 7.42, 90, 90, 90).reduced("I m m m")
SAPO34_LIKE = Cell(13.675, 13.675, 14.99, 90, 90, 120).reduced("R -3 m")  # c longer by 1.5 %
LATTICES = {MORDENITE: "oC", CHABAZITE: "hR", FERRIERITE: "oI", SAPO34_LIKE: "hR"}


def measured(cell: Cell, number: int, rng: np.random.Generator, noise: float = 0.005, **live) -> DataSet:
    """One data set of a crystal of this reduced cell, in an orientation by chance, lengths off by `noise` and angles by
    as much (in rad); its sigmas say so."""
    six = np.array(cell.parameters)
    six[:3] *= 1 + noise * rng.normal(size=3)
    six[3:] += np.degrees(noise) * rng.normal(size=3)
    sigma = np.concatenate([noise * six[:3], np.full(3, np.degrees(noise))])
    own = Cell(*six.tolist())
    turned = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    return data_set(
        result_of(own, turned @ own.reciprocal_basis, sigma, LATTICES.get(cell, ""), **live),
        number,
        number,
        f"{number}_cred",
    )


def result_of(
    cell: Cell, ub: np.ndarray, sigma: np.ndarray, lattice: str, start_deg=-60.0, end_deg=60.0, **live
) -> dict:
    """As a cRED run leaves it."""
    return {
        "start_deg": start_deg,
        "end_deg": end_deg,
        "reason": "range covered",
        "live": {
            "determined": True,
            "primitive": list(cell.parameters),
            "primitive_sigma": sigma.tolist(),
            "orientation": ub.tolist(),
            "bravais": lattice or None,
            "resolution_A": 0.9,
            "completeness": 0.7,
            "indexed": 0.95,
            "lattices": 1,
            "reasons": [],
            "damage": {"verdict": "none"},
        }
        | live,
    }


def night(rng: np.random.Generator, *parts: tuple[Cell, int]) -> tuple[list[DataSet], list[Cell]]:
    """So many of each, in an order by chance, and the true cell of each."""
    cells = [cell for cell, count in parts for _ in range(count)]
    order = rng.permutation(len(cells)).tolist()
    true = [cells[n] for n in order]
    return [measured(cell, number, rng) for number, cell in enumerate(true, 1)], true
