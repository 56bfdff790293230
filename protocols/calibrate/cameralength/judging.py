"""Whether a pattern is what its standard should give: why not, in words, with what to do."""

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.standards import STANDARDS
from protocols.calibrate.cameralength.pattern import Pattern
from protocols.calibrate.cameralength.ringfit import SECTORS, WIDE_SIGMAS, Observations, Profiles, RingFit, corrected
from protocols.calibrate.cameralength.rings import Rings, powder_rings

Array = NDArray[np.float64]

FEWEST_RINGS = 3
STRONG = 0.15
"""Of the strongest ring: such rings should be seen in every sector."""
COVERED = 0.6
"""Of the sectors: strong rings seen in fewer are those of a cracked film."""
NOTHING = 0.1
CERTAIN_SIGMAS = 10.0
MISSING_SHARE = 0.12
"""Of what a ring should have; even a textured film that is of use has more."""
EXTRA_SHARE, EXTRA_SIGMAS = 0.2, 8.0
"""Of the strongest ring, and standard deviations: what is as bright and no ring of the standard is of something
else.
"""
MOST_FULL = 0.01
MOST_BESIDE_PX = 0.3
"""All sectors of a ring together; those of the right standard lie within hundredths."""
ALIKE, OTHERWISE = 0.5, 0.15
"""Another standard is taken for the right one where its rings' brightness, as a logarithm, deviates by less than this
share of what the asked one's does, and that by more than this."""
MOST_ELLIPSE_PERCENT = 8.0
NO_RINGS = (
    "no rings are seen: the field is empty, or the film is not in the beam, or too little beam or time. Look for "
    "the film in the image, and take out the beam stop"
)


