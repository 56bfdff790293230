"""How far the image of a specimen has moved between two tilts, as a computation of a run: by phase correlation, once
the foreshortening between the tilts is taken back.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, binary_dilation, gaussian_filter, label

from engine.run.compute import Computation
from protocols.calibrate.moves.picture import Camera, filled, lonely
from protocols.calibrate.moves.registration import NOTHING, displacement, flattened

Array = NDArray[np.float64]

SMOOTH_PX, AROUND_PX = 1.5, 8
BAR_LIGHT = 0.1
"""Of the light of the film: what has less, to the edge of the picture, is a bar."""
BAR_SHARE = 0.01
"""Of the picture: a bar covers more."""
LEAST_FILM = 0.25
"""Of the picture, in both: less film than this tells nothing."""

TILTED = Computation(
    "tilted", "protocols.calibrate.height.tilted:tilted", latency_s=0.1, limit_s=20.0, resolution=1e-3, quick=True
)


def told(
    before: int,
    after: int,
    *,
    cosine: float,
    stage_px: tuple[float, float, float, float],
    guess_nm: float,
    wide_cross: bool,
    saturation: int | None,
    flatfield: int | None = None,
) -> dict[str, Any]:
    """The arguments of `tilted`. before, after: of the frames in the spool. cosine: of the second tilt over that of the
    first. stage_px: see `ImageScale`. guess_nm: about how far it has moved along y.
    flatfield: index of the camera's response, without which what is the camera's own looks like an image that stands.
    """
    camera = {"wide_cross": wide_cross, "saturation": saturation, "flatfield": flatfield}
    return {"before": before, "after": after, "cosine": cosine, "stage_px": stage_px, "guess_nm": guess_nm, **camera}


def tilted(arguments: Mapping[str, Any], picture: Callable[[int], NDArray[np.generic]]) -> dict[str, Any]:
    """x_nm, y_nm of the stage by which the image of the second frame lies off that of the first; agreement and sure as
    `registration.Displacement` has them.
    """
    flatfield = arguments["flatfield"]
    response = None if flatfield is None else np.asarray(picture(flatfield), np.float32)
    camera = Camera(bool(arguments["wide_cross"]), arguments["saturation"], response)
    first, second = _first(camera, picture(arguments["before"])), _even(camera, picture(arguments["after"]))
    stage_px = np.reshape(arguments["stage_px"], (2, 2))
    shortened = stage_px @ np.diag([1.0, arguments["cosine"]]) @ np.linalg.inv(stage_px)
    guess = np.linalg.solve(shortened, stage_px @ np.array([0.0, arguments["guess_nm"]]))
    film = min(np.count_nonzero(first), np.count_nonzero(second)) / first.size
    near = (float(guess[0]), float(guess[1]))
    found = displacement(first, _stretched(second, shortened), near) if film >= LEAST_FILM else NOTHING
    moved_nm = np.linalg.solve(stage_px, shortened @ np.array([found.fast_px, found.slow_px]))
    return {
        "x_nm": float(moved_nm[0]),
        "y_nm": float(moved_nm[1]),
        "agreement": found.agreement,
        "sure": found.sure,
    }


_compared: list[tuple[tuple[NDArray[np.generic] | None, ...], bool, Array]] = []
"""The picture with which the last one was compared, the response and whether there is a cross, and it made even: each
is compared with several.
"""


def _first(camera: Camera, counts: NDArray[np.generic]) -> Array:
    given = counts, camera.response
    if _compared:
        known, wide_cross, even = _compared[0]
        if wide_cross == camera.wide_cross and all(map(_same, known, given)):
            return even
    even = _even(camera, counts)
    response = None if camera.response is None else camera.response.copy()
    _compared[:] = [((counts.copy(), response), camera.wide_cross, even)]
    return even


def _same(one: NDArray[np.generic] | None, other: NDArray[np.generic] | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _even(camera: Camera, counts: NDArray[np.generic]) -> Array:
    even = camera.equal(counts)
    even = filled(even, lonely(even))
    return flattened(even, bars_in(even))


def bars_in(picture: Array) -> NDArray[np.bool_]:
    """(rows, columns): what bars of the mesh cover, and a little around it. They stand high above the film, so they
    move otherwise when the stage tilts, and nothing in the picture is as strong.
    """
    smooth = gaussian_filter(picture, SMOOTH_PX)
    parts, _ = label(smooth < BAR_LIGHT * np.percentile(smooth, 98.0))
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    sizes = np.bincount(parts.ravel())
    bars = [part for part in edge if part and sizes[part] >= BAR_SHARE * picture.size]
    covered: NDArray[np.bool_] = np.isin(parts, bars)
    return binary_dilation(covered, iterations=AROUND_PX) if bars else covered


def _stretched(picture: Array, shortened: Array) -> Array:
    """The picture with the foreshortening taken back, about its middle; 0 where nothing was seen."""
    swapped = shortened[::-1, ::-1]  # along (slow, fast)
    middle = (np.array(picture.shape) - 1.0) / 2.0
    return np.asarray(affine_transform(picture, swapped, middle - swapped @ middle, order=1))
