"""The first pictures of a lens calibration, judged while it goes on; computed in a worker (`engine.run.compute`)."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

NEAR_SATURATION = 0.9
SPREAD_SHARE = 0.5
"""A beam that is defocused has less than this of its height in focus."""
LEAST_COUNTS = 20.0


def tried(arguments: Mapping[str, Any], picture: Callable[[int], NDArray[np.generic]]) -> dict[str, Any]:
    """Of a picture at rest and one out of focus (`rest`, `away`: their indices; `saturation`): why they are of no
    use.
    """
    rest, away = (np.asarray(picture(arguments[name]), np.float64) for name in ("rest", "away"))
    saturation, brightest = arguments["saturation"], float(rest.max())
    if saturation is not None and brightest >= NEAR_SATURATION * saturation:
        said = f"the camera is saturated by the beam: {brightest:.0f} counts of {saturation}"
        return {"why": f"{said}. Make exposure_s shorter, or take a smaller spot"}
    heights = [float(gaussian_filter(one, 1.0).max()) for one in (rest, away)]
    if heights[0] < LEAST_COUNTS:
        said = f"no beam is seen: the brightest place counts {heights[0]:.1f}"
        return {"why": f"{said}. Is it on the camera, and in focus?"}
    if heights[1] > SPREAD_SHARE * heights[0]:
        said = "the lens does not answer: out of focus the picture is as bright as in focus"
        return {"why": f"{said}. Is it the lens that the driver sets, and is the plan's defocus large enough?"}
    return {"why": ""}
