"""A lattice and the geometry of the instrument fitted together to the reflections of a rotation.

Each reflection is seen at a place and at a stage angle; with its whole indices these are three observations of one
point of the lattice. Fitted are the nine numbers of the lattice, the axis (its direction in the picture and its lean),
the primary beam and the ellipse, all that a rotation of some ten degrees tells apart. The camera length is fitted where
it is not known: a wrong one makes the cell wrong by as much, and shows by nothing but the curvature of the Ewald
sphere, 0.0126 1/A at 1 A and 200 kV, by which it pretends a lean of the axis; so its uncertainty is nearly all of that
of the cell's lengths.

Uncertainties are honest only if those of the observations are: what places and angles deviate beyond their counting
statistics (a detector's response, a stage that trembles) is found from the fit itself, as a constant added to each in
quadrature, and as a factor where they deviate less.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationgeometry import RotationGeometry, Turns, turns
from protocols.lattice.search import indexed_by

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

FREE = ("axis_deg", "out_of_plane_deg", "beam_fast_px", "beam_slow_px", "strain", "shear", "camera_length_px")
"""What of the geometry is fitted, in the order of `RotationFit.covariance`."""
AXIS = ("axis_deg", "out_of_plane_deg")
"""Of these, what turns points and leaves alone where they are seen."""
STEPS = np.array([0.01, 0.01, 0.02, 0.02, 1e-4, 1e-4, 0.5])
"""For their derivatives; the lattice enters linearly."""
UNKNOWN_ELLIPSE = 0.02
BELIEVED = (1e3, 2.0, 4.0, 4.0)
"""Standard deviations of the first four before anything was seen: no microscope is farther off. Where reflections say
little, or a wrong start cannot be explained, these keep the fit from explaining it by an instrument that nobody has."""
ROUNDS = (3, 5, 8)
"""Without the ellipse; with it; and then with what noise places and angles really have. A fit that may choose
between both noises too early takes the angles for noise and has the places agree with any ellipse."""
FIRST = ("axis_deg", "out_of_plane_deg", "beam_fast_px", "beam_slow_px")
OUTLIER_SIGMAS = 4.0
"""Reflections that are farther off in any of the three are not of this lattice, or are two in one."""
Noise = tuple[float, float, float, float]
"""Added in quadrature to the uncertainties of places (px) and of angles (deg); then the factors of both."""
SMALLEST_PX, SMALLEST_DEG = 0.02, 0.003
"""No place and no angle is known better."""
BEGIN_NOISE: Noise = (0.1, 0.05, 1.0, 1.0)
ROCKING_PER_A = 5e-5
"""How well the middle of a passage through the sphere is known at best, however slowly it is passed."""
SMALLEST_PER_A3 = 1e-7
"""A reciprocal cell of less is none: no crystal has a cell of ten million A^3."""
SLOWEST_PER_A = 0.02
"""A point that turns about the axis at a smaller distance tells nothing of angles."""
SOFT = 3.0
"""In the first rounds a reflection that is so many standard deviations off counts half."""
GENEROUS = 6.0
"""Standard deviations, as they spread at present, within which reflections are taken before all has come to rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Reflections as seen, all (n,): places on the corrected grid, stage angles, and what each is known to."""

    fast_px: Array
    slow_px: Array
    angle_deg: Array
    position_sigma_px: Array
    angle_sigma_deg: Array

    def __len__(self) -> int:
        """How many."""
        return len(self.fast_px)

    def crystal(self, geometry: RotationGeometry) -> Array:
        """(n, 3) their points in reciprocal space, 1/A."""
        return geometry.crystal(self.fast_px, self.slow_px, self.angle_deg)


@dataclass(frozen=True, slots=True, eq=False)
class RotationFit:
    """A fitted lattice and geometry.

    ub: (3, 3) columns a*, b*, c* in the crystal at stage angle 0. hkl: (n, 3) of all observed reflections; used: (n,)
    those that were fitted. pulls: (n, 3) of all, in standard deviations along x, y and the rotation. covariance: (7, 7)
    of FREE; 0 for a camera length that was not fitted. ub_covariance: (9, 9) of ub row by row, with what is not known
    of the geometry in it. position_rms_px, angle_rms_deg: of those used. noise: what the uncertainties of the
    observations were changed by. size_sigma: of the size of the lattice (cube root of its volume), as a share; where
    the camera length was fitted, both cannot be told apart.
    """

    geometry: RotationGeometry
    ub: Array
    hkl: Indices
    used: Mask
    pulls: Array
    covariance: Array
    ub_covariance: Array
    position_rms_px: float
    angle_rms_deg: float
    noise: Noise
    size_sigma: float

    def sigma(self, name: str) -> float:
        """Standard deviation of one of FREE, in its unit."""
        place = FREE.index(name)
        return float(np.sqrt(self.covariance[place, place]))


def fit_rotation(
    observed: Observed,
    geometry: RotationGeometry,
    ub: Array,
    ellipse_known_to: float = UNKNOWN_ELLIPSE,
    length_known_to: float = 0.0,
    known_to: tuple[float, float, float, float] = BELIEVED,
    believed: RotationGeometry | None = None,
) -> RotationFit | None:
    """The lattice `ub` (3, 3) and the geometry that explain the reflections best; None where nothing is explained.

    ellipse_known_to: standard deviation of strain and shear in `geometry`; by default nothing is known of them.
    length_known_to: of the camera length, as a share of it; 0: it is right, and not fitted. known_to: of the first four
    of FREE. believed: what these standard deviations are about, where that is not the geometry that the fit begins
    with.
    """
    believed = geometry if believed is None else believed
    length_px = max(length_known_to, 1e-9) * believed.camera_length_px
    widths = np.array([*known_to, ellipse_known_to, ellipse_known_to, length_px])
    fitted = FREE if length_known_to > 0 else FREE[:-1]
    lattice = indexed_by(ub, observed.crystal(geometry))
    hkl, used, noise = lattice.hkl, lattice.indexed, BEGIN_NOISE
    pulls, inverse, free = np.empty((len(observed), 3)), np.empty((0, 0)), np.zeros(len(FREE), dtype=bool)
    to_lab, to_crystal = turns(observed.angle_deg), turns(-observed.angle_deg)
    for number in range(sum(ROUNDS)):
        free = np.array([name in (fitted if number >= ROUNDS[0] else FIRST) for name in FREE])
        unknowns = 9 + int(free.sum())
        if int(used.sum()) < unknowns:
            return None
        soft = 1 / (1 + (np.abs(pulls).max(axis=1) / SOFT) ** 2) if 0 < number < ROUNDS[0] + ROUNDS[1] else None
        try:
            known = believed, widths
            ub, geometry, inverse = _round(observed, geometry, ub, hkl, used, noise, free, known, soft, to_lab)
        except np.linalg.LinAlgError:  # it has run away, to numbers that are none
            return None
        if not (np.isfinite(ub).all() and abs(np.linalg.det(ub)) > SMALLEST_PER_A3 and geometry.camera_length_px > 0):
            return None
        seen = geometry.lab(observed.fast_px, observed.slow_px)
        hkl = np.rint(geometry.turned_by(seen, to_crystal) @ np.linalg.inv(ub).T).astype(np.int64)
        off = geometry.turned_by(hkl @ ub.T, to_lab) - seen
        if number < ROUNDS[0] + ROUNDS[1]:
            pulls = off / _sigmas(observed, geometry, noise, seen)
            spread = max(1.0, 1.4826 * float(np.median(np.abs(pulls[used]))))
            pulls, limit = pulls / spread, GENEROUS
        else:
            near: Mask = np.asarray((np.abs(pulls) < GENEROUS).all(axis=1), dtype=bool)
            noise = _noise(observed, geometry, off, near if int(near.sum()) >= unknowns else used, seen)
            pulls, limit = off / _sigmas(observed, geometry, noise, seen), OUTLIER_SIGMAS
        used = np.asarray((np.abs(pulls) < limit).all(axis=1) & hkl.any(axis=1), dtype=bool)
    if int(used.sum()) < 9 + int(free.sum()):
        return None
    covariance = np.zeros((len(FREE), len(FREE)))
    covariance[np.ix_(free, free)] = inverse[9:, 9:]
    growing = np.linalg.inv(ub).T.reshape(-1) / 3
    off_px = off[used, :2] / geometry.per_px
    turning = _turning(geometry, geometry.lab(observed.fast_px, observed.slow_px))[used]
    return RotationFit(
        geometry=geometry,
        ub=ub,
        hkl=hkl,
        used=used,
        pulls=pulls,
        covariance=covariance,
        ub_covariance=inverse[:9, :9],
        position_rms_px=float(np.sqrt(np.mean(off_px**2))),
        angle_rms_deg=float(np.degrees(np.median(np.abs(off[used, 2]) / turning) * 1.4826)),
        noise=noise,
        size_sigma=float(np.sqrt(growing @ inverse[:9, :9] @ growing)),
    )


def pulls_of(fit: RotationFit, observed: Observed, noise: Noise) -> Array:
    """(n, 3) deviations of all reflections, in standard deviations with this noise instead of the fit's own."""
    seen = fit.geometry.lab(observed.fast_px, observed.slow_px)
    off = fit.geometry.turned(fit.hkl @ fit.ub.T, observed.angle_deg) - seen
    return np.asarray(off / _sigmas(observed, fit.geometry, noise, seen))


