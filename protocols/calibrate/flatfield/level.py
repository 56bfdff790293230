"""How bright the spread beam is on the camera, from its first frames: how many are needed, or why there is no use.

`level` is computed in a worker while the beam is on (`engine.run.compute`); `judged` decides by what it found.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.calibrate.flatfield.plan import POSITIONS
from protocols.products.cross import pixel_area

FEWEST_COUNTS = 5.0
"""In a pixel of a lit frame; less is no beam, or so little that it takes hours."""
SATURATED_SHARE = 1e-3
NEAR_SATURATION = 0.7
"""Of the saturation: where the brightest part lies above, the camera no longer answers in proportion."""
LEAST_LIT = 0.3
"""Of the median: a part of the camera that gets less is not lit by the same beam."""
DARK_SHARE = 0.1
PARTS = 8
FEWEST_FRAMES = 50
"""For the scatter of each pixel, by which noisy ones are found."""


@dataclass(frozen=True, slots=True)
class Level:
    """What was found. counts: of a pixel in a lit frame, median. dark: the same without light. gain: counts per
    electron, roughly. saturated: share of the pixels. brightest: counts of the brightest part. least: of the darkest
    part, as a share of the median.
    """

    counts: float
    dark: float
    gain: float
    saturated: float
    brightest: float
    least: float


def level(arguments: Mapping[str, Any], picture: Callable[[int], NDArray[np.generic]]) -> dict[str, float]:
    """Of two lit frames and a dark one (`lit`, `dark`: their indices): the fields of `Level`."""
    first, second = (np.asarray(picture(index), np.float64) for index in arguments["lit"])
    dark = np.asarray(picture(arguments["dark"]), np.float64)
    area = pixel_area((dark.shape[0], dark.shape[1])).astype(np.float64) if arguments["wide_cross"] else 1.0
    even, offset = (first + second) / 2 / area, dark / area
    blocks = [part for rows in np.array_split(even - offset, PARTS, 0) for part in np.array_split(rows, PARTS, 1)]
    middles = np.array([np.median(part) for part in blocks])
    counts = float(np.median(even - offset))
    scatter = (first - second) / np.sqrt(np.maximum(first + second, 1.0))
    gain = float((1.4826 * np.median(np.abs(scatter - np.median(scatter)))) ** 2)
    saturation = arguments["saturation"]
    saturated = 0.0 if saturation is None else float(np.mean(second >= saturation))
    least = float(middles.min() / counts) if counts > 0 else 0.0
    brightest = float(middles.max() + np.median(offset))
    return {
        "counts": counts,
        "dark": float(np.median(offset)),
        "gain": gain,
        "saturated": saturated,
        "brightest": brightest,
        "least": least,
    }


def judged(found: Level, saturation: int | None) -> str:
    """Why frames like these make no flatfield, with what to do; empty where they do."""
    if found.dark > DARK_SHARE * max(found.counts, 0.0) and found.dark > FEWEST_COUNTS:
        return (
            f"without beam a pixel counts {found.dark:.0f}, with it {found.counts:.0f} more: the beam blanker does not "
            "blank, or there is other light. Look at it"
        )
    if found.counts < FEWEST_COUNTS:
        return (
            f"the field is empty: a pixel counts {max(found.counts, 0.0):.1f} in a frame. Spread the beam over the "
            "camera, take out specimen and beam stop, and make it brighter or exposure_s longer"
        )
    if found.least < LEAST_LIT:
        return (
            f"the beam does not cover the camera evenly: a part of it gets {found.least:.0%} of the median. Spread the "
            "beam more, and take out specimen, aperture and beam stop"
        )
    if saturation is not None and (found.saturated > SATURATED_SHARE or found.brightest > NEAR_SATURATION * saturation):
        return (
            f"frames are saturated, or nearly: the brightest part counts {found.brightest:.0f} of {saturation}, and "
            f"{found.saturated:.1%} of the pixels are full. Spread the beam more, or make exposure_s shorter"
        )
    return ""


def frames_for(accuracy_percent: float, found: Level) -> int:
    """How many frames give this accuracy by counting statistics, in whole rounds of the positions."""
    needed = max(found.gain, 0.05) / ((accuracy_percent / 100) ** 2 * found.counts)
    return len(POSITIONS) * math.ceil(max(needed, FEWEST_FRAMES) / len(POSITIONS))
