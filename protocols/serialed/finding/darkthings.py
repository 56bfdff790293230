"""Dark things in a field: connected cells with a sharp edge all around, found at many levels of darkness.

At the level of the film between holes all strands hang together; at a level between film and crystal each crystal is a
thing of its own. No level suits a whole field, so all are tried: what is darker than its surroundings by a step, on
all sides, is a thing, whatever the surroundings are on each side, film or hole. Of things that hold each other the
outermost counts, unless it holds several beside each other; its outline is that at which the step is steepest.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from protocols.serialed.finding.outlines import areas, reaches

Cells = NDArray[np.float32]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

FINE_TO = 1.0
"""Levels lie close up to this darkness, and wider beyond."""
LEVEL_STEP, MOST_LEVELS = 1.0, 26
"""From level to level, over the step that is asked for."""
LEAST_CELLS = 4
FAR = 4
"""Cells between those that tell how rough a film is."""
SIGMAS = 2.6
"""A step is above the film's roughness by so much."""
CLOSED, OPEN = 0.85, 0.25
"""Share of the edge at which there is a step; and that is no step which is less than this part of the contrast."""
CLEAR, THING_SIGMAS = 3.5, 7.0
"""Contrast of a thing over the film's roughness, and over what the noise of its cells makes of their mean."""
BARELY = 0.4
"""What rises above a level by less than this part of a step is not looked at there."""
MOST_CUT = 0.4
"""Share of the edge that the end of the picture, or a bar, may hide."""
UNSEEN, FULL = 0.08, 0.85
"""What is cut by more must fill so much of the convex outline around it: corners of the film do not."""
BULKY, LEAST_FULL = 60, 0.55
"""The same for what has so many cells: crystals and heaps of them, but no nets of strands."""
SAME = 0.75
"""Of the outermost thing's cells: what is smaller than this part of it is something that lies on it."""
STEEPER, WEAKEST = 1.5, 0.25
"""What lies in a thing is the crystal, and the thing a piece of film, if its edge is so much steeper: as steep as where
this part of the edge is less steep.
"""
AROUND = ((0, 2), (2, 0), (0, -2), (-2, 0), (2, 2), (2, -2), (-2, 2), (-2, -2))
"""Where it is looked for the step, in cells from the edge."""
PAD = 2
HALF = 0.5
"""The outline stands at this part of the contrast."""


@dataclass(frozen=True, eq=False)
class Thing:
    """cells: their places in the flat array of cells. contrast: mean darkness over that around. cut: share of its edge
    that ends at the picture or a bar. steepness: of its edge, darkness over two cells.
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
    """The things in an array of darkness. noise: of a bright cell. 20 ms for 256 x 256 cells."""
    rough = max(noise, roughness(dark, usable))
    step = max(least_contrast, SIGMAS * rough)
    padded = np.pad(dark, PAD, constant_values=np.nan)
    padded[PAD:-PAD, PAD:-PAD][~usable] = np.nan
    width = padded.shape[1]
    owner = np.zeros(padded.size, np.int32)
    chosen: dict[int, Thing] = {}
    outermost: dict[int, Thing] = {}
    number = 0
    for level in levels(dark, usable, LEVEL_STEP * step):
        by_owner: dict[int, list[Thing]] = {}
        for thing in _at(padded, width, float(level), step, noise, most_cells):
            by_owner.setdefault(int(owner[thing.cells[0]]), []).append(thing)
        for parent, children in by_owner.items():
            if parent and not _instead(chosen[parent], outermost[parent], children):
                best = max(children, key=lambda thing: len(thing.cells))
                if len(best.cells) > SAME * len(outermost[parent].cells) and best.steepness > chosen[parent].steepness:
                    chosen[parent] = best
                continue
            if parent:
                chosen.pop(parent)
                owner[outermost.pop(parent).cells] = 0
            for thing in children:
                number += 1
                owner[thing.cells] = number
                chosen[number] = outermost[number] = thing
    return [
        replace(each, cells=_unpadded(each.cells, width)) for each in chosen.values() if each.contrast > CLEAR * rough
    ]


def roughness(dark: Cells, usable: Mask) -> float:
    """Standard deviation of the film's darkness over a few cells: its noise and its own texture, and no edges."""
    differ = np.abs(dark[:, FAR:] - dark[:, :-FAR])[usable[:, FAR:] & usable[:, :-FAR]]
    return 1.4826 * float(np.median(differ[::3])) / math.sqrt(2.0)


