"""Phases of a session: data sets whose cells are one lattice within what is known of them.

A phase is told by cells alone, so two phases whose cells agree are one here until their intensities are compared
(`merging`). What is not sure is said: a data set that could be of another phase, a phase that may be two, a cell that
was seen once. A cell that was seen once makes no phase where it is known badly, or is a part or a multiple of that of
another phase: likely it is a wrong one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import Bravais, bravais, bravais_types
from protocols.session.judging.cellnumbers import CellNumbers, cell_of, numbers_like
from protocols.session.judging.dataset import DataSet
from protocols.session.judging.mixture import GAIN, Mixture, mixture, second_brings

Array = NDArray[np.float64]

TOGETHER_SIGMAS = 8.0
"""Cells that are farther from each other are not compared any more; errors of two make 3.5 on the average."""
ONCE_EXPLAINED = 0.6
"""Of all reflections have to be on its lattice, or on that of a second crystal in the beam, for a cell to be a phase
where it was seen once.
"""
ONCE_KNOWN_TO, ONCE_KNOWN_TO_DEG = 0.01, 0.5
"""And no number of it, but for the camera length that is in all of them, may be known worse: after a few degrees a cell
is off by more than it says.
"""
LARGEST_MULTIPLE = 4
RELATED_SIGMAS = 5.0
DOUBTED = 0.05
"""A chance to be of another phase that is told."""
MAYBE_TWO = 0.6
"""Of what two phases have to bring; from here on it is told that a phase may be two."""
TYPE_SIGMAS, TYPE_DEG = 4.0, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """number: from 1, in the order in which the first of each was collected. cell: the mean, primitive, nearly reduced;
    sigma: (6,) of its numbers in A and deg. bravais: its likely type, with the conventional cell in it. data_sets: as
    they were collected; basis: (3, 3) of each, rows: the axes of `cell` in terms of its own. doubts: in words.
    """

    number: int
    cell: Cell
    sigma: Array
    bravais: Bravais
    data_sets: tuple[DataSet, ...]
    basis: tuple[NDArray[np.int64], ...]
    doubts: tuple[str, ...]

    @property
    def words(self) -> str:
        """In one line."""
        a, b, c, *angles = self.bravais.cell.parameters
        alpha, beta, gamma = angles
        count = len(self.data_sets)
        return (
            f"phase {self.number}: {self.bravais.symbol} {a:.2f} {b:.2f} {c:.2f} A {alpha:.1f} {beta:.1f} {gamma:.1f} "
            f"deg, {count} data set{'s' if count > 1 else ''}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Cells that are near each other, in the basis of the reference."""

    reference: Cell
    sets: list[DataSet]
    numbers: list[CellNumbers]


def phases_of(data_sets: Sequence[DataSet]) -> list[Phase]:
    """By their number. 0.1 to 0.5 s for 100 data sets. Those without a phase: `unplaced`."""
    found = [phase for group in _groups(data_sets) for phase in _of_group(group)]
    found.sort(key=lambda phase: min(each.number for each in phase.data_sets))
    sure = [phase for phase in found if not _wrong(phase, found)]
    return [_numbered(phase, number) for number, phase in enumerate(sure, 1)]


def unplaced(data_sets: Sequence[DataSet], phases: Sequence[Phase]) -> dict[int, str]:
    """By their number, the data sets that are of no phase, and why."""
    placed = {each.number for phase in phases for each in phase.data_sets}
    told = {}
    for each in data_sets:
        if each.number in placed:
            continue
        if each.cell is None:
            told[each.number] = "; ".join(each.reasons) or "no cell is determined"
        else:
            alone = [phase for group in _groups([each]) for phase in _of_group(group)]
            told[each.number] = _wrong(alone[0], [*phases, alone[0]]) if alone else "its cell is none"
    return told


