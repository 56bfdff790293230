"""Is there a specimen in the light? What moves with the stage is no camera's response.

A film with cracks or crystals stays where it is when the beam is shifted, as the response does: it would go into the
flatfield, and into every data set after it. So a few frames are taken with the stage elsewhere, before the long series.
`specimen` is computed in a worker while the beam is on (`engine.run.compute`); `seen` decides by what it found.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLACES = ("here", "there")
BLOCKS = 12
"""Along each side of the camera."""
SMOOTH = 3
"""Degree of the polynomial that a beam which drifts meanwhile may change by: its light is one of fourth degree."""
SURE = 6.0
"""Standard deviations of chi^2 by which frames here and there must differ."""
OF_ACCURACY = 0.5
"""Of the accuracy that is asked for: less of a specimen does no harm."""


def specimen(arguments: Mapping[str, Any], picture: Callable[[int], NDArray[np.generic]]) -> dict[str, float]:
    """Of lit frames with the stage `here` and `there`, and a `dark` one (indices), and the `gain`: `share`, by how much
    a part of the camera changes beside counting and smooth light (rms), and `sigmas`, how sure that is.
    """
    dark = np.asarray(picture(arguments["dark"]), np.float64)
    lit = {place: [np.asarray(picture(index), np.float64) - dark for index in arguments[place]] for place in PLACES}
    # A part without a count, behind a bar that has come in, has less than any film lets through.
    here, there = (np.maximum(_blocks(np.sum(lit[place], axis=0)), 1.0) for place in PLACES)
    changed, variance = np.log(there / here), arguments["gain"] * (1 / here + 1 / there)
    x, y = np.meshgrid(*(2 * (np.arange(BLOCKS) + 0.5) / BLOCKS - 1,) * 2)
    powers = [(i, j) for i in range(SMOOTH + 1) for j in range(SMOOTH + 1 - i)]
    smooth = np.stack([x.ravel() ** i * y.ravel() ** j for i, j in powers], axis=1)
    weight = 1 / np.sqrt(variance)
    terms = np.linalg.lstsq(smooth * weight[:, None], changed * weight, rcond=None)[0]
    left = changed - smooth @ terms
    free = len(left) - len(powers)
    share = float(np.sqrt(max(0.0, (left**2).sum() / free - variance.mean())))
    return {"share": share, "sigmas": float(((left * weight) ** 2).sum() / free - 1) * float(np.sqrt(free / 2))}


def seen(found: Mapping[str, float], accuracy_percent: float) -> str:
    """That there is a specimen, with what to do; empty where there is none that does harm."""
    if found["sigmas"] < SURE or found["share"] < OF_ACCURACY * accuracy_percent / 100:
        return ""
    return (
        f"there is a specimen in the light: where the stage was moved, parts of the camera changed by "
        f"{found['share']:.1%}. Take it out, or go to a place without film"
    )


def _blocks(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(BLOCKS * BLOCKS,) sums of blocks of pixels, rows first."""
    parts = [part for rows in np.array_split(counts, BLOCKS, 0) for part in np.array_split(rows, BLOCKS, 1)]
    return np.array([part.sum() for part in parts])
