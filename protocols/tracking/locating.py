"""Where the crystal is in a snapshot: an answer with its uncertainty, or a refusal that says why.

`locate` is a pure function. It looks for dark things (`segmentation`), takes the one that lies where the crystal is
expected and looks as it looked before, and says nothing rather than something wrong: a wrong place would drive the
crystal out of the beam.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.tracking.place import Array, Place
from protocols.tracking.registration import moved
from protocols.tracking.segmentation import Thing, things
from protocols.tracking.snapshotview import NotSeen, SnapshotView, view

Matrix = tuple[float, float, float, float]

GATE_SIGMAS = 4.0
"""How far from where it is expected the crystal is looked for, if it is known how it looks."""
FIRST_GATE_SIGMAS = 3.0
"""And if it is not: a neighbour is then taken for it the more easily."""
SURE = 3.5
"""Sigmas by which a thing stands out at least: films without a crystal stay below 3."""
SURE_LATE = 6.0
"""And if the crystal did not stand out before: films have spots that pass for one now and then."""
RIVAL = 0.4
"""Another thing of this part of the sigmas, or more, may be the crystal as well."""
LARGEST_RIM = 0.05
MOST_RIM = 0.5
"""With more of its outline at the edge nothing is said of a crystal."""
SURE_AT_EDGE, DARK_AT_EDGE = 8.0, 0.15
"""A crystal at the edge that was not seen before stands out by so many sigmas, and is so dark (`Thing.depth`)."""
HIDDEN_SHARE, ACROSS = 0.5, 0.5
"""By this part of its radius a crystal that is cut off is farther out than it seems (standard deviation), and by this
part of that beside.
"""
LIKE_AREA, LIKE_NOISE, LIKE_DEPTH = 1.5, 4.0, 3.0
"""Up to these factors outline and darkness change from one snapshot to the next; other things differ by more."""
OFTEN_DEG = 10.0
"""Over so many degrees; the crystal is known no more by how it looked longer ago."""
SHAPE_SHARE = 0.07
"""Uncertainty of the middle that outlines leave of crystals that are no simple shapes, of their radius."""

OUTLINE_SHARE = 12.0
"""The same of what noise leaves open of outlines; over the square of the sigmas by which a thing stands out."""
LIKELY_MOVE_NM = 50.0
"""From one snapshot to the next, where nobody says more."""
PALE = 0.2
"""A crystal of less depth (`Thing.depth`) may not stand out in every snapshot: then the film tells where it is."""
NOT_SEEN = "nothing stands out from the film"


@dataclass(frozen=True, slots=True)
class Looks:
    """How the crystal looked in a snapshot. area_nm2: of its outline. depth: see `Thing`."""

    area_nm2: float
    depth: float

    @property
    def radius_nm(self) -> float:
        """Of a circle of its size."""
        return math.sqrt(self.area_nm2 / math.pi)


@dataclass(frozen=True, slots=True)
class Optics:
    """How a snapshot shows the specimen. centre_px, radius_px: of the disc, pixel i covers [i, i + 1). px_per_nm: what
    a nm of x and y moves: fast of x, fast of y, slow of x, slow of y, at this defocus with its sign. tilt_deg: at
    which.
    """

    centre_px: tuple[float, float]
    radius_px: float
    px_per_nm: Matrix
    tilt_deg: float


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """A snapshot of which it is known where the crystal is. looks: None if it did not stand out in it. picture: gives
    it, as `locate` takes it; asked only where it is needed.
    """

    optics: Optics
    place: Place
    looks: Looks | None
    picture: Callable[[], NDArray[np.number]]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What is known of a snapshot. expected: where the crystal should be, None where nobody knows. earlier: snapshots
    in which it was found, the last one last. saturation: see `snapshotview.view`.
    """

    optics: Optics
    expected: Place | None = None
    earlier: tuple[Earlier, ...] = ()
    saturation: float = 0.0

    @property
    def last(self) -> Earlier | None:
        """The last snapshot in which it was found, if it was not long ago."""
        if not self.earlier or abs(self.earlier[-1].optics.tilt_deg - self.optics.tilt_deg) > OFTEN_DEG:
            return None
        return self.earlier[-1]


