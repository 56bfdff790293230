"""What `credline zones cell` tells of the phases it found: lines for a person, JSON, a folder for each, whose each
pattern is.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.products.distortion import distortion_matrix
from protocols.zones.cell.membership import FEWEST_ON, members
from protocols.zones.cell.phases import NONE, Parted, PhaseFound
from protocols.zones.cell.search import Answer
from protocols.zones.commands.cellpicture import draw_cell, report
from protocols.zones.patterns.simulation import Geometry
from protocols.zones.sorting.labels import LABELS, NO_HIT, SEVERAL
from protocols.zones.sorting.sorting import NO_PATTERN, Sorted

Indices = NDArray[np.int64]

HARDLY = 0.05
"""A cell that fewer of the other patterns fit is doubtful: some one in a hundred fits any cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Memberships:
    """seen: all patterns. asked: (n,) those of one crystal with spots enough to tell. phase: (n,) the cell each fits
    best, NONE for those that fit none or were not asked.
    """

    seen: Sequence[Sorted]
    asked: NDArray[np.bool_]
    phase: Indices

    def of(self, number: int) -> int:
        """Patterns that fit one phase."""
        return int((self.phase == number).sum())

    @property
    def none(self) -> int:
        """Patterns that were asked and fit none."""
        return int((self.asked & (self.phase == NONE)).sum())

    def share(self, number: int) -> tuple[float, float]:
        """Of a phase in the patterns that fit one, and its standard deviation (binomial)."""
        total = max(1, int((self.phase != NONE).sum()))
        share = self.of(number) / total
        return share, float(np.sqrt(share * (1 - share) / total))


def memberships(
    parted: Parted, seen: Sequence[Sorted], wavelengths_A: set[float | None], excitation_error_per_A: float
) -> Memberships | None:
    """Which cell every pattern fits. None where sources have different wavelengths, as no one cares to tell them."""
    if len(wavelengths_A) != 1:
        return None
    wavelength_A = next(iter(wavelengths_A)) or Geometry().wavelength_A
    lens = parted.phases[0].answer.distortion
    undo = np.eye(2) if lens is None else np.linalg.inv(distortion_matrix(lens.amplitude_percent, lens.azimuth_deg))
    no = (LABELS[NO_HIT], LABELS[SEVERAL], NO_PATTERN)
    spots = [
        None if one.spots is None or one.label in no or len(one.spots) < FEWEST_ON else one.spots @ undo.T
        for one in seen
    ]
    cells = [one.answer.candidates[0].cell for one in parted.phases]
    phase = members(spots, cells, wavelength_A, excitation_error_per_A)
    return Memberships(seen, np.array([xy is not None for xy in spots], dtype=bool), phase)


def phase_lines(parted: Parted, belong: Memberships | None) -> list[str]:
    """All that a person reads."""
    lines: list[str] = []
    several = len(parted.phases) > 1
    for number, one in enumerate(parted.phases):
        lines += [f"PHASE {number + 1}"] * several + report(one.answer) + [""] * several
    if several:
        lines += [f"{len(parted.phases)} phases", "", "phase  zones  patterns     share      V A^3   a, b, c A; deg"]
        for number, one in enumerate(parted.phases):
            cell = one.answer.candidates[0].cell
            share = patterns = "-"
            if belong is not None:
                value, sigma = belong.share(number)
                patterns = str(belong.of(number))
                share = f"{100 * value:.1f} +- {100 * sigma:.1f} %"
            axes = ", ".join(f"{x:.3f}" for x in cell.parameters[:3])
            angles = ", ".join(f"{x:.2f}" for x in cell.parameters[3:])
            zones = int((parted.phase == number).sum())
            lines.append(
                f"{number + 1:5}  {zones:5}  {patterns:>8}  {share:>13}  {cell.volume_A3:7.1f}   {axes}; {angles}"
            )
    left = int((parted.phase == NONE).sum())
    if parted.determined and left:
        why = f": {parted.doubt}" if parted.doubt else ""
        lines.append(f"{left} of {len(parted.phase)} zones fit no cell found{why}")
    if belong is not None:
        asked = int(belong.asked.sum())
        lines.append(f"{belong.none} of {asked} patterns of one crystal fit no cell found")
        if asked and belong.none > (1 - HARDLY) * asked:
            lines.append(
                "WARNING: hardly a pattern fits; doubt the cell, and look at scale, --voltage and --excitation"
            )
    return lines


