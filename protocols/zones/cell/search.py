"""The unit cell from zonal patterns: GM-type search, from zones to a ranked list of cells.

    zones -> merged nets -> rows of equal length -> dihedral angles by vote -> trial lattices -> every net indexed
    -> reciprocal metric by least squares -> ranked by evidence -> reduced cell, symmetry, figure of merit

The algorithm is derived here. It serves the purpose of the GM algorithm (Gorelik and co-workers, Acta Cryst. A81,
124-136, 2025) and of Miehe's PIEP, of which only the abstracts were to be had; it is no transcription of either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused
from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import Bravais, bravais
from protocols.zones.cell import dihedral
from protocols.zones.cell.ellipse import Distortion, distortion_of, strain_of, strain_slope, undistorted, vote_strain
from protocols.zones.cell.merging import Net, Triangle, merged, triangle
from protocols.zones.cell.merit import HIGH, Grounds, figure_of_merit
from protocols.zones.cell.merit import reason as reason_for
from protocols.zones.cell.metricfit import Fit, cell_uncertainties, fit_metric
from protocols.zones.cell.trials import Trial, obliquity_tolerance, ranked, refined, screened
from protocols.zones.sorting.zone import Zone

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

NOTICEABLE_STRAIN = 0.001
"""A voted distortion smaller than this changes nothing in the search; the fit at the end takes care of it."""

ENOUGH_NETS = 6
"""Distinct nets that no wrong distortion explains."""

TWO_NUMBERS_MORE = 10.0
"""Evidence that a voted distortion must bring to be preferred to none: twice `trials.COINCIDENCE`."""

LARGEST_PERCENT = 20.0
"""Of a distortion that is given."""

STRAIN_SIGMAS = 4.0
"""A distortion is believed when it is so many standard deviations from none."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A cell that may be the one.

    cell: reduced (Niggli, within its uncertainties).  sigma: (6,) standard deviations of its a, b, c in A and angles
    in deg.  volume_sigma_A3.  lattice: likely Bravais type and conventional cell; lattice_sigma: (6,) of that cell, 0
    for what the symmetry fixes.
    zones_explained: zones that are planes of the lattice; zones_used: of these, not left out of the last fit;
    nets_explained: distinct nets among them.  residual_percent: root mean square of the relative deviations of the
    used zones' sides.  misfit: the same in standard deviations.  evidence: see `trials`.
    figure_of_merit: 0..1, see `merit`.
    assigned: for every zone the (2, 3) hkl of its basis p, q, or None.
    """

    cell: Cell
    sigma: tuple[float, float, float, float, float, float]
    volume_sigma_A3: float
    lattice: Bravais
    lattice_sigma: tuple[float, ...]
    zones_explained: int
    zones_used: int
    nets_explained: int
    residual_percent: float
    misfit: float
    evidence: float
    figure_of_merit: float
    assigned: tuple[Indices | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the zones say about the cell.

    candidates: best first; may be empty.  determined: whether the first is to be believed; reason: why not, in plain
    words, empty where it is.  distortion: given, found or None.  nets: distinct nets among the zones.
    angle_deg, votes: dihedral angles (bin centres, 0 to 180) about the row that led to the first candidate, and how
    many nets vote for each; voted_deg: the angle it was made with.
    """

    candidates: tuple[Candidate, ...]
    determined: bool
    reason: str
    distortion: Distortion | None
    nets: int
    angle_deg: Array
    votes: NDArray[np.int16]
    voted_deg: float


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """One pass of the search with one distortion taken out."""

    strain: Array
    triangles: list[Triangle]
    nets: list[Net]
    trials: list[Trial]
    votes: dihedral.Votes


def find_cell(
    zones: Sequence[Zone], *, distortion: tuple[float, float] | Literal["estimate"] | None = "estimate", keep: int = 5
) -> Answer:
    """The cells that explain these zones of one crystal (or of many crystals of one kind), best first.

    distortion: elliptical distortion of the lens as (amplitude in percent, azimuth in deg) as in
    `protocols.products.distortion`; "estimate" finds it from the zones; None for none. keep: how many candidates.
    Needs about five zones that are different planes; with fewer the answer says that the cell is not determined.
    Refused for zones that are no nets (not finite, or rows on one line).
    """
    _check(zones)
    if isinstance(distortion, tuple) and not (abs(distortion[0]) <= LARGEST_PERCENT and np.isfinite(distortion[1])):
        given = f"{distortion[0]:g} % at {distortion[1]:g} deg"
        raise Refused(f"a distortion of {given} is none of a lens. No cell was searched for.")
    best = _search(zones, strain_of(*distortion)) if isinstance(distortion, tuple) else None
    if distortion == "estimate":
        voted, clear = vote_strain(zones)
        if clear and np.hypot(*voted) > NOTICEABLE_STRAIN:
            best = _search(zones, voted)
    if best is None or (distortion == "estimate" and not _convincing(best)):
        plain = _search(zones, np.zeros(2))
        best = plain if best is None or _evidence(plain) >= _evidence(best) - TWO_NUMBERS_MORE else best
    if distortion == "estimate" and best.trials:
        for _ in range(2):
            best = _strain_refined(best, zones)
    return _answer(best, zones, distortion, keep)