def sorted_into(data: DataSet, phases: Sequence[Phase]) -> Phase | None:
    """The phase that a new data set is of, as far as its cell tells; None for a new one, or without a cell."""
    best: tuple[float, Phase] | None = None
    for phase in phases:
        if (away := _sigmas(data, phase.cell)) is not None and (best is None or away < best[0]):
            best = away, phase
    return best[1] if best is not None and best[0] <= RELATED_SIGMAS else None


def _numbered(phase: Phase, number: int) -> Phase:
    return Phase(number, phase.cell, phase.sigma, phase.bravais, phase.data_sets, phase.basis, phase.doubts)


def _groups(data_sets: Sequence[DataSet]) -> list[_Group]:
    """Those known best begin a group each; the others join the nearest one."""
    known = [each for each in data_sets if each.cell is not None]
    known.sort(key=lambda each: float(np.trace(each.covariance)))
    groups: list[_Group] = []
    for each in known:
        best: tuple[float, _Group, CellNumbers] | None = None
        for group in groups:
            numbers = numbers_like(_cell(each), each.covariance, group.reference)
            if numbers is None:
                continue
            off, both = numbers.value - group.numbers[0].value, numbers.covariance + group.numbers[0].covariance
            away = float(np.sqrt(off @ np.linalg.solve(both, off)))
            if best is None or away < best[0]:
                best = away, group, numbers
        if best is not None and best[0] < TOGETHER_SIGMAS:
            best[1].sets.append(each)
            best[1].numbers.append(best[2])
            continue
        reference = _cell(each).reduced()
        own = numbers_like(_cell(each), each.covariance, reference)
        if own is not None:
            groups.append(_Group(reference, [each], [own]))
    return groups


def _of_group(group: _Group) -> list[Phase]:
    value = np.array([each.value for each in group.numbers])
    covariance = np.array([each.covariance for each in group.numbers])
    parted = mixture(value, covariance)
    of = parted.of
    return [_phase(group, parted, np.flatnonzero(of == one), one) for one in np.unique(of).tolist()]


def _phase(group: _Group, parted: Mixture, mine: NDArray[np.intp], one: int) -> Phase:
    mean = cell_of(parted.mean[one])
    root = np.sqrt(np.diag(parted.covariance[one]))
    sigma = np.concatenate([root[:3] * np.array(mean.parameters[:3]), root[3:]])
    order = sorted(mine.tolist(), key=lambda n: group.sets[n].number)
    sets = tuple(group.sets[n] for n in order)
    return Phase(
        number=0,
        cell=mean,
        sigma=sigma,
        bravais=_type(mean, sigma, sets),
        data_sets=sets,
        basis=tuple(group.numbers[n].basis for n in order),
        doubts=tuple(_doubts(group, parted, order, one)),
    )


def _doubts(group: _Group, parted: Mixture, mine: list[int], one: int) -> list[str]:
    doubts = [
        f"data set {group.sets[n].number} could be of another phase with a cell like this one's (chance "
        f"{1 - parted.member[n, one]:.0%})"
        for n in mine
        if parted.member[n, one] < 1 - DOUBTED
    ]
    if len(mine) == 1:
        doubts.append("its cell was seen once")
    else:
        brings = _two_bring(group, mine)
        if brings > MAYBE_TWO * GAIN:
            doubts.append(
                "it may be two phases: its cells scatter more than they are uncertain, too few data sets to tell"
            )
    return doubts


def _two_bring(group: _Group, mine: list[int]) -> float:
    """Twice the logarithm of the likelihood that a second phase would add."""
    return second_brings(
        np.array([group.numbers[n].value for n in mine]), np.array([group.numbers[n].covariance for n in mine])
    )


