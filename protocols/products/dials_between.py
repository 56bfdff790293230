"""What dials.sh does between two programs of DIALS; run by DIALS' own Python, for it reads and writes DIALS' files.

    dials_between.py lattice masked.expt 0.0869,0.0553,0.0031,-0.0101,...
        Writes known.expt for dials.index: masked.expt with the crystal that these frames have already told, by the nine
        numbers of its setting matrix at angle 0 (1/A, row by row). dials.index then refines this one, and looks for no
        other.
        With `none` instead of numbers known.expt is masked.expt, and it looks.
    dials_between.py exclude refined.expt 10 20-21 30 ...
        Writes exclude.phil for dials.integrate: the pictures (slots) without data, counted as the installed version
        counts them. Refinement cuts off the ends of a scan where nothing diffracts, so they are counted here and not
        when the script is written.
    dials_between.py correct integrated.expt integrated.refl 10 20-21 30 ...
        Writes whole.refl. DIALS takes a reflection of which a part fell into a gap for a whole one. The part that was
        recorded follows from the rocking curve that DIALS itself has found, so the sum over the recorded pictures is
        kept, with this part as its partiality, by which DIALS divides. Reflections with saturated pixels are left out.
    dials_between.py scaling symmetrized.expt symmetrized.refl
        Writes scaling.phil for dials.scale: as many corrections as the repeated measurements determine.
    dials_between.py level symmetrized.expt symmetrized.refl scaled.refl
        Where they determine none, not even a scale that follows the rotation, takes the scale out of scaled.refl again
        (dials.scale cannot be told to refine nothing). Equivalents that are measured at the same angle, as Friedel
        mates are in electron diffraction, tell nothing of it, and what is fitted to their noise falsifies intensities.
    dials_between.py told scaled.expt scaled.refl
        Says what came of it: cell, space group, completeness, and how well equivalents agree.

This file is a copy of protocols/products/dials_between.py of credline. It needs numpy and DIALS 3.12 or newer.
"""

from __future__ import annotations

import sys
from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OLD_SYNTAX_HINT = "1,2,3,4,5"
"""Stands in the help of exclude_images where single numbers are asked for; they count from 0."""

NEGLIGIBLE = 0.005
"""A reflection that has lost less than this part stays as it was fitted."""
LEAST_PART = 0.4
"""Of a reflection that dials.symmetry, scale and export go on with: their own limit."""
WIDTH_ERROR = 0.1
"""Relative error of the rocking curve's width."""
LEAST_PLACE_ERROR_IMAGES = 0.03

INTERVAL_DEG = 15.0
"""Of the smooth scale, and of decay: what happens to a crystal as it turns happens in such steps."""
STRONG = 5.0
"""Intensity over sigma of a reflection that is compared with its equivalents."""
SCALE_ERROR = 0.02
"""A correction is refined where the comparisons of equivalents leave it a smaller relative error, on average."""
OWN_ERROR = 0.04
"""Relative error of a strong intensity beside that of counting."""


def slots(words: list[str]) -> list[int]:
    """The numbers that words like 10 and 20-21 mean."""
    pairs = [[int(number) for number in word.split("-")] for word in words]
    return [slot for pair in pairs for slot in range(pair[0], pair[-1] + 1)]


def recorded(z: Floats, width: Floats, gaps: NDArray[np.int_]) -> Floats:
    """(n,) part of each reflection that was recorded. z: (n,) centre, width: (n,) sigma, both in pictures from 0.

    gaps: indices of the pictures without data; picture k covers k to k + 1.
    """
    part = np.ones(len(z))
    normal = np.vectorize(lambda u: 0.5 * (1 + erf(u / sqrt(2))), otypes=[float])
    for gap in gaps:
        near = np.abs(gap + 0.5 - z) < 0.5 + 6 * width
        if near.any():
            part[near] -= normal((gap + 1 - z[near]) / width[near]) - normal((gap - z[near]) / width[near])
    return np.clip(part, 0.0, 1.0)


def parted(z: Floats, width: Floats, gaps: NDArray[np.int_], place_error: float) -> tuple[Floats, Floats]:
    """The recorded part (n,) of each reflection and its standard uncertainty, from those of place and width."""
    part = recorded(z, width, gaps)
    of_place = (recorded(z + place_error, width, gaps) - recorded(z - place_error, width, gaps)) / 2
    wide, narrow = 1 + WIDTH_ERROR, 1 - WIDTH_ERROR
    of_width = (recorded(z, width * wide, gaps) - recorded(z, width * narrow, gaps)) / 2
    return part, np.hypot(of_place, of_width)