def _turning(geometry: RotationGeometry, seen: Array) -> Array:
    """(n,) how far a point that is seen at (n, 3) in the lab moves along the beam, in 1/A, while the stage turns by one
    radian.
    """
    axis = geometry.axis
    return np.asarray(np.maximum(np.abs(axis[0] * seen[:, 1] - axis[1] * seen[:, 0]), SLOWEST_PER_A))


def _sigmas(observed: Observed, geometry: RotationGeometry, noise: Noise, seen: Array) -> Array:
    """(n, 3) standard deviations in 1/A. noise: px and deg to be added, and the factors of both. seen: in the lab."""
    place = np.hypot(np.maximum(observed.position_sigma_px, SMALLEST_PX), noise[0]) * noise[2] * geometry.per_px
    angle = np.radians(np.hypot(np.maximum(observed.angle_sigma_deg, SMALLEST_DEG), noise[1]) * noise[3])
    return np.stack([place, place, np.hypot(angle * _turning(geometry, seen), ROCKING_PER_A)], axis=1)


def _round(
    observed: Observed,
    geometry: RotationGeometry,
    ub: Array,
    hkl: Indices,
    used: Mask,
    noise: Noise,
    free: Mask,
    believed: tuple[RotationGeometry, Array],
    soft: Array | None,
    to_lab: Turns,
) -> tuple[Array, RotationGeometry, Array]:
    """One step of Gauss and Newton: the lattice, the geometry, and the inverse of the normal matrix (9 + free).

    to_lab: of all angles. What a change does not change is not computed again: turning knows nothing of places, and
    places nothing of the axis.
    """
    to_lab = to_lab[0][used], to_lab[1][used]
    some = Observed(*(getattr(observed, name)[used] for name in Observed.__dataclass_fields__))
    indices = np.ascontiguousarray(hkl[used].T, dtype=np.float64)
    seen, points = geometry.lab(some.fast_px, some.slow_px), indices.T @ ub.T
    calculated = geometry.turned_by(points, to_lab)
    sigma = _sigmas(some, geometry, noise, seen)
    if soft is not None:
        sigma = sigma / np.sqrt(soft[used])[:, None]
    names = [name for name, is_free in zip(FREE, free, strict=True) if is_free]
    weight, weighted = 1 / sigma.T, np.empty((9 + len(names), 3, len(seen)))
    for row in range(3):
        turned = geometry.turned_by(np.eye(3)[[row]], to_lab).T * weight
        for column in range(3):
            np.multiply(turned, indices[column], out=weighted[3 * row + column])
    for place, (name, step) in enumerate(zip(names, STEPS[free], strict=True), 9):
        value = getattr(geometry, name)
        change = []
        for sign in (1, -1):
            other = replace(geometry, **{name: value + sign * step})
            if name in AXIS:
                change.append(other.turned_by(points, to_lab))
                continue
            places = other.lab(some.fast_px, some.slow_px)
            change.append(calculated - places)
            if name == "camera_length_px":  # places are known in pixels: a longer one must not make them better known
                change[-1] = change[-1] / _sigmas(some, other, noise, places) * sigma
        np.multiply((change[0] - change[1]).T, weight / (2 * step), out=weighted[place])
    flat = weighted.reshape(len(weighted), -1)
    widths = believed[1][free]
    away = np.array([getattr(geometry, name) - getattr(believed[0], name) for name in names]) / widths
    normal, right = flat @ flat.T, flat @ ((calculated - seen).T * weight).reshape(-1)
    normal[range(9, len(normal)), range(9, len(normal))] += 1 / widths**2
    right[9:] += away / widths
    scale = np.sqrt(np.diag(normal))
    if not (scale > 0).all():  # reflections with an index that is 0 in all of them: a plane, no lattice
        raise np.linalg.LinAlgError
    inverse = np.linalg.pinv(normal / np.outer(scale, scale), rcond=1e-13) / np.outer(scale, scale)
    best = -inverse @ right
    moved = {name: getattr(geometry, name) + float(by) for name, by in zip(names, best[9:], strict=True)}
    return ub + best[:9].reshape(3, 3), replace(geometry, **moved), inverse


