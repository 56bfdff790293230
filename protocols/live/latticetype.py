"""Which Bravais types the numbers of a cell allow, by what they are uncertain.

A higher symmetry asks some numbers to be equal, or angles to be right. How far the cell is from that is compared with
its covariance, so the tolerance is that of the measurement at this instant, and nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import Bravais, bravais, bravais_types
from protocols.live.cellsigma import PAIRS, CellSigma, six

Array = NDArray[np.float64]

WIDEST_DEG = 3.0
"""Largest deviation of a twofold axis that is looked at."""
ALLOWED_CHANCE = 1e-3
"""A deviation that a true symmetry would show more rarely speaks against it."""
LISTED_CHANCE = 1e-8
"""One that it would show more rarely than this is no pseudo-symmetry worth a word."""
FLOOR = 4e-4, 2e-4
"""Relative, of lengths squared, and cosines: no metric is known better, whatever the covariance says."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A type, and the chance that a lattice of that symmetry looks as far off it as this one."""

    bravais: Bravais
    chance: float

    @property
    def allowed(self) -> bool:
        """Whether the cell can be of it."""
        return self.chance > ALLOWED_CHANCE


def candidates(cell: Cell, sigma: CellSigma) -> list[Candidate]:
    """Types that are allowed or nearly so, the highest symmetry first; the last one is triclinic and always allowed."""
    import gemmi

    axes = gemmi.find_lattice_2fold_ops(gemmi.UnitCell(*cell.reduced().parameters), WIDEST_DEG)
    widths = sorted({0.0, *(round(float(obliquity) + 1e-4, 6) for _, obliquity in axes)}, reverse=True)
    types: dict[str, Bravais] = {}
    for width in widths:
        each = bravais(cell, width)
        types.setdefault(each.symbol, each)
    off = {symbol: deviation_square(each, cell, sigma) for symbol, each in types.items()}
    chain = dict(types)
    # Noise tells the order of the axes: of symmetries within another the true one may stand behind it.
    for each in bravais_types(cell, WIDEST_DEG):
        square = deviation_square(each, cell, sigma)
        if each.symbol not in chain and square < off.get(each.symbol, np.inf):
            types[each.symbol], off[each.symbol] = each, square
    found = [Candidate(each, _chance(each, chain, off)) for each in types.values()]
    listed = [each for each in found if each.chance > LISTED_CHANCE]
    return sorted(listed, key=lambda one: (-one.bravais.rotations, -one.chance))


def _chance(each: Bravais, types: dict[str, Bravais], off: dict[str, float]) -> float:
    """Of a deviation as large as from this type, in all, and in what it asks for beyond each type that asks less."""
    from scipy.special import chdtrc  # that of chi2.sf, without the second that importing scipy.stats takes

    chances = [1.0]
    for symbol, other in types.items():
        if (more := other.free_parameters - each.free_parameters) > 0:
            chances.append(float(chdtrc(more, max(off[each.symbol] - off[symbol], 0.0))))
    return min(chances)


def conventional(candidate: Candidate, cell: Cell, sigma: CellSigma) -> tuple[Cell, Array]:
    """The conventional cell with the numbers that its symmetry asks for, and (6,) their standard deviations."""
    return candidate.bravais.conventional(cell.metric), _through(
        lambda metric: np.array(candidate.bravais.conventional(metric).parameters), cell, sigma
    )


def _through(numbers, cell: Cell, sigma: CellSigma) -> Array:  # type: ignore[no-untyped-def]
    """(6,) standard deviations of numbers that follow from the metric."""
    slopes = []
    for number in range(6):
        step = 1e-6 * float(np.trace(cell.metric))
        more, less = (numbers(cell.metric + sign * step * _unit(number)) for sign in (1, -1))
        slopes.append((more - less) / (2 * step))
    jacobian = np.array(slopes).T
    return np.sqrt(np.maximum(np.diag(jacobian @ sigma.metric @ jacobian.T), 0))


def _unit(number: int) -> Array:
    """(3, 3) symmetric matrix with a one where `PAIRS` says."""
    unit = np.zeros((3, 3))
    row, column = PAIRS[number]
    unit[row, column] = unit[column, row] = 1.0
    return unit


def deviation_square(each: Bravais, cell: Cell, sigma: CellSigma) -> float:
    """Sum of the squared deviations from what the type asks for, in standard deviations."""
    free = 6 - each.free_parameters
    if not free:
        return 0.0
    off = np.stack(
        [six(each.reduction @ _unit(n) @ each.reduction.T - each.made_symmetric(_unit(n))) for n in range(6)]
    )
    away = six(cell.metric) @ off
    lengths = np.sqrt(np.diag(cell.metric))
    floor = np.array([(FLOOR[0] if i == j else FLOOR[1]) * lengths[i] * lengths[j] for i, j in PAIRS])
    covariance = off.T @ (sigma.metric + np.diag(floor**2)) @ off
    values, vectors = np.linalg.eigh(covariance)
    # As many directions as the symmetry asks for have any deviation at all.
    values, vectors = values[-free:], vectors[:, -free:]
    return float(((away @ vectors) ** 2 / np.maximum(values, 1e-30)).sum())
