"""In which symmetry intensities are merged, and in which axes: the lattice's highest that they do not speak against.

A lattice has a highest Laue class; its crystal may have a lower one with the same lattice (4/m instead of 4/mmm), or
its cell only pretends it. Each class is asked by its operations: intensities of reflections that an operation relates
agree to some percent where the crystal has it, and differ as those of any two reflections where it has not. Where
they differ, a crystal that was not equally bright over the run is thought of before the class is given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown
from protocols.integration.scaling import fitted_scale
from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import LETTER, Bravais

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

HIGHEST = {
    "aP": ("P -1",), "mP": ("P 1 2/m 1",), "mC": ("C 1 2/m 1",), "oP": ("P m m m",), "oC": ("C m m m",),
    "oI": ("I m m m",), "oF": ("F m m m",), "tP": ("P 4/m m m", "P 4/m"), "tI": ("I 4/m m m", "I 4/m"),
    "hR": ("R -3 m:H", "R -3:H"), "hP": ("P 6/m m m", "P 6/m", "P -3 m 1", "P -3 1 m", "P -3"),
    "cP": ("P m -3 m", "P m -3"), "cI": ("I m -3 m", "I m -3"), "cF": ("F m -3 m", "F m -3"),
}  # fmt: skip
"""Groups without screws and glides of each Bravais type, one of each Laue class, those of most operations first."""
UNRELATED = 0.25
"""Difference over sum of two intensities that nothing relates is 0.5 on the average, or 0.64; of related ones their
errors."""
FEWEST_PAIRS = 12
STRONG = 5.0
"""Intensity over its standard deviation of the stronger one of a pair."""
TRIGONAL = {"P -3 m 1": "-3m1", "P -3 1 m": "-31m"}
"""Two classes of one name, told apart by how people write them."""


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """A type that the lattice may have. cell, cell_sigma: conventional, with the numbers that it asks for."""

    bravais: Bravais
    cell: Cell
    cell_sigma: Array

    @property
    def to_conventional(self) -> Indices:
        """(3, 3) matrix from indices (columns) in the axes of the found lattice to the conventional ones."""
        return np.asarray(self.bravais.basis @ self.bravais.reduction, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Symmetry:
    """What was chosen. hkl: (n, 3) in its axes. disagreement: of what the class relates (0.5: unrelated); None where no
    pairs were measured. refused: classes of more operations that were tried, each with its disagreement. given: whether
    somebody said it.
    """

    axes: Axes
    group: "gemmi.SpaceGroup"
    hkl: Indices
    disagreement: float | None
    refused: tuple[tuple[str, float], ...]
    given: bool

    @property
    def laue(self) -> str:
        """Its class."""
        return str(self.group.laue_str())


def choose(
    hkl: Indices, intensity: Array, sigma: Array, angle_deg: Array, types: Sequence[Axes], wanted: str | None
) -> Symmetry:
    """The symmetry of (n,) intensities, recorded at angles (n,), with indices (n, 3) in the axes of the found lattice.

    types: that the lattice may have, the highest first; the last is triclinic. wanted: a space group or a Laue class,
    as a person writes them. Refused for one that is unknown or that the lattice cannot have.
    """
    import gemmi

    if wanted is not None:
        axes, group = _wanted(wanted, types)
        own = hkl @ axes.to_conventional.T
        return Symmetry(axes, group, own, _told(group, axes, own, intensity, sigma, angle_deg), (), True)
    refused: list[tuple[str, float]] = []
    order = [(axes, gemmi.SpaceGroup(name)) for axes in types for name in HIGHEST[axes.bravais.symbol]]
    order.sort(key=lambda each: -len(each[1].operations().sym_ops))
    for axes, group in order:
        own = hkl @ axes.to_conventional.T
        told = _told(group, axes, own, intensity, sigma, angle_deg)
        if told is None or told < UNRELATED:
            return Symmetry(axes, group, own, told, tuple(refused), False)
        refused.append((f"{group.laue_str()} ({axes.bravais.symbol})", told))
    raise AssertionError("-1 relates nothing but Friedel mates")


def _told(
    group: "gemmi.SpaceGroup", axes: Axes, hkl: Indices, intensity: Array, sigma: Array, angle_deg: Array
) -> float | None:
    """The disagreement; where that is large, of a crystal that was as bright at each angle as the class makes it."""
    told = disagreement(group, _lowest(axes), hkl, intensity, sigma)
    if told is not None and told >= UNRELATED:
        scale = fitted_scale(group, hkl, intensity, sigma, angle_deg)
        if scale is not None and scale.used:
            return disagreement(group, _lowest(axes), hkl, *scale.apply(angle_deg, intensity, sigma))
    return told


def disagreement(
    group: "gemmi.SpaceGroup", lowest: "gemmi.SpaceGroup", hkl: Indices, intensity: Array, sigma: Array
) -> float | None:
    """The worst of the operations of a Laue class: sum of the differences over the sum, of pairs of intensities.

    lowest: class of the fewest operations that the lattice can have. Pairs that it, or Friedel's law, relates too tell
    nothing of an operation that is not in it: these are not asked, nor is -1. None where no operation has enough pairs.
    """
    rows = {tuple(index): number for number, index in enumerate(hkl.tolist())}  # of equals, one
    always = {rotation.tobytes() for rotation in rotations(lowest)}
    of_lowest, of_friedel = _classes(hkl, rotations(lowest)), _classes(hkl, [np.eye(3, dtype=np.int64)])
    worst: float | None = None
    for rotation in rotations(group):
        mates = [rows.get(tuple(index), -1) for index in (hkl @ rotation).tolist()]
        other = np.array(mates, dtype=np.intp)
        related = of_friedel if rotation.tobytes() in always else of_lowest
        pair = (other > np.arange(len(hkl))) & (related != related[other])
        one, two = intensity[pair], intensity[other[pair]]
        strong = np.maximum(one / sigma[pair], two / sigma[other[pair]]) > STRONG
        if strong.sum() < FEWEST_PAIRS:
            continue
        one, two = one[strong], two[strong]
        # What noise alone makes of the difference is taken off.
        noise = np.hypot(sigma[pair], sigma[other[pair]])[strong] * np.sqrt(2 / np.pi)
        off = float((np.abs(one - two) - noise).sum() / max(float((one + two).sum()), 1e-12))
        worst = off if worst is None else max(worst, off)
    return worst


def _classes(hkl: Indices, operations: Sequence[Indices]) -> Indices:
    """(n,) a number that is the same for indices that the operations, or Friedel's law, relate."""
    key = np.full(len(hkl), np.iinfo(np.int64).min)
    for operation in operations:
        for sign in (1, -1):
            h, k, m = (sign * hkl @ operation).T + 1000
            np.maximum(key, (h * 4000 + k) * 4000 + m, out=key)
    return key


