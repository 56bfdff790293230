"""Structures for benchmarks/live.py: thirty made-up ones over all seven crystal systems, drawn from a seed.

The volume of their primitive cells runs evenly in its logarithm from 100 to 4000 A^3, axes from 4 to 40 A. And some
that nearly have a higher symmetry. Nothing is a real substance.
"""

from dataclasses import dataclass

import gemmi
import numpy as np

from benchmarks.madecrystals import ELEMENTS, Cell, MadeCrystal

SMALLEST_A3, LARGEST_A3 = 100.0, 4000.0
SHORTEST_A, LONGEST_A = 4.0, 40.0
TINY_A3, SHORTEST_TINY_A = 35.0, 2.8
GROUPS = {
    "triclinic": ("P -1", "P 1", "P -1", "P -1"),
    "monoclinic": ("P 1 21/c 1", "C 1 2/c 1", "P 1 21 1", "C 1 2 1", "P 1 2/m 1"),
    "orthorhombic": ("P n m a", "C m c m", "P 21 21 21", "I m m m", "F d d 2"),
    "tetragonal": ("I 41/a", "P 4/m m m", "P 42/n", "I 4/m"),
    "trigonal": ("R -3", "P -3", "P 3 2 1", "R 3 m"),
    "hexagonal": ("P 63/m", "P 6/m m m", "P 61 2 2", "P 6"),
    "cubic": ("P a -3", "I 2 3", "F 2 3", "P 2 3"),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A structure and its number. set: the letter of its files. pseudo: the Bravais type that it nearly has."""

    number: int
    crystal: MadeCrystal
    set: str = "s"
    pseudo: str = ""


def draw_crystals(seed: int) -> list[Drawn]:
    """Thirty of them."""
    wanted = [(system, group) for system, groups in GROUPS.items() for group in groups]
    random = np.random.Generator(np.random.PCG64([3, seed]))
    # Each a step of the volume, in an order of its own.
    steps = random.permutation(len(wanted))
    drawn = []
    for number, (system, group) in enumerate(wanted):
        volume_A3 = SMALLEST_A3 * (LARGEST_A3 / SMALLEST_A3) ** ((steps[number] + 0.5) / len(wanted))
        drawn.append(Drawn(number, _made(f"live{seed}n{number}", system, group, volume_A3, random)))
    return drawn


def draw_small(seed: int) -> list[Drawn]:
    """Of each system one with a primitive cell between TINY_A3 and SMALLEST_A3."""
    random = np.random.Generator(np.random.PCG64([4, seed]))
    steps = random.permutation(len(GROUPS))
    drawn = []
    for number, (system, groups) in enumerate(GROUPS.items()):
        volume_A3 = TINY_A3 * (SMALLEST_A3 / TINY_A3) ** ((steps[number] + 0.5) / len(GROUPS))
        crystal = _made(f"small{seed}n{number}", system, groups[0], volume_A3, random, SHORTEST_TINY_A)
        drawn.append(Drawn(number, crystal, "t"))
    return drawn


def draw_pseudo(seed: int) -> list[Drawn]:
    """Crystals that are off a higher symmetry by each of OFF, all with the atoms of their own symmetry."""
    drawn: list[Drawn] = []
    for off in OFF:
        for group, system, pseudo, cell in _nearly(off):
            crystal = MadeCrystal(f"pseudo{seed}n{len(drawn)}", system, group, cell)
            drawn.append(Drawn(len(drawn), crystal, "p", pseudo))
    return drawn


OFF = 5e-4, 1.5e-3, 5e-3
"""Of lengths, as a share, and of angles in radians."""


def _nearly(off: float) -> tuple[tuple[str, str, str, Cell], ...]:
    """Group, system, nearly which Bravais type, cell."""
    longer, wider = 1 + off, 90 + float(np.degrees(off))
    return (
        ("P 1 21/c 1", "monoclinic", "oP", (6.8, 9.9, 12.3, 90.0, wider, 90.0)),
        ("P n m a", "orthorhombic", "tP", (8.5, 8.5 * longer, 11.9, 90.0, 90.0, 90.0)),
        ("P 42/n", "tetragonal", "cP", (9.6, 9.6, 9.6 * longer, 90.0, 90.0, 90.0)),
        ("P -1", "triclinic", "mP", (7.4, 9.1, 11.2, wider, 104.0, wider)),
        ("P 1 21 1", "monoclinic", "oC", (8.2, 10.3, 8.2 * longer, 90.0, 107.0, 90.0)),
        ("R -3", "trigonal", "cP", (12.7, 12.7, 12.7 * float(np.sqrt(1.5)) * longer, 90.0, 90.0, 120.0)),
        ("C m c m", "orthorhombic", "hP", (7.9, 7.9 * float(np.sqrt(3)) * longer, 10.4, 90.0, 90.0, 90.0)),
        ("I 4/m", "tetragonal", "cI", (11.3, 11.3, 11.3 * longer, 90.0, 90.0, 90.0)),
    )


def _made(
    name: str,
    system: str,
    group: str,
    primitive_A3: float,
    random: np.random.Generator,
    shortest_A: float = SHORTEST_A,
) -> MadeCrystal:
    centred_A3 = primitive_A3 * len(gemmi.SpaceGroup(group).operations().cen_ops)
    while True:
        cell = _cell(system, centred_A3, random)
        if shortest_A < min(cell[:3]) and max(cell[:3]) < LONGEST_A:
            break
    crystal = MadeCrystal(name, system, group, cell)
    try:
        return crystal if crystal.atoms >= 2 else _few(crystal, random)
    except ValueError:
        return _few(crystal, random)


def _few(crystal: MadeCrystal, random: np.random.Generator) -> MadeCrystal:
    """Too small for its group: two atoms anywhere, however near to their images."""
    sites = tuple((ELEMENTS[i], *(float(x) for x in random.random(3).round(4))) for i in range(2))
    return MadeCrystal(crystal.name, crystal.system, crystal.group, crystal.cell, sites)  # type: ignore[arg-type]


def _cell(system: str, volume_A3: float, random: np.random.Generator) -> Cell:
    a, b, c = np.exp(random.normal(0, 0.35, 3))
    angles = np.array([90.0, 90.0, 90.0])
    if system == "triclinic":
        angles = random.uniform(75, 115, 3)
    elif system == "monoclinic":
        angles[1] = random.uniform(92, 118)
    elif system in ("tetragonal", "trigonal", "hexagonal"):
        b = a
        angles[2] = 90.0 if system == "tetragonal" else 120.0
    elif system == "cubic":
        a = b = c = 1.0
    unit = gemmi.UnitCell(a, b, c, *angles)
    scale = (volume_A3 / max(unit.volume, 1e-3)) ** (1 / 3)
    a, b, c = (round(float(x * scale), 3) for x in (a, b, c))
    return (a, b, c, *(round(float(x), 2) for x in angles))  # type: ignore[return-value]


SETS = {"all": draw_crystals, "small": draw_small, "pseudo": draw_pseudo}
