"""From raw counts to the picture that is exported: flatfield, dead pixels, the wide cross, clipping.

Pure functions of arrays. The order is fixed: divide by the response, replace dead pixels, round, clip to the
type (and count what was clipped), share the wide pixels. Rounding is to the nearest count.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.frame import Picture
from protocols.products.cross import cross_mask, expand_cross, pixel_area, spread

DEAD_RESPONSE = 0.05
"""A pixel that answers with less than this part of the mean counts as dead: dividing by it makes noise."""

HIGHEST_GAIN = 1 / DEAD_RESPONSE + 1
"""No living pixel is multiplied by as much."""

MAX_COUNT = 65535
STRIP_PIXELS = 1 << 16
"""Corrected at a time, so that they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Clipped:
    """Pixels whose counts 16 bits without sign cannot hold, by what became of them.

    below: below zero, now 0. above: above 65535, now 65535. no_number: NaN, now 0.
    """

    below: int = 0
    above: int = 0
    no_number: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.below + self.above + self.no_number

    def __add__(self, other: "Clipped") -> "Clipped":
        """Both together."""
        return Clipped(self.below + other.below, self.above + other.above, self.no_number + other.no_number)

    def __str__(self) -> str:
        """For people: how many, and why."""
        kinds = (
            (self.below, "below zero"),
            (self.above, f"above {MAX_COUNT}"),
            (self.no_number, "not a number"),
        )
        why = ", ".join(f"{count} {what}" for count, what in kinds if count)
        return f"{self.total} pixels clipped" + (f" ({why})" if why else "")


NONE_CLIPPED = Clipped()