def rotations(group: "gemmi.SpaceGroup") -> list[Indices]:
    """Of the Laue class, each once, that act on rows of indices: h' = h R; and the same with all signs turned."""
    import gemmi

    found = {str(op.rot): np.array(op.rot, dtype=np.int64) // gemmi.Op.DEN for op in group.operations().sym_ops}
    turned = [rotation * round(float(np.linalg.det(rotation))) for rotation in found.values()]
    proper = {rotation.tobytes(): rotation for rotation in turned}
    return [sign * rotation for rotation in proper.values() for sign in (1, -1)]


def _lowest(axes: Axes) -> "gemmi.SpaceGroup":
    import gemmi

    return gemmi.SpaceGroup(HIGHEST[axes.bravais.symbol][-1])


def _wanted(wanted: str, types: Sequence[Axes]) -> "tuple[Axes, gemmi.SpaceGroup]":
    import gemmi

    laue = wanted.replace(" ", "")
    for axes in types:
        for name in HIGHEST[axes.bravais.symbol]:
            group = gemmi.SpaceGroup(name)
            if laue in (group.laue_str(), TRIGONAL.get(name)):
                return axes, group
    group_found = gemmi.find_spacegroup_by_name(wanted)
    if group_found is not None and group_found.ext == "1":  # SHELX wants the inversion at the origin
        group_found = gemmi.find_spacegroup_by_name(f"{group_found.hm}:2") or group_found
    known = ", ".join(axes.bravais.symbol for axes in types)
    if group_found is None:
        raise Refused(
            f"live: {shown(wanted)!r} is no space group and no Laue class that this lattice ({known}) can have; no "
            "structure factors were written. Write it as in 'P 1 21/c 1' or '2/m'."
        )
    system = str(group_found.crystal_system_str())
    symbol = (LETTER["hexagonal"] if system == "trigonal" else LETTER[system]) + str(group_found.hm)[0]
    if symbol == "hR" and group_found.ext == "R":
        group_found = gemmi.find_spacegroup_by_name(f"{group_found.hm}:H")
    for axes in types:
        if axes.bravais.symbol == symbol:
            cell = gemmi.UnitCell(*axes.cell.parameters)
            if not cell.is_compatible_with_spacegroup(group_found, 0.01):
                break
            return axes, group_found
    raise Refused(
        f"live: {shown(wanted)!r} asks for a lattice {symbol}, and this one can be {known}; no structure factors were "
        "written. Say another group, or leave it out."
    )
