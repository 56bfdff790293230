"""The scale of a run, frame by frame: how much of the counts is in spots, against what is usual in this run.

A crystal that leaves the beam takes its spots with it, while the primary beam and its halo stay. What is left then are
single noisy pixels, some hundredths of a scale; so the scale is looked at on a logarithmic axis, and smoothed, for
strong reflections make single frames ten times as bright as others.
"""

import numpy as np
from numpy.typing import NDArray

from protocols.products.survey import FrameSurvey

SMOOTHED_FRAMES = 11
"""Of the running median."""
FADED_SCALE = 1 / 8
"""Smoothed, against the better part of the run. Crystals that stay do not get there; without one it is below 1/20."""
FADED_FRAMES = 10
"""So many frames in a row are no accident."""


def scale_of(surveys: list[FrameSurvey]) -> NDArray[np.float64]:
    """(n,) counts in the spots of each frame over the run's median; 0 for a frame without spots, NaN for all when no
    frame of the run has any.
    """
    return _relative(np.array([survey.spot_pixels * survey.spot_mean for survey in surveys], np.float64))


def brightness_of(surveys: list[FrameSurvey]) -> NDArray[np.float64]:
    """(n,) all counts of each frame over the run's median: those of the primary beam, nearly."""
    return _relative(np.array([survey.total for survey in surveys], np.float64))


def smoothed(scale: NDArray[np.float64], frames: int = SMOOTHED_FRAMES) -> NDArray[np.float64]:
    """(n,) running median over this many frames (odd); shorter at both ends."""
    half = frames // 2
    return np.array([np.median(scale[max(0, k - half) : k + half + 1]) for k in range(len(scale))])


def faded(surveys: list[FrameSurvey]) -> list[int]:
    """The slots in which the spots had faded, in stretches of FADED_FRAMES or more; in most runs none."""
    scale = smoothed(scale_of(surveys))
    if not len(scale) or not np.isfinite(scale).all():
        return []
    low = scale < FADED_SCALE * np.percentile(scale, 75)
    found: list[int] = []
    stretch: list[int] = []
    for survey, is_low in zip(surveys, low, strict=True):
        stretch = [*stretch, survey.slot] if is_low else []
        if len(stretch) == FADED_FRAMES:
            found += stretch
        elif len(stretch) > FADED_FRAMES:
            found.append(survey.slot)
    return found


def _relative(values: NDArray[np.float64]) -> NDArray[np.float64]:
    usual = np.median(values) if len(values) else 0.0
    if usual == 0 and (values > 0).any():  # in most frames there is nothing
        usual = np.median(values[values > 0])
    return values / usual if usual > 0 else np.full(len(values), np.nan)