@dataclass(frozen=True, slots=True)
class Located:
    """An answer. quality: sigmas by which the crystal stands out; or, below 1, how alike it is to an earlier snapshot,
    by which it was found, or the film around it. looks: for the snapshots to come, None if it has not yet been seen.
    """

    place: Place
    quality: float
    looks: Looks | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """No answer. reason: in words."""

    reason: str


def locate(picture: NDArray[np.number], told: Told) -> Located | Refusal:
    """Of a picture (rows, columns) of equal pixels, corrected for their response."""
    try:
        seen = view(picture, told.optics.centre_px, told.optics.radius_px, told.saturation)
    except NotSeen as reason:
        return Refusal(str(reason))
    places = Cells(seen, told.optics)
    if told.last is not None and told.last.looks is None:  # what stands out only now is rather a neighbour
        return _by_film(seen, places, told, told.last) or _by_outline(seen, places, told)
    answer = _by_outline(seen, places, told)
    if isinstance(answer, Refusal) and told.last is not None:
        return _by_likeness(seen, places, told, told.last) or _by_film(seen, places, told, told.last) or answer
    return answer


class Cells:
    """From cells of a view to nm, and back."""

    def __init__(self, seen: SnapshotView, optics: Optics) -> None:
        self.to_nm: Array = np.linalg.inv(np.reshape(optics.px_per_nm, (2, 2))) * seen.cell_px
        self.cell_nm = math.sqrt(abs(float(np.linalg.det(self.to_nm))))
        self._off = np.array(seen.off_px) / seen.cell_px
        self.tilt_deg = optics.tilt_deg

    def nm(self, cells: Array) -> Array:
        """(2,) x and y of fast and slow, in cells from the middle of the array."""
        return np.asarray(self.to_nm @ (cells + self._off))

    def cells(self, nm: Array) -> Array:
        """(2,) the other way."""
        return np.asarray(np.linalg.solve(self.to_nm, nm) - self._off)

    def place(self, thing: Thing) -> Place:
        """Where a thing is."""
        shape = (thing.radius * self.cell_nm) ** 2 * (SHAPE_SHARE**2 + min(1.0, OUTLINE_SHARE / thing.sigmas**2) ** 2)
        covariance = self.to_nm @ thing.covariance @ self.to_nm.T + shape * np.eye(2)
        return Place.of(self.nm(np.array([thing.fast, thing.slow])), covariance)

    def looks(self, thing: Thing) -> Looks:
        """How a thing looks."""
        return Looks(thing.cells * self.cell_nm**2, thing.depth)


def _by_outline(seen: SnapshotView, cells: Cells, told: Told) -> Located | Refusal:
    """The dark thing that lies where the crystal is expected and looks as it looked before."""
    least = SURE if told.last is None or told.last.looks is not None else SURE_LATE
    sure = [thing for thing in things(seen) if thing.sigmas >= least]
    if not sure:
        return Refusal(NOT_SEEN)
    last, expected = None if told.last is None else told.last.looks, told.expected
    gate = FIRST_GATE_SIGMAS if last is None else GATE_SIGMAS
    near = [thing for thing in sure if expected is None or cells.place(thing).sigmas_from(expected) <= gate]
    like = [thing for thing in near if last is None or _is_like(cells.looks(thing), last, thing)]
    if not near and last is not None:  # it may have jumped: who knows its path decides whether that is believed
        like = [thing for thing in sure if _is_like(cells.looks(thing), last, thing) and not _is_cut(thing)]
    if not like:
        if near:
            return Refusal("what lies where the crystal is expected does not look like it")
        return Refusal("nothing stands out where the crystal is expected")
    worth = {thing: thing.sigmas * (_nearness(cells.place(thing), expected) if near else 1.0) for thing in like}
    best, *others = sorted(like, key=lambda thing: -worth[thing])
    if others and worth[others[0]] > RIVAL * worth[best]:
        return Refusal("two things lie where the crystal is expected, and either may be it")
    return _cut_off(best, cells, last) if _is_cut(best) else Located(cells.place(best), best.sigmas, cells.looks(best))