def links(groups: NDArray[np.int_], angle_deg: Floats) -> NDArray[np.int_]:
    """(m, 2) indices of equivalents next to each other in angle that lie INTERVAL_DEG or more apart.

    groups: (n,) which are equivalent.
    """
    order = np.lexsort((angle_deg, groups))
    apart = (np.diff(groups[order]) == 0) & (np.diff(angle_deg[order]) >= INTERVAL_DEG)
    return np.stack([order[:-1][apart], order[1:][apart]], axis=1)


def scale_error(pairs_deg: Floats, variance: Floats, first_deg: float, last_deg: float, s2: Floats | None) -> float:
    """Relative error that comparisons leave a scale with a knot every INTERVAL_DEG, on average over the scan.

    pairs_deg: (m, 2) angles that are compared; variance: (m,) of the logarithm of the ratio. s2: (m,) 1/d^2 of the
    compared reflections in 1/A^2 where decay, which grows with it, is refined as well. How many they are is not enough:
    where equivalents mirror the scan at its middle, no number of them tells whether both ends are brighter.
    """
    rows = _hats(pairs_deg[:, 0], first_deg, last_deg) - _hats(pairs_deg[:, 1], first_deg, last_deg)
    seen = _hats(np.linspace(first_deg, last_deg, 60), first_deg, last_deg)
    seen -= seen.mean(axis=0)  # a factor common to all, or a fall-off, is of no concern
    if s2 is not None:
        rows = np.hstack([rows, rows * s2[:, None]])
        typical = np.quantile(s2, [0.1, 0.5, 0.9]) if len(s2) else np.ones(3)
        seen = np.vstack([np.hstack([seen, seen * one]) for one in typical])
    value, vector = np.linalg.eigh((rows.T / variance) @ rows)
    return float(np.sqrt(((seen @ vector) ** 2 / np.maximum(value, 1e-9)).sum(axis=1).mean()))


def _hats(angle_deg: Floats, first_deg: float, last_deg: float) -> Floats:
    """(n, knots) how much each knot has to say at each angle: the two beside it, by their distance."""
    knots = max(2, round((last_deg - first_deg) / INTERVAL_DEG) + 1)
    place = np.clip((angle_deg - first_deg) / (last_deg - first_deg) * (knots - 1), 0, knots - 1)
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(knots)))


def excluded(gaps: list[int], first: int, last: int, old: bool) -> list[str]:
    """Pictures `first` to `last` without data, in the words of DIALS: 3.12 counts from 0 from the first picture.

    Its help does not say so (tried). The first picture is that of the scan as it is, of which refinement may have cut
    off a part. Pictures outside of the scan must not be named.
    """
    inside = [slot for slot in gaps if first <= slot <= last]
    return [str(slot - first) if old else f"0:{slot}:{slot}" for slot in inside]


def lattice(expt: str, numbers: str) -> None:
    """Write known.expt."""
    from dxtbx.model import Crystal
    from dxtbx.model.experiment_list import ExperimentListFactory

    experiments = ExperimentListFactory.from_json_file(expt, check_format=False)
    if numbers == "none":
        experiments.as_file("known.expt")
        return
    axes = np.linalg.inv(np.array([float(number) for number in numbers.split(",")]).reshape(3, 3))
    for experiment in experiments:
        experiment.crystal = Crystal(*(tuple(axis) for axis in axes.tolist()), space_group_symbol="P 1")
    experiments.as_file("known.expt")
    print("dials.index begins with the lattice that the frames have told; LATTICE=none lets it look for one")


def exclude(expt: str, gaps: list[int]) -> None:
    """Write exclude.phil."""
    from dials.command_line.integrate import phil_scope

    first, last = _experiment(expt).scan.get_image_range()
    old = OLD_SYNTAX_HINT in phil_scope.as_str(attributes_level=2)
    told = excluded(gaps, first, last, old)
    Path("exclude.phil").write_text(f"exclude_images = {','.join(told)}\n" if told else "")
    print(f"pictures {first} to {last} are integrated, without {len(told)} that hold no data")


