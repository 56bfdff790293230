"""Camera length, beam and ellipse fitted together to where the rings lie, sector by sector around the beam.

Rings so near to each other that they overlap are one group and have one place; what comes in from neighbours is counted
off. In each sector a group gives how far its
rings are off where they should be, with an uncertainty by counting; to all these the five numbers are fitted by robust
least squares. Grains are few, so rings scatter by more than counting says: how much is seen from the fit itself.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.calibrate.cameralength.pattern import Pattern, Shape
from protocols.calibrate.cameralength.rings import Rings

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SECTORS = 24
BIN_PX = 0.5
WIDE_SIGMAS, OVERLAP_SIGMAS = 3.5, 5.0
"""So many widths of a ring about it are looked at; those that are nearer to each other are one group."""
BEGIN_SIGMA_PX, SIGMAS_PX = 1.2, (0.6, 6.0)
ROUNDS = 6
SEARCHES = 2
"""Rounds in which a ring is looked for; then it is near enough for its place to follow from the slope."""
REACH = 0.03
"""Of its radius, so far it is looked for."""
SEEN_SIGMAS = 3.0
FEWEST_BINS, MANY_BINS = 8, 10
NEAREST_PX = 5.0
HALF_ON = 0.5
"""Of a sector's pixels in a group's rings must tell something."""
SOFT = 3.0
OUTLIER = 5.0
LEAST_SCATTER_PX = 0.005
STEPS = np.array([1e-5, 0.01, 0.01, 1e-5, 1e-5])


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Of each group (g) in each sector (s): groups: the numbers of its rings. off: by how much of their radius the
    rings are larger than they should be, sigma of it by counting; both (g, s). height: of each ring in each sector (n,
    s), in counts, with its sigma. on: (g, s) whether the sector is on the camera there.
    """

    groups: tuple[tuple[int, ...], ...]
    radius_px: Array
    off: Array
    sigma: Array
    height: Array
    height_sigma: Array
    on: Mask

    @property
    def seen(self) -> Mask:
        """(n, s) rings that are there."""
        return np.asarray(self.height > SEEN_SIGMAS * self.height_sigma)

    @property
    def group_seen(self) -> Mask:
        """(g, s)."""
        there = np.array([self.seen[list(group)].any(axis=0) for group in self.groups], dtype=bool)
        return there.reshape(self.on.shape) & self.on


@dataclass(frozen=True, slots=True, eq=False)
class RingFit:
    """shape, and the covariance (5, 5) of the logarithm of the camera length, beam (px), strain and shear. sigma_px:
    width of a ring. scatter_px: how far sectors of a group scatter beyond counting, rms. used: (g, s) what was fitted.
    left_px: (g, s) what is left of its place.
    """

    shape: Shape
    covariance: Array
    sigma_px: float
    scatter_px: float
    observations: Observations
    used: Mask
    left_px: Array


def fit_rings(pattern: Pattern, start: Shape, rings: Rings, wavelength_A: float) -> RingFit | None:
    """The shape that fits best; None where too few rings are there to fit any. start: right within some percent, its
    beam within some pixels.
    """
    shape, sigma_px = start, BEGIN_SIGMA_PX
    for number in range(ROUNDS):
        seen = observe(pattern, shape, rings, wavelength_A, sigma_px, search=number < SEARCHES)
        found = _solve(shape, seen)
        if found is None:
            return None
        fit = found
        shape = fit.shape
        sigma_px = _ring_width(pattern, shape, rings, wavelength_A, sigma_px)
    return replace(fit, sigma_px=sigma_px)


