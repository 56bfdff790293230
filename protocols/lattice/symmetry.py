"""The symmetry of a lattice: its twofold axes, the crystal system and centring they make, the conventional cell.

The symmetry of a lattice is the highest that its crystal can have; the crystal's own may be lower. Twofold axes are
found by gemmi (Le Page, J. Appl. Cryst. 15, 255-259, 1982, as in cctbx: Grosse-Kunstleve, Sauter & Adams 2004);
how many there are tells the system: 0 triclinic, 1 monoclinic, 3 orthorhombic (at right angles) or rhombohedral, 5
tetragonal, 7 hexagonal, 9 cubic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import gcd
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SYSTEM_OF_AXES = {0: "triclinic", 1: "monoclinic", 3: "orthorhombic", 5: "tetragonal", 7: "hexagonal", 9: "cubic"}
FREE_PARAMETERS = {
    "triclinic": 6, "monoclinic": 4, "orthorhombic": 3, "tetragonal": 2, "rhombohedral": 2, "hexagonal": 2, "cubic": 1,
}  # fmt: skip
LETTER = {
    "triclinic": "a", "monoclinic": "m", "orthorhombic": "o", "tetragonal": "t", "rhombohedral": "h", "hexagonal": "h",
    "cubic": "c",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Bravais:
    """System, Bravais type (aP, mP, mC, oP, oC, oI, oF, tP, tI, hR, hP, cP, cI, cF), conventional cell of a lattice.

    cell: with the lengths and angles that the symmetry asks for. group: the lattice's rotations, acting on columns of
    coordinates in the Niggli cell. reduction: (3, 3) rows, that cell's axes in terms of the cell that was given.
    basis: (3, 3) rows, the conventional axes in terms of the Niggli cell's.
    obliquity_deg: largest deviation of a twofold axis from the normal of its plane, as measured.
    """

    system: str
    symbol: str
    cell: Cell
    group: tuple[Indices, ...]
    reduction: Indices
    basis: Indices
    obliquity_deg: float

    @property
    def rotations(self) -> int:
        """The order of the group."""
        return len(self.group)

    def made_symmetric(self, metric: Array) -> Array:
        """(3, 3) metric of the Niggli cell, symmetric, from one of the cell that was given."""
        return _symmetric(self.group, self.reduction, metric)

    def conventional(self, metric: Array) -> Cell:
        """The conventional cell of another (3, 3) direct metric of the cell that was given, made symmetric alike."""
        return Cell.from_metric(self.basis @ _symmetric(self.group, self.reduction, metric) @ self.basis.T)

    @property
    def free_parameters(self) -> int:
        """How many numbers fix a cell of this system."""
        return FREE_PARAMETERS[self.system]


def bravais(cell: Cell, obliquity_deg: float = 0.3) -> Bravais:
    """The likely Bravais type of the lattice of a cell.

    obliquity_deg: how far a twofold axis may deviate; a few times the uncertainty of the cell's angles.
    """
    import gemmi

    reduced = cell.reduced()
    axes = gemmi.find_lattice_2fold_ops(gemmi.UnitCell(*reduced.parameters), obliquity_deg)
    best: list[tuple[Indices, Indices]] = []
    worst, count = 0.0, 0
    for size in sorted(SYSTEM_OF_AXES, reverse=True):  # the most axes, taken by obliquity, that form a group
        if size > len(axes):
            continue
        taken = [_axis(op) for op, _ in axes[:size]]
        if size == 0 or _is_group([rotation for rotation, _ in taken]):
            best, count = taken, size
            worst = max((float(d) for _, d in axes[:size]), default=0.0)
            break
    return _of_axes(cell, best, worst, count)


def bravais_types(cell: Cell, obliquity_deg: float) -> list[Bravais]:
    """All that the axes within an obliquity make, alone and together, in any order: a symmetry and those within it."""
    import gemmi

    axes = gemmi.find_lattice_2fold_ops(gemmi.UnitCell(*cell.reduced().parameters), obliquity_deg)
    taken = [(*_axis(op), float(off)) for op, off in axes]
    by_rotation = {rotation.tobytes(): number for number, (rotation, _, _) in enumerate(taken)}
    sets: set[frozenset[int]] = {frozenset()}
    for some in (each for size in (1, 2, 3) for each in combinations(range(len(taken)), size)):
        group = _group([taken[number][0] for number in some])
        twofold = [rotation.tobytes() for rotation in group if int(np.trace(rotation)) == -1]
        if len(group) <= 24 and len(twofold) in SYSTEM_OF_AXES and all(each in by_rotation for each in twofold):
            sets.add(frozenset(by_rotation[each] for each in twofold))
    found = [
        _of_axes(cell, [taken[n][:2] for n in sorted(some)], max((taken[n][2] for n in some), default=0.0), len(some))
        for some in sets
    ]
    # Three axes across the one of a hexagonal lattice are no type of their own.
    hexagonal = [some for some in sets if len(some) == 7]
    return [
        each
        for each, some in zip(found, sets, strict=True)
        if each.system != "rhombohedral" or not any(some < whole for whole in hexagonal)
    ]


def _of_axes(cell: Cell, best: list[tuple[Indices, Indices]], worst: float, count: int) -> Bravais:
    """The type that these twofold axes make, `count` of them, with the largest of their obliquities."""
    reduction = cell.reduction()
    group = tuple(_group([rotation for rotation, _ in best]))
    ideal = _symmetric(group, reduction, cell.metric)
    system = SYSTEM_OF_AXES[count]
    directions = [direction for _, direction in best]
    if count == 3 and round(abs(float(np.linalg.det(np.array(directions))))) == 0:
        system = "rhombohedral"
    basis = _conventional(system, directions, ideal)
    index = round(abs(float(np.linalg.det(basis))))
    conventional = Cell.from_metric(basis @ ideal @ basis.T)
    symbol = LETTER[system] + _centring(system, basis, index)
    return Bravais(system, symbol, conventional, group, reduction, basis, worst)


def _symmetric(group: Sequence[Indices], reduction: Indices, metric: Array) -> Array:
    """(3, 3) direct metric of the Niggli cell, averaged over the lattice's rotations."""
    reduced = reduction @ metric @ reduction.T
    return np.asarray(np.mean([r.T @ reduced @ r for r in group], axis=0))