def _noise(observed: Observed, geometry: RotationGeometry, off: Array, near: Mask, seen: Array) -> Noise:
    """What must be added to the uncertainties of places (px) and angles (deg), and their factors, to explain `off`."""
    place_px = off[near, :2] / geometry.per_px
    angle_deg = np.degrees(off[near, 2] / _turning(geometry, seen)[near])
    place_sigma = np.maximum(observed.position_sigma_px, SMALLEST_PX)[near]
    angle_sigma = np.maximum(observed.angle_sigma_deg, SMALLEST_DEG)[near]
    place, place_factor = _more(place_px.reshape(-1), np.repeat(place_sigma, 2))
    angle, angle_factor = _more(angle_deg, angle_sigma)
    return place, angle, place_factor, angle_factor


def _more(off: Array, sigma: Array) -> tuple[float, float]:
    """The constant and the factor; by the mean square of pulls of which none counts more than OUTLIER_SIGMAS."""
    square_off, variance = off * off, sigma * sigma

    def square(more: float) -> float:
        pulls = square_off / (variance + more * more)
        pulls = pulls[pulls < OUTLIER_SIGMAS**2]
        return float(np.add.reduce(pulls) / len(pulls)) if len(pulls) else np.inf

    if (at_none := square(0.0)) <= 1:
        return 0.0, float(np.sqrt(max(at_none, 0.25)))
    low, high = 0.0, float(np.sqrt(np.mean(square_off)))
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if square(middle) > 1 else (low, middle)
    return high, 1.0