def _type(cell: Cell, sigma: Array, sets: Sequence[DataSet]) -> Bravais:
    """The type that most data sets tell, where the mean cell can be that; else what its numbers allow."""
    votes = Counter(each.lattice for each in sets if each.lattice)
    possible = {
        each.symbol: each for each in sorted(bravais_types(cell, TYPE_DEG), key=lambda each: -each.obliquity_deg)
    }
    for symbol, _ in sorted(votes.items(), key=lambda vote: -vote[1]):
        if symbol in possible:
            return possible[symbol]
    relative = float((sigma[:3] / np.array(cell.parameters[:3])).max())
    return bravais(cell, TYPE_SIGMAS * max(float(sigma[3:].max()), float(np.degrees(relative))))


def _wrong(phase: Phase, phases: Sequence[Phase]) -> str:
    """Why a cell that was seen once makes no phase; empty where it does."""
    if len(phase.data_sets) > 1:
        return ""
    (only,) = phase.data_sets
    if only.indexed_share + only.second_share < ONCE_EXPLAINED:
        and_second = f", a second lattice {only.second_share:.0%}" if only.second_share else ""
        return f"its cell was seen once, and has only {only.indexed_share:.0%} of its reflections{and_second}"
    known = only.own_sigma
    if known[:3].max() > ONCE_KNOWN_TO or known[3:].max() > ONCE_KNOWN_TO_DEG:
        return f"its cell was seen once, and is known only to {known[:3].max():.1%} and {known[3:].max():.1f} deg"
    for other in phases:
        if other is not phase and len(other.data_sets) > 1 and (times := _multiple(only, phase.cell, other.cell)):
            return f"its cell was seen once, and is {times} that of {_name(other)}: likely a wrong one"
    return ""


def _name(phase: Phase) -> str:
    return f"phase {phase.number}" if phase.number else f"the phase of data set {phase.data_sets[0].number}"


def _multiple(data: DataSet, cell: Cell, other: Cell) -> str:
    """How a cell follows from another one, in words; empty where it does not."""
    ratio = cell.volume_A3 / other.volume_A3
    for times in range(2, LARGEST_MULTIPLE + 1):
        if abs(ratio / times - 1) < 0.1 and any(_near(data, each) for each in _sublattices(other, times)):
            return f"{times} times"
        if abs(ratio * times - 1) < 0.1 and any(_near(data, each) for each in _superlattices(other, times)):
            return f"1/{times} of"
    return ""


def _near(data: DataSet, cell: Cell) -> bool:
    away = _sigmas(data, cell)
    return away is not None and away < RELATED_SIGMAS


def _sigmas(data: DataSet, cell: Cell) -> float | None:
    """How far a data set's cell is from another one, in standard deviations of its own."""
    if data.cell is None or (numbers := numbers_like(data.cell, data.covariance, cell)) is None:
        return None
    aim = np.array(cell.reduced().parameters)
    off = numbers.value - np.concatenate([np.log(aim[:3]), aim[3:]])
    return float(np.sqrt(off @ np.linalg.solve(numbers.covariance, off)))


def _hermite(times: int) -> list[Array]:
    """(3, 3) of all sublattices of an index."""
    found = []
    for a, b in product(range(1, times + 1), repeat=2):
        if times % (a * b) == 0:
            c = times // (a * b)
            found += [
                np.array([[a, p, q], [0, b, r], [0, 0, c]], dtype=np.float64)
                for p, q, r in product(range(b), range(c), range(c))
            ]
    return found


def _sublattices(cell: Cell, times: int) -> list[Cell]:
    return [Cell.from_metric(rows @ cell.metric @ rows.T) for rows in _hermite(times)]


def _superlattices(cell: Cell, times: int) -> list[Cell]:
    """Those of which it is a sublattice: sublattices of the reciprocal one."""
    reciprocal = cell.reciprocal_metric
    return [Cell.from_reciprocal_metric(rows @ reciprocal @ rows.T) for rows in _hermite(times)]


def _cell(data: DataSet) -> Cell:
    if data.cell is None:
        raise AssertionError("only those with a cell are asked")
    return data.cell
