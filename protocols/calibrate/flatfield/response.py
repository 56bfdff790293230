"""Response, gain and bad pixels of a camera, from counts of evenly lit and of dark frames. Pure functions of arrays.

Bad are pixels that answer with less than half or more than one and a half of what others do, that count without light
far beyond the others, or whose counts scatter far more than counting statistics: single ones and groups alike, for
each is judged against the whole camera and not against its neighbours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST_RESPONSE, MOST_RESPONSE = 0.5, 1.5
DARK_SIGMAS = 10.0
NOISE_TIMES_POISSON = 3.0
ROUNDING = 1.0 / 12.0
"""Variance of a count that was rounded to a whole number."""
NEAR_WHOLE = 0.03
"""A gain as near to a whole number: either the camera counts electrons and rounds nothing, or its rounding follows the
number of electrons instead of being random."""
SURE_TO = 0.015
"""Then it is known no better than this."""
SURE_SHARE = 0.005
"""And at all no better than by this share: of a gain near 4/3 counting would state 0.04 %, and it was 0.4 % off."""


@dataclass(frozen=True, slots=True, eq=False)
class Dark:
    """Counts without light, (rows, columns). mean: of a frame. sigma: of one frame of a good pixel. hot: far beyond."""

    mean: Array
    sigma: float
    hot: Mask


def dark_of(frames: Iterable[NDArray[np.generic]], number: int) -> Dark:
    """What the camera counts without light. number: of frames."""
    total: Array | float = 0.0
    squares: Array | float = 0.0
    for frame in frames:
        counts = np.asarray(frame, np.float64)
        total, squares = total + counts, squares + counts * counts
    mean = np.asarray(total) / number
    variance = np.maximum(np.asarray(squares) / number - mean * mean, 0.0)
    middle = float(np.median(mean))
    spread = 1.4826 * float(np.median(np.abs(mean - middle)))
    sigma = float(np.sqrt(np.median(variance)))
    # Of the mean of so many frames. A camera that hardly counts without light has one count in all of them now and
    # then.
    own = max(spread, sigma / np.sqrt(number), np.sqrt(max(middle, 1.0 / number) / number))
    return Dark(mean, sigma, np.asarray(mean - middle > DARK_SIGMAS * own))


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """(rows, columns) each. flatfield: relative response, mean 1 over good pixels; sigma: its standard uncertainty by
    counting. bad: pixels to be left out; kinds: how many there are by what is wrong with them. gain: counts per
    electron, with its standard uncertainty.
    """

    flatfield: Array
    sigma: Array
    bad: Mask
    kinds: dict[str, int]
    gain: float
    gain_sigma: float


def plainly_bad(total: Array, area: Array, hot: Mask) -> Mask:
    """What is certainly no good pixel, whatever the light does: for fitting that."""
    level = total / area
    middle = np.median(level[~hot])
    return np.asarray(hot | (level < 0.2 * middle) | (level > 5.0 * middle))


def response_of(
    pictures: Callable[[], Iterable[Array]], lights: Callable[[int], Array], area: Array, hot: Mask
) -> Response:
    """The response from pictures with the dark counts taken off. Each is asked for twice: for sums, and for scatter.

    lights: the illumination of each frame. area: of each pixel in ordinary ones.
    """
    total, light, number = np.zeros(area.shape), np.zeros(area.shape), 0
    for counts in pictures():
        total += counts
        light += lights(number)
        number += 1
    flat = total / light
    even = flat / area
    middle = np.median(even[~hot])
    weak, bright = even < LEAST_RESPONSE * middle, even > MOST_RESPONSE * middle
    scatter = np.zeros(area.shape)
    for frame, counts in enumerate(pictures()):
        wanted = np.maximum(flat * lights(frame), 1e-9)
        scatter += (counts - wanted) ** 2 / wanted
    scatter /= max(number - 1, 1)
    alive = ~(hot | weak | bright)
    gain = float(np.median(scatter[alive]))
    noisy = scatter > NOISE_TIMES_POISSON * gain
    good = alive & ~noisy
    gain = float(scatter[good].mean())
    gain_sigma = gain * float(np.sqrt(2.0 / ((number - 1) * np.count_nonzero(good))))
    gain_sigma = float(np.hypot(gain_sigma, SURE_SHARE * gain))
    if abs(gain - round(gain)) > NEAR_WHOLE:
        gain -= ROUNDING * number / float(total[good].mean())
    else:
        gain_sigma = float(np.hypot(gain_sigma, SURE_TO))
    scale = float(flat[good].mean())
    sigma = np.sqrt(np.maximum(gain * total, gain)) / light / scale
    kinds = {"hot": hot, "weak": weak, "bright": bright, "noisy": noisy & alive}
    return Response(
        flat / scale,
        sigma,
        ~good,
        {name: int(np.count_nonzero(mask)) for name, mask in kinds.items()},
        gain,
        gain_sigma,
    )
