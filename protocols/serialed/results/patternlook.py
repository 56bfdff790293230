"""A look at the patterns of a run for programs that index them: where the primary beam is in each, and its spots.

The beam costs some milliseconds a pattern and is looked for in all; spots cost a sixth of a second, so they are looked
for in the good ones, by as many processes as there are processors.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.products.corrections import Correction
from protocols.products.processes import MOST_PROCESSES, processes
from protocols.serialed.results.source import SerialSource, open_serial
from protocols.spots.beam_centre import brightest_place, even_level, filter_px
from protocols.spots.beam_seen import unseen
from protocols.spots.peaks import find_peaks

AT_ONCE = 16
"""Patterns of one task."""
SPOTS_S_PER_PX = 0.16 / 512**2
"""What it takes to look for spots in a pattern."""
ALONE_S = 10.0
"""Work for which one more process is worth its start."""


@dataclass(frozen=True, slots=True, eq=False)
class PatternLook:
    """Of one pattern, on the grid of equal pixels; pixel i covers [i, i + 1). beam_px: (fast, slow), None where it is
    not surely seen. peaks: (k, 3) fast, slow, counts above the background. error: why it could not be read.
    """

    beam_px: tuple[float, float] | None
    peaks: NDArray[np.float64]
    error: str = ""


def look_at_patterns(
    source: SerialSource, count: int, with_peaks: Collection[int], progress: Callable[[int], None]
) -> list[PatternLook]:
    """Of patterns 0 .. count - 1. progress: told how many more are done. Raises ComputationError for a process that
    died.
    """
    chosen = frozenset(with_peaks)
    tasks = [(range(first, min(first + AT_ONCE, count)), chosen) for first in range(0, count, AT_ONCE)]
    looked: dict[int, PatternLook] = {}

    def here(numbers: range, some: frozenset[int]) -> tuple[range, list[PatternLook]]:
        return numbers, [_look(source, number, number in some) for number in numbers]

    rows, columns = source.image_shape or (512, 512)
    work_s = len(chosen) * rows * columns * SPOTS_S_PER_PX
    workers = max(1, min(os.cpu_count() or 1, MOST_PROCESSES, int(work_s / ALONE_S)))
    with processes(workers) as several:
        for numbers, found in several.map(here, partial(look_at_some, source.folder), tasks):
            looked |= dict(zip(numbers, found, strict=True))
            progress(len(numbers))
    return [looked[number] for number in range(count)]


def look_at_some(folder: Path, numbers: range, with_peaks: frozenset[int]) -> tuple[range, list[PatternLook]]:
    """In a process of its own."""
    with open_serial(folder) as source:
        return numbers, [_look(source, number, number in with_peaks) for number in numbers]


def beam_of(looks: Collection[PatternLook], nominal_px: tuple[float, float]) -> tuple[tuple[float, float], str]:
    """The primary beam of all patterns, and in words how it is known: the median of those in which it was seen."""
    seen = [look.beam_px for look in looks if look.beam_px is not None]
    if len(seen) < 3:
        return nominal_px, f"as the instrument says: it was seen in {len(seen)} of {len(looks)} patterns"
    fast, slow = np.median(np.array(seen), axis=0)
    return (float(fast), float(slow)), f"the median of {len(seen)} of {len(looks)} patterns in which it was seen"


def _look(source: SerialSource, number: int, with_peaks: bool) -> PatternLook:
    try:
        raw = source.pattern(number)
    except DataError as error:
        return PatternLook(None, np.empty((0, 3)), str(error))
    counts = _correction(source).apply(raw)[0]
    detector = source.document.instrument.get("detector") or {}
    saturation = detector.get("saturation")
    level = even_level(int(saturation), bool(detector.get("wide_cross"))) if saturation else None
    beam, _ = brightest_place(counts, filter_px(counts.shape), level)
    if beam is not None and unseen(counts, beam, level) is not None:
        beam = None
    if not with_peaks:
        return PatternLook(beam, np.empty((0, 3)))
    found = find_peaks(counts)
    return PatternLook(beam, np.column_stack([found.xy_px, found.intensity]))


@lru_cache(maxsize=1)
def _correction(source: SerialSource) -> Correction:
    return source.correction()
