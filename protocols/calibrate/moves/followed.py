"""Where what is seen was in each frame of a run: of all when it is over, or of those that there are meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.calibrate.moves.disc import find_disc
from protocols.calibrate.moves.fit import Fit
from protocols.calibrate.moves.mover import Mover, SeenBy
from protocols.calibrate.moves.picture import Camera, binned, filled, lonely, standing
from protocols.calibrate.moves.places import Places, placed
from protocols.calibrate.moves.registration import flattened
from protocols.calibrate.moves.seen import place
from protocols.calibrate.moves.underdisc import refined

Array = NDArray[np.float64]
Picture = Callable[[int], NDArray[np.generic]]

TIMES_REFINED = 2
"""Places of discs, each time with what is then known of the film under them."""
LEAST_KEPT = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Visited:
    """at: (n, 2) where the part was set along x and y, or read. side: (n,) -1 from below, 1 from above. expected_px:
    (n, 2) about where it was to be seen, along (fast, slow).
    """

    at: Array
    side: Array
    expected_px: Array


def sure_to(fit: Fit) -> float:
    """The largest uncertainty of a number of the matrix, as a share of its size (root of its determinant)."""
    size = float(np.sqrt(np.abs(np.linalg.det(fit.matrix))))
    return float(np.sqrt(np.diag(fit.covariance)).max()) / max(size, 1e-300)


def followed(mover: Mover, camera: Camera, visited: Visited, picture: Picture) -> tuple[Places, Array]:
    """Places, and the first picture of equal pixels. picture: the raw one of a visit, by its number; asked for several
    times. Raises DataError where too few frames show what is followed.
    """
    count = len(visited.at)
    if mover.seen_by is SeenBy.IMAGE:
        return _images(camera, visited, picture)
    if mover.seen_by is SeenBy.DISC:
        first = next(_clean(count, camera, picture))
        discs = [find_disc(even) for even in _clean(count, camera, picture)]
        for _ in range(TIMES_REFINED):
            discs = refined(lambda: _clean(count, camera, picture), discs)
        places = [None if disc is None else (disc.fast_px, disc.slow_px) for disc in discs]
    else:
        first = camera.equal(picture(0))
        places = [place(camera.equal(picture(row)), mover.seen_by, camera) for row in range(count)]
    at = np.array([(np.nan, np.nan) if where is None else where for where in places])
    kept = int(np.isfinite(at[:, 0]).sum())
    if kept < LEAST_KEPT * count:
        raise DataError(
            f"the {mover.seen} was seen in {kept} of {count} frames; nothing was stored. Look at report/ and at the "
            "frames"
        )
    return Places(at, count, kept, 0.0), first


def _images(camera: Camera, visited: Visited, picture: Picture) -> tuple[Places, Array]:
    pictures: list[Array] = []
    bin_px, first = 1, np.zeros((1, 1))
    for even in _clean(len(visited.at), camera, picture):
        bin_px = camera.bin_px((even.shape[0], even.shape[1]))
        first = first if pictures else even
        pictures.append(flattened(binned(even, bin_px)))
    depends_on = np.column_stack([visited.at, visited.side])
    found = placed(pictures, visited.expected_px / bin_px, depends_on)
    if found.kept < LEAST_KEPT * found.pairs:
        raise DataError(
            f"only {found.kept} of {found.pairs} pairs of frames show the same as the others let expect: the image "
            "cannot be followed; nothing was stored. Look for a place with more film and particles, or make "
            "exposure_s longer"
        )
    return Places(found.at * bin_px, found.pairs, found.kept, found.scatter_px * bin_px), first


def _clean(count: int, camera: Camera, picture: Picture) -> Iterator[Array]:
    """Each frame of equal pixels; where the camera's response is not known, without what stands still in all frames."""
    total: Array | None = None
    for row in range(count):
        even = camera.equal(picture(row))
        total = even if total is None else total + even
    bad = standing(total / count) if total is not None else None
    for row in range(count):
        even = camera.equal(picture(row))
        yield filled(even, lonely(even) if bad is None else lonely(even) | bad)