def _cut_off(best: Thing, cells: Cells, last: Looks | None) -> Located | Refusal:
    """Of a crystal that reaches beyond the disc the middle lies farther out than that of what is seen, nobody knows by
    how much.
    """
    place, looks = cells.place(best), cells.looks(best)
    surely = last is not None or (best.sigmas >= SURE_AT_EDGE and best.depth >= DARK_AT_EDGE)  # films have edges, too
    if best.rim > MOST_RIM or place.distance_nm < 1.0 or not surely:
        return Refusal("the crystal lies at the edge of what is lit")
    outwards = place.array_nm / place.distance_nm
    hidden_nm = HIDDEN_SHARE * (looks.radius_nm if last is None else max(last.radius_nm, looks.radius_nm))
    covariance = place.matrix_nm2 + hidden_nm**2 * (np.outer(outwards, outwards) + ACROSS**2 * np.eye(2))
    return Located(Place.of(place.array_nm, covariance), best.sigmas, looks if last is None else last)


def _is_cut(thing: Thing) -> bool:
    """Whether it lies at the edge of what is lit, so that a part of it may be hidden."""
    return thing.rim > LARGEST_RIM


def _nearness(place: Place, expected: Place | None) -> float:
    """1 where it is expected, less elsewhere."""
    return 1.0 if expected is None else math.exp(-0.5 * place.sigmas_from(expected) ** 2)


def _is_like(looks: Looks, last: Looks, thing: Thing) -> bool:
    """Whether it may be the crystal as it looked before; of one that is cut only a part may be seen."""
    area, depth = looks.area_nm2 / last.area_nm2, looks.depth / last.depth
    factor = LIKE_AREA + LIKE_NOISE / thing.sigmas
    return area <= factor and (1 / area <= factor or _is_cut(thing)) and max(depth, 1 / depth) <= LIKE_DEPTH


def _by_likeness(seen: SnapshotView, cells: Cells, told: Told, last: Earlier) -> Located | None:
    """Where the crystal of an earlier snapshot, foreshortened by the tilt since, is most like this one."""
    if last.looks is None:
        return None
    return _laid_over(seen, cells, told, last, last.looks.radius_nm)


def _by_film(seen: SnapshotView, cells: Cells, told: Told, last: Earlier) -> Located | None:
    """Where a crystal too pale to be seen is, by all that was lit in an earlier snapshot: the film carries it along."""
    if last.looks is not None and last.looks.depth > PALE:
        return None  # it would be seen, so it is not where the film has carried it
    return _laid_over(seen, cells, told, last, None)


def _laid_over(seen: SnapshotView, cells: Cells, told: Told, last: Earlier, radius_nm: float | None) -> Located | None:
    """Where an earlier snapshot, foreshortened by the tilt since, is most like this one. radius_nm: of what is laid
    over, around the crystal; None for all that is lit.
    """
    try:
        earlier = view(last.picture(), last.optics.centre_px, last.optics.radius_px)
    except NotSeen:
        return None
    before = Cells(earlier, last.optics)
    cosine = math.cos(math.radians(told.optics.tilt_deg)) / max(math.cos(math.radians(last.optics.tilt_deg)), 0.05)
    turned = np.linalg.inv(cells.to_nm) @ np.diag([1.0, cosine]) @ before.to_nm
    expected = told.expected or Place.even(last.place.x_nm, last.place.y_nm, LIKELY_MOVE_NM)
    found = moved(
        earlier,
        before.cells(last.place.array_nm),
        None if radius_nm is None else radius_nm / before.cell_nm,
        turned,
        seen,
        cells.cells(expected.array_nm),
        GATE_SIGMAS * expected.sigma_nm / cells.cell_nm,
    )
    if found is None:
        return None
    covariance = cells.to_nm @ found.covariance @ cells.to_nm.T + last.place.matrix_nm2
    at_nm = cells.nm(np.array([found.fast, found.slow]))
    return Located(Place.of(at_nm, covariance), found.alike, last.looks)
