"""The whole way judged on cells that nobody has seen: simulated, drawn, sorted, and the cell found again.

Patterns come in their natural share, a thousand orientations of each cell; figures are by group of cells, never by a
split of the patterns of one cell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import NS_PER_S, RealClock
from protocols.lattice.cell import Cell, lattice_difference
from protocols.zones.cell.search import Answer, find_cell
from protocols.zones.patterns.noise import emptied, overlaid
from protocols.zones.patterns.randomcells import PAPER_CELLS, random_cell
from protocols.zones.patterns.render import render
from protocols.zones.patterns.simulation import Geometry, simulate
from protocols.zones.sorting.labels import LABELS, NO_HIT, SEVERAL, ZONE
from protocols.zones.sorting.method import Method
from protocols.zones.sorting.metrics import Figures, Share, figures
from protocols.zones.sorting.sorting import Sorted, check_with, sort_pictures

if TYPE_CHECKING:
    from protocols.zones.sorting.network import Model

LENGTH_LIMIT, ANGLE_LIMIT_DEG = 0.01, 1.0
"""A cell is right when no length is off by more than 1 % and no angle by more than 1 deg."""

MOST_PATTERNS = 24
"""Zonal patterns that a cell is worked out from, the most confident ones."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cells of one kind: random triclinic ones of a volume and anisotropy, or one that is named."""

    name: str
    volume_A3: float = 0.0
    anisotropy: float = 1.5
    named: tuple[Cell, str] | None = None

    def cell(self, rng: np.random.Generator) -> tuple[Cell, str]:
        """A cell of the group, and its space group."""
        return self.named or (random_cell(rng, "triclinic", self.volume_A3, self.anisotropy), "P 1")


GROUPS = (
    *(
        Group(f"{volume} A^3, 1:{anisotropy:g}", volume, anisotropy)
        for volume in (500, 700, 1000)
        for anisotropy in (1.5, 6.0)
    ),
    *(Group(name, named=PAPER_CELLS[name]) for name in ("monoclinic 3.8155", "monoclinic 3.7061")),
)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of the patterns that are of several crystals, and of none."""

    several: float = 0.0
    no_hits: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One cell: what its patterns are and were called, and what came out as its cell."""

    group: str
    cell: Cell
    label: NDArray[np.int8]
    sorted: Sequence[Sorted]
    sorting_s: float
    answer: Answer
    answer_s: float

    @property
    def errors(self) -> tuple[float, float]:
        """Relative length and angle in deg; infinite for another lattice, or none."""
        best = self.answer.candidates[0].cell if self.answer.candidates else None
        return lattice_difference(best, self.cell) if best else (np.inf, np.inf)

    @property
    def right(self) -> bool:
        """Whether the best candidate is the cell."""
        length, angle = self.errors
        return length <= LENGTH_LIMIT and angle <= ANGLE_LIMIT_DEG


def evaluate(
    seed: int,
    model: "Model | None" = None,
    cells_a_group: int = 2,
    patterns: int = 1000,
    groups: Sequence[Group] = GROUPS,
    method: Method = Method.BOTH,
    progress: Callable[[], None] = lambda: None,
    geometry: Geometry | None = None,
    shares: Mixture | None = None,
) -> list[Outcome]:
    """Outcomes of fresh cells from a seed. Refused where the network is wanted and TensorFlow missing.

    geometry: the experiment, if not the usual one; its resolution must be the usual 1 1/A. shares: of patterns of
    several crystals and of none; without it there are none of either.
    """
    rng = np.random.default_rng(seed)
    outcomes = []
    for group in groups:
        for _ in range(cells_a_group):
            outcomes.append(_try(group, rng, model, patterns, method, geometry or Geometry(), shares or Mixture()))
            progress()
    return outcomes


