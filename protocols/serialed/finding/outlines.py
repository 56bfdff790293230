"""Sizes, outlines and distances of things from how far each reaches in so many directions. Pure functions of arrays.

A convex outline is told by its reach: the farthest that any of it lies along each of `DIRECTIONS`. From that follow its
corners, how far it is from the edges of the picture, and the gap between two: in some direction, the farthest of one is
so far from the nearest of the other (a separating line), which for convex outlines is their distance.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.integer]

CORNERS = 16
FINER = 3
"""So many times more directions for sizes and distances than there are corners; 48 know a gap to 0.2 % and less."""
DIRECTIONS = CORNERS * FINER
_TURNS = 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
ALONG = np.stack([np.cos(_TURNS), np.sin(_TURNS)])
"""(2, DIRECTIONS) fast and slow."""


def reaches(columns: Whole, rows: Whole, owner: Whole, count: int) -> Array:
    """(count, DIRECTIONS) of things made of squares of side 1 with corners at these whole numbers, in squares.

    Sorted by owner, 0 to count - 1, then by row, then by column.
    """
    # Nothing but the ends of its rows can be the farthest of a thing.
    new = np.ones(len(rows) + 1, bool)
    new[1:-1] = (np.diff(rows) != 0) | (np.diff(owner) != 0)
    end = new[:-1] | new[1:]
    along = np.stack([columns[end] + 0.5, rows[end] + 0.5], axis=1) @ ALONG
    first = np.searchsorted(owner[end], np.arange(count))
    return np.asarray(np.maximum.reduceat(along, first, axis=0) + 0.5 * np.abs(ALONG).sum(axis=0))


def corners(reach: Array) -> Array:
    """(CORNERS, 2) of the outline around one thing, fast and slow, counterclockwise as fast turns to slow."""
    these, others = reach[::FINER], np.roll(reach[::FINER], -1)
    step = 2.0 * np.pi / CORNERS
    x, y = ALONG[:, ::FINER]
    # Where the lines at right angles to two neighbouring directions, so far out, cross.
    sideways = (others - these * np.cos(step)) / np.sin(step)
    return np.stack([these * x - sideways * y, these * y + sideways * x], axis=1)


def areas(reach: Array) -> Array:
    """(count,) of the outlines that `reaches` tells, all directions used: by the sides of the polygon."""
    step = 2.0 * np.pi / DIRECTIONS
    next_, last = np.roll(reach, -1, axis=1), np.roll(reach, 1, axis=1)
    sides = (next_ + last - 2.0 * reach * np.cos(step)) / np.sin(step)
    return np.asarray(0.5 * np.sum(reach * np.maximum(sides, 0.0), axis=1))


def gaps(reach: Array) -> Array:
    """(count,) from each to the nearest other, 0 where they touch or overlap; infinite where there is no other."""
    count = len(reach)
    nearest = np.full(count, np.inf)
    if count < 2:
        return nearest
    opposite = np.roll(reach, DIRECTIONS // 2, axis=1)
    for k in range(count):
        apart = (-opposite - reach[k]).max(axis=1)
        apart[k] = np.inf
        nearest[k] = max(float(apart.min()), 0.0)
    return nearest


def middles(fast: Array, slow: Array, owner: Whole, count: int) -> tuple[Array, Array]:
    """(count,) each: fast and slow of the mean places."""
    number = np.maximum(np.bincount(owner, minlength=count), 1)
    return np.bincount(owner, fast, count) / number, np.bincount(owner, slow, count) / number


def rectangles(reach: Array) -> tuple[Array, Array]:
    """(count, 2) length and width of the rectangle of least area around each, and (count,) degrees by which its length
    is turned from fast to slow, from -90 to 90.
    """
    half, quarter = DIRECTIONS // 2, DIRECTIONS // 4
    across = reach[:, :half] + reach[:, half:]
    other = np.roll(across, -quarter, axis=1)
    best = np.argmin((across * other)[:, :quarter], axis=1)
    each = np.arange(len(reach))
    one, two = across[each, best], other[each, best]
    turned = np.degrees(_TURNS[best]) + np.where(two > one, 90.0, 0.0)
    return np.stack([np.maximum(one, two), np.minimum(one, two)], axis=1), np.where(
        turned > 90.0, turned - 180.0, turned
    )