def correct(expt: str, refl: str, gaps: list[int]) -> None:
    """Write whole.refl."""
    from dials.array_family import flex

    experiment = _experiment(expt)
    table = flex.reflection_table.from_file(refl)
    first, last = experiment.scan.get_image_range()
    empty = np.array([slot - 1 for slot in gaps if first <= slot <= last], dtype=int)
    box = np.array(table["bbox"]).reshape(-1, 6)
    touched = np.searchsorted(empty, box[:, 4]) < np.searchsorted(empty, box[:, 5])
    z = np.array(table["xyzcal.px"]).reshape(-1, 3)[:, 2]
    sigma_m_deg = np.array(experiment.profile.sigma_m(), dtype=float, ndmin=1)
    offset = np.clip(z.astype(int) - (first - 1), 0, len(sigma_m_deg) - 1)
    zeta = np.maximum(np.abs(np.array(table["zeta"])), 1e-3)
    width = sigma_m_deg[offset] / zeta / abs(experiment.scan.get_oscillation()[1])

    value, variance = (np.array(table[f"intensity.sum.{name}"]) for name in ("value", "variance"))
    summed = np.array(table.get_flags(table.flags.integrated_sum))
    observed = np.array(table["xyzobs.px.value"]).reshape(-1, 3)[:, 2]
    strong = summed & ~touched & (value > 10 * np.sqrt(np.abs(variance)))
    place_error = LEAST_PLACE_ERROR_IMAGES
    if strong.sum() >= 10:
        place_error = max(place_error, 1.48 * float(np.median(np.abs(observed - z)[strong])))

    part, error = parted(z, width, empty, place_error)
    # DIALS' own partiality is less than 1 at the ends of the scan.
    whole = np.array(table["partiality"])
    part = np.maximum(np.where(touched, part - (1 - whole), whole), 1e-6)
    changed = touched & (part < whole - NEGLIGIBLE)
    usable = changed & (variance > 0) & (np.array(table["num_pixels.valid"]) > 0)
    variance = np.where(usable, variance + (error / part * value) ** 2, variance)
    # Programs that take fitted intensities do not divide them by the partiality: they are given divided ones.
    fitted = {
        "intensity.sum.value": value,
        "intensity.sum.variance": variance,
        "intensity.prf.value": value / part,
        "intensity.prf.variance": variance / part**2,
    }
    chosen = flex.bool(changed.tolist())
    for name, numbers in fitted.items():
        if name in table:
            table[name].set_selected(chosen, flex.double(numbers[changed].tolist()))
    table["partiality"].set_selected(chosen, flex.double(part[changed].tolist()))
    saturated = np.array(table.get_flags(table.flags.overloaded))
    table.set_flags(flex.bool(usable.tolist()), table.flags.integrated_sum)
    if "intensity.prf.value" in table:
        table.set_flags(flex.bool(usable.tolist()), table.flags.integrated_prf)
    table.unset_flags(flex.bool((saturated | changed & ~usable).tolist()), table.flags.integrated)
    table.as_file("whole.refl")
    kept = (changed & (part >= LEAST_PART)).sum()
    print(
        f"{len(z)} reflections, {touched.sum()} touch a gap; {changed.sum()} lost over {100 * NEGLIGIBLE} % in it: "
        f"summed, and corrected by the recorded part ({kept} with {LEAST_PART} or more, which DIALS goes on with); "
        f"{saturated.sum()} have saturated pixels and are left out"
    )


def scaling(expt: str, refl: str) -> None:
    """Write scaling.phil."""
    scale, decay = _determined(expt, refl)
    # Absorption by spherical harmonics is for X-rays; what electrons lose in a crystal is in the smooth scale.
    lines = [
        "model = physical",
        "physical.absorption_correction = False",
        f"physical.decay_correction = {decay}",
        f"physical.scale_interval = {INTERVAL_DEG if scale else 360}",
    ]
    Path("scaling.phil").write_text("\n".join(lines) + "\n")


def level(expt: str, refl: str, scaled: str) -> None:
    """Take an undetermined scale out of scaled.refl."""
    from dials.array_family import flex

    if not _determined(expt, refl)[0]:
        table = flex.reflection_table.from_file(scaled)
        table["inverse_scale_factor"] = flex.double(len(table), 1.0)
        table["inverse_scale_factor_variance"] = flex.double(len(table), 0.0)
        table.as_file(scaled)
        print(f"the scale is taken out of {scaled} again")


