"""From the frames of a rotation to structure factors: integrate, choose the symmetry, merge, write.

`structure_factors` computes, `write` makes the four files, `words_of` says what was done, what was rejected, and why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused
from protocols.integration.laue import Axes, Symmetry, choose
from protocols.integration.merging import Merged, merge
from protocols.integration.observing import RECORDED, Fate, Observations, observe
from protocols.integration.prediction import SLOWEST, Widths
from protocols.integration.reflectionfiles import cif_text, write_mtz
from protocols.integration.scaling import Scale, fitted_scale
from protocols.integration.series import Series
from protocols.integration.shelx import hkl_text, ins_text
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.products.atomic import replacing, write_file

Array = NDArray[np.float64]

FOLDER = "structure-factors"
"""In the folder of the run, or beside the pictures."""
FEWEST = 30
"""Observations that are worth files."""
TELLING_CC = 0.3
"""CC1/2 of the last shell that still tells something of the structure."""
WHY = {
    Fate.PARTIAL: f"recorded to less than {RECORDED:.0%}: a gap, or an end of the run, has the rest",
    Fate.OVERLAPPED: "not told apart from a neighbour in the same frames",
    Fate.BAD_PIXELS: f"less than {RECORDED:.0%} on pixels that count (cross, dead pixels, edge)",
    Fate.SATURATED: "with saturated pixels",
    Fate.BLIND: "beside the primary beam, or without a background to be told",
    Fate.ABSENT: "while the crystal was not in the beam: hardly any of those that passed then were seen",
}


@dataclass(frozen=True, slots=True, eq=False)
class StructureFactors:
    """All of it: what was measured, in which symmetry it was merged, and to what.

    intensity, sigma: (m,) of the observations that are kept, scaled between frames where that is told. scale: how
    bright the crystal was, None where no equivalents say anything. r_meas_unscaled: what R_meas would be without it.
    """

    observations: Observations
    symmetry: Symmetry
    scale: Scale | None
    intensity: Array
    sigma: Array
    merged: Merged
    r_meas_unscaled: float | None
    wavelength_A: float

    @property
    def resolution_A(self) -> float | None:
        """The end of the last shell that tells something; None where no shell is known to."""
        known = [each for each in self.merged.shells if each.cc_half is not None]
        telling = [each.to_A for each in known if each.cc_half is not None and each.cc_half > TELLING_CC]
        return min(telling) if telling else None


def structure_factors(
    series: Series,
    ub: Array,
    geometry: RotationGeometry,
    told: Widths,
    types: Sequence[Axes],
    d_min_A: float,
    wanted: str | None = None,
) -> StructureFactors:
    """Of a series whose lattice ub (3, 3) and geometry are known. 5 to 20 ms of processor time a frame.

    types: that the lattice may have, the highest first. wanted: a space group or Laue class. Refused where too few
    reflections are left, or the group is none of this lattice.
    """
    seen = observe(series, ub, geometry, d_min_A, told)
    kept = seen.kept
    if kept.sum() < FEWEST:
        raise Refused(
            f"live: {int(kept.sum())} reflections could be integrated, which are too few; no structure factors were "
            "written. Record a wider range."
        )
    hkl, intensity, sigma = seen.passages.hkl[kept], seen.intensity[kept], seen.sigma[kept]
    angle_deg = seen.passages.angle_deg[kept]
    symmetry = choose(hkl, intensity, sigma, angle_deg, types, wanted)
    merged = merge(symmetry.axes.cell, symmetry.group, symmetry.hkl, intensity, sigma, d_min_A)
    unscaled = merged.whole.r_meas
    scale = fitted_scale(symmetry.group, symmetry.hkl, intensity, sigma, angle_deg)
    if scale is not None and scale.used:
        intensity, sigma = scale.apply(angle_deg, intensity, sigma)
        merged = merge(symmetry.axes.cell, symmetry.group, symmetry.hkl, intensity, sigma, d_min_A)
    return StructureFactors(seen, symmetry, scale, intensity, sigma, merged, unscaled, geometry.wavelength_A)


def write(folder: Path, name: str, result: StructureFactors, composition: dict[str, float] | None) -> list[Path]:
    """NAME.hkl, .ins, .mtz and .cif in the folder, each whole or as it was. StorageError where it cannot be written."""
    symmetry = result.symmetry
    axes, group = symmetry.axes, symmetry.group
    about = (result.wavelength_A, axes.cell, axes.cell_sigma, group)
    texts = {
        "hkl": hkl_text(symmetry.hkl, result.intensity, result.sigma),
        "ins": ins_text(name, *about, composition),
        "cif": cif_text(name, *about, result.merged),
    }
    paths = [folder / f"{name}.{ending}" for ending in (*texts, "mtz")]
    for path, text in zip(paths, texts.values(), strict=False):
        write_file(path, text.encode())
    with replacing(paths[-1]) as part:
        write_mtz(part, name, result.wavelength_A, axes.cell, group, result.merged)
    return paths


def words_of(result: StructureFactors) -> list[str]:
    """What was done, as lines for a person."""
    seen, symmetry, merged = result.observations, result.symmetry, result.merged
    lines = [
        f"structure factors: {int(seen.kept.sum())} of {len(seen.passages)} predicted reflections; spots of "
        f"{seen.spot_px:.2f} px, passages of {seen.widths.mosaicity_deg:.3f} deg and {seen.widths.size_per_A:.1e} 1/A"
    ]
    for fate, why in WHY.items():
        if count := int((seen.fate == fate).sum()):
            lines.append(f"rejected: {count} {why}")
    if seen.too_slow:
        lines.append(f"not measured: {seen.too_slow} beside the axis, slower than {SLOWEST:.0%} of the fastest")
    lines.append(_symmetry_words(symmetry))
    lines += [f"not {name}: what it relates differs by {off:.0%} of the sum" for name, off in symmetry.refused]
    lines.append("      d / A   seen  unique  complete  times  I/sigma  R_meas  CC1/2")
    for each in (*merged.shells, merged.whole):
        r_meas = "" if each.r_meas is None else f"{each.r_meas:.3f}"
        cc_half = "" if each.cc_half is None else f"{each.cc_half:.3f}"
        lines.append(
            f"{min(each.from_A, 99.0):5.2f} {each.to_A:5.2f} {each.observations:6d} {each.unique:7d} "
            f"{each.completeness:9.1%} {each.multiplicity:6.1f} {each.i_over_sigma:8.1f} {r_meas:>7} {cc_half:>6}"
        )
    if (best := result.resolution_A) is not None:
        lines.append(f"CC1/2 is above {TELLING_CC} to {best:.2f} A")
    return [*lines, _scale_words(result)]


def _scale_words(result: StructureFactors) -> str:
    """Whether the crystal was equally bright over the run."""
    scale = result.scale
    if scale is None:
        return "not scaled between frames: hardly any equivalents say whether the crystal was always equally bright"
    if not scale.used:
        return (
            "not scaled between frames: equivalents do not say that the crystal was brighter in some of them, and tell "
            f"it to {scale.doubt:.1%}"
        )
    low, high = scale.extremes
    before, after = result.r_meas_unscaled, result.merged.whole.r_meas
    gained = "" if before is None or after is None else f"; R_meas {before:.3f} without that, {after:.3f} with it"
    return (
        f"scaled between frames: the crystal was {low:.2f} to {high:.2f} times as bright as in the mean, known to "
        f"{scale.doubt:.1%}{gained}"
    )


def _symmetry_words(symmetry: Symmetry) -> str:
    why = "as given" if symmetry.given else "the highest class of the lattice that the intensities do not speak against"
    agree = symmetry.disagreement
    how = ", no equivalents say whether" if agree is None else f", equivalents differ by {max(agree, 0):.1%} of the sum"
    return f"merged as {symmetry.laue} in {symmetry.group.xhm()}: {why}{how}"
