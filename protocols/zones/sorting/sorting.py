"""Patterns sorted: the network says which may be zonal, the geometry of their spots whether they are.

The network looks at every picture (fast), the spots are found and a net is fitted only where it says "zonal" (slow,
and able to tell the one odd spot). Either can be had alone.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.spots.peaks import find_peaks
from protocols.zones.patterns.render import ImageGeometry, draw
from protocols.zones.patterns.simulation import Geometry
from protocols.zones.patterns.snapshots import Snapshots, per_px_of
from protocols.zones.sorting.confidence import NATURAL_SHARE, confidence
from protocols.zones.sorting.geometric import Verdict, classify_geometry
from protocols.zones.sorting.labels import FEWEST_SPOTS, INTERSECTIONS, LABELS, NO_HIT, SEVERAL, ZONE
from protocols.zones.sorting.method import Method
from protocols.zones.sorting.nets import TOLERANCE_PER_A
from protocols.zones.sorting.zone import Zone

if TYPE_CHECKING:
    from protocols.zones.sorting.network import Model

Array = NDArray[np.float64]
Pictures = NDArray[np.uint8]

AT_ONCE = 256
"""Pictures held in memory at one time."""

EVIDENCE_FOR, EVIDENCE_AGAINST = 5.0, -4.0
"""What the geometry adds to the network's logit. Of 1829 zones and 130 other patterns that the network let through (32
cells, simulated, clean) it confirmed all and none, which would allow 5.6 and -8.2; real pictures are worse.
"""

MISCENTRED_PER_A = 0.01
"""The most that the primary beam of a frame or a peak list is taken to be off: two pixels of a Timepix at 250 mm."""

MOST_UNSEEN = 0.75
"""Nets of which less is seen are chance, or the scale is wrong."""
FEW_WEAK, WEAK_SHARE = 3, 0.1
"""So many patterns that would be zones if weak spots were missing, and of those called zones that share, are told."""

NO_PATTERN = "noPattern"
"""What is no diffraction pattern, or could not be read."""
FEW_LIT = 90
"""Lit pixels of a drawing with fewer than FEWEST_SPOTS spots beside the beam, at most."""

DRAWN = 0.15
"""A drawing has fewer lit pixels than this share; all else goes through the peak finder, which knows photographs."""

Check = Callable[..., Verdict]
"""`geometric.classify_geometry`, or that with other tolerances: (k, 2) spots in 1/A and a name to a verdict."""


@dataclass(frozen=True, slots=True, eq=False)
class Sorted:
    """One pattern, sorted.

    label: one of LABELS, or NO_PATTERN. confidence: 0..1, the probability that it is `2DZone`; by geometry alone it is
    the score of `geometric.Verdict`, which only orders. zone: the net that geometry found, and spots: (k, 2) in 1/A,
    those it was looked for among. reason: what was seen, in words. unseen: see `geometric.Verdict`. unread: the picture
    could not be read.
    """

    name: str
    label: str
    confidence: float
    zone: Zone | None
    reason: str
    spots: Array | None = None
    unseen: float = 0.0
    unread: bool = False


_BEAM_PX = 16
"""Lit pixels of the primary beam alone, about."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """A pattern as both need it: drawn for the network, spots for the geometry (found when asked for)."""

    name: str
    drawing: Pictures
    source: NDArray[Any] | None
    per_px: float
    spots: Array | None
    reason: str = ""
    faint: NDArray[np.bool_] | None = None
    unread: bool = False
    blind_per_A: float = 0.0
    vacant: bool = False

    def seen(self) -> tuple[Array, str, bool]:
        """(k, 2) spots in 1/A, what is wrong with the picture, and whether that is that it has no spots."""
        if self.spots is not None or self.source is None:
            return np.zeros((0, 2)) if self.spots is None else self.spots, self.reason, self.vacant
        peaks = find_peaks(self.source)
        return (np.zeros((0, 2)) if peaks.reason else peaks.xy(self.per_px)), peaks.reason, peaks.vacant


def check_with(
    tolerance_per_A: float = TOLERANCE_PER_A,
    missing: float = 0.0,
    excitation_error_per_A: float | Sequence[float] = Geometry().excitation_error_per_A,
) -> Check:
    """The geometric check with spots up to this far off their net, this share of the excited ones not seen, and
    those excited that lie within this excitation error, or that one of these which suits a pattern best.
    """
    return partial(
        classify_geometry,
        tolerance_per_A=tolerance_per_A,
        missing=missing,
        excitation_error_per_A=excitation_error_per_A,
    )


def sort_snapshots(
    source: Snapshots,
    method: Method = Method.BOTH,
    model: "Model | None" = None,
    share: float = NATURAL_SHARE,
    check: Check = classify_geometry,
    several: "Model | None" = None,
) -> Iterator[Sorted]:
    """Each pattern of a source, in order, sorted.

    several: the network that tells several crystals from one; without it only patterns that the other network takes for
    zones are asked whether they are of several. share: of zonal patterns expected, for the confidence. Refused where
    the network is wanted and TensorFlow missing, or pictures come without a scale.
    """
    check = partial(check, wavelength_A=source.wavelength_A or Geometry().wavelength_A)
    patterns = (_prepared(source, i) for i in range(len(source)))
    batches = iter(lambda: list(islice(patterns, AT_ONCE)), [])
    if method is Method.GEOMETRY:
        for batch in batches:
            local = _within(batch, check)
            yield from (_by_geometry(pattern, local) for pattern in batch)
        return
    from protocols.zones.sorting.network import shipped

    judge = model or shipped()

    def look(batch: list[_Pattern]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        drawn = np.stack([pattern.drawing for pattern in batch])
        many = np.zeros(len(batch), dtype=bool) if several is None else several.logits(drawn) >= several.threshold
        return judge.logits(drawn), many

    def finish(batch: list[_Pattern], seen: Future[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> Iterator[Sorted]:
        local = _within(batch, check)
        for pattern, logit, many in zip(batch, *seen.result(), strict=True):
            yield _by_network(pattern, float(logit), bool(many), judge.threshold, method, share, local)

    # The network computes in threads of its own: it looks at one batch while nets are fitted in the batch before.
    with ThreadPoolExecutor(1) as network:
        before = None
        for batch in batches:
            now = batch, network.submit(look, batch)
            if before:
                yield from finish(*before)
            before = now
        if before:
            yield from finish(*before)


def sort_pictures(
    pictures: Pictures,
    method: Method = Method.BOTH,
    model: "Model | None" = None,
    share: float = NATURAL_SHARE,
    check: Check = classify_geometry,
    wavelength_A: float | None = None,
    several: "Model | None" = None,
) -> list[Sorted]:
    """The same for an array of (n, 254, 254) drawn pictures."""
    names = [str(i) for i in range(len(pictures))]
    source = Snapshots(names, ImageGeometry().per_px, wavelength_A, picture=lambda i: pictures[i])
    return list(sort_snapshots(source, method, model, share, check, several))


def spots_of(source: Snapshots, number: int) -> Array:
    """(k, 2) spots of one pattern in 1/A, none where there are none or the picture cannot be read."""
    pattern = _prepared(source, number)
    xy, wrong, _ = pattern.seen()
    return np.zeros((0, 2)) if wrong else xy


def _prepared(source: Snapshots, number: int) -> _Pattern:
    """A drawing as it is; anything else is redrawn from its spots, as the network knows pictures."""
    image = ImageGeometry()
    name = source.names[number]
    if source.picture is None:
        listed = source.spots[number] if source.spots is not None else np.zeros((0, 2))
        xy = listed[_within_resolution(listed)]
        beyond = "no spots within 1 1/A; are the positions in 1/A?" if len(listed) else "no spots"
        return _Pattern(name, draw(xy), None, image.per_px, xy, "" if len(xy) else beyond, vacant=not len(listed))
    try:
        picture = source.picture(number)
    except DataError as error:
        if len(source) == 1:
            raise
        nothing = np.zeros((0, 2))  # one of many
        return _Pattern(name, draw(nothing), None, image.per_px, nothing, str(error), unread=True)
    per_px = per_px_of(source, picture)
    ours = picture.dtype == np.uint8 and picture.shape == (image.size_px, image.size_px) and per_px == image.per_px
    if ours and _BEAM_PX < np.count_nonzero(picture) < DRAWN * picture.size:
        return _Pattern(name, picture, picture, per_px, None)
    peaks = find_peaks(picture, beam_px=source.beam_px, bad=source.bad and source.bad(number))
    all_xy = np.zeros((0, 2)) if peaks.reason else peaks.xy(per_px)
    near = _within_resolution(all_xy)
    xy, faint = all_xy[near], None if peaks.faint is None else peaks.faint[near]
    reason = peaks.reason or ("" if len(xy) else "no spots within 1 1/A")
    vacant, blind_per_A = peaks.vacant or not peaks.reason, peaks.blind_px * per_px
    return _Pattern(name, draw(xy), None, per_px, xy, reason, faint, False, blind_per_A, vacant)


def _within_resolution(xy: Array) -> NDArray[np.bool_]:
    """Which spots are up to 1 1/A, as far as the drawings go that the network knows."""
    return np.asarray(np.hypot(xy[:, 0], xy[:, 1]) <= Geometry().d_star_max_per_A)


def _resolution(batch: Sequence[_Pattern]) -> float:
    """d*_max in 1/A that the patterns of a batch reach together; drawings of our own reach 1."""
    radii = [np.hypot(*p.spots.T).max(initial=0.0) if p.source is None and p.spots is not None else 1.0 for p in batch]
    return min(Geometry().d_star_max_per_A, 1.005 * max(radii))


def _within(batch: Sequence[_Pattern], check: Check) -> Check:
    """The check with the resolution that the patterns of a batch reach."""
    return partial(check, d_star_max_per_A=_resolution(batch))


def _by_network(
    pattern: _Pattern, logit: float, many: bool, threshold: float, method: Method, share: float, check: Check
) -> Sorted:
    if pattern.reason:
        return _nothing(pattern, pattern.reason, pattern.vacant)
    if np.count_nonzero(pattern.drawing) < FEW_LIT:
        xy, wrong, vacant = pattern.seen()
        if len(xy) < FEWEST_SPOTS:
            return _nothing(pattern, wrong or f"too few spots: {len(xy)}", vacant or not wrong)
    sure = float(confidence(np.array([logit]), share)[0])
    if many and method is Method.NETWORK:
        return Sorted(pattern.name, LABELS[SEVERAL], sure, None, "the network sees several crystals")
    if many and logit < threshold:
        checked = _by_geometry(pattern, check)
        if checked.label == LABELS[SEVERAL]:
            return replace(checked, confidence=sure)
    if logit < threshold:
        return Sorted(pattern.name, LABELS[INTERSECTIONS], sure, None, "the network sees no zone")
    if method is Method.NETWORK:
        return Sorted(pattern.name, LABELS[ZONE], sure, None, "the network sees a zone")
    checked = _by_geometry(pattern, check)
    if checked.label in (NO_PATTERN, LABELS[NO_HIT]):
        return checked
    evidence = EVIDENCE_FOR if checked.label == LABELS[ZONE] else EVIDENCE_AGAINST
    return replace(checked, confidence=float(confidence(np.array([logit + evidence]), share)[0]))


def _by_geometry(pattern: _Pattern, check: Check) -> Sorted:
    xy, wrong, vacant = pattern.seen()
    if wrong:
        return _nothing(pattern, wrong, vacant)
    # The peak finder knows the centre of a drawing exactly; of a frame or a list it is what somebody thought it was.
    miscentred_per_A = MISCENTRED_PER_A if pattern.source is None else 0.0
    verdict = check(
        xy,
        name=pattern.name,
        miscentred_per_A=miscentred_per_A,
        faint=pattern.faint,
        d_star_min_per_A=pattern.blind_per_A,
    )
    return Sorted(pattern.name, verdict.label, verdict.score, verdict.zone, verdict.reason, xy, verdict.unseen)


def _nothing(pattern: _Pattern, reason: str, vacant: bool) -> Sorted:
    """A pattern that hit no crystal, or that is none."""
    label = LABELS[NO_HIT] if vacant else NO_PATTERN
    return Sorted(pattern.name, label, 0.0, None, reason, unread=pattern.unread)


def weak_spots(found: Sequence[Sorted], missing: float = 0.0) -> str:
    """A word for a person where patterns would be zones if more than this share of their spots were too weak to see.

    Empty where hardly any would.
    """
    unseen = np.array([one.unseen for one in found if 0 < one.unseen <= MOST_UNSEEN])
    if len(unseen) < max(FEW_WEAK, WEAK_SHARE * sum(one.label == LABELS[ZONE] for one in found)):
        return ""
    say = min(0.9, np.ceil(20 * np.quantile(unseen, 0.9)) / 20)
    if say <= missing:
        return ""
    seen = f"only {100 * (1 - np.median(unseen)):.0f} % of the excited nodes are seen"
    return (
        f"{len(unseen)} patterns lie on one plane each, of which {seen}; "
        f"if weak spots are missing there, say so with --missing {say:.2g}; if crystals are thicker than 10 nm, with "
        "--thickness"
    )