def reported(parted: Parted, patterns: Sequence[Sorted], belong: Memberships | None) -> dict[str, Any]:
    """The answer for programs: that of the first phase, and of all phases in short."""
    first = parted.phases[0]
    own = [patterns[n] for n in first.zones]
    asked = None if belong is None else int(belong.asked.sum())
    return {
        **document(first.answer, own),
        "phases": [_brief(parted, number, one, belong) for number, one in enumerate(parted.phases)]
        if parted.determined
        else [],
        "zones_fit_none": int((parted.phase == NONE).sum()),
        "doubt": parted.doubt,
        "patterns_asked": asked,
        "patterns_fit_none": None if belong is None else belong.none,
    }


def _brief(parted: Parted, number: int, one: PhaseFound, belong: Memberships | None) -> dict[str, Any]:
    best = one.answer.candidates[0]
    share, sigma = (None, None) if belong is None else belong.share(number)
    return {
        "cell": list(best.cell.parameters),
        "volume_A3": best.cell.volume_A3,
        "bravais": best.lattice.symbol,
        "figure_of_merit": best.figure_of_merit,
        "zones": int((parted.phase == number).sum()),
        "patterns": None if belong is None else belong.of(number),
        "share": share,
        "share_sigma": sigma,
    }


def written(
    out: Path, parted: Parted, patterns: Sequence[Sorted], belong: Memberships | None
) -> tuple[list[Path], dict[str, Any]]:
    """Make a folder cell_NNN for each phase, with picture and JSON, and the table of all patterns in the first one.

    patterns: those whose zones were given, in that order. Returns the folders and what stands in the last line of
    `--json`.
    """
    from engine.record.folder import create_run_folder
    from protocols.products.atomic import write_text

    folders = []
    for number, one in enumerate(parted.phases):
        folder = create_run_folder(out, "cell")
        own = [patterns[n] for n in one.zones]
        draw_cell(folder / "cell.png", one.answer, own)
        told = document(one.answer, own)
        if parted.determined:
            told["phase"] = {"number": number + 1, "of": len(parted.phases), **_brief(parted, number, one, belong)}
        write_text(folder / "cell.json", json.dumps(told, indent=1) + "\n")
        folders.append(folder)
    if belong is not None:
        write_text(folders[0] / "patterns.csv", _table(belong))
    whole = {"folder": str(folders[0]), **reported(parted, patterns, belong)}
    for brief, folder in zip(whole["phases"], folders, strict=False):
        brief["folder"] = str(folder)
    return folders, whole


def _table(belong: Memberships) -> str:
    """CSV: every pattern, its label and its phase, counted from 1. Those that fit no cell come first, their phase 0;
    empty for patterns that were not asked.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "label", "phase"))
    order = np.argsort(np.where(belong.asked, belong.phase, len(belong.phase)), kind="stable")
    for n in order:
        one = belong.seen[n]
        writer.writerow((one.name, one.label, int(belong.phase[n]) + 1 if belong.asked[n] else ""))
    return text.getvalue()


def document(answer: Answer, patterns: Sequence[Sorted]) -> dict[str, Any]:
    """One answer for programs. patterns: those it was searched in."""
    names = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg")
    return {
        "determined": answer.determined,
        "reason": answer.reason,
        "distinct_zones": answer.nets,
        "distortion": answer.distortion
        and {
            "amplitude_percent": answer.distortion.amplitude_percent,
            "azimuth_deg": answer.distortion.azimuth_deg,
        },
        "candidates": [
            {
                "cell": dict(zip(names, one.cell.parameters, strict=True)),
                "sigma": dict(zip(names, one.sigma, strict=True)),
                "volume_A3": one.cell.volume_A3,
                "bravais": one.lattice.symbol,
                "conventional": dict(zip(names, one.lattice.cell.parameters, strict=True)),
                "conventional_sigma": dict(zip(names, one.lattice_sigma, strict=True)),
                "figure_of_merit": one.figure_of_merit,
                "zones_explained": one.zones_explained,
                "distinct_explained": one.nets_explained,
                "residual_percent": one.residual_percent,
            }
            for one in answer.candidates
        ],
        "patterns": [
            {
                "name": pattern.name,
                "hkl": None if hkl is None else hkl.tolist(),
                "basis_per_A": None if pattern.zone is None else pattern.zone.basis.tolist(),
                "tilt": None if pattern.zone is None else pattern.zone.tilt.tolist(),
            }
            for pattern, hkl in zip(
                patterns, answer.candidates[0].assigned if answer.candidates else [None] * len(patterns), strict=True
            )
        ],
    }
