"""Dark things in a field: connected cells with a sharp edge all around, found at many levels of darkness.

At the level of the film between holes all strands hang together; at a level between film and crystal each crystal is a
thing of its own. No level suits a whole field, so all are tried: what is darker than its surroundings by a step, on
all sides, is a thing, whatever the surroundings are on each side, film or hole. Of things that hold each other the
outermost counts, unless it holds several beside each other; its outline is that at which the step is steepest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Cells = NDArray[np.float32]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

FINE_TO = 1.0
"""Levels lie close up to this darkness, and wider beyond."""
MOST_LEVELS = 26
LEAST_CELLS = 4
CLOSED = 0.85
"""Share of the edge at which there is a step."""
MOST_CUT = 0.3
"""Share of the edge that the end of the picture, or a bar, may hide."""
SIGMAS = 4.0
"""A step is above the noise of a smoothed cell by so much."""
THING_SIGMAS = 7.0
"""The mean of a thing against its noise."""
SAME = 0.6
"""Of the outermost thing's cells: what is smaller than this part of it is something that lies on it."""
AROUND = ((0, 2), (2, 0), (0, -2), (-2, 0), (2, 2), (2, -2), (-2, 2), (-2, -2))
"""Where it is looked for the step, in cells from the edge."""
PAD = 2


@dataclass(frozen=True, eq=False)
class Thing:
    """cells: their places in the flat array of cells. contrast: mean darkness over that around. cut: share of its edge
    that ends at the picture or a bar.
    """

    cells: Places
    contrast: float
    steepness: float
    cut: float


def levels(dark: Cells, usable: Mask, least_step: float) -> NDArray[np.float64]:
    """Levels of darkness to look at, from bright to dark."""
    low, high = np.percentile(dark[usable][::5], (1.0, 99.8))
    made = [float(low) + least_step]
    while made[-1] < high and len(made) < MOST_LEVELS:
        deep = made[-1] - low
        made.append(made[-1] + least_step * max(1.0, 4.0 * deep / FINE_TO))
    return np.array(made)


def dark_things(dark: Cells, usable: Mask, noise: float, least_contrast: float, most_cells: float) -> list[Thing]:
    """The things in an array of darkness. noise: of a bright cell. 10 ms for 240 x 240 cells."""
    step = max(least_contrast, SIGMAS * noise)
    padded = np.pad(dark, PAD, constant_values=np.nan)
    padded[PAD:-PAD, PAD:-PAD][~usable] = np.nan
    width = padded.shape[1]
    owner = np.zeros(padded.size, np.int32)
    chosen: dict[int, Thing] = {}
    outer_size: dict[int, int] = {}
    number = 0
    for level in levels(dark, usable, 0.7 * step):
        found = _at(padded, width, float(level), step, noise, most_cells)
        by_owner: dict[int, list[Thing]] = {}
        for thing in found:
            by_owner.setdefault(int(owner[thing.cells[0]]), []).append(thing)
        for parent, children in by_owner.items():
            if parent == 0 or _parts(children, outer_size.get(parent, 0)):
                if parent:
                    chosen.pop(parent, None)
                for thing in children:
                    number += 1
                    owner[thing.cells] = number
                    chosen[number], outer_size[number] = thing, len(thing.cells)
            elif parent in chosen:
                best = max(children, key=lambda thing: len(thing.cells))
                if len(best.cells) > SAME * outer_size[parent] and best.steepness > chosen[parent].steepness:
                    chosen[parent] = best
    things = list(chosen.values())
    return [Thing(_unpadded(each.cells, width), each.contrast, each.steepness, each.cut) for each in things]


def _parts(children: list[Thing], size: int) -> bool:
    """Whether these are several things beside each other, and not marks on one."""
    return len(children) > 1 and sum(len(each.cells) for each in children) > 0.4 * size and (
        sorted(len(each.cells) for each in children)[-2] > 0.1 * size
    )


def _at(padded: Cells, width: int, level: float, step: float, noise: float, most_cells: float) -> list[Thing]:
    """What is a thing at one level."""
    with np.errstate(invalid="ignore"):
        mask = padded > level
    labels, count = label(mask)
    if not count:
        return []
    flat, values = labels.ravel(), padded.ravel()
    sizes = np.bincount(flat, minlength=count + 1)
    fits = (sizes >= LEAST_CELLS) & (sizes <= most_cells)
    fits[0] = False
    if not fits.any():
        return []
    at = np.flatnonzero(fits[flat])
    number = flat[at]
    means = np.bincount(number, values[at], count + 1) / np.maximum(sizes, 1)
    inner = (flat[at - 1] == number) & (flat[at + 1] == number)
    inner &= (flat[at - width] == number) & (flat[at + width] == number)
    edge, edge_number = at[~inner], number[~inner]
    closed, whole, cut, around, steep = (np.zeros(count + 1) for _ in range(5))
    for down, along in AROUND:
        there = edge + (down * width + along)
        outside = flat[there] != edge_number
        who, value = edge_number[outside], values[there[outside]]
        hidden = np.isnan(value)
        cut += np.bincount(who[hidden], minlength=count + 1)
        who, value = who[~hidden], value[~hidden]
        drop = values[edge[outside][~hidden]] - value
        whole += np.bincount(who, minlength=count + 1)
        closed += np.bincount(who, means[who] - value > step, count + 1)
        around += np.bincount(who, value, count + 1)
        steep += np.bincount(who, drop, count + 1)
    seen = np.maximum(whole, 1.0)
    contrast = means - around / seen
    sure = contrast * np.sqrt(np.maximum(sizes, 1)) > THING_SIGMAS * noise
    good = fits & sure & (closed > CLOSED * whole) & (cut < MOST_CUT * (whole + cut)) & (whole > 0)
    if not good.any():
        return []
    keep = good[number]
    at, number = at[keep], number[keep]
    order = np.argsort(number, kind="stable")
    groups = np.split(at[order], np.flatnonzero(np.diff(number[order])) + 1)
    names = np.flatnonzero(good)
    return [
        Thing(cells, float(contrast[k]), float(steep[k] / seen[k]), float(cut[k] / (whole[k] + cut[k])))
        for k, cells in zip(names.tolist(), groups, strict=True)
    ]


def _unpadded(cells: Places, width: int) -> Places:
    rows, columns = np.divmod(cells, width)
    return np.asarray((rows - PAD) * (width - 2 * PAD) + columns - PAD)