def flaw(pattern: Pattern, fit: RingFit, rings: Rings, off_share: float) -> str:
    """Why this is no calibration, without a full stop; empty where it is one. off_share: of the found camera length
    from the nominal one.
    """
    seen = fit.observations
    shape = fit.shape
    if why := _uncovered(seen, rings):
        return why
    if (full := _full(pattern, fit, rings)) > MOST_FULL:
        return f"{full:.0%} of the pixels of the rings are saturated: make exposure_s shorter, or the beam weaker"
    strong, weak = _heights(seen)
    if missing := _missing(strong, weak, rings):
        return (
            f"ring {missing} of the standard is missing: the film is of something else, or its grains lie all alike "
            "(textured). Take another place or film"
        )
    if beside := _beside(fit, rings):
        return f"{beside}: the film is of something else than the standard"
    number = int(np.count_nonzero(fit.used.sum(axis=1) >= SECTORS // 4))
    if number < FEWEST_RINGS:
        return (
            f"{number} rings stand apart from others on the camera, and {FEWEST_RINGS} are needed: another camera "
            "length shows more, or shows them better"
        )
    if extra := _extra(pattern, fit, rings, float(strong[np.isfinite(weak)].max())):
        return (
            f"there is a ring at {extra:.1f} px from the beam that the standard does not have: the film is of "
            "something else, or of more than it"
        )
    if other := _other(strong, weak, rings):
        return f"the rings are as bright as those of {other}, and not as those of the standard: which is it?"
    rows, columns = pattern.counts.shape
    if not (0 < shape.fast_px < columns and 0 < shape.slow_px < rows):
        return "the primary beam is not on the camera: move the pattern"
    if shape.amplitude_percent > MOST_ELLIPSE_PERCENT:
        return f"the ellipse would be {shape.amplitude_percent:.1f} %, which no lens has: look at the astigmatism"
    if abs(off_share) > 0.33:
        return f"the camera length would be {off_share:+.0%} off the nominal one: is the film of this standard?"
    return ""


def nothing_fitted(seen: Observations | None, rings: Rings) -> str:
    """Why no fit was possible."""
    return NO_RINGS if seen is None else _uncovered(seen, rings) or NO_RINGS


def _heights(seen: Observations) -> tuple[Array, Array]:
    """(n,) mean height of each ring over its sectors, and sigma; infinite where it is not on the camera."""
    height, sigma = np.zeros(len(seen.height)), np.full(len(seen.height), np.inf)
    for group, on in zip(seen.groups, seen.on, strict=True):
        if not on.any():
            continue
        for ring in group:
            height[ring] = seen.height[ring, on].mean()
            sigma[ring] = float(np.sqrt((seen.height_sigma[ring, on] ** 2).mean() / on.sum()))
    return height, sigma


def _uncovered(seen: Observations, rings: Rings) -> str:
    """Whether rings are seen all around the beam."""
    strong = [index for index, group in enumerate(seen.groups) if rings.height[list(group)].max() >= STRONG]
    if not strong:
        return "the strong rings are not on the camera: take a shorter camera length, or centre the pattern"
    on, certain = seen.on[strong], np.zeros((len(strong), SECTORS), dtype=bool)
    for place, index in enumerate(strong):
        group = list(seen.groups[index])
        certain[place] = (seen.height[group] > 5 * seen.height_sigma[group]).any(axis=0) & seen.on[index]
    lit = np.flatnonzero(on.any(axis=0))
    covered = float(np.mean(certain[:, lit].any(axis=0))) if len(lit) else 0.0
    if covered < NOTHING:
        return NO_RINGS
    if covered < COVERED:
        return (
            f"rings are seen over {covered:.0%} of the way around the beam: the film is cracked, folded or of few "
            "grains, or something covers it. Take another place"
        )
    return ""


def _missing(height: Array, sigma: Array, rings: Rings) -> str:
    """The first ring that should be bright and is not there; empty where all are."""
    sure = (height > 5 * sigma) & (rings.height > 0.02)
    if not sure.any():
        return ""
    scale = float(np.median(height[sure] / rings.height[sure]))
    for ring in np.flatnonzero((rings.height >= STRONG) & np.isfinite(sigma)):
        due = scale * rings.height[ring]
        if due > CERTAIN_SIGMAS * sigma[ring] and height[ring] < MISSING_SHARE * due:
            return rings.name[ring]
    return ""


def _beside(fit: RingFit, rings: Rings) -> str:
    """The first ring that lies beside its place, in words; empty where none does."""
    for group, used, left in zip(fit.observations.groups, fit.used | (fit.left_px != 0), fit.left_px, strict=True):
        if used.sum() < 6:
            continue
        off_px = float(np.median(left[used]))
        if abs(off_px) > MOST_BESIDE_PX:
            return f"ring {rings.name[group[0]]} lies {off_px:+.1f} px beside its place"
    return ""


def _other(height: Array, sigma: Array, rings: Rings) -> str:
    """Another standard with rings at the same places (gold and aluminium) whose brightness fits far better."""
    sure = (height > CERTAIN_SIGMAS * sigma) & (rings.height > 0.02)
    if sure.sum() < FEWEST_RINGS + 1:
        return ""

    def deviation(of: Rings) -> float:
        if len(of) < len(rings):
            return np.inf
        ratio = of.d_star_per_A[: len(rings)] / rings.d_star_per_A
        if np.ptp(ratio) > 1e-3:
            return np.inf
        return float(np.std(np.log(height[sure] / of.height[: len(rings)][sure])))

    asked = deviation(rings)
    if asked < OTHERWISE:
        return ""
    others = {name: deviation(powder_rings(of.cif)) for name, of in STANDARDS.items()}
    best = min(others, key=lambda name: others[name])
    return best if others[best] < ALIKE * asked else ""


def _full(pattern: Pattern, fit: RingFit, rings: Rings) -> float:
    """Share of the pixels of strong rings that are saturated."""
    true_px, _ = corrected(pattern, fit.shape)
    near = np.zeros(pattern.counts.shape, dtype=bool)
    radius = fit.observations.radius_px
    for ring in np.flatnonzero(rings.height >= STRONG):
        if radius[ring] > WIDE_SIGMAS * fit.sigma_px:
            near |= np.abs(true_px - radius[ring]) < fit.sigma_px
    near &= pattern.good | pattern.full
    return float(pattern.full[near].mean()) if near.any() else 0.0


def _extra(pattern: Pattern, fit: RingFit, rings: Rings, strongest: float) -> float:
    """Radius of the innermost ring that is not of the standard, in px; 0 where there is none."""
    true_px, _ = corrected(pattern, fit.shape)
    radius, width = fit.observations.radius_px, fit.sigma_px
    on = [
        ring
        for group, there in zip(fit.observations.groups, fit.observations.on, strict=True)
        if there.any()
        for ring in group
    ]
    if not on:
        return 0.0
    first, last = 0.6 * float(radius[0]), float(radius[max(on)])
    for at in np.arange(max(first, 8 * width), last, width):
        if np.abs(radius - at).min() < 4 * width:
            continue
        low, high = at - 5 * width, at + 5 * width
        near = pattern.good & (true_px > low) & (true_px < high)
        place = ((true_px[near] - low) / 0.5).astype(np.intp)
        number = np.bincount(place)[None, :].astype(np.float64)
        mean, middle = (
            np.bincount(place, each[near])[None, :] / np.maximum(number, 1) for each in (pattern.counts, true_px)
        )
        weight = np.sqrt(number * pattern.frames / np.maximum(mean, 1.0 / pattern.frames))
        profile = Profiles(np.where(number > 0, middle, at), mean, weight)
        others = radius[(radius > low - 2 * width) & (radius < high + 2 * width)]
        columns = np.concatenate(
            [profile.rings(np.concatenate([[at], others])[None, :], width), profile.background], axis=2
        )
        values, variance, _ = profile.fitted(columns)
        if values[0, 0] > max(EXTRA_SHARE * strongest, EXTRA_SIGMAS * float(np.sqrt(variance[0, 0]))):
            return float(at)
    return 0.0
