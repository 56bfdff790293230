"""Where the crystal is in a snapshot: an answer with its uncertainty, or a refusal that says why.

`locate` is a pure function. It looks for dark things (`segmentation`), takes the one that lies where the crystal is
expected and looks as it looked before, and says nothing rather than something wrong: a wrong place would drive the
crystal out of the beam.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.tracking.place import Array, Place
from protocols.tracking.segmentation import Thing, things
from protocols.tracking.snapshotview import NotSeen, SnapshotView, view

Matrix = tuple[float, float, float, float]

GATE_SIGMAS = 4.0
"""How far from where it is expected the crystal is looked for, if it is known how it looks."""
FIRST_GATE_SIGMAS = 3.0
"""And if it is not: a neighbour is then taken for it the more easily."""
SURE, PALE_SURE = 4.0, 4.5
"""Sigmas by which a thing stands out at least; the second where it takes less light than `PALE`."""
PALE = 0.15
RIVAL = 0.4
"""Another thing of this part of the sigmas, or more, may be the crystal as well."""
LARGEST_RIM = 0.02
LIKE_AREA, LIKE_DEPTH = 1.5, 3.0
"""Up to these factors outline and darkness change from one snapshot to the next; other things differ by more."""
OFTEN_DEG = 10.0
"""Over so many degrees; the crystal is known no more by how it looked longer ago."""
SHAPE_SHARE = 0.06
"""Uncertainty of the middle that outlines leave of crystals that are no simple shapes, of their radius."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How the crystal looked in a snapshot. area_nm2: of its outline. depth: see `Thing`. tilt_deg: at which."""

    tilt_deg: float
    area_nm2: float
    depth: float

    @property
    def radius_nm(self) -> float:
        """Of a circle of its size."""
        return math.sqrt(self.area_nm2 / math.pi)


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a snapshot. centre_px, radius_px: of the disc, pixel i covers [i, i + 1). px_per_nm: what a nm of
    x and y moves fast of x, fast of y, slow of x, slow of y, at this defocus with its sign. expected: where the
    crystal should be, None where nobody knows. looked: how it looked in the snapshots before, the last one last.
    saturation: see `snapshotview.view`.
    """

    centre_px: tuple[float, float]
    radius_px: float
    px_per_nm: Matrix
    tilt_deg: float
    expected: Place | None = None
    looked: tuple[Looks, ...] = ()
    saturation: float = 0.0


@dataclass(frozen=True, slots=True)
class Located:
    """An answer. quality: sigmas by which the crystal stands out. looks: for the snapshots to come."""

    place: Place
    quality: float
    looks: Looks


@dataclass(frozen=True, slots=True)
class Refusal:
    """No answer. reason: in words."""

    reason: str


def locate(picture: NDArray[np.number], told: Told) -> Located | Refusal:
    """Of a picture (rows, columns) of equal pixels, corrected for their response."""
    try:
        seen = view(picture, told.centre_px, told.radius_px, told.saturation)
        return _choice(seen, _Places(seen, told), told)
    except NotSeen as reason:
        return Refusal(str(reason))


class _Places:
    """From cells of a view to nm."""

    def __init__(self, seen: SnapshotView, told: Told) -> None:
        self._to_nm = np.linalg.inv(np.reshape(told.px_per_nm, (2, 2)))
        self._seen, self._told = seen, told
        self.cell_nm = seen.cell_px * math.sqrt(abs(float(np.linalg.det(self._to_nm))))

    def place(self, thing: Thing) -> Place:
        """Where a thing is."""
        at_px = np.array([thing.fast, thing.slow]) * self._seen.cell_px + self._seen.off_px
        x_nm, y_nm = self._to_nm @ at_px
        by_cell: Array = self._to_nm * self._seen.cell_px
        covariance = by_cell @ thing.covariance @ by_cell.T
        shape = (SHAPE_SHARE * thing.radius * self.cell_nm) ** 2
        return Place(
            float(x_nm),
            float(y_nm),
            (float(covariance[0, 0]) + shape, float(covariance[0, 1]), float(covariance[1, 1]) + shape),
        )

    def looks(self, thing: Thing) -> Looks:
        """How a thing looks."""
        return Looks(self._told.tilt_deg, thing.cells * self.cell_nm**2, thing.depth)


def _choice(seen: SnapshotView, places: _Places, told: Told) -> Located | Refusal:
    sure = [thing for thing in things(seen) if thing.sigmas >= (SURE if thing.depth > PALE else PALE_SURE)]
    if not sure:
        return Refusal("nothing stands out from the film")
    last = told.looked[-1] if told.looked and abs(told.looked[-1].tilt_deg - told.tilt_deg) <= OFTEN_DEG else None
    near = [thing for thing in sure if _is_near(places.place(thing), told.expected, last, thing, places)]
    if not near:
        return Refusal("nothing stands out where the crystal is expected")
    like = [thing for thing in near if last is None or _is_like(places.looks(thing), last)]
    if not like:
        return Refusal("what lies where the crystal is expected does not look like it")
    best = like[0]
    if len(like) > 1 and like[1].sigmas > RIVAL * best.sigmas:
        return Refusal("two things lie where the crystal is expected, and either may be it")
    if best.rim > LARGEST_RIM:
        return Refusal("the crystal lies at the edge of what is lit")
    return Located(places.place(best), best.sigmas, places.looks(best))


def _is_near(place: Place, expected: Place | None, last: Looks | None, thing: Thing, places: _Places) -> bool:
    if expected is None:
        return True
    return place.sigmas_from(expected) <= (FIRST_GATE_SIGMAS if last is None else GATE_SIGMAS)


def _is_like(looks: Looks, last: Looks) -> bool:
    area, depth = looks.area_nm2 / last.area_nm2, looks.depth / last.depth
    return max(area, 1 / area) <= LIKE_AREA and max(depth, 1 / depth) <= LIKE_DEPTH