def _evidence(search: _Search) -> float:
    return search.trials[0].evidence if search.trials else -np.inf


def _convincing(search: _Search) -> bool:
    """Whether a search explains so much that another distortion need not be tried."""
    if not search.trials:
        return False
    explained = sum(len(search.nets[n].members) for n in search.trials[0].planes.net)
    return explained > 0.6 * len(search.triangles) and len(search.trials[0].planes.net) >= ENOUGH_NETS


def _check(zones: Sequence[Zone]) -> None:
    for zone in zones:
        finite = all(np.all(np.isfinite(x)) for x in (zone.basis, zone.tilt, zone.covariance))
        if not finite or zone.basis.shape != (2, 2) or zone.covariance.shape != (4, 4):
            raise Refused(f"zone {zone.name!r} has values that are no numbers; leave it out. No cell was searched for.")
        p, q = zone.basis
        if abs(p[0] * q[1] - p[1] * q[0]) < 1e-6 * max(p @ p, q @ q) or not np.any(p) or not np.any(q):
            raise Refused(f"zone {zone.name!r} is a row, not a net; leave it out. No cell was searched for.")
        if np.linalg.eigvalsh(zone.covariance)[0] < -1e-9 * np.trace(zone.covariance):
            raise Refused(f"zone {zone.name!r} has a covariance that is none; leave it out. No cell was searched for.")


def _search(zones: Sequence[Zone], strain: Array) -> _Search:
    triangles = [triangle(undistorted(zone, strain)) for zone in zones]
    nets = merged(triangles)
    none = dihedral.Votes(dihedral.Hinges(np.empty(0, np.int64), np.empty(0, np.int64)), np.empty((0, 0), np.int16))
    if len(nets) < 2:
        return _Search(strain, triangles, nets, [], none)
    rows = dihedral.rows_of(nets)
    equal = dihedral.matches(rows)
    hinges = dihedral.hinges_of(rows, equal)
    votes = dihedral.vote(nets, rows, equal, hinges)
    hinge, angle, _ = dihedral.peaks(votes)
    lattices = (
        (dihedral.lattice_of(nets, rows, int(hinges.row_a[h]), int(hinges.row_b[h]), float(a)), (int(h), float(a)))
        for h, a in zip(hinge, angle, strict=True)
    )
    return _Search(strain, triangles, nets, ranked(screened(nets, lattices), nets), votes)


def _zone_planes(trial: Trial, nets: Sequence[Net]) -> tuple[Indices, Indices, Indices]:
    """The zones that are planes of a lattice: their numbers (n,), and (n, 3) hkl of the first two sides of each."""
    number, v, w = [], [], []
    for net, one, two in zip(trial.planes.net, trial.planes.v, trial.planes.w, strict=True):
        lines = np.stack([one, two, one - two])
        for member, order in zip(nets[net].members, nets[net].order, strict=True):
            sides = np.empty((3, 3), dtype=np.int64)
            sides[list(order)] = lines
            # Only the lines of the sides are known; their signs are such that the third is the first minus the second.
            sign = 1 if any(np.array_equal(sides[0] - sides[1], s * sides[2]) for s in (1, -1)) else -1
            number.append(member)
            v.append(sides[0])
            w.append(sign * sides[1])
    return np.array(number, dtype=np.int64), np.array(v).reshape(-1, 3), np.array(w).reshape(-1, 3)


def _zone_fit(search: _Search, trial: Trial, with_strain: bool) -> tuple[Fit, Indices, Indices, Indices]:
    """The metric fitted to every zone by itself, and the zones and hkl that it was fitted to."""
    number, v, w = _zone_planes(trial, search.nets)
    chosen = [search.triangles[n] for n in number]
    slope = np.stack([strain_slope(t) for t in chosen]) if with_strain else None
    squares, covariance = np.stack([t.squares for t in chosen]), np.stack([t.covariance for t in chosen])
    return fit_metric(trial.metric, v, w, squares, covariance, slope, rounds=6), number, v, w


def _strain_refined(search: _Search, zones: Sequence[Zone]) -> _Search:
    """The distortion refined together with the best lattice; none where it is not significant."""
    fit = _zone_fit(search, search.trials[0], with_strain=True)[0]
    strain = search.strain + fit.strain
    if 3 * int(fit.used.sum()) < 8 + 4 or np.hypot(*(strain / np.maximum(fit.strain_sigma, 1e-9))) < STRAIN_SIGMAS:
        strain = np.zeros(2)
    if np.allclose(strain, search.strain, atol=1e-7, rtol=0):
        return search
    triangles = [triangle(undistorted(zone, strain)) for zone in zones]
    nets = merged(triangles)
    trials = [better for trial in search.trials if (better := refined(trial, nets, quick=True)) is not None]
    if not trials:
        return search
    trials.sort(key=lambda trial: -trial.evidence)
    if trials[0].evidence < search.trials[0].evidence - 5:
        return search
    return _Search(strain, triangles, nets, trials, search.votes)