def _instead(chosen: Thing, outermost: Thing, children: list[Thing]) -> bool:
    """Whether what lies in a thing are the things, and it is a piece of film, or several that touch."""
    if max(child.steepness for child in children) > STEEPER * chosen.steepness:
        return True
    return len(children) > 1 and sorted(len(each.cells) for each in children)[-2] > 0.15 * len(outermost.cells)


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
    at = np.flatnonzero(fits[flat])
    number = flat[at]
    means = np.bincount(number, values[at], count + 1) / np.maximum(sizes, 1)
    # What hardly rises above the level is the film's own roughness, or is seen better at the level below.
    fits &= means > level + BARELY * step
    if not fits.any():
        return []
    keep = fits[number]
    at, number = at[keep], number[keep]
    inner = (flat[at - 1] == number) & (flat[at + 1] == number)
    inner &= (flat[at - width] == number) & (flat[at + width] == number)
    edge, edge_number = at[~inner], number[~inner]
    cut = np.zeros(count + 1)
    owners, drops, arounds = [], [], []
    for down, along in AROUND:
        there = edge + (down * width + along)
        outside = flat[there] != edge_number
        who, value = edge_number[outside], values[there[outside]]
        hidden = np.isnan(value)
        if hidden.any():
            cut += np.bincount(who[hidden], minlength=count + 1)
            outside[outside] = ~hidden
            who, value = who[~hidden], value[~hidden]
        owners.append(who)
        drops.append(values[edge[outside]] - value)
        arounds.append(value)
    who, around = np.concatenate(owners), np.concatenate(arounds)
    whole = np.bincount(who, minlength=count + 1)
    contrast = means - np.bincount(who, around, count + 1) / np.maximum(whole, 1)
    least = means - np.maximum(step, OPEN * contrast)
    open_ = np.bincount(who[around > least[who]], minlength=count + 1)
    sure = contrast * np.sqrt(np.maximum(sizes, 1)) > THING_SIGMAS * noise
    cut /= np.maximum(whole + cut, 1)
    good = fits & sure & (open_ < (1.0 - CLOSED) * whole) & (cut < MOST_CUT) & (whole > 0)
    if len(doubtful := np.flatnonzero(good & ((cut > UNSEEN) | (sizes > BULKY)))):
        full = _fullness(edge, edge_number, doubtful, sizes, width)
        good[doubtful] = full > np.where(cut[doubtful] > UNSEEN, FULL, LEAST_FULL)
    if not good.any():
        return []
    keep = good[who]
    lowest = _lowest(who[keep], np.concatenate(drops)[keep], np.where(good, whole, 0))
    keep = good[number]
    at, number = at[keep], number[keep]
    order = np.argsort(number, kind="stable")
    groups = np.split(at[order], np.flatnonzero(np.diff(number[order])) + 1)
    names = np.flatnonzero(good)
    return [
        Thing(cells, float(contrast[k]), float(lowest[k]), float(cut[k]))
        for k, cells in zip(names.tolist(), groups, strict=True)
    ]


def _fullness(at: Places, number: Places, which: Places, sizes: Places, width: int) -> NDArray[np.float64]:
    """Areas of some things over those of the convex outlines around them."""
    place = np.full(len(sizes), -1)
    place[which] = np.arange(len(which))
    number = place[number]
    at, number = at[number >= 0], number[number >= 0]
    order = np.argsort(number, kind="stable")
    rows, columns = np.divmod(at[order], width)
    return np.asarray(sizes[which] / areas(reaches(columns, rows, number[order], len(which))))


def grown(things: list[Thing], dark: Cells, usable: Mask) -> list[Thing]:
    """The same with the cells beside them that are darker than half way from what is around."""
    rows, columns = dark.shape
    owner = np.zeros((rows + 2, columns + 2), np.int32)
    flat = owner.ravel()
    half = np.zeros(len(things) + 1)
    padded = np.pad(np.where(usable, dark, -np.inf), 1, constant_values=-np.inf).ravel()
    places = [_padded(thing.cells, columns) for thing in things]
    for number, (thing, at) in enumerate(zip(things, places, strict=True), 1):
        flat[at] = number
        half[number] = float(padded[at].mean()) - HALF * thing.contrast
    every = np.concatenate(places) if places else np.empty(0, np.intp)
    numbers = flat[every].copy()
    for offset in (1, -1, columns + 2, -columns - 2):
        there = every + offset
        more = (flat[there] == 0) & (padded[there] > half[numbers])
        flat[there[more]] = numbers[more]
    at = np.flatnonzero(flat)
    order = np.argsort(flat[at], kind="stable")
    groups = np.split(at[order], np.flatnonzero(np.diff(flat[at][order])) + 1) if len(things) else []
    return [replace(thing, cells=_unpadded(cells, columns + 2, 1)) for thing, cells in zip(things, groups, strict=True)]


def _padded(cells: Places, columns: int) -> Places:
    rows, along = np.divmod(cells, columns)
    return np.asarray((rows + 1) * (columns + 2) + along + 1)


def _lowest(who: Places, drops: Cells, whole: Places) -> NDArray[np.float64]:
    """Of the drops of each, that below which a part `WEAKEST` lies."""
    order = np.lexsort((drops, who))
    first = np.cumsum(whole) - whole
    at = first + (WEAKEST * whole).astype(np.intp)
    lowest = np.zeros(len(whole))
    there = whole > 0
    lowest[there] = drops[order][at[there]]
    return lowest


def _unpadded(cells: Places, width: int, pad: int = PAD) -> Places:
    rows, columns = np.divmod(cells, width)
    return np.asarray((rows - pad) * (width - 2 * pad) + columns - pad)
