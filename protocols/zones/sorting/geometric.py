"""What a pattern is, from its spots and without training: one zone, a hybrid, or intersections of many planes.

All spots on one net, and of that net just the nodes that the Laue circle excites: `2DZone`. One to three spots off an
otherwise good net: `hybrid`. Else `3DLaueIntersections`. The same verdict is the check of what a network calls zonal.

The defaults serve clean pictures and spots misplaced by up to 0.0012 1/A (standard deviation), for the tolerance is
sharpened by the fit's own residual. For worse spots: `tolerance_per_A` about five standard deviations; with foreign
spots `allowed_off`, their share and a margin (hybrids then pass as zones: nothing tells them apart); with weak spots
not seen `missing`, their share. In frames of counts the faintest of many spots are a pixel off: `allowed_off` 0.05.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.zones.sorting.labels import (
    FEWEST_SPOTS,
    HYBRID,
    INTERSECTIONS,
    LABELS,
    MOST_OUTSIDE,
    NO_HIT,
    SEVERAL,
    ZONE,
)
from protocols.zones.sorting.laue import LaueCircle, laue_circle
from protocols.zones.sorting.nets import TOLERANCE_PER_A, Net, centre_shift, find_nets, flat_to_sphere
from protocols.zones.sorting.several import second_crystal
from protocols.zones.sorting.zone import Zone

Array = NDArray[np.float64]

LEAST_AGREEMENT = 0.6
"""Of the nodes seen with those excited, for a net to be a plane. Zones in clean pictures have 0.8 to 1 (times the share
of spots seen, where `missing` does not say that some are not); lattices that the beam's direction throws onto a net
have 0.1 to 0.4, rarely 0.5."""
FEW_OTHERS = 0.05
"""Nodes seen that the tilt does not excite, in share of those that it does: with fewer, what is missing are weak spots.
4000 clean patterns of four random cells had 109 that fall on a net without being a plane, and none of these so few."""
FAINT_OFF = 0.03
"""Of all spots, those that may be off the net because they are faint. At 0.1 two patterns of 400 were called zones that
had four faint spots and more of other planes."""
PER_SPOT_OFF = 0.49
"""Factor of the score for each spot off the net that is not allowed; below a half, so that no hybrid scores that."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What a pattern is.

    label: one of `labels.LABELS`: `noHit` of too few spots, `severalCrystals` of those that are of no one crystal.
    score: 0..1, at least 0.5 for a zone and less for all else; it orders patterns, it is no probability.
    zone: the net and its tilt, of a zone and of a hybrid.
    reason: the verdict in words.
    off: spots that are not part of the plane: off the net, or on a node that the tilt does not excite.
    agreement: 0..1, of the nodes seen with those excited.
    unseen: 0..1, of what would be a plane if weak spots were missing, the share of the excited nodes that are not seen.
    """

    label: str
    score: float
    zone: Zone | None
    reason: str
    off: int
    agreement: float
    unseen: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    net: Net
    circle: LaueCircle
    off: int
    faint: int
    agreement: float


def classify_geometry(
    xy: Array,
    *,
    tolerance_per_A: float = TOLERANCE_PER_A,
    allowed_off: float = 0.0,
    missing: float = 0.0,
    faint: NDArray[np.bool_] | None = None,
    miscentred_per_A: float = 0.0,
    wavelength_A: float = 0.0251,
    d_star_max_per_A: float = 1.0,
    d_star_min_per_A: float = 0.0,
    excitation_error_per_A: float | Sequence[float] = 0.01,
    absences: bool = True,
    name: str = "",
) -> Verdict:
    """The verdict on a pattern's (n, 2) spots in 1/A, as a flat detector sees them, the primary beam at 0.

    tolerance_per_A: a spot farther from its node is off the net; an upper bound. allowed_off: share of the spots that
    may be off in a zone. missing: share of the excited nodes that need not be seen. faint: (n,) spots that may be badly
    placed: off the net they do not count, up to FAINT_OFF of all spots. miscentred_per_A: how far the
    primary beam may be from where it is assumed; the net tells. 0: it is known exactly, as in drawn pictures.
    wavelength, d*_max and excitation error: those of the experiment; what is farther than d*_max is not asked for.
    Where the crystals are of different thickness, several excitation errors: the one that explains a pattern best is
    its own (`patterns.mixture.excitation_ladder`).
    d_star_min: nor is what is nearer to the beam, which hides it.
    absences: rows through the beam may lack every other spot. name: of the pattern, for the zone. Spots that are no
    numbers are left out.
    """
    xy = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    finite = np.isfinite(xy).all(axis=1)
    xy = flat_to_sphere(xy[finite], wavelength_A)
    count = len(xy)
    errors = (excitation_error_per_A,) if isinstance(excitation_error_per_A, float) else excitation_error_per_A
    faint = np.zeros(count, dtype=bool) if faint is None else faint[finite]
    forgiven = min(int(faint.sum()), int(FAINT_OFF * count))
    if count < FEWEST_SPOTS:
        return Verdict(LABELS[NO_HIT], 0.0, None, f"too few spots: {count}", count, 0.0)
    if miscentred_per_A > 0:
        xy = xy - centre_shift(xy, miscentred_per_A, tolerance_per_A)

    def no_plane(reason: str, off: int, agreement: float = 0.0, score: float = 0.0, unseen: float = 0.0) -> Verdict:
        """Of one crystal or of several."""
        two = (
            ""
            if unseen
            else second_crystal(
                xy,
                tolerance_per_A,
                missing,
                wavelength_A,
                d_star_max_per_A,
                d_star_min_per_A,
                max(errors),
            )
        )
        label = LABELS[SEVERAL if two else INTERSECTIONS]
        return Verdict(label, score, None, two or reason, off, agreement, unseen)

    allowed = int(allowed_off * count)
    planes: list[_Plane] = []

    def worth(plane: _Plane) -> float:
        return plane.agreement * (count - plane.off)

    for net in find_nets(xy, tolerance_per_A, allowed + forgiven + MOST_OUTSIDE):

        def plane_at(error: float, thorough: bool, net: Net = net) -> _Plane:
            on = net.on
            circle = laue_circle(
                xy[on],
                net.index[on],
                net.basis,
                wavelength_A,
                d_star_max_per_A,
                error,
                absences,
                d_star_min_per_A,
                thorough,
            )
            odd = ~on
            odd[on] = circle.outside
            excused = min(int((odd & faint).sum()), forgiven)
            off = int(odd.sum()) - excused
            return _Plane(net, circle, off, excused, circle.agreement(missing))

        error = errors[0]
        if len(errors) > 1:
            error = max(errors, key=lambda error: worth(plane_at(error, thorough=False)))
        # With several errors most nets are asked that cannot be zones; a rough answer will do for these.
        hopeless = len(errors) > 1 and int((~net.on & ~faint).sum()) > allowed
        planes.append(plane_at(error, thorough=not hopeless))
        if planes[-1].off == 0 and planes[-1].agreement == 1.0:
            break
    if not planes:
        return no_plane(f"no net carries all {count} spots but {allowed + forgiven + MOST_OUTSIDE}", count)
    plane = max(planes, key=worth)
    net, circle, agreement = plane.net, plane.circle, plane.agreement
    beyond = max(0, plane.off - allowed)
    score = agreement * PER_SPOT_OFF**beyond
    if agreement < LEAST_AGREEMENT:
        others = circle.observed - circle.both
        unseen = 1 - circle.both / circle.predicted if others <= FEW_OTHERS * circle.both else 0.0
        seen = f"{circle.both} of the {circle.predicted} nodes it excites and {others} others seen"
        what = "a plane only if weak spots are missing" if unseen else "a net, but not one plane"
        return no_plane(f"{what}: {seen}", plane.off, agreement, score, unseen)
    reason = f"{plane.off} of {count} spots off the net" + (f", and {plane.faint} faint ones" if plane.faint else "")
    if beyond > MOST_OUTSIDE:
        return no_plane(reason, plane.off, agreement, score)
    zone = Zone(net.basis, circle.tilt, net.covariance, int(net.on.sum()), float(net.on.mean()), name)
    return Verdict(LABELS[HYBRID if beyond else ZONE], score, zone, reason, plane.off, agreement)


def find_zone(
    xy: Array,
    *,
    tolerance_per_A: float = TOLERANCE_PER_A,
    allowed_off: float = 0.1,
    missing: float = 0.2,
    miscentred_per_A: float = 0.0,
    wavelength_A: float = 0.0251,
    name: str = "",
) -> Zone | None:
    """From the (n, 2) spots of a zonal pattern, as a flat detector sees them in 1/A, to its zone; hybrids too.

    None where the spots lie on no net, or on one that is no plane. Arguments as for `classify_geometry`.
    """
    return classify_geometry(
        xy,
        tolerance_per_A=tolerance_per_A,
        allowed_off=allowed_off,
        missing=missing,
        miscentred_per_A=miscentred_per_A,
        wavelength_A=wavelength_A,
        name=name,
    ).zone