def observe(
    pattern: Pattern, shape: Shape, rings: Rings, wavelength_A: float, sigma_px: float, search: bool
) -> Observations:
    """Where the rings are, seen from where they should be."""
    radius = rings.radius_px(shape.length_px, wavelength_A)
    true_px, sector = corrected(pattern, shape)
    groups = _groups(radius, sigma_px, float(true_px.max()))
    n, g = len(radius), len(groups)
    off, sigma = np.zeros((g, SECTORS)), np.full((g, SECTORS), np.inf)
    height, height_sigma = np.zeros((n, SECTORS)), np.full((n, SECTORS), np.inf)
    on = np.zeros((g, SECTORS), dtype=bool)
    for index, group in enumerate(groups):
        of_group = radius[list(group)]
        low, high = of_group[0] - WIDE_SIGMAS * sigma_px, of_group[-1] + WIDE_SIGMAS * sigma_px
        bins = max(FEWEST_BINS, round((high - low) / BIN_PX))
        with_others = np.flatnonzero((radius > low - 2 * sigma_px) & (radius < high + 2 * sigma_px))
        near = (true_px >= low) & (true_px < high)
        place = sector[near] * bins + ((true_px[near] - low) / (high - low) * bins).astype(np.intp)
        good = pattern.good[near]
        size = SECTORS * bins
        number = np.bincount(place[good], minlength=size).reshape(SECTORS, bins)
        total = np.bincount(place[good], pattern.counts[near][good], size).reshape(SECTORS, bins)
        middle = np.bincount(place[good], true_px[near][good], size).reshape(SECTORS, bins)
        on[index] = number.sum(axis=1) > HALF_ON * (high**2 - low**2) * np.pi / SECTORS
        on[index] &= (number > 0).sum(axis=1) >= len(with_others) + 4
        if not on[index].any():
            continue
        pixels = np.maximum(number, 1)
        mean, at = total / pixels, np.where(number > 0, middle / pixels, (low + high) / 2)
        weight = np.sqrt(number * pattern.frames / np.maximum(mean, 1.0 / pattern.frames))
        some = on[index]
        result = _places(Profiles(at[some], mean[some], weight[some]), radius[with_others], sigma_px, search)
        off[index, some], sigma[index, some] = result[0], result[1]
        own = np.isin(with_others, group)
        for each, ring in enumerate(group):
            column = int(np.flatnonzero(own)[each])
            height[ring, some], height_sigma[ring, some] = result[2][:, column], result[3][:, column]
    return Observations(groups, radius, off, sigma, height, height_sigma, on)


def corrected(pattern: Pattern, shape: Shape) -> tuple[Array, NDArray[np.intp]]:
    """(rows, columns) of each pixel: radius without ellipse in px, and number of its sector."""
    rows, columns = pattern.counts.shape
    fast, slow = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    x, y = shape.ideal(fast, slow)
    sector = ((np.arctan2(y, x) / (2 * np.pi) % 1.0) * SECTORS).astype(np.intp) % SECTORS
    return np.hypot(x, y), sector


def _groups(radius: Array, sigma_px: float, far_px: float) -> tuple[tuple[int, ...], ...]:
    """Rings that overlap, together; those too near to the beam or off the camera left out."""
    groups: list[list[int]] = []
    apart_px = OVERLAP_SIGMAS * sigma_px
    for index, place in enumerate(radius.tolist()):
        if place < max(NEAREST_PX, WIDE_SIGMAS * sigma_px) or place + WIDE_SIGMAS * sigma_px > far_px:
            continue
        if groups and place - radius[groups[-1][-1]] < apart_px:
            groups[-1].append(index)
        else:
            groups.append([index])
    return tuple(map(tuple, groups))


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """Radial profiles of some sectors, all (s, bins): radius in px, mean count, and its weight, one over its standard
    deviation by counting; 0 where there is no pixel.
    """

    at: Array
    mean: Array
    weight: Array

    @property
    def background(self) -> Array:
        """(s, bins, 3) a smooth background, by its three terms; two where there are few bins."""
        x = 2 * (self.at - self.at.mean()) / max(float(np.ptp(self.at)), 1e-9)
        terms = [np.ones_like(x), x, x * x]
        return np.stack(terms if self.at.shape[1] > MANY_BINS else terms[:2], axis=2)

    def rings(self, places: Array, sigma_px: float) -> Array:
        """(s, bins, n) rings of height 1 at places (s, n)."""
        return np.asarray(np.exp(-0.5 * ((self.at[:, :, None] - places[:, None, :]) / sigma_px) ** 2))

    def fitted(self, columns: Array) -> tuple[Array, Array, Array]:
        """Numbers (s, k) by which columns (s, bins, k) fit best, their variances (s, k), and what is left (s, bins) in
        standard deviations.
        """
        weighted = columns * self.weight[:, :, None]
        scale = np.maximum(np.linalg.norm(weighted, axis=1), 1e-12)
        weighted = weighted / scale[:, None, :]
        normal = np.swapaxes(weighted, 1, 2) @ weighted + 1e-9 * np.eye(columns.shape[2])
        inverse = np.linalg.inv(normal)
        values = np.einsum("ijk,ik->ij", inverse, np.einsum("ibk,ib->ik", weighted, self.mean * self.weight))
        left = self.mean * self.weight - np.einsum("ibk,ik->ib", weighted, values)
        return values / scale, np.diagonal(inverse, axis1=1, axis2=2) / scale**2, left


