"""Finds the crystals in one image. What calls it in a run is `computation`."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from protocols.serialed.finding import outlines
from protocols.serialed.finding.darkthings import Thing, dark_things, grown
from protocols.serialed.finding.fieldview import FieldView, NotSeen, depth, view
from protocols.serialed.finding.film import bars_in, carbon
from protocols.serialed.finding.parting import parted
from protocols.serialed.finding.settings import FinderSettings
from protocols.serialed.isolation import is_isolated

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SMOOTHED_CELLS = 0.8
CONVEX, LEAST_PARTED = 0.87, 24
"""Area over that of the convex outline around it: above, nothing touches that could be parted; and
how many cells that must have."""
SEVERAL, LEAST_SEVERAL = 0.86, 80
"""The same: below, it is taken for several crystals, of which none is alone."""
LARGEST_AREA = 0.5
"""Of the square of `largest_nm`: what is larger is no crystal and no heap."""
ORDINARY = FinderSettings()
FAR_NM = 1e6
"""Distances are not told to be more: there is no other thing."""


@dataclass(frozen=True, slots=True)
class FoundCrystal:
    """fast_px, slow_px: middle; pixel i covers [i, i + 1), as in `protocols.spots`. length_px, width_px: sides of the
    least rectangle around it, turned_deg: of the length, from fast to slow, -90 to 90. contrast: ln of the light around
    over its own, the mean of all of it, its edges included. neighbour_nm: from edge to edge to the nearest other thing,
    0 when touching, `FAR_NM` where there is none. border_nm: to the edge of the picture or of a bar. outline_px: at
    most 16 corners (fast, slow).
    """

    fast_px: float
    slow_px: float
    length_px: float
    width_px: float
    turned_deg: float
    area_px: float
    contrast: float
    neighbour_nm: float
    border_nm: float
    is_isolated: bool
    outline_px: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """crystals: the largest first. film: share of the field that is film. note: why nothing, or not all, can be told;
    empty where all is well.
    """

    crystals: tuple[FoundCrystal, ...]
    film: float
    note: str = ""


def find_crystals(image: NDArray[Any], nm_per_px: float, settings: FinderSettings = ORDINARY) -> Found:
    """Crystals in an image (rows, columns), counts of any type. nm_per_px: on the specimen.

    40 ms for 512 x 512 pixels of one core; a larger picture of the same field takes little more. Never raises for what
    an image shows: a field that shows nothing has a note that says why. ValueError for a pixel without a size.
    """
    if not nm_per_px > 0.0:
        raise ValueError(f"nm_per_px = {nm_per_px!r} is not above 0; the image was not looked at")
    try:
        seen = view(np.asarray(image), nm_per_px, settings)
    except NotSeen as why:
        return Found((), 0.0, str(why))
    bars = bars_in(seen, settings.largest_nm)
    usable = seen.usable & ~bars
    dark, noise = depth(seen, SMOOTHED_CELLS)
    if np.count_nonzero(usable) < 0.02 * usable.size:
        return Found((), 0.0, "the field lies behind a bar")
    most_cells = LARGEST_AREA * (settings.largest_nm / seen.nm) ** 2
    things = dark_things(dark, usable, noise, settings.least_contrast, most_cells)
    things = grown(_parted(things, dark.shape), dark, usable)
    covered = np.zeros(dark.size, bool)
    for thing in things:
        covered[thing.cells] = True
    film = carbon(seen, dark, bars, covered.reshape(dark.shape), settings.open_counts)
    return Found(_crystals(things, seen, bars, settings), round(float(film.film), 4), film.note)


def _parted(things: list[Thing], shape: tuple[int, ...]) -> list[Thing]:
    """The same, with those parted that touch."""
    if not things:
        return []
    owner = np.repeat(np.arange(len(things)), [len(each.cells) for each in things])
    rows, columns = np.divmod(np.concatenate([each.cells for each in things]), shape[1])
    reach = outlines.reaches(columns, rows, owner, len(things))
    cells = np.bincount(owner)
    convex = (cells < LEAST_PARTED) | (cells / outlines.areas(reach) > CONVEX)
    parts: list[Thing] = []
    for thing, is_convex in zip(things, convex.tolist(), strict=True):
        if is_convex:
            parts.append(thing)
            continue
        r, c = np.divmod(thing.cells, shape[1])
        top, left = int(r.min()), int(c.min())
        mask = np.zeros((int(r.max()) - top + 1, int(c.max()) - left + 1), bool)
        mask[r - top, c - left] = True
        for part in parted(mask):
            down, along = np.nonzero(part)
            parts.append(replace(thing, cells=(down + top) * shape[1] + along + left))
    return parts


def _crystals(things: list[Thing], seen: FieldView, bars: Mask, settings: FinderSettings) -> tuple[FoundCrystal, ...]:
    if not things:
        return ()
    count, px = len(things), float(seen.px)
    owner = np.repeat(np.arange(count), [len(each.cells) for each in things])
    cells = np.concatenate([each.cells for each in things])
    rows, columns = np.divmod(cells, bars.shape[1])
    fast, slow = px * (columns + 0.5), px * (rows + 0.5)
    x, y = outlines.middles(fast, slow, owner, count)
    reach = px * outlines.reaches(columns, rows, owner, count)
    sides, turned = outlines.rectangles(reach)
    nm_per_px = seen.nm / px
    neighbour = np.minimum(outlines.gaps(reach) * nm_per_px, FAR_NM)
    # What is bent inwards and has no neck are several that lie on each other.
    squares = np.bincount(owner)
    neighbour[(squares >= LEAST_SEVERAL) & (squares * px * px < SEVERAL * outlines.areas(reach))] = 0.0
    border = _borders(reach, seen) * nm_per_px
    if bars.any():
        away = distance_transform_edt(~bars).ravel()[cells] * seen.nm
        border = np.minimum(border, np.minimum.reduceat(away, np.searchsorted(owner, np.arange(count))))
    long_enough = sides[:, 0] * nm_per_px >= settings.smallest_nm
    short_enough = sides[:, 0] * nm_per_px <= settings.largest_nm
    areas = squares * px * px
    chosen = np.flatnonzero(long_enough & short_enough)
    return tuple(
        FoundCrystal(
            float(x[k]),
            float(y[k]),
            float(sides[k, 0]),
            float(sides[k, 1]),
            float(turned[k]),
            float(areas[k]),
            things[k].contrast,
            float(neighbour[k]),
            max(float(border[k]), 0.0),
            is_isolated(float(neighbour[k]), float(border[k]), settings.isolated_nm, settings.border_nm),
            tuple((float(a), float(b)) for a, b in outlines.corners(reach[k])),
        )
        for k in chosen[np.argsort(-areas[chosen], kind="stable")].tolist()
    )


def _borders(reach: Array, seen: FieldView) -> Array:
    """(count,) px from each to the nearest edge of the picture."""
    rows, columns = seen.whole_px
    quarter = outlines.DIRECTIONS // 4
    right, down, left, up = (reach[:, k * quarter] for k in range(4))
    # What it reaches to the left and up is the negative of its smallest places.
    return np.asarray(np.minimum(np.minimum(columns - right, rows - down), np.minimum(-left, -up)))
