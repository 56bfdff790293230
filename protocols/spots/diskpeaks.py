"""Where the disks of a drawn pattern are.

A candidate is a local maximum of the picture seen through a disk-sized filter; all disks (and the larger one of the
primary beam) are then fitted together, so that disks which touch or overlap do not draw each other; where light is left
over, a disk was missed, and it is added. Everything works on the few pixels that are not black.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.spots.peaklist import Peaks, no_peaks, no_spots

Array = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

FIT_ROUNDS = 12
CLOSE_ENOUGH_PX = 0.003
"""A last step of that length leaves an error of a tenth of it."""
LEFT_OVER = 0.22
"""Light left over on 3 x 3 pixels, in disks, that makes another disk; one half hidden by its neighbour leaves more."""
FAINTEST = 0.05
"""Part of the light of a filter full of white at which a spot is looked for; a disk as bright as 0.1 gives that."""
WHITE_ENOUGH = 0.7
"""A white disk of radius 1 covers its brightest pixel by 0.79 at least."""
ALONE = 0.25
"""A spot covers that much of its area alone; two that are half a radius apart do."""
FAINT_PIXEL = 0.2
"""Pixels darker than this part of white are not asked for: spots too faint to be looked for light them."""
EXPLAINED = 0.8
"""Share of the light that the disks of a pattern explain; letters, scratches and powder rings stay below."""


def disk_peaks(picture: NDArray[np.uint8], spot_radius_px: float = 1.0, beam_radius_px: float = 1.76) -> Peaks:
    """Spots of a (rows, columns) picture of white disks of one size on black, a larger one for the primary beam.

    Measured in pictures of `protocols.zones.patterns.render`: 0.001 px (the edges of the disks are modelled as drawn
    there).
    """
    margin = int(np.ceil(beam_radius_px + 3))
    width = picture.shape[1] + 2 * margin
    framed = np.zeros((picture.shape[0] + 2 * margin, width), dtype=np.uint8)
    framed[margin:-margin, margin:-margin] = picture
    flat = framed.reshape(-1)
    lit = np.flatnonzero(flat.view(np.bool_))
    scene = _Scene(flat, lit, width, float(flat[lit].max()), spot_radius_px, beam_radius_px)
    beam = scene.beam()
    if beam is None:
        return no_peaks("no primary beam: not one disk of its size in the picture")
    spots = scene.maxima(beam)
    spots = spots[np.hypot(*(spots - beam).T) > beam_radius_px + 0.25 * spot_radius_px]
    beam, spots, glow = scene.fit(beam, spots)
    for _ in range(4):
        needed = scene.needed(beam, spots)
        more = scene.missed(scene.left_over(beam, spots[needed], glow[needed]))
        if needed.all() and not len(more):
            break
        beam, spots, glow = scene.fit(beam, np.vstack([spots[needed], more]))
    light = scene.flat[scene.lit] / scene.white
    plain = light > FAINT_PIXEL
    if np.abs(scene.left_over(beam, spots, glow)[plain]).sum() > (1 - EXPLAINED) * light[plain].sum():
        return no_peaks("no diffraction pattern: what is bright is not made of disks of one size", beam - margin)
    if not len(spots):
        return no_spots("no spots: nothing but the primary beam", beam - margin)
    return Peaks(spots - margin, glow, beam - margin)


@lru_cache(maxsize=64)
def _window(reach: int, width: int) -> tuple[Array, Array, Places]:
    """Steps (k,) in column and row to the pixels about one, and in the address in a flat picture of that width."""
    dy, dx = np.indices((2 * reach + 1, 2 * reach + 1)).reshape(2, -1) - reach
    return dx.astype(np.float64), dy.astype(np.float64), (dy * width + dx).astype(np.int64)


def _neighbours(spots: Array, reach_px: float) -> tuple[Places, Places]:
    """Numbers of the two spots of each pair that is no more than this apart."""
    order = np.argsort(spots[:, 1])
    x, y = spots[order].T
    pairs = []
    for behind in range(1, len(order)):
        dy = y[behind:] - y[:-behind]
        if dy.min() > reach_px:
            break
        near = np.flatnonzero((dy <= reach_px) & (np.hypot(x[behind:] - x[:-behind], dy) <= reach_px))
        pairs.append(np.stack([near, near + behind]))
    one, other = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), dtype=np.int64)
    return order[one], order[other]


@dataclass(frozen=True, slots=True, eq=False)
class _Disks:
    """n disks on the pixels about them: addresses `at`, share `cover` of the pixel covered (edges fall linearly over
    one pixel, as `protocols.zones.patterns.render` draws them), and its gradients; each (n, k).
    """

    at: Places
    cover: Array
    gx: Array
    gy: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """The lit pixels of a picture with a black margin: addresses `lit` in the flat picture of that `width`."""

    flat: NDArray[np.uint8]
    lit: Places
    width: int
    white: float
    spot_radius_px: float
    beam_radius_px: float

    def collected(self, radius_px: float) -> Array:
        """(m,) what a soft disk of this radius collects about each lit pixel, 1 = a white disk."""
        dx, dy, offsets = _window(int(np.ceil(radius_px + 0.5)), self.width)
        weight = np.clip(radius_px + 0.75 - np.hypot(dx, dy), 0.0, 1.0) * (1 - 0.05 * (dx**2 + dy**2) / radius_px**2)
        weight /= self.white * weight.sum()
        total = np.zeros(len(self.lit))
        for offset, share in zip(offsets[weight > 0].tolist(), weight[weight > 0].tolist(), strict=True):
            total += self.flat[self.lit + offset] * share
        return total

    def beam(self) -> Array | None:
        """(2,) about where the primary beam is; None where no disk is as large as that, or more than one."""
        collected = self.collected(self.beam_radius_px)
        at = self.lit[int(collected.argmax())][None]
        rivals = self.lit[collected > 0.9 * collected.max()] - at
        # Of a difference of addresses, the nearest multiple of the width is in rows, the rest in columns.
        rows = np.rint(rivals / self.width)
        if (np.hypot(rivals - rows * self.width, rows) > 2 * self.beam_radius_px + 1).any():
            return None
        centre = self.centroids(at, self.flat, int(np.ceil(self.beam_radius_px)))[0]
        disk = self.disks(centre[None], self.beam_radius_px, np.ones(1))
        inside = disk.cover >= 1.0
        return centre if self.flat[disk.at[inside]].mean() > 0.85 * self.white else None

    def maxima(self, beam: Array) -> Array:
        """(n, 2) centroids about the local maxima of what spot-sized disks collect."""
        collected = self.collected(self.spot_radius_px)
        good = np.flatnonzero(collected > FAINTEST)
        at = self.summits(self.lit[good], collected[good])
        spots = self.centroids(at, self.flat, 1)
        alone = ~self.crowded(beam, spots)
        spots[alone] = self.centroids(at[alone], self.flat, int(np.ceil(self.spot_radius_px + 0.5)))
        return np.asarray(spots)

    def summits(self, at: Places, height: Array) -> Places:
        """Those of the (m,) addresses that are as high as their eight neighbours; of equal ones the last."""
        map_ = np.zeros(len(self.flat))
        map_[at] = ranked = height * (1 + 1e-9 * np.arange(len(at)))
        _, _, near = _window(1, self.width)
        return np.asarray(at[(ranked[:, None] >= map_[at[:, None] + near]).all(axis=1)])

    def centroids(self, at: Places, values: NDArray[np.generic], reach: int) -> Array:
        """(n, 2) centroids of the light on the pixels about each of (n,) addresses."""
        dx, dy, offsets = _window(reach, self.width)
        light = values[at[:, None] + offsets].astype(np.float64)
        middle = np.stack([light @ dx, light @ dy], axis=1) / light.sum(axis=1)[:, None]
        return np.asarray(middle + np.stack([at % self.width, at // self.width], axis=1) + 0.5)

    def disks(self, where: Array, radius_px: float, glow: Array) -> _Disks:
        """Disks of one radius at (n, 2), as bright as (n,) with white = 1."""
        dx, dy, offsets = _window(int(np.ceil(radius_px + 0.5)), self.width)
        corner = np.floor(where)
        x = dx + (corner[:, :1] + 0.5 - where[:, :1])
        y = dy + (corner[:, 1:] + 0.5 - where[:, 1:])
        distance = np.sqrt(x * x + y * y)
        edge = radius_px + 0.5 - distance
        # A little beyond the edge too, so that a disk which is a little off is drawn back.
        tells = np.abs(edge - 0.5) < 0.7
        slope = tells / np.maximum(distance, 1e-9)
        at = (corner[:, 1] * self.width + corner[:, 0]).astype(np.int64)[:, None] + offsets
        bright = glow[:, None]
        return _Disks(at, np.minimum(np.maximum(edge, 0.0), 1.0) * bright, x * slope * bright, y * slope * bright)

    def fit(self, beam: Array, spots: Array) -> tuple[Array, Array, Array]:
        """Positions and brightness for which the disks together look like the picture: Gauss-Newton, each disk
        against the others. Where all spots are white nothing is fitted to their brightness.
        """
        high = np.array([self.width, len(self.flat) // self.width]) - np.ceil(self.beam_radius_px + 2)
        low = np.ceil(self.beam_radius_px + 2)
        crowded = self.crowded(beam, spots)
        alone = ~crowded
        model = np.zeros(len(self.flat))
        beam, spots, white = beam[None].copy(), spots.copy(), np.ones(1)
        glow = self.brightest_pixel(spots)
        graded = bool((glow < WHITE_ENOUGH).any())
        if not graded:
            glow = np.ones(len(spots))
        for _ in range(FIT_ROUNDS):
            large = self.disks(beam, self.beam_radius_px, white)
            small = self.disks(spots, self.spot_radius_px, glow)
            model[small.at[alone]] = small.cover[alone]
            model[large.at] = np.maximum(model[large.at], large.cover)
            if crowded.any():
                np.maximum.at(model, small.at[crowded], small.cover[crowded])
            if graded:
                mine = small.cover * (small.cover >= model[small.at])
                light = (self.flat[small.at] * mine).sum(axis=1) / self.white
                glow = np.clip(glow * light / np.maximum((mine * mine).sum(axis=1), 1e-9), 0.5 * FAINTEST, 1.0)
            steps = self._step(large, model), self._step(small, model)
            model[large.at] = 0.0
            model[small.at] = 0.0
            beam = np.clip(beam + steps[0], low, high)
            spots = np.clip(spots + steps[1], low, high)
            if max(np.abs(step).max(initial=0.0) for step in steps) < CLOSE_ENOUGH_PX:
                break
        return beam[0], spots, glow

    def _step(self, disks: _Disks, model: Array) -> Array:
        """(n, 2) by least squares, from the pixels that no other disk covers more."""
        here = model[disks.at]
        mine = disks.cover >= here
        error = (self.flat[disks.at] * (1 / self.white) - here) * mine
        gx, gy = disks.gx * mine, disks.gy * mine
        # The small addition keeps a disk in place that is hidden behind others.
        xx, yy = (gx * gx).sum(axis=1) + 1e-3, (gy * gy).sum(axis=1) + 1e-3
        xy = (gx * gy).sum(axis=1)
        bx, by = (gx * error).sum(axis=1), (gy * error).sum(axis=1)
        step = np.stack([yy * bx - xy * by, xx * by - xy * bx], axis=1) / (xx * yy - xy * xy)[:, None]
        return np.asarray(np.minimum(np.maximum(step, -0.5), 0.5))

    def crowded(self, beam: Array, spots: Array) -> Mask:
        """(n,) whether another disk can touch the pixels of this one."""
        result = np.hypot(*(spots - beam).T) < self.beam_radius_px + self.spot_radius_px + 3
        one, other = _neighbours(spots, 2 * self.spot_radius_px + 3)
        result[one] = result[other] = True
        return np.asarray(result)

    def needed(self, beam: Array, spots: Array) -> Mask:
        """(n,) False for a spot that covers hardly anything which the beam or its neighbours do not; of two such
        neighbours, the one that covers less.
        """
        one, other = _neighbours(spots, 2 * self.spot_radius_px + 1)
        near_beam = np.flatnonzero(np.hypot(*(spots - beam).T) < self.beam_radius_px + self.spot_radius_px + 1)
        result = np.ones(len(spots), dtype=bool)
        if not len(one) and not len(near_beam):
            return result
        dx, dy, _ = _window(int(np.ceil(self.spot_radius_px + 0.5)), self.width)
        corner = np.floor(spots) + 0.5
        x, y = corner[:, :1] + dx, corner[:, 1:] + dy

        def cover(at: Places, disk: Array, radius_px: float) -> Array:
            return np.clip(radius_px + 0.5 - np.hypot(x[at] - disk[:, :1], y[at] - disk[:, 1:]), 0.0, 1.0)

        everyone = np.arange(len(spots))
        rest = cover(everyone, spots, self.spot_radius_px)
        covered = np.zeros_like(rest)
        np.maximum.at(covered, one, cover(one, spots[other], self.spot_radius_px))
        np.maximum.at(covered, other, cover(other, spots[one], self.spot_radius_px))
        covered[near_beam] = np.maximum(covered[near_beam], cover(near_beam, beam[None], self.beam_radius_px))
        alone = np.maximum(rest - covered, 0.0).sum(axis=1) + 1e-6 * everyone
        few = alone < ALONE * np.pi * self.spot_radius_px**2
        result[few] = False
        worse = np.where(alone[one] < alone[other], other, one)
        both = few[one] & few[other]
        result[worse[both]] = True
        return result

    def left_over(self, beam: Array, spots: Array, glow: Array) -> Array:
        """(m,) light of the lit pixels that the disks do not explain."""
        model = np.zeros(len(self.flat))
        small = self.disks(spots, self.spot_radius_px, glow)
        np.maximum.at(model, small.at, small.cover)
        large = self.disks(beam[None], self.beam_radius_px, np.ones(1))
        model[large.at] = np.maximum(model[large.at], large.cover)
        return np.asarray(self.flat[self.lit] * (1 / self.white) - model[self.lit])

    def missed(self, rest: Array) -> Array:
        """(n, 2) where left-over light makes another disk."""
        some = np.flatnonzero(rest > 0.15)
        if not len(some):
            return np.empty((0, 2))
        map_ = np.zeros(len(self.flat))
        map_[self.lit] = np.maximum(rest, 0.0)
        _, _, near = _window(1, self.width)
        light = map_[self.lit[some][:, None] + near].sum(axis=1)
        enough = light > LEFT_OVER * np.pi * self.spot_radius_px**2
        found = self.centroids(self.summits(self.lit[some[enough]], light[enough]), map_, 1)
        # Between two disks a fitted one lies in the middle, and light is left over at both ends: begin with one end.
        one, other = _neighbours(found, 4 * self.spot_radius_px)
        return np.delete(found, np.maximum(one, other), axis=0)

    def brightest_pixel(self, spots: Array) -> Array:
        """(n,) brightness of the brightest of the 3 x 3 pixels about each spot, white = 1."""
        column, row = spots.astype(np.int64).T
        _, _, near = _window(1, self.width)
        return np.asarray(self.flat[(row * self.width + column)[:, None] + near].max(axis=1, initial=0) / self.white)
