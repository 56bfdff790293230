"""The cells of mixtures judged on cells that nobody has seen: crystals of two kinds and of any thickness, shuffled.

From drawn pictures to the cells, nothing of the truth going along. Of one kind alone the same: it must come out as one
cell and not as two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import NS_PER_S, RealClock
from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.cell.membership import members
from protocols.zones.cell.phases import NONE, Parted, find_phases
from protocols.zones.evaluation import ANGLE_LIMIT_DEG, LENGTH_LIMIT
from protocols.zones.patterns import noise
from protocols.zones.patterns.mixture import excitation_ladder, mix, phase_of_cell
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.render import render
from protocols.zones.patterns.simulation import Geometry
from protocols.zones.sorting.labels import LABELS, NO_HIT, SEVERAL, ZONE
from protocols.zones.sorting.method import Method
from protocols.zones.sorting.sorting import Sorted, check_with, sort_pictures

BLOCK = 500
"""Patterns drawn at one time."""
LEAST_VOLUME_A3, MOST_VOLUME_A3 = 300.0, 700.0
ANISOTROPIES = (1.5, 3.0, 6.0)


@dataclass(frozen=True, slots=True)
class MixtureCase:
    """What is mixed. patterns: of the first phase; shares: of the phases, relative to the first.

    thickness_nm: plates between these. position_per_A: spots misplaced by this standard deviation. several: share of
    patterns with two crystals, of any phases.
    """

    patterns: int = 1500
    shares: tuple[float, ...] = (1.0, 1.0)
    thickness_nm: tuple[float, float] = (10.0, 50.0)
    position_per_A: float = 0.0
    several: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class MixtureOutcome:
    """What went in and what came out. phase: (n,) of every pattern; member: (n,) the cell found that it fits, NONE for
    none, or None where it was not asked; asked: (n,) patterns that could be. alone: of each phase, what its own zones
    say without those of the others; empty where that was not asked.
    """

    seed: int
    cells: tuple[Cell, ...]
    zones: int
    phase: NDArray[np.int8]
    parted: Parted
    seconds: float
    search_s: float
    asked: NDArray[np.bool_]
    member: NDArray[np.int64] | None
    alone: tuple[Parted, ...] = ()

    @property
    def alone_right(self) -> int:
        """Phases that come out right as one cell and no other from their own zones."""
        return sum(
            len(parted.phases) == 1 and parted.determined and _right(parted.phases[0].answer.candidates[0].cell, true)
            for parted, true in zip(self.alone, self.cells, strict=False)
        )

    @property
    def alone_wrong(self) -> int:
        """Cells called determined from the zones of one phase that are not its own, or are one more."""
        wrong = 0
        for parted, true in zip(self.alone, self.cells, strict=False):
            cells = [one.answer.candidates[0].cell for one in parted.phases if one.answer.determined]
            wrong += len(cells) - min(1, sum(_right(cell, true) for cell in cells))
        return wrong

    @property
    def found(self) -> list[Cell]:
        """The cells called determined."""
        return [one.answer.candidates[0].cell for one in self.parted.phases if one.answer.determined]

    @property
    def verdicts(self) -> list[str]:
        """Of every phase that went in: `right`, or `not determined`."""
        return ["right" if any(_right(cell, true) for cell in self.found) else "not determined" for true in self.cells]

    @property
    def wrong(self) -> int:
        """Cells called determined that are none of those that went in, or one of them once more."""
        matched = {n for cell in self.found for n, true in enumerate(self.cells) if _right(cell, true)}
        return len(self.found) - len(matched)

    @property
    def error(self) -> float:
        """The largest relative error of a length of the right cells; nan without one."""
        off = [lattice_difference(cell, true)[0] for cell in self.found for true in self.cells if _right(cell, true)]
        return max(off, default=np.nan)

    def members_right(self) -> tuple[int, int, int]:
        """Of the patterns asked: in their own cell, in another one, in none."""
        if self.member is None:
            return 0, 0, 0
        own = np.array([next((n for n, true in enumerate(self.cells) if _right(c, true)), NONE) for c in self.found])
        called = np.where(self.member == NONE, NONE, own[self.member] if len(own) else NONE)
        right, none = self.asked & (called == self.phase), self.asked & (self.member == NONE)
        return int(right.sum()), int((self.asked & ~right & ~none).sum()), int(none.sum())


def _right(cell: Cell, true: Cell) -> bool:
    length, angle_deg = lattice_difference(cell, true)
    return length <= LENGTH_LIMIT and angle_deg <= ANGLE_LIMIT_DEG


def try_mixture(
    seed: int, case: MixtureCase | None = None, with_members: bool = False, with_alone: bool = False
) -> MixtureOutcome:
    """Random triclinic cells of 300 to 700 A^3, their patterns drawn, sorted and searched. About a minute of one core.

    with_alone: the zones of each phase are searched by themselves as well.
    """
    case = case or MixtureCase()
    rng, geometry, clock = np.random.default_rng(seed), Geometry(), RealClock()
    cells = tuple(
        random_cell(
            rng,
            "triclinic",
            float(rng.uniform(LEAST_VOLUME_A3, MOST_VOLUME_A3)),
            float(rng.choice(ANISOTROPIES)),
        )
        for _ in case.shares
    )
    count = round(case.patterns * sum(case.shares) / case.shares[0])
    phases = [phase_of_cell(cell, share, geometry) for cell, share in zip(cells, case.shares, strict=True)]
    mixed = mix(phases, count, rng, geometry, case.thickness_nm)
    patterns = mixed.patterns
    if case.several:
        patterns = noise.overlaid(patterns, rng, 2, case.several)
    if case.position_per_A:
        patterns = noise.displaced(patterns, rng, case.position_per_A)
    began_ns = clock.now_ns()
    errors = excitation_ladder(*case.thickness_nm)
    check = check_with(excitation_error_per_A=errors)
    seen: list[Sorted] = []
    for begin in range(0, count, BLOCK):
        block = patterns.take(np.arange(begin, min(begin + BLOCK, count)))
        seen += sort_pictures(render(block), Method.GEOMETRY, check=check)
    zonal = [
        (-len(one.spots), -one.confidence, n, one.zone)
        for n, one in enumerate(seen)
        if one.label == LABELS[ZONE] and one.zone is not None and one.spots is not None
    ]
    zonal.sort(key=lambda one: one[:3])
    sorted_ns = clock.now_ns()
    parted = find_phases([zone for *_, zone in zonal])
    ended_ns = clock.now_ns()
    alone = [
        find_phases([zone for *_, n, zone in zonal if mixed.phase[n] == phase])
        for phase in range(len(cells) if with_alone else 0)
    ]
    no = (LABELS[NO_HIT], LABELS[SEVERAL])
    spots = [None if one.spots is None or one.label in no else one.spots for one in seen]
    best = [one.answer.candidates[0].cell for one in parted.phases if one.answer.determined]
    member = members(spots, best, excitation_error_per_A=errors[0]) if with_members and best else None
    return MixtureOutcome(
        seed,
        cells,
        len(zonal),
        mixed.phase,
        parted,
        (ended_ns - began_ns) / NS_PER_S,
        (ended_ns - sorted_ns) / NS_PER_S,
        np.array([one is not None for one in spots], dtype=bool),
        member,
        tuple(alone),
    )


def mixture_summary(outcomes: Sequence[MixtureOutcome]) -> dict[str, Any]:
    """The figures of a set of outcomes, for JSON."""
    verdicts = [verdict for one in outcomes for verdict in one.verdicts]
    errors = [one.error for one in outcomes if np.isfinite(one.error)]
    right, other, none = (sum(column) for column in zip(*(one.members_right() for one in outcomes), strict=True))
    return {
        "seeds": len(outcomes),
        "all_right": sum(set(one.verdicts) == {"right"} and not one.wrong for one in outcomes),
        "phases": len(verdicts),
        "phases_right": verdicts.count("right"),
        "phases_not_determined": verdicts.count("not determined"),
        "wrong_but_certain": sum(one.wrong for one in outcomes),
        "alone": sum(len(one.alone) for one in outcomes),
        "alone_right": sum(one.alone_right for one in outcomes),
        "alone_wrong_or_split": sum(one.alone_wrong for one in outcomes),
        "largest_length_error_percent": 100 * max(errors) if errors else None,
        "members_right": right,
        "members_in_another": other,
        "members_in_none": none,
        "zones": sum(one.zones for one in outcomes),
        "seconds_each": float(np.mean([one.seconds for one in outcomes])),
        "search_s_each": float(np.mean([one.search_s for one in outcomes])),
    }