def _axis(op: "gemmi.Op") -> tuple[Indices, Indices]:
    """(3, 3) rotation that acts on columns of direct coordinates, and the (3,) primitive direction it leaves alone."""
    rotation = np.array(op.rot, dtype=np.int64) // op.DEN
    kept = rotation + np.eye(3, dtype=np.int64)  # 1 + R projects on the axis (times two)
    column = kept[:, int(np.argmax(np.abs(kept).sum(axis=0)))]
    return rotation, column // gcd(*(int(x) for x in column))


def _group(generators: list[Indices]) -> list[Indices]:
    """All products of the rotations, 24 at most; more mean that they form no group of a lattice."""
    group = {np.eye(3, dtype=np.int64).tobytes(): np.eye(3, dtype=np.int64)}
    new = list(group.values())
    while new and len(group) <= 24:
        products = [g @ r for g in new for r in generators]
        new = []
        for product in products:
            if product.tobytes() not in group:
                group[product.tobytes()] = product
                new.append(product)
    return list(group.values())


def _is_group(generators: list[Indices]) -> bool:
    group = _group(generators)
    twofold = sum(int(np.trace(r)) == -1 for r in group)
    return len(group) <= 24 and twofold == len(generators)


def _shortest(metric: Array, suits: NDArray[np.bool_], vectors: Indices) -> list[Indices]:
    """Those of the integer vectors that suit, shortest first."""
    chosen = vectors[suits]
    length = np.einsum("ni,ij,nj->n", chosen, metric, chosen)
    return list(chosen[np.argsort(length, kind="stable")])


