"""The cells of a mixture: zones of crystals of two kinds or more, parted with no word of which is whose.

    the cell with most evidence -> its zones taken away -> the cell of the rest, and so on
    -> each cell searched again among its own zones and those that no other cell explains -> believed, or not

A second cell must stand by itself: from the zones that the first does not explain, by the figure of merit that a
single cell has to reach (`merit`), every zone that neither explains counting against it. And it must be another
lattice. Zones of one crystal that are badly placed come back as its own cell a little off; a superstructure, a twin or
absences leave zones that fit a lattice which has many points in common with the first. Neither is a second phase.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.cell.ellipse import strain_of, undistorted
from protocols.zones.cell.merging import Net, triangle
from protocols.zones.cell.planes import planes, reduced_metric
from protocols.zones.cell.search import Answer, find_cell
from protocols.zones.cell.trials import net_tolerance, sublattices, surprise_of
from protocols.zones.sorting.zone import Zone

Indices = NDArray[np.int64]

FEWEST_ZONES = 5
"""Left over, for another cell to be looked for."""

MOST_PHASES = 3
ROUNDS = 3
"""How often the zones of each phase are worked out anew, given those of the others."""

LIKE_LENGTH, LIKE_ANGLE_DEG = 0.03, 3.0
"""Two lattices that differ less are not told from one with badly placed zones."""

RELATED_LENGTH, RELATED_ANGLE_DEG = 0.015, 1.5
MOST_INDEX = 4
"""Lattices are related where sublattices of them up to this index are one."""

NONE = -1
"""The phase of a zone that fits none."""

LEAST_SURPRISE = 2.0
"""-ln of the chance that a lattice explains a net by accident, for the net to count as its own."""

AT_ONCE = 40
"""Zones that are indexed together (`planes.PAIRS_AT_MOST`)."""

AT_MOST = 60
"""Zones that one search looks at, the first of those that it may take."""


@dataclass(frozen=True, slots=True, eq=False)
class PhaseFound:
    """One phase. zones: numbers of the zones that it was searched among, its own and some that fit no phase.

    answer: what these say, its candidates' `assigned` in the order of `zones`.
    """

    answer: Answer
    zones: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """What zones say of a mixture.

    phases: those that are determined, most zones first; without any, the one answer of all zones. phase: (n,) of every
    zone, NONE for one that fits no phase. doubt: why zones that are left make no further phase, in words; empty where
    hardly any are left.
    """

    phases: tuple[PhaseFound, ...]
    phase: Indices
    doubt: str = ""

    @property
    def determined(self) -> bool:
        """Whether a cell is to be believed."""
        return self.phases[0].answer.determined


def find_phases(
    zones: Sequence[Zone],
    *,
    distortion: tuple[float, float] | Literal["estimate"] | None = "estimate",
    keep: int = 5,
    most: int = MOST_PHASES,
    at_most: int = AT_MOST,
) -> Parted:
    """The cells of up to `most` phases whose zones these are, the best zones first; arguments as for
    `search.find_cell`. at_most: zones that one search looks at.

    Where one cell explains all, the answer is that of `find_cell`, number for number.
    """
    alone = find_cell(zones[:at_most], distortion=distortion, keep=keep)
    first = PhaseFound(alone, np.arange(min(at_most, len(zones))))
    if distortion == "estimate" and alone.distortion is not None:
        # One lens for all: its distortion is known from the first, and a few zones of a second must not find their own.
        distortion = alone.distortion.amplitude_percent, alone.distortion.azimuth_deg
    given = distortion if isinstance(distortion, tuple) else None
    single = Parted((first,), _phase_of(zones, [first] * alone.determined, given))
    if most < 2 or not alone.candidates or np.sum(single.phase == NONE) < FEWEST_ZONES:
        return single
    peeled, nothing_more = _peeled(zones, first, given, keep, most, at_most)
    found, doubt = _believed(peeled, zones, given)
    doubt = doubt or nothing_more
    if not found:
        return replace(single, doubt=doubt)
    phase = _phase_of(zones, found, given)
    return Parted(tuple(found), phase, doubt if np.sum(phase == NONE) >= FEWEST_ZONES else "")


def _phase_of(zones: Sequence[Zone], found: Sequence[PhaseFound], distortion: tuple[float, float] | None) -> Indices:
    """(n,) which of the cells explains each zone, the one that does so least by chance; NONE for no one."""
    phase = np.full(len(zones), NONE, dtype=np.int64)
    if zones and found:
        surprise = np.stack([surprise_of_zones(one.answer, zones, distortion) for one in found])
        best = surprise.argmax(axis=0)
        own = surprise.max(axis=0) >= LEAST_SURPRISE
        phase[own] = best[own]
    return phase


def surprise_of_zones(
    answer: Answer, zones: Sequence[Zone], distortion: tuple[float, float] | None
) -> NDArray[np.float64]:
    """(n,) -ln of the chance with which the best lattice of an answer explains each zone; 0 for those it does not."""
    surprise = np.zeros(len(zones))
    if not answer.candidates or not zones:
        return surprise
    strain = np.zeros(2) if distortion is None else strain_of(*distortion)
    metric = reduced_metric(answer.candidates[0].cell.reciprocal_metric)
    if metric is None:
        return surprise
    triangles = [triangle(undistorted(zone, strain)) for zone in zones]
    nets = [Net(one.squares, one.covariance, (n,), ((0, 1, 2),)) for n, one in enumerate(triangles)]
    for begin in range(0, len(nets), AT_ONCE):
        some = nets[begin : begin + AT_ONCE]
        sides, tolerance = np.array([net.sides for net in some]), net_tolerance(some)
        found = planes(metric, sides, tolerance).best()
        surprise[begin : begin + AT_ONCE] = surprise_of(found, metric, sides, tolerance)
    return surprise


def _peeled(
    zones: Sequence[Zone],
    first: PhaseFound,
    distortion: tuple[float, float] | None,
    keep: int,
    most: int,
    at_most: int,
) -> tuple[list[PhaseFound], str]:
    """Cells one after the other from what those before leave, then each anew without the zones of the others; and why
    what is left at the end makes no further one, in words.
    """
    everything = np.arange(len(zones))

    def among(chosen: Indices) -> PhaseFound:
        chosen = chosen[:at_most]
        return PhaseFound(find_cell([zones[n] for n in chosen], distortion=distortion, keep=keep), chosen)

    def phases() -> Indices:
        return _phase_of(zones, found, distortion)

    found, doubt = [first], ""
    while len(found) < most and np.sum(left := phases() == NONE) >= FEWEST_ZONES:
        one = among(everything[left])
        if not one.answer.candidates or one.answer.candidates[0].nets_explained < FEWEST_ZONES:
            doubt = one.answer.reason
            break
        found.append(one)
    for _ in range(ROUNDS):
        before = phases()
        for number in range(len(found)):
            phase = phases()
            chosen = everything[(phase == NONE) | (phase == number)]
            if not np.array_equal(chosen[:at_most], found[number].zones):
                found[number] = among(chosen)
        found = [one for one in found if one.answer.candidates]
        if not found or np.array_equal(before, phases()):
            break
    return found, doubt


def _believed(
    found: Sequence[PhaseFound], zones: Sequence[Zone], distortion: tuple[float, float] | None
) -> tuple[list[PhaseFound], str]:
    """Those that are determined and different lattices, most zones first; and why others are not, in words."""
    believed: list[PhaseFound] = []
    doubt = ""
    own = np.bincount(_phase_of(zones, found, distortion) + 1, minlength=len(found) + 1)[1:]
    for one in (found[n] for n in np.argsort(-own, kind="stable")):
        if not one.answer.determined:
            doubt = doubt or one.answer.reason
            continue
        cell = one.answer.candidates[0].cell
        words = [kinship(cell, other.answer.candidates[0].cell) for other in believed]
        if relation := next(filter(None, words), ""):
            doubt = relation
            continue
        believed.append(one)
    return believed, doubt


def kinship(cell: Cell, other: Cell) -> str:
    """Why two cells may be those of one kind of crystal, in words; empty where they are different lattices."""
    length, angle_deg = lattice_difference(cell, other)
    if length < LIKE_LENGTH and angle_deg < LIKE_ANGLE_DEG:
        return (
            f"the zones left fit a cell within {100 * length:.1f} % and {angle_deg:.1f} deg of the first: the same "
            "crystals, their zones badly placed, or a second phase of nearly the same cell"
        )
    if index := common_sublattice(cell, other):
        return (
            f"the zones left fit a lattice that has every {index[0]}. point of the first (and every {index[1]}. of its "
            "own) in common with it: a superstructure or a twin of the same crystals, or a second phase of a related "
            "cell"
        )
    return ""


def common_sublattice(cell: Cell, other: Cell) -> tuple[int, int] | None:
    """Indices (of the one, of the other) of sublattices of two reciprocal lattices that are one, the smallest up to
    MOST_INDEX; None where there are none.
    """
    volumes = 1 / cell.volume_A3, 1 / other.volume_A3  # reciprocal: a sublattice of index n has n times that
    for one in range(1, MOST_INDEX + 1):
        for two in range(1, MOST_INDEX + 1):
            if abs(one * volumes[0] / (two * volumes[1]) - 1) > 3 * RELATED_LENGTH:
                continue
            ours, theirs = (
                [Cell.from_reciprocal_metric(metric) for metric in _coarser(each.reciprocal_metric, index)]
                for each, index in ((cell, one), (other, two))
            )
            for a in ours:
                for b in theirs:
                    if abs(a.a_A / b.a_A - 1) > 2 * RELATED_LENGTH or abs(a.c_A / b.c_A - 1) > 2 * RELATED_LENGTH:
                        continue
                    length, angle_deg = lattice_difference(a, b)
                    if length < RELATED_LENGTH and angle_deg < RELATED_ANGLE_DEG:
                        return one, two
    return None


def _coarser(metric: NDArray[np.float64], index: int) -> list[NDArray[np.float64]]:
    """Reduced reciprocal metrics of all sublattices of this index."""
    made = (reduced_metric(m @ metric @ m.T) for m in sublattices(index))
    return [one for one in made if one is not None]