@dataclass(frozen=True, eq=False)
class Correction:
    """How the pictures of one detector are corrected; made once a run by `correction`.

    gain: (rows, columns) factor for each raw pixel, 1 for dead ones; None without a flatfield.
    dead: (rows, columns) True for pixels that are replaced by the mean of their living neighbours.
    saturation: raw counts from which a pixel was saturated; the correction never takes it below this number, so
        that programs still know it by their overload limit. 0: not watched.
    """

    gain: NDArray[np.float32] | None
    dead: NDArray[np.bool_] | None
    wide_cross: bool
    saturation: int

    def apply(self, raw: Picture) -> tuple[NDArray[np.uint16], Clipped]:
        """Correct one picture of raw counts; returns it, and which pixels were clipped to 0 .. 65535.

        (rows, columns) becomes (rows + 4, columns + 4) with a wide cross. The input is not changed.
        """
        if self.gain is None:
            counts, clipped = to_uint16(raw)
        else:
            counts, clipped = self._scaled(raw, self.gain)
        return (expand_cross(counts) if self.wide_cross else counts), clipped

    def _scaled(self, raw: Picture, gain: NDArray[np.float32]) -> tuple[NDArray[np.uint16], Clipped]:
        """A few rows at a time; then the dead pixels."""
        counts, clipped = np.empty(raw.shape, dtype=np.uint16), NONE_CLIPPED
        rows = max(1, STRIP_PIXELS // raw.shape[1])
        room = np.empty((rows, raw.shape[1]), np.float32)
        for top in range(0, len(raw), rows):
            strip = slice(top, top + rows)
            if self._plain(raw[strip]):
                scaled = np.multiply(raw[strip], gain[strip], out=room[: len(raw[strip])])
                counts[strip] = np.rint(scaled, out=scaled)
                continue
            scaled = self._watched(raw[strip], raw[strip] * gain[strip])
            if self.dead is not None:
                scaled[self.dead[strip]] = 0
            counts[strip], here = to_uint16(scaled)
            clipped += here
        if (at := self._dead_at) is not None:
            scaled = self._watched(raw.reshape(-1)[at.place], at.mean(raw, gain))
            counts.reshape(-1)[at.place], here = to_uint16(scaled)
            clipped += here
        return counts, clipped

    def _plain(self, raw: Picture) -> bool:
        """Whether nothing here is saturated, or so bright that it might not fit: almost everywhere."""
        if raw.dtype not in (np.uint8, np.uint16):
            return False
        brightest = int(raw.max(initial=0))
        return brightest * HIGHEST_GAIN <= MAX_COUNT and not 0 < self.saturation <= brightest

    @cached_property
    def _dead_at(self) -> "DeadPixels | None":
        return None if self.dead is None else dead_pixels(self.dead)

    def _watched(self, raw: NDArray[Any], scaled: NDArray[Any]) -> NDArray[Any]:
        """No saturated pixel below the saturation; one of no number (NaN) is not."""
        if self.saturation and (full := raw >= self.saturation).any():
            return np.where(full, np.maximum(scaled, self.saturation), scaled)
        return scaled


def correction(response: NDArray[np.float32] | None, wide_cross: bool, saturation: int) -> Correction:
    """The correction for a detector with this flatfield (relative response, (rows, columns), or None).

    saturation: 0 where nobody knows it.

    A flat exposure sees the wide pixels 3 and 9 times as bright; that is their area and not their response, and
    sharing them out takes care of it, so it is divided out here. Zeros, negatives and NaN are dead pixels.
    """
    if response is None:
        return Correction(None, None, wide_cross, saturation)
    relative = response.astype(np.float32)
    if wide_cross:
        relative = relative / pixel_area((response.shape[0], response.shape[1]))
    alive = np.isfinite(relative) & (relative > 0)
    if alive.any():
        relative = relative / np.float32(relative[alive].mean())
    dead = ~np.isfinite(relative) | (relative < DEAD_RESPONSE)
    gain = np.ones_like(relative)
    np.divide(1.0, relative, out=gain, where=~dead)
    return Correction(gain, dead if dead.any() else None, wide_cross, saturation)


def flatfield_from(exposures: Iterable[NDArray[np.integer[Any]]]) -> NDArray[np.float32]:
    """The flatfield of evenly lit exposures (rows, columns) each: their mean, divided by its mean over all pixels.

    Pixels that never counted stay 0, by which `correction` knows them as dead. ValueError without exposures.
    """
    total: NDArray[np.float64] | None = None
    for exposure in exposures:
        if total is None:
            total = exposure.astype(np.float64)
        elif exposure.shape != total.shape:
            raise ValueError(f"flat exposures of {exposure.shape} and {total.shape}")
        else:
            total += exposure
    if total is None or not total.any():
        raise ValueError("no flat exposure with counts in it")
    return np.asarray(total / total[total > 0].mean(), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class DeadPixels:
    """Dead pixels, and of each the living ones around it, as indices into the pixels of a picture row after row.

    place: (n,). around: of those with as many neighbours which they are, (m,), and their neighbours, (m, neighbours).
    """

    place: NDArray[np.intp]
    around: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]

    def mean(self, raw: Picture, gain: NDArray[np.float32]) -> NDArray[Any]:
        """(n,) for each the mean of the scaled living ones around it; 0 where no pixel lives. raw, gain: (rows,
        columns).
        """
        counts, gains = raw.reshape(-1), gain.reshape(-1)
        found = np.zeros(len(self.place), dtype=np.result_type(raw, gain))
        for which, neighbours in self.around:
            found[which] = (counts[neighbours] * gains[neighbours]).mean(axis=1)
        return found


def dead_pixels(dead: NDArray[np.bool_]) -> DeadPixels:
    """What stands around the pixels where `dead` (rows, columns) is True: living ones of 8 neighbours, or of 24, ..."""
    rows, columns = dead.shape
    neighbours: dict[int, list[tuple[int, NDArray[np.intp]]]] = {}
    for k, (y, x) in enumerate(np.argwhere(dead) if not dead.all() else ()):
        reach, alive = 1, np.zeros((0, 2), dtype=np.intp)
        while not len(alive):
            top, left = max(y - reach, 0), max(x - reach, 0)
            area = dead[top : min(y + reach + 1, rows), left : min(x + reach + 1, columns)]
            alive = np.argwhere(~area) + np.array((top, left))
            reach += 1
        neighbours.setdefault(len(alive), []).append((k, alive @ (columns, 1)))
    return DeadPixels(
        np.flatnonzero(dead),
        tuple((np.array([k for k, _ in some]), np.stack([at for _, at in some])) for some in neighbours.values()),
    )


def to_uint16(counts: NDArray[Any]) -> tuple[NDArray[np.uint16], Clipped]:
    """Round to whole counts and clip to 0 .. 65535, never wrapping; returns them, and what was clipped.

    Counts of any type, in either order of bytes; NaN becomes 0.
    """
    if counts.dtype == np.uint16:
        return counts, NONE_CLIPPED
    whole = counts if np.issubdtype(counts.dtype, np.integer) else np.rint(counts)
    low, high = whole.min(initial=0), whole.max(initial=0)
    if low >= 0 and high <= MAX_COUNT:  # never so with a NaN
        return whole.astype(np.uint16), NONE_CLIPPED
    below, above, no_number = whole < 0, whole > MAX_COUNT, np.isnan(whole)
    fitting = np.where(below | above | no_number, np.zeros((), whole.dtype), whole).astype(np.uint16)
    fitting[above] = MAX_COUNT
    return fitting, Clipped(*(int(np.count_nonzero(each)) for each in (below, above, no_number)))


def untrusted(raw_shape: tuple[int, int], wide_cross: bool, dead: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """True, on the corrected grid, for pixels whose counts were made up: the cross, and dead pixels."""
    made_up = np.zeros(raw_shape, dtype=bool) if dead is None else dead
    return cross_mask(raw_shape) | spread(made_up) if wide_cross else made_up.copy()