def _conventional(system: str, axes: list[Indices], metric: Array) -> Indices:
    """(3, 3) rows: the conventional a, b, c in terms of the reduced basis whose symmetrised direct metric is given."""
    grid = np.indices((9, 9, 9)).reshape(3, -1).T.astype(np.int64) - 4
    grid = grid[np.any(grid != 0, axis=1)]

    def length(x: Indices) -> float:
        return float(np.sqrt(x @ metric @ x))

    def right(x: Indices, y: Indices) -> bool:
        return bool(abs(x @ metric @ y) < 1e-6 * length(x) * length(y))

    def across(x: Indices) -> list[Indices]:
        return _shortest(metric, np.abs(grid @ metric @ x) < 1e-6 * length(x) * np.sqrt(np.max(metric)), grid)

    if system == "triclinic":
        return np.eye(3, dtype=np.int64)
    if system == "monoclinic":
        return _monoclinic(axes[0], across(axes[0]), metric)
    if system == "orthorhombic":
        return _orthorhombic(sorted(axes, key=length))
    if system == "cubic":
        triples = [t for t in combinations(axes, 3) if all(right(x, y) for x, y in combinations(t, 2))]
        return np.array(min(triples, key=lambda t: max(length(x) for x in t) / min(length(x) for x in t)))
    if system == "rhombohedral":
        a = axes[0]
        b = next(s * x for x in axes[1:] for s in (1, -1) if (s * x) @ metric @ a < 0)
        c = next(x for x in across(a) if right(x, b))
        return _obverse(np.array([a, b, c]))
    unique = next(x for x in axes if all(right(x, y) for y in axes if y is not x))
    flat = sorted((x for x in axes if x is not unique), key=length)
    a = flat[0]
    if system == "tetragonal":
        b = next(x for x in flat[1:] if right(x, a))
    else:
        b = next(s * x for x in flat[1:3] for s in (1, -1) if (s * x) @ metric @ a < 0)
    return np.array([a, b, unique])


def _obverse(basis: Indices) -> Indices:
    """The hexagonal axes of a rhombohedral lattice that have a lattice point at 2/3, 1/3, 1/3, as space groups want it;
    with the point at 1/3, 2/3, 1/3 its reflections would be taken for absent.
    """
    for point in np.linalg.inv(basis.astype(np.float64)):  # the primitive axes, in terms of the hexagonal ones
        x, _, z = np.rint(3 * point).astype(np.int64) % 3
        if z:
            return basis if x != z else basis * np.array([[-1], [-1], [1]])
    return basis


def _orthorhombic(axes: list[Indices]) -> Indices:
    """Axes by length; where one face is centred it is C, and a <= b."""
    a, b, c = axes
    orders = (np.array([a, b, c]), np.array([a, c, b]), np.array([b, c, a]))
    if round(abs(float(np.linalg.det(orders[0])))) == 2:
        return next((o for o in orders if _centring("orthorhombic", o, 2) == "C"), orders[0])
    return orders[0]


def _monoclinic(b: Indices, plane: list[Indices], metric: Array) -> Indices:
    """a, b, c with b the axis and beta obtuse; C centring rather than A or I, beta as near to 90 deg as that allows."""
    a = plane[0]
    c = next(x for x in plane[1:] if np.any(np.cross(a, x)))
    if a @ metric @ c > 0:
        c = -c
    primitive = round(abs(float(np.linalg.det(np.array([a, b, c]))))) == 1
    # Any two of the three shortest vectors of the plane are a basis of it.
    choices = [np.array([a, b, c])] if primitive else [
        np.array([x, b, z]) for x, z in ((a, c), (c, a), (a, -a - c), (-a - c, a), (c, -a - c), (-a - c, c))
    ]  # fmt: skip
    suited = [x for x in choices if primitive or _centring("monoclinic", x, 2) == "C"]
    best = min(
        suited, key=lambda x: abs(x[0] @ metric @ x[2]) / np.sqrt((x[0] @ metric @ x[0]) * (x[2] @ metric @ x[2]))
    )
    return best if best[0] @ metric @ best[2] <= 0 else best * np.array([[1], [1], [-1]])


def _centring(system: str, basis: Indices, index: int) -> str:
    """The letter of the centring, from the lattice points inside the conventional cell."""
    if index == 1:
        return "P"
    if index == 3:
        return "R"
    if index == 4:
        return "F"
    inverse = np.linalg.inv(basis.astype(np.float64))
    for point in np.eye(3):
        inside = (point @ inverse) % 1.0
        half = np.abs(inside - 0.5) < 0.1
        if half.sum() == 3:
            return "I"
        if half.sum() == 2:
            return "C" if not half[2] else ("A" if not half[0] else "B")
    return "?"
