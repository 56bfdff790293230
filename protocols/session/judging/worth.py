"""Which crystal is worth the next rotation: how good its pattern is, and what its phase still wants.

From the pattern of the screening alone it is often known of which phase a crystal is, and how it lies: its spots are
tried on the cells found so far (`protocols.zones.cell.membership`). A good pattern that fits none of them may be of a
phase that nobody has seen yet: it comes first. Else that crystal is worth most whose rotation shows what no data set of
its phase has shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.session.judging.coverage import Reach
from protocols.session.night import NEW
from protocols.zones.cell.membership import FEWEST_ON, LEAST_SHARE, Lattice, Member

Array = NDArray[np.float64]

GOOD = 0.5
"""A score above it is that of a good pattern, as the screening has it."""
BEAMS_PER_A = 0.003 * np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1], [-1, -1], [-1, 1], [1, -1], [1, 1]])
"""Where the beam may be: what is cut out for the screening has it in the middle to a pixel."""
ALL_BUT = 0.9
"""Of the spots on the lattice, and no other place of the beam is tried."""
TELLING_SPOTS = 12
"""So many a pattern needs that fits no cell, to be taken for one of another phase."""
ALONE_NM = 1500.0
"""From other things; nearer ones come into the beam at high tilt."""
SHORT_NM, LONG_NM = 300.0, 4000.0
"""Shorter crystals scatter little, longer ones are thick and bent."""
UNKNOWN_REACH = 0.7
"""Worth of a pattern of which nobody knows how far it goes."""
UNTOLD = 0.5
"""Need of a crystal whose phase the pattern does not tell."""
LEAST_NEED = 0.05
"""Of a phase that has all it wants: more of it still makes its intensities better."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A screened crystal. score, several: 0 to 1, of its pattern: worth a run, and more than one lattice. d_min_A: how
    far it goes, None where nobody knows. neighbour_nm: from edge to edge to the next thing. length_nm: of the crystal.
    xy_per_A: (n, 2) its spots along fast and slow from the beam, as `protocols.screening.seenspots` gives them; None
    where they are not kept. tilt_deg: stage angles between which it can be rotated.
    """

    score: float
    several: float
    d_min_A: float | None
    neighbour_nm: float
    length_nm: float
    xy_per_A: Array | None = None
    tilt_deg: tuple[float, float] = (-60.0, 60.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The goal: each phase complete to `completeness` (0 to 1) of what is attainable, down to d_min_A."""

    d_min_A: float
    completeness: float = 1.0


class Collected:
    """The phases found so far, made ready to try patterns on. wavelength_A: of the patterns."""

    def __init__(self, phases: Sequence[Reach], wavelength_A: float = 0.0251) -> None:
        self.phases = phases
        self.wavelength_A = wavelength_A
        self._cells = [Cell.from_reciprocal_metric(each.basis.T @ each.basis) for each in phases]
        self._lattices = [Lattice(cell) for cell in self._cells]

    def told(self, xy_per_A: Array | None) -> "Told":
        """Of which phase the (n, 2) spots of a pattern are, and how its crystal lies. Some milliseconds a phase."""
        if xy_per_A is None or len(xy_per_A) < FEWEST_ON:
            return Told(None, None, False)
        best: tuple[float, int, Array] | None = None
        nearly = False
        for number, lattice in enumerate(self._lattices):
            found: Member | None = None
            for beam in BEAMS_PER_A:
                tried = lattice.member(xy_per_A - beam, self.wavelength_A)
                if tried is not None and (found is None or tried.evidence > found.evidence):
                    found = tried
                if found is not None and found.fits and found.on.mean() >= ALL_BUT:
                    break
            if found is None:
                continue
            nearly |= bool(found.on.mean() >= LEAST_SHARE / 2 and found.evidence > 0)
            if found.fits and (best is None or found.evidence > best[0]):
                best = found.evidence, number, self._rotation(number, found.orientation)
        if best is None:
            return Told(None, None, len(xy_per_A) >= TELLING_SPOTS and not nearly)
        return Told(self.phases[best[1]], best[2], False)

    def _rotation(self, number: int, orientation: Array) -> Array:
        """(3, 3) that turns `Reach.basis`, from that of the reduced cell into the frame of fast, slow and away from the
        source.
        """
        cell = self._cells[number]
        lab = np.diag([1.0, -1.0, -1.0]) @ orientation @ cell.reduced().reciprocal_basis @ cell.reduction()
        left, _, right = np.linalg.svd(lab @ np.linalg.inv(self.phases[number].basis))
        return np.asarray(left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What a pattern tells. reach: of its phase; turned: (3, 3) how the crystal lies at the stage angle of the pattern,
    as `Reach.passed` takes it. new: it fits none of the cells. All empty where it does not say.
    """

    reach: Reach | None
    turned: Array | None
    new: bool


def worth(candidate: Candidate, collected: Collected, wanted: Wanted) -> tuple[float, str]:
    """How much the next rotation of this crystal is worth, and why, in words. 0 to 1; `NEW` and more where it may be of
    a phase that is not known yet.
    """
    quality, said = _quality(candidate, wanted)
    if not collected.phases:
        return quality, said
    told = collected.told(candidate.xy_per_A)
    if told.reach is None:
        if told.new and candidate.score > GOOD and candidate.several < GOOD:
            return NEW + quality, f"fits none of the cells found; {said}"
        return UNTOLD * quality, f"its phase is not known; {said}"
    need, why = _need(told, candidate, wanted)
    return need * quality, f"phase {told.reach.phase.number}, {why}; {said}"


def _quality(candidate: Candidate, wanted: Wanted) -> tuple[float, str]:
    """0 to 1, of crystal and pattern by themselves."""
    reach = UNKNOWN_REACH if candidate.d_min_A is None else min(1.0, (wanted.d_min_A / candidate.d_min_A) ** 2)
    alone = min(1.0, max(0.1, _known(candidate.neighbour_nm, ALONE_NM) / ALONE_NM))
    length = max(1.0, _known(candidate.length_nm, SHORT_NM))
    size = min(1.0, length / SHORT_NM, LONG_NM / length) ** 0.5
    value = candidate.score * (1 - candidate.several) * reach * alone * size
    parts = [f"score {candidate.score:.2f}"]
    parts += [] if candidate.d_min_A is None else [f"to {candidate.d_min_A:.2f} A"]
    parts += [f"perhaps several lattices ({candidate.several:.0%})"] if candidate.several > GOOD else []
    parts += [f"next thing at {candidate.neighbour_nm / 1000:.1f} um"] if alone < 1 else []
    parts += [f"{length:.0f} nm long"] if size < 1 else []
    return value, ", ".join(parts)


def _known(value: float, otherwise: float) -> float:
    return value if np.isfinite(value) else otherwise


def _need(told: Told, candidate: Candidate, wanted: Wanted) -> tuple[float, str]:
    """0 to 1: the share of what its phase still wants that its rotation would bring."""
    reach, turned = told.reach, told.turned
    if reach is None or turned is None:
        raise AssertionError("a phase is told with how the crystal lies")
    has = reach.share(reach.together)
    goal = wanted.completeness * max(reach.attainable.share, has)
    brings = reach.share(reach.together | reach.passed(turned, candidate.tilt_deg)) - has
    if has >= goal:
        return LEAST_NEED, f"which is complete to {has:.0%}"
    need = min(1.0, max(LEAST_NEED, brings / (goal - has)))
    return need, f"whose completeness it takes from {has:.0%} to {has + brings:.0%}"