def _places(profiles: Profiles, radius: Array, sigma_px: float, search: bool) -> tuple[Array, Array, Array, Array]:
    """Of the rings at `radius` (n,) in each sector (s,): how far off (share of the radius), sigma of it; heights (s, n)
    and their sigmas.
    """
    base, n, sectors = profiles.background, len(radius), len(profiles.at)
    off = np.zeros(sectors)
    if search:
        tried = np.linspace(-REACH, REACH, 2 * max(3, int(REACH * radius[-1] / 0.5)) + 1)
        least = np.full(sectors, np.inf)
        for each in tried.tolist():
            rings = profiles.rings(np.tile(radius * (1 + each), (sectors, 1)), sigma_px)
            heights, _, left = profiles.fitted(np.concatenate([rings, base], axis=2))
            # A ring that would be dark is none.
            dark = np.einsum("ibk,ik->ib", rings, np.minimum(heights[:, :n], 0)) * profiles.weight
            badness = ((left + dark) ** 2).sum(axis=1)
            off, least = np.where(badness < least, each, off), np.minimum(badness, least)
    for _ in range(2):
        places = radius * (1 + off[:, None])
        rings = profiles.rings(places, sigma_px)
        heights = np.maximum(profiles.fitted(np.concatenate([rings, base], axis=2))[0][:, :n], 0)
        slope = rings * (profiles.at[:, :, None] - places[:, None, :]) / sigma_px**2 * radius
        moved = np.einsum("ibk,ik->ib", slope, heights)
        values, variance, left = profiles.fitted(np.concatenate([rings, base, moved[:, :, None]], axis=2))
        limit = sigma_px / radius[0]
        off = off + np.clip(values[:, -1], -limit, limit)
    nothing = ~(np.abs(moved).max(axis=1) > 0)
    freedom = np.maximum((profiles.weight > 0).sum(axis=1) - values.shape[1], 1)
    scale = np.maximum(1.0, (left**2).sum(axis=1) / freedom)
    sigmas = np.sqrt(variance * scale[:, None])
    return off, np.where(nothing, np.inf, sigmas[:, -1]), values[:, :n], np.maximum(sigmas[:, :n], 1e-12)


def _solve(shape: Shape, seen: Observations) -> RingFit | None:
    """One step of the five numbers from what was observed; None where that is too little."""
    used = seen.group_seen & np.isfinite(seen.sigma) & (np.abs(seen.off) < REACH)
    if used.sum() < 12 or used.any(axis=0).sum() < SECTORS // 4:
        return None
    index, sector = np.nonzero(used)
    middle = np.array([seen.radius_px[list(group)].mean() for group in seen.groups])[index]
    azimuth = (sector + 0.5) * 2 * np.pi / SECTORS
    off, sigma = seen.off[used], seen.sigma[used]
    jacobian = _derivatives(shape, middle, azimuth)
    scatter = np.zeros(len(seen.groups))
    soft: Array = np.ones(len(off))
    change: Array = np.zeros(5)
    for _ in range(8):
        total = np.hypot(sigma, np.maximum(scatter[index], LEAST_SCATTER_PX / middle))
        weighted = jacobian * (np.sqrt(soft) / total)[:, None]
        change = np.asarray(np.linalg.lstsq(weighted, off * np.sqrt(soft) / total, rcond=None)[0], np.float64)
        left = off - jacobian @ change
        for group in range(len(scatter)):
            of = index == group
            if of.sum() >= 6:
                scatter[group] = _scatter(
                    left[of], sigma[of], max(0.5, (of.sum() - 5 * of.sum() / len(off)) / of.sum())
                )
        pull = np.abs(left) / np.hypot(sigma, np.maximum(scatter[index], LEAST_SCATTER_PX / middle))
        soft = np.where(pull < OUTLIER, 1 / (1 + (pull / SOFT) ** 2) ** 2, 1e-6)
    kept = pull < OUTLIER
    total = np.hypot(sigma, np.maximum(scatter[index], LEAST_SCATTER_PX / middle))
    # Weights that fall with the deviation lose a little of what equal ones would tell.
    information = jacobian[kept].T @ (jacobian[kept] * (soft[kept] / total[kept] ** 2)[:, None])
    spread = float((soft[kept] * pull[kept] ** 2).sum() / max(soft[kept].sum() - 5, 1))
    covariance = np.linalg.pinv(information, rcond=1e-14) * max(spread, 1.0)
    moved = replace(
        shape,
        length_px=shape.length_px * float(np.exp(change[0])),
        fast_px=shape.fast_px + float(change[1]),
        slow_px=shape.slow_px + float(change[2]),
        strain=shape.strain + float(change[3]),
        shear=shape.shear + float(change[4]),
    )
    left_px = np.zeros(used.shape)
    left_px[used] = left * middle
    whole = used.copy()
    whole[used] = kept
    scatter_px = float(np.sqrt(np.mean((scatter[index] * middle) ** 2)))
    return RingFit(moved, covariance, BEGIN_SIGMA_PX, scatter_px, seen, whole, left_px)


