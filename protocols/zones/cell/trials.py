"""Trial lattices: their evidence, their refinement, and their neighbours of two and three times the volume.

Evidence of a lattice: for every net that it explains, the logarithm of how unlikely that is by chance
(`planes.chance`). A multiple of the true cell explains more, but so does chance, and the smallest cell that explains
the nets wins. Symmetry counts on both sides: equivalent planes explain the same nets once more, so chance is smaller
by the order of the group; and a lattice with fewer free numbers is a simpler answer, by COINCIDENCE for each.
(Without that, a half cell of lower symmetry can beat a cubic one, as each net needs only one of its equivalent planes.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell, lattice_difference
from protocols.lattice.symmetry import Bravais, bravais
from protocols.zones.cell.merging import Net
from protocols.zones.cell.metricfit import Fit, cell_uncertainties, fit_metric
from protocols.zones.cell.planes import Planes, chance, planes, reduced_metric

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

FIRST_TOLERANCE, SECOND_TOLERANCE = 0.015, 0.007
"""Relative deviation of sides of nets from a trial lattice, straight from the votes and after a first fit."""

SIGMAS, SLACK, LARGEST_TOLERANCE = 4.0, 0.001, 0.012
"""A net is explained when its sides deviate by less than so many standard deviations and this relative slack."""

SUBNET_COST, LARGEST_CONTENT = 3.0, 4
"""Evidence taken off for a net coarser than the lattice's own plane: systematic absences are one more assumption. And
how much coarser it may be."""

COINCIDENCE = 5.0
"""-ln of the chance that a lattice has, within its uncertainty, one free number less than a general one."""

SCREENED, REFINED, REFINED_AT_MOST = 160, 10, 40
"""Trial lattices whose nets are indexed once; those of them that are refined, and how many where none of them gets
ENOUGH surplus. (Long thin nets say little at the first tolerance, and the right lattice may be far down.)"""

ENOUGH = 30.0

ROUNDS = 12
"""How often the best lattice may give way to a neighbour, whose neighbours are then looked at: 12 steps lead from a
lattice of 4096 times the volume, and so far the votes never stray."""

NEIGHBOUR_SHARE = 0.4
"""A multiple or fraction of the best lattice is looked at where it has this share of its evidence, before symmetry."""

LEAST_OBLIQUITY_DEG, LARGEST_OBLIQUITY_DEG = 0.06, 0.6
"""Bounds of what a twofold axis of the lattice may deviate from one; between them, so many standard deviations."""
OBLIQUITY_SIGMAS = 4.0

SAME_LENGTH, SAME_ANGLE_DEG = 0.012, 1.2
"""Trial lattices that differ less are the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A lattice on trial.

    metric: (3, 3) reciprocal, reduced.  planes: one plane for each net that is explained.  surprise: (n,) evidence
    of every net, 0 for those not explained.  origin: number of the hinge and angle (deg) it came from.
    evidence: their sum and the symmetry's share.  fit: None before refinement.
    """

    metric: Array
    planes: Planes
    surprise: Array
    evidence: float
    origin: tuple[int, float]
    fit: Fit | None = None
    lattice: Bravais | None = None

    @property
    def surplus(self) -> float:
        """Evidence of the nets beyond that of two, which any lattice explains that is made of them."""
        return float(np.sort(self.surprise)[:-2].sum())

    @property
    def cell(self) -> Cell:
        """The reduced cell."""
        return Cell.from_reciprocal_metric(self.metric)


def net_tolerance(nets: Sequence[Net]) -> Array:
    """(n, 3) relative deviation up to which a net is explained."""
    return np.minimum(SIGMAS * np.array([net.relative_sigma for net in nets]) + SLACK, LARGEST_TOLERANCE)


def surprise_of(found: Planes, metric: Array, sides: Array, tolerance: Array, rotations: int = 1) -> Array:
    """(n,) ln(1 / chance) of every net that is explained; 0 for those that are not or that chance explains as well."""
    volume = float(1 / np.sqrt(np.linalg.det(metric)))
    expected = -np.log(chance(volume, sides, tolerance) / rotations)
    cost = np.where(found.content == 1, 0.0, np.where(found.content <= LARGEST_CONTENT, SUBNET_COST, np.inf))
    surprise = np.zeros(len(sides))
    surprise[found.net] = np.maximum(expected[found.net] - cost, 0.0)
    return surprise


def screened(nets: Sequence[Net], lattices: Iterable[tuple[Array, tuple[int, float]]]) -> list[Trial]:
    """Trial lattices as the votes have them, by evidence; numerically equal ones once."""
    sides = np.array([net.sides for net in nets])
    tolerance = np.full_like(sides, FIRST_TOLERANCE)
    trials: list[Trial] = []
    known: set[tuple[int, ...]] = set()
    for lattice, origin in lattices:
        metric = reduced_metric(lattice)
        if metric is None:
            continue
        parameters = np.array(Cell.from_reciprocal_metric(metric).parameters)
        key = tuple(int(x) for x in np.rint(np.concatenate([np.log(parameters[:3]) / 0.02, parameters[3:] / 2])))
        if key in known:
            continue
        known.add(key)
        found = planes(metric, sides, tolerance).best()
        surprise = surprise_of(found, metric, sides, tolerance)
        trials.append(Trial(metric, found, surprise, float(surprise.sum()), origin))
        if len(trials) == SCREENED:
            break
    return sorted(trials, key=lambda trial: -trial.evidence)


def refined(trial: Trial, nets: Sequence[Net], quick: bool = False) -> Trial | None:
    """The lattice fitted to the nets it explains, in rounds of narrower tolerance; None where none are left.

    quick: for a lattice that is accurate already.
    """
    sides = np.array([net.sides for net in nets])
    final = net_tolerance(nets)
    wide = [] if quick else [np.maximum(FIRST_TOLERANCE, final), np.maximum(SECOND_TOLERANCE, final)]
    metric = trial.metric
    fit: Fit | None = None
    for tolerance in (*wide, final, final):
        found = planes(metric, sides, tolerance).best()
        if len(found.net) < 2:
            return None
        fit = _fitted(metric, found, nets)
        if _undetermined(fit):
            # Fewer planes than numbers: where symmetry makes equal planes, a net is measured for all of them.
            closest = planes(metric, sides, final)
            if len(closest.net) > len(found.net):
                fit = _fitted(metric, closest, nets)
        after = reduced_metric(fit.metric)
        if after is None:
            return None
        metric = after
    found = planes(metric, sides, final).best()
    if fit is None or not len(found.net):
        return None
    return judged(Trial(metric, found, trial.surprise, 0.0, trial.origin, fit), nets)


def _fitted(metric: Array, found: Planes, nets: Sequence[Net]) -> Fit:
    squares = np.array([nets[n].squares for n in found.net])
    covariance = np.array([nets[n].covariance for n in found.net])
    return fit_metric(metric, found.v, found.w, squares, covariance)


def _undetermined(fit: Fit) -> bool:
    """Whether a number of the metric is not known to half a percent."""
    size = np.sqrt(np.diag(fit.metric))
    scale = np.outer(size, size)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return bool(np.max(np.sqrt(np.diag(fit.covariance)) / scale) > 0.005)


def judged(trial: Trial, nets: Sequence[Net]) -> Trial:
    """The same trial with its symmetry and the evidence that follows."""
    sides = np.array([net.sides for net in nets])
    final = net_tolerance(nets)
    lattice = bravais(trial.cell, obliquity_tolerance(trial.metric, trial.fit))
    surprise = surprise_of(trial.planes, trial.metric, sides, final, lattice.rotations)
    # A lattice of two or three nets is as symmetric as its makers; more than its six numbers must agree to count.
    overdetermined = trial.fit is not None and np.isfinite(trial.fit.misfit)
    evidence = float(surprise.sum()) + (COINCIDENCE * (6 - lattice.free_parameters) if overdetermined else 0.0)
    return Trial(trial.metric, trial.planes, surprise, evidence, trial.origin, trial.fit, lattice)


def obliquity_tolerance(metric: Array, fit: Fit | None) -> float:
    """How far a twofold axis of the lattice may deviate, in degrees, given the uncertainties of its fit."""
    if fit is None:
        return LEAST_OBLIQUITY_DEG
    sigma, _ = cell_uncertainties(fit.metric, fit.covariance)
    angle = float(np.median(sigma[3:]))
    return float(np.clip(OBLIQUITY_SIGMAS * angle, LEAST_OBLIQUITY_DEG, LARGEST_OBLIQUITY_DEG))


def same(one: Trial, other: Trial) -> bool:
    """Whether two trials are one lattice."""
    if abs(np.linalg.det(one.metric) / np.linalg.det(other.metric) - 1) > 6 * SAME_LENGTH:
        return False
    length, angle = lattice_difference(one.cell, other.cell)
    return length < SAME_LENGTH and angle < SAME_ANGLE_DEG


def ranked(trials: Sequence[Trial], nets: Sequence[Net]) -> list[Trial]:
    """The best trials refined, with their multiples and fractions; each lattice once, most evidence first."""
    sides, tolerance = np.array([net.sides for net in nets]), net_tolerance(nets)
    done: list[Trial] = []
    tried = 0
    for trial in trials:
        good = [other for other in done if other.surplus > ENOUGH]
        if tried >= (REFINED if good else REFINED_AT_MOST):
            break
        # A poor lattice is no reason to skip one like it: the two may be refined to different ones.
        if any(same(trial, other) for other in good):
            continue
        tried += 1
        better = refined(trial, nets)
        if better is not None:
            _keep(done, better)
    for _ in range(ROUNDS):
        if not done:
            break
        best = max(done, key=lambda trial: trial.evidence)
        for metric in neighbours(best.metric):
            found = planes(metric, sides, tolerance).best()
            surprise = surprise_of(found, metric, sides, tolerance)
            trial = Trial(metric, found, surprise, float(surprise.sum()), best.origin)
            known = [other for other in done if other.evidence >= trial.evidence]
            if trial.evidence < NEIGHBOUR_SHARE * best.evidence or any(same(trial, other) for other in known):
                continue
            better = refined(trial, nets, quick=True)
            if better is not None:
                _keep(done, better)
        if max(done, key=lambda trial: trial.evidence) is best:
            break
    return sorted(done, key=lambda trial: -trial.evidence)


def _keep(done: list[Trial], new: Trial) -> None:
    """Add a lattice, unless a better form of it is there; a worse one goes, for it would be the lattice's own rival."""
    alike = [other for other in done if same(new, other)]
    if any(other.evidence >= new.evidence for other in alike):
        return
    for other in alike:
        done.remove(other)
    done.append(new)


def neighbours(metric: Array) -> list[Array]:
    """Reduced reciprocal metrics of all lattices with 1/2, 1/3, 2 and 3 times the volume that share points with it."""
    found = []
    for matrix in sublattices(2) + sublattices(3):
        inverse = np.linalg.inv(matrix).T  # of the dual lattice: so every superlattice comes once
        for m in (matrix, inverse):
            reduced = reduced_metric(m @ metric @ m.T)
            if reduced is not None:
                found.append(reduced)
    return found


def sublattices(index: int) -> list[Indices]:
    """Every sublattice of this index, as Hermite normal forms."""
    forms = []
    for a in range(1, index + 1):
        for b in range(1, index + 1):
            if index % (a * b) == 0:
                c = index // (a * b)
                forms += [
                    np.array([[a, x, y], [0, b, z], [0, 0, c]]) for x in range(b) for y in range(c) for z in range(c)
                ]
    return forms
