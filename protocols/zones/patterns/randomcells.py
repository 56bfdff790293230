"""Random unit cells of a given volume and anisotropy, in every crystal system; and the four cells the paper names."""

import math

import numpy as np

from protocols.lattice.cell import Cell

SHORTEST_AXIS_A, LONGEST_AXIS_A = 3.5, 45.0
"""Of molecular and framework crystals; the limits of the paper's own generator (Gorelik and co-workers, 2025)."""

SMALLEST_FLATNESS = 0.5
"""V / (a b c). Flatter triclinic cells are lattices of quite another shape than their axes pretend."""

SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")

PAPER_CELLS = {
    "triclinic, figure 1": (Cell(5.6786, 10.4648, 20.4682, 109.7914, 106.5805, 105.8206), "P -1"),
    "monoclinic 3.8155": (Cell(3.8155, 10.0452, 13.7425, 90.0, 107.8717, 90.0), "P 1 21 1"),
    "monoclinic 3.7061": (Cell(3.7061, 12.0249, 11.7474, 90.0, 103.1097, 90.0), "P 1 21 1"),
    "triclinic 9.7733": (Cell(9.7733, 11.979, 9.6421, 91.1645, 113.204, 102.2199), "P -1"),
    "triclinic 6.4633": (Cell(6.4633, 9.4541, 19.4332, 104.2276, 118.6144, 90.5482), "P -1"),
}
"""The cells named in Gorelik and co-workers (2025), with a space group that has the absences stated there."""


def random_cell(
    rng: np.random.Generator, system: str = "triclinic", volume_A3: float = 1000.0, anisotropy: float = 1.5
) -> Cell:
    """A random cell of exactly this volume.

    anisotropy: the largest ratio of the longest to the shortest axis; the ratio itself is drawn uniformly from 1 to
    there, the third axis lies between (on a logarithmic scale). Oblique angles are uniform from 90 to 120 deg.
    Cells with an axis shorter than 3.5 A or longer than 45 A are drawn again, 10 000 times at most (ValueError then:
    no such cell; a system with equal axes ignores the part of the anisotropy that it cannot have).
    """
    if system not in SYSTEMS:
        raise ValueError(f"crystal system {system!r} is not one of {', '.join(SYSTEMS)}")
    if volume_A3 <= 0 or anisotropy < 1:
        raise ValueError(f"volume {volume_A3} A^3 must be positive, anisotropy {anisotropy} at least 1")
    for _ in range(10_000):
        shape = _shape(rng, system, anisotropy)
        flatness = shape.volume_A3 / (shape.a_A * shape.b_A * shape.c_A)
        if flatness < SMALLEST_FLATNESS:  # 0 for three angles that no cell can have
            continue
        scale = (volume_A3 / shape.volume_A3) ** (1 / 3)
        lengths = [scale * axis for axis in shape.parameters[:3]]
        if min(lengths) >= SHORTEST_AXIS_A and max(lengths) <= LONGEST_AXIS_A:
            return Cell(lengths[0], lengths[1], lengths[2], shape.alpha_deg, shape.beta_deg, shape.gamma_deg)
    raise ValueError(
        f"no {system} cell of {volume_A3:g} A^3 has axes between {SHORTEST_AXIS_A} and {LONGEST_AXIS_A} A "
        f"with a ratio up to {anisotropy:g}"
    )


def _shape(rng: np.random.Generator, system: str, anisotropy: float) -> Cell:
    """A cell of any size."""
    ratio = rng.uniform(1.0, anisotropy)
    axes = rng.permutation([1.0, math.exp(rng.uniform(0.0, math.log(ratio))), ratio])
    a, b, c = (float(x) for x in axes)
    alpha, beta, gamma = (float(x) for x in rng.uniform(90.0, 120.0, 3))
    match system:
        case "monoclinic":
            alpha = gamma = 90.0
        case "orthorhombic":
            alpha = beta = gamma = 90.0
        case "tetragonal":
            b, alpha, beta, gamma = a, 90.0, 90.0, 90.0
        case "trigonal" | "hexagonal":
            b, alpha, beta, gamma = a, 90.0, 90.0, 120.0
        case "cubic":
            b = c = a
            alpha = beta = gamma = 90.0
    return Cell(a, b, c, alpha, beta, gamma)