def _answer(
    search: _Search, zones: Sequence[Zone], asked: tuple[float, float] | Literal["estimate"] | None, keep: int
) -> Answer:
    candidates = [_candidate(search, n) for n in range(min(keep, len(search.trials)))]
    distortion = None
    if isinstance(asked, tuple):
        distortion = Distortion(*asked)
    elif asked == "estimate":
        distortion = distortion_of(search.strain)
    hinge, voted = search.trials[0].origin if search.trials else (-1, float("nan"))
    votes = search.votes.votes[hinge] if hinge >= 0 else np.zeros(dihedral.BINS, dtype=np.int16)
    merit = candidates[0].figure_of_merit if candidates else 0.0
    return Answer(
        candidates=tuple(candidates),
        determined=merit >= HIGH,
        reason="" if merit >= HIGH else _reason(search, candidates),
        distortion=distortion,
        nets=len(search.nets),
        angle_deg=np.asarray((np.arange(dihedral.BINS) + 0.5) * dihedral.BIN_DEG, dtype=np.float64),
        votes=votes,
        voted_deg=voted,
    )


def _reason(search: _Search, candidates: Sequence[Candidate]) -> str:
    zones, nets = len(search.triangles), len(search.nets)
    if zones == 0:
        return "no zones"
    if zones == 1:
        return "one zone; at least 5 different ones are needed"
    if nets == 1:
        return f"all {zones} zones are the same; at least 5 different ones are needed"
    if not candidates:
        return f"no lattice explains more than two of {nets} distinct zones" if nets >= 5 else (
            f"{nets} distinct zones; at least 5 are needed"
        )  # fmt: skip
    fit, number, _, _ = _zone_fit(search, search.trials[0], with_strain=False)
    return reason_for(_grounds(search, 0, fit, number), nets)


def _grounds(search: _Search, place: int, fit: Fit, number: Indices) -> Grounds:
    """What the figure of merit of a trial rests on; fit and number: of its zones, from `_zone_fit`."""
    trial = search.trials[place]
    rivals = [t.evidence for n, t in enumerate(search.trials) if n != place]
    sigma, _ = cell_uncertainties(fit.metric, fit.covariance)
    cell = Cell.from_reciprocal_metric(fit.metric)
    axes = np.cross(trial.planes.v, trial.planes.w)
    return Grounds(
        surplus=trial.surplus,
        margin=trial.evidence - max(rivals, default=0.0),
        zones=len(search.triangles),
        explained=len(number),
        nets=len(trial.planes.net),
        free_parameters=trial.lattice.free_parameters if trial.lattice else 6,
        length_sigma=float(np.max(sigma[:3] / np.array(cell.parameters[:3]))),
        one_row=bool(np.linalg.matrix_rank(axes) < 3),
    )


def _candidate(search: _Search, place: int) -> Candidate:
    trial = search.trials[place]
    fit, number, v, w = _zone_fit(search, trial, with_strain=False)
    deviations, volume_sigma = cell_uncertainties(fit.metric, fit.covariance)
    a, b, c, alpha, beta, gamma = (float(x) for x in deviations)
    cell = Cell.from_reciprocal_metric(fit.metric)
    lattice = bravais(cell, obliquity_tolerance(fit.metric, fit))

    def conventional(metric: Array) -> Cell:
        return lattice.conventional(Cell.from_reciprocal_metric(metric).metric)

    lattice_sigma, _ = cell_uncertainties(fit.metric, fit.covariance, conventional)
    assigned: list[Indices | None] = [None] * len(search.triangles)
    for n, one, two in zip(number, v, w, strict=True):
        # sides = combination @ (p, q)
        inverse = np.rint(np.linalg.inv(search.triangles[n].combination[:2])).astype(np.int64)
        assigned[n] = inverse @ np.stack([one, two])
    squares = np.stack([search.triangles[n].squares for n in number])
    lattice_squares = np.stack([np.einsum("ni,ij,nj->n", x, fit.metric, x) for x in (v, w, v - w)], axis=1)
    relative = (np.sqrt(lattice_squares / squares) - 1)[fit.used]
    return Candidate(
        cell=cell,
        sigma=(a, b, c, alpha, beta, gamma),
        volume_sigma_A3=volume_sigma,
        lattice=lattice,
        lattice_sigma=tuple(float(x) if x > 1e-9 else 0.0 for x in lattice_sigma),
        zones_explained=len(number),
        zones_used=int(fit.used.sum()),
        nets_explained=len(trial.planes.net),
        residual_percent=100 * float(np.sqrt(np.mean(relative**2))),
        misfit=fit.misfit,
        evidence=trial.evidence,
        figure_of_merit=figure_of_merit(_grounds(search, place, fit, number)),
        assigned=tuple(assigned),
    )