def told(expt: str, refl: str) -> None:
    """Say what came of it. What a table of a paper asks for; the rest is in dials.scale.log."""
    from dials.algorithms.scaling.scaling_library import merging_stats_from_scaled_array, scaled_data_as_miller_array
    from dials.array_family import flex
    from dxtbx.model.experiment_list import ExperimentListFactory

    experiments = ExperimentListFactory.from_json_file(expt, check_format=False)
    crystal = experiments[0].crystal
    a, b, c, *angles = crystal.get_unit_cell().parameters()
    print(f"cell: {a:.3f} {b:.3f} {c:.3f} A, {' '.join(f'{angle:.2f}' for angle in angles)} deg")
    print(f"space group: {crystal.get_space_group().info()}; dials.symmetry looks for no screw axes and glide planes")
    table = flex.reflection_table.from_file(refl)
    scaled = scaled_data_as_miller_array([table], experiments)
    try:
        seen = merging_stats_from_scaled_array(scaled, n_bins=1, anomalous=False)[0].overall
    except Exception as error:  # of few reflections there are none; the files are made, and the script has not failed
        print(f"{scaled.size()} observations; DIALS gives no statistics of them ({error}). Made: scaled.mtz")
        return
    print(
        f"{seen.n_obs} observations of {seen.n_uniq} unique reflections, {seen.d_max:.2f} to {seen.d_min:.2f} A: "
        f"{100 * seen.completeness:.0f} % complete"
    )
    agreement = [
        ("R_meas", seen.r_meas, 3),
        ("CC1/2", seen.cc_one_half, 3),
        ("mean I/sigma", seen.i_over_sigma_mean, 1),
    ]
    print(", ".join(f"{name} {value:.{digits}f}" for name, value, digits in agreement if value is not None))
    print("for the next program: scaled.mtz; in full: dials.scale.log")


def _determined(expt: str, refl: str) -> tuple[bool, bool]:
    """(scale, decay): which corrections the data determine."""
    from cctbx import miller
    from dials.array_family import flex

    experiment = _experiment(expt)
    table = flex.reflection_table.from_file(refl)
    name = "prf" if "intensity.prf.value" in table else "sum"
    value, variance = (np.array(table[f"intensity.{name}.{what}"]) for what in ("value", "variance"))
    good = (variance > 0) & (value > STRONG * np.sqrt(np.abs(variance)))
    hkl = flex.miller_index(table["miller_index"])
    miller.map_to_asu(experiment.crystal.get_space_group().type(), False, hkl)
    groups = np.unique(np.array(hkl).reshape(-1, 3), axis=0, return_inverse=True)[1].ravel()[good]
    width_deg = abs(experiment.scan.get_oscillation()[1])
    first, last = experiment.scan.get_image_range()
    angle_deg = np.array(table["xyzcal.px"]).reshape(-1, 3)[good, 2] * width_deg
    pairs = links(groups, angle_deg)
    noise = (variance[good] / value[good] ** 2 + OWN_ERROR**2)[pairs].sum(axis=1)
    s2 = 1 / np.array(table["d"])[good][pairs[:, 0]] ** 2
    scan = ((first - 1) * width_deg, last * width_deg)
    errors = [scale_error(angle_deg[pairs], noise, *scan, which) for which in (None, s2)]
    scale, decay = (error < SCALE_ERROR for error in errors)
    decay = scale and decay
    said = "scale and decay are" if decay else "a smooth scale is" if scale else "no scale is"
    print(
        f"{len(pairs)} comparisons of equivalents {INTERVAL_DEG:.0f} deg apart over {scan[1] - scan[0]:.0f} deg leave "
        f"a scale uncertain by {_percent(errors[0])}, with decay by {_percent(errors[1])}: {said} determined"
    )
    return scale, decay


def _percent(error: float) -> str:
    return f"{100 * error:.1f} %" if error < 1 else "100 % and more"


def _experiment(path: str) -> Any:
    """The one experiment of a file; the pictures are not looked for."""
    from dxtbx.model.experiment_list import ExperimentListFactory

    experiments = ExperimentListFactory.from_json_file(path, check_format=False)
    if len(experiments) != 1:
        sys.exit(f"{path} holds {len(experiments)} lattices; one is expected. Nothing was written.")
    return experiments[0]


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, where the results' folder is called dials as well
    what, *words = sys.argv[1:]
    if what == "lattice":
        lattice(words[0], words[1])
    elif what == "exclude":
        exclude(words[0], slots(words[1:]))
    elif what == "correct":
        correct(words[0], words[1], slots(words[2:]))
    elif what == "scaling":
        scaling(words[0], words[1])
    elif what == "level":
        level(words[0], words[1], words[2])
    elif what == "told":
        told(words[0], words[1])
    else:
        sys.exit(__doc__)