def _try(
    group: Group,
    rng: np.random.Generator,
    model: "Model | None",
    count: int,
    method: Method,
    geometry: Geometry,
    shares: Mixture,
) -> Outcome:
    cell, space_group = group.cell(rng)
    patterns = simulate(cell, count, rng, geometry, space_group)
    if shares.several:
        patterns = overlaid(patterns, rng, 2, shares.several)
    if shares.no_hits:
        patterns = emptied(patterns, rng, shares.no_hits)
    several = None
    if method is not Method.GEOMETRY:
        from protocols.zones.sorting.network import shipped_several

        several = shipped_several()
    check = check_with(excitation_error_per_A=geometry.excitation_error_per_A)
    pictures = render(patterns)
    clock = RealClock()
    begin_ns = clock.now_ns()
    found = sort_pictures(pictures, method, model, check=check, wavelength_A=geometry.wavelength_A, several=several)
    sorted_ns = clock.now_ns()
    zonal = [i for i, one in enumerate(found) if one.label == LABELS[ZONE]]
    best = sorted(zonal, key=lambda i: -found[i].confidence)[:MOST_PATTERNS]
    # The nets again, from the pictures, so that the time is that of the whole way from zonal pictures to a cell.
    again = sort_pictures(pictures[best], Method.GEOMETRY, check=check, wavelength_A=geometry.wavelength_A)
    zones = [one.zone for one in again if one.zone is not None]
    answer = find_cell(zones)
    end_ns = clock.now_ns()
    sorting_s, answer_s = (sorted_ns - begin_ns) / NS_PER_S, (end_ns - sorted_ns) / NS_PER_S
    return Outcome(group.name, cell, patterns.label, found, sorting_s, answer, answer_s)


def figures_of(outcomes: Sequence[Outcome]) -> Figures:
    """How all their patterns were sorted."""
    found = [one for outcome in outcomes for one in outcome.sorted]
    called = np.array([one.label == LABELS[ZONE] for one in found])
    sure = np.array([one.confidence for one in found])
    return figures(np.concatenate([outcome.label for outcome in outcomes]), called, sure)


def found_of(outcomes: Sequence[Outcome], kind: int) -> tuple[Share, Share]:
    """Of the patterns of a class (index into LABELS), and of all others, how many were called that."""
    label = np.concatenate([outcome.label for outcome in outcomes])
    called = np.array([one.label == LABELS[kind] for outcome in outcomes for one in outcome.sorted])
    right, wrong = (Share(int((called & of).sum()), int(of.sum())) for of in (label == kind, label != kind))
    return right, wrong


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a set of outcomes, for JSON; what is not defined is None.

    cells_right: the best candidate is the cell, whether it was called determined or not.
    """
    sorting = figures_of(outcomes)
    right = [outcome for outcome in outcomes if outcome.right]
    certain = sum(outcome.answer.determined for outcome in outcomes)
    wrong_certain = sum(outcome.answer.determined and not outcome.right for outcome in outcomes)
    lengths, angles = np.array([outcome.errors for outcome in right]).reshape(-1, 2).T
    values = {
        "balanced_accuracy": sorting.balanced_accuracy,
        "recall": sorting.recall.value,
        "precision": sorting.precision.value,
        "auc": sorting.auc,
        "precision_with_hybrids": sorting.precision_with_hybrids.value,
        "hybrids_called_zonal": sorting.hybrids.value,
        "cells_right": len(right),
        "cells": len(outcomes),
        "seconds_per_cell": float(np.mean([outcome.answer_s for outcome in outcomes])),
        "cells_determined": certain,
        "cells_wrong_but_certain": wrong_certain,
        "median_length_error_percent": 100 * float(np.median(lengths)) if right else np.nan,
        "median_angle_error_deg": float(np.median(angles)) if right else np.nan,
        "patterns": sum(len(outcome.label) for outcome in outcomes),
        "patterns_per_s": sum(len(o.label) for o in outcomes) / sum(o.sorting_s for o in outcomes),
    }
    for kind, name in ((SEVERAL, "several_crystals"), (NO_HIT, "no_hit")):
        right_of, wrong_of = found_of(outcomes, kind)
        values |= {f"{name}_recall": right_of.value, f"called_{name}_wrongly": wrong_of.value}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}
