"""The first snapshots of a run, judged while it goes on: is there a disc with a crystal that follows, how far may it
go?

`tried` is computed in a worker (`engine.run.compute`): roughly, from few pictures, so that the beam is not on a
specimen for a minute for nothing.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, median_filter

from engine.errors import DataError
from protocols.calibrate.disc.discfit import Disc, fit_disc
from protocols.calibrate.disc.shadow import EDGE_PX, LEAST_PX
from protocols.calibrate.disc.window import Window
from protocols.products.cross import pixel_area, spread

Array = NDArray[np.float64]

NEAR_SATURATION = 0.7
DARKER = 0.85
"""Of the light: a crystal is darker than this."""
SMALLER_PX = 1.5
"""By so much a silhouette reaches out less here, in few and roughly cleaned pictures."""
LANDS_SIGMAS = 3.0
"""So many scatters of the stage stay free at the edge: places that it landed beyond it are not seen, and those that are
left would lie nearer to the middle than they were to."""
LEAST_SHARE = 0.15
"""Of the disc's radius: a crystal that cannot be moved as far tells too little."""
FEWEST = 4


def tried(arguments: Mapping[str, Any], picture: Callable[[int], NDArray[np.generic]]) -> dict[str, Any]:
    """Of some visits (`visits`: x_nm, y_nm and the indices of their pictures; `saturation`, `wide_cross`): why they
    are of no use (`why`), or by how much the stage brings the crystal to the middle of the disc (`middle_nm`), how far
    it may be moved around it (`radius_nm`), and how far off the stage lands along each axis (`scatter_nm`, with what is
    rough in here).
    """
    saturation = arguments["saturation"]
    seen = [
        np.mean([np.asarray(picture(k), np.float64) for k in visit["pictures"]], axis=0)
        for visit in arguments["visits"]
    ]
    brightest = max(float(np.percentile(one, 99.9)) for one in seen)
    if saturation is not None and brightest > NEAR_SATURATION * saturation:
        said = f"the camera is saturated, or nearly: {brightest:.0f} counts of {saturation}"
        return {"why": f"{said}. Make exposure_s shorter"}
    pictures = [_even(one) if arguments["wide_cross"] else one for one in seen]
    try:
        return {"why": "", **_room(pictures, np.array([visit["place_nm"] for visit in arguments["visits"]]))}
    except DataError as error:
        return {"why": str(error)}


def _even(raw: Array) -> Array:
    shape = raw.shape[0], raw.shape[1]
    return np.asarray(spread(raw / pixel_area(shape)), np.float64)


def _room(whole: list[Array], places_nm: Array) -> dict[str, Any]:
    """What `tried` tells of them. Raises DataError where the crystal does not follow, or nowhere is room."""
    shape = whole[0].shape[0], whole[0].shape[1]
    window = Window.around(fit_disc(np.asarray(np.median(whole, axis=0))), shape)  # as the analysis will see it
    pictures = [window.cut(each).astype(np.float64) for each in whole]
    disc = fit_disc(np.asarray(np.median(pictures, axis=0)))
    shadows = [_shadow(one, disc) for one in pictures]
    found = [shadow for shadow in shadows if shadow is not None]
    if len(found) < max(FEWEST, len(pictures) / 2):
        raise DataError(
            "the disc is empty: nothing in it is darker than its light. Bring a crystal of a third of the disc into "
            "its middle"
        )
    known = np.array([shadow is not None for shadow in shadows])
    middles, extent_px = np.array([middle for middle, _ in found]), float(np.median([extent for _, extent in found]))
    moved_nm = places_nm[known] - places_nm[known].mean(axis=0)
    design = np.column_stack([moved_nm, np.ones(len(moved_nm))])
    figures, *_ = np.linalg.lstsq(design, middles, rcond=None)
    left = middles - design @ figures
    scale = math.sqrt(abs(float(np.linalg.det(figures[:2]))))
    way_px = scale * float(np.hypot(*moved_nm.T).max())
    if way_px < 2.0 or way_px < 3 * float(np.sqrt(np.mean(left**2))):
        raise DataError(
            f"the stage was moved by {np.hypot(*moved_nm.T).max():.0f} nm and nothing in the disc followed it. Is a "
            "crystal in the disc, and does the stage move?"
        )
    off_px = np.array([disc.fast_px, disc.slow_px]) - figures[2]
    room_px = disc.radius_px - disc.soft_px - EDGE_PX - SMALLER_PX - extent_px
    if room_px < LEAST_SHARE * disc.radius_px:
        raise DataError(
            f"the crystal, {2 * extent_px:.0f} px long in a disc of {disc.radius_px:.0f} px, would leave the disc. "
            "Take a smaller one"
        )
    scatter_px = math.sqrt(float(np.sum(left**2)) / max(1, 2 * (len(design) - design.shape[1])))
    return {
        "middle_nm": np.linalg.solve(figures[:2].T, off_px).tolist(),
        "radius_nm": max(LEAST_SHARE * disc.radius_px, room_px - LANDS_SIGMAS * scatter_px) / scale,
        "scatter_nm": scatter_px / scale,
    }


def _shadow(picture: Array, disc: Disc) -> tuple[tuple[float, float], float] | None:
    """The middle of what is dark in a disc, and how far it reaches from there; None where nothing is."""
    within = disc.distance_px(picture.shape) < disc.radius_px - 2 * disc.soft_px
    smooth = median_filter(picture, 5)
    light = float(np.percentile(smooth[within], 80))
    depth = light - float(np.percentile(smooth[within], 1))
    if depth < (1 - DARKER) * light:
        return None
    labels, number = label(within & (smooth < light - depth / 2))
    sizes = np.bincount(labels.ravel())[1:] if number else np.zeros(1)
    if sizes.max() < LEAST_PX:
        return None
    rows, columns = np.nonzero(labels == 1 + int(np.argmax(sizes)))
    middle = float(columns.mean()) + 0.5, float(rows.mean()) + 0.5
    return middle, float(np.hypot(columns + 0.5 - middle[0], rows + 0.5 - middle[1]).max())