def _scatter(left: Array, sigma: Array, freedom: float) -> float:
    """What must be added to the uncertainties in quadrature to explain what is left, without what is far out."""
    limit = 4 * 1.4826 * float(np.median(np.abs(left)))
    some = np.abs(left) <= max(limit, 1e-12)
    square = float(np.mean(left[some] ** 2)) / freedom
    return float(np.sqrt(max(square - float(np.median(sigma) ** 2), 0.0)))


def _derivatives(shape: Shape, radius: Array, azimuth: Array) -> Array:
    """(n, 5) by how much of its radius a place on a ring is off for a small change of each number."""
    fast, slow = np.zeros(len(radius)), np.zeros(len(radius))
    for each in range(len(radius)):
        at = shape.seen(float(radius[each]), azimuth[each : each + 1])
        fast[each], slow[each] = at[0][0], at[1][0]
    columns = [np.ones(len(radius))]
    for name, step in zip(("fast_px", "slow_px", "strain", "shear"), STEPS[1:], strict=True):
        more, less = (
            np.hypot(*replace(shape, **{name: getattr(shape, name) + sign * step}).ideal(fast, slow))
            for sign in (1, -1)
        )
        columns.append(-(more - less) / (2 * step) / radius)
    return np.stack(columns, axis=1)


def _ring_width(pattern: Pattern, shape: Shape, rings: Rings, wavelength_A: float, sigma_px: float) -> float:
    """The width (sigma) of the rings, from the strongest that stand alone: that for which a Gaussian fits best."""
    from scipy.optimize import minimize_scalar

    radius = rings.radius_px(shape.length_px, wavelength_A)
    true_px, _ = corrected(pattern, shape)
    groups = _groups(radius, sigma_px, float(min(pattern.counts.shape)) * 0.7)
    alone = sorted(groups, key=lambda group: (len(group) > 2, -rings.height[list(group)].max()))
    profiles = []
    for group in alone[:3]:
        reach = 4 * max(sigma_px, 1.0)
        low, high = radius[group[0]] - reach, radius[group[-1]] + reach
        of_group = radius[(radius > low - sigma_px) & (radius < high + sigma_px)]
        near = pattern.good & (true_px > low) & (true_px < high)
        if near.sum() < 100:
            continue
        place = ((true_px[near] - low) / BIN_PX).astype(np.intp)
        number = np.maximum(np.bincount(place), 1)[None, :]
        at, mean = (np.bincount(place, each[near])[None, :] / number for each in (true_px, pattern.counts))
        weight = np.sqrt(np.bincount(place)[None, :] / np.maximum(mean, 1.0 / pattern.frames))
        profiles.append((Profiles(np.where(weight > 0, at, (low + high) / 2), mean, weight), of_group[None, :]))
    if not profiles:
        return sigma_px

    def badness(width: float) -> float:
        total = 0.0
        for profile, places in profiles:
            columns = np.concatenate([profile.rings(places, width), profile.background], axis=2)
            total += float((profile.fitted(columns)[2] ** 2).sum())
        return total

    found = minimize_scalar(badness, bounds=SIGMAS_PX, method="bounded", options={"xatol": 0.02})
    return float(np.clip(found.x, 0.7 * sigma_px, 1.5 * sigma_px))
