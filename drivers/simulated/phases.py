"""The phases of a simulated grid: crystals by their CIFs, or by a cell whose intensities are drawn as Wilson has them.

A drawn phase stands for a structure that nobody has solved: its intensities have the statistics of randomly placed
atoms (A. J. C. Wilson, Acta Cryst. 2, 318-321, 1949) and the symmetry of its lattice, and nothing else.
"""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.latency import generator
from engine.errors import Refused, shown

Array = NDArray[np.float64]
Cell = tuple[float, float, float, float, float, float]

DRAWN, CELL = "random", "cell"
NAMED = ("mordenite", "chabazite")
"""Structures that come with the simulation."""
D_MIN_A = 0.8
ATOM_A3 = 15.0
"""Volume of a cell for each of its atoms that is no hydrogen."""
CARBON = ((0.0893, 0.2465), (0.2563, 1.7100), (0.7570, 6.4094), (1.0487, 18.6113), (0.3575, 50.2523))
"""Scattering factor of carbon for electrons: amplitudes in A, widths in A^2 (International Tables C, table 4.3.2.2)."""
B_A2 = 3.0
"""Debye-Waller factor."""
AXES_A, ANGLES_DEG = (4.5, 14.0), (91.0, 118.0)
VOLUMES_A3 = (200.0, 700.0)
LATTICES = ("triclinic", "monoclinic", "orthorhombic")
RIGHT_DEG = 0.05
"""An angle so near to 90 degrees is a right one."""


@lru_cache(maxsize=16)
def load_phase(words: str, seed: int, number: int, d_min_A: float = D_MIN_A) -> Crystal:
    """The phase in words (`GridSettings.phase`), with its Cartesian frame along the lab's. number: of the phase on its
    grid; a drawn one follows from that and the seed. Raises Refused for words that are no phase and a CIF that is none.
    """
    kind, _, rest = words.partition(" ")
    if words == DRAWN:
        return _drawn(draw_cell(seed, number), seed, number, d_min_A)
    if kind == CELL:
        return _drawn(_cell(rest), seed, number, d_min_A)
    path = Path(__file__).with_name(f"{words}.cif") if words in NAMED else Path(words)
    crystal = load_crystal(path if words else None, orientation_seed=0, d_min_A=d_min_A)
    b_matrix = crystal.orientation.T @ crystal.ub
    return Crystal(
        *(crystal.name, crystal.cell, np.eye(3), b_matrix, crystal.hkl, crystal.intensity, d_min_A, crystal.size_nm)
    )


def draw_cell(seed: int, number: int) -> Cell:
    """A primitive cell within `AXES_A`, `ANGLES_DEG` and `VOLUMES_A3`, of one of `LATTICES`."""
    rng = generator(seed, f"cell {number}")
    lattice = LATTICES[int(rng.integers(len(LATTICES)))]
    while True:
        a, b, c = np.sort(rng.uniform(*AXES_A, 3)).round(3).tolist()
        alpha, beta, gamma = rng.uniform(*ANGLES_DEG, 3).round(2).tolist()
        if lattice != LATTICES[0]:
            alpha = gamma = 90.0
        if lattice == LATTICES[2]:
            beta = 90.0
        cell = a, b, c, alpha, beta, gamma
        if VOLUMES_A3[0] <= volume_A3(cell) <= VOLUMES_A3[1]:
            return cell


def volume_A3(cell: Cell) -> float:
    """Of a cell; 0 of angles that no cell has."""
    cosines = np.cos(np.deg2rad(cell[3:]))
    share = 1.0 - float(np.sum(cosines**2)) + 2.0 * float(np.prod(cosines))
    return float(np.prod(cell[:3])) * math.sqrt(max(share, 0.0))


def _cell(words: str) -> Cell:
    try:
        a, b, c, alpha, beta, gamma = (float(word) for word in words.split())
    except ValueError:
        a = b = c = alpha = beta = gamma = math.nan
    cell = a, b, c, alpha, beta, gamma
    if not (min(cell) > 0.0 and max(cell[3:]) < 180.0 and 10.0 < volume_A3(cell) < 1e5):
        raise Refused(
            f"devices: [grid] phase = {shown(repr(f'{CELL} {words}'))} is no cell; nothing was started. Write "
            "'cell A B C ALPHA BETA GAMMA', in A and degrees."
        )
    return cell


def _drawn(cell: Cell, seed: int, number: int, d_min_A: float) -> Crystal:
    b_matrix = reciprocal(cell)
    most = [math.floor(length / d_min_A) for length in cell[:3]]
    every = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(-1, 3)
    length = np.linalg.norm(every @ b_matrix.T, axis=1)
    within = (length > 0.0) & (length <= 1.0 / d_min_A)
    hkl, s2 = every[within].astype(np.int32), (length[within] / 2.0) ** 2
    factor = sum(a * np.exp(-b * s2) for a, b in CARBON) * np.exp(-B_A2 * s2)
    mean = volume_A3(cell) / ATOM_A3 * factor**2
    _, first, one = np.unique(_equivalents(hkl, cell), axis=0, return_index=True, return_inverse=True)
    intensity = mean[first] * generator(seed, f"intensities {number}").exponential(1.0, len(first))
    name = f"drawn {number}"
    return Crystal(name, cell, np.eye(3), b_matrix, hkl, intensity[one.ravel()], d_min_A, 500.0)


def reciprocal(cell: Cell) -> Array:
    """(3, 3) B in 1/A: a along x, b in the xy plane, as `Crystal.orientation` has it."""
    a, b, c = cell[:3]
    cos_a, cos_b, cos_c = np.cos(np.deg2rad(cell[3:]))
    sin_c = math.sqrt(1.0 - cos_c**2)
    direct = np.array(
        [
            [a, b * cos_c, c * cos_b],
            [0.0, b * sin_c, c * (cos_a - cos_b * cos_c) / sin_c],
            [0.0, 0.0, volume_A3(cell) / (a * b * sin_c)],
        ]
    )
    return np.asarray(np.linalg.inv(direct).T)


def _equivalents(hkl: NDArray[np.int32], cell: Cell) -> NDArray[np.int32]:
    """(n, 3) one of all reflections that are equivalent in the Laue group of the lattice: -1, 2/m (b unique) or mmm."""
    right = [abs(angle - 90.0) < RIGHT_DEG for angle in cell[3:]]
    if all(right):
        return np.abs(hkl)
    one = hkl.copy()
    if right[0] and right[2]:
        one[:, 1] = np.abs(one[:, 1])
        flip = (one[:, 0] < 0) | ((one[:, 0] == 0) & (one[:, 2] < 0))
        one[flip] *= np.array([-1, 1, -1], np.int32)
        return one
    first = one[np.arange(len(one)), np.argmax(one != 0, axis=1)]
    one[first < 0] *= -1
    return one
