"""The crystal of a run as its snapshots show it: found in each, or not, and its path learned from them.

A computation looks at a snapshot (`protocols.tracking.computation`); what it says is learned
(`protocols.tracking.path`), unless it does not fit, and recorded.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import CredlineError
from engine.run.compute import Computation
from protocols.cred.trackedpath import ASSUMED, FORGOTTEN, FOUND, NOT_FOUND
from protocols.cred.trackingfits import LOCATE_S
from protocols.tracking.actuator import square
from protocols.tracking.locating import NOT_SEEN, Located, Optics, Refusal
from protocols.tracking.path import CrystalPath, Seen
from protocols.tracking.place import Place
from protocols.tracking.question import Detector, Found, answered, told
from protocols.tracking.search import may_be
from protocols.tracking.snapshotview import DARK, SHADOWED

if TYPE_CHECKING:
    from engine.run.run import Run

LOCATE = Computation(
    "locate", "protocols.tracking.computation:locate_in", latency_s=0.03, limit_s=LOCATE_S, resolution=1e-3, quick=True
)
CENTRED_NM = 150.0
"""The operator has centred the crystal: there it is looked for in the first snapshot, and not its neighbour. Standard
deviation along x and y, with what play and the first half degree do.
"""
ASSUMED_NM = 50.0
"""A crystal that does not stand out in the first snapshot is taken to be in the middle, and stays what it is over the
film: what follows tells how the film moves, so this is small, although it may lie `CENTRED_NM` away.
"""
SLIPPED_NM = 400.0
"""Once it was not where it should be, it may have slipped by this: standard deviation along x and y."""
LOST_AFTER = 3
"""So many snapshots in a row in which the crystal is not found, or not believed: it is lost."""
CENTRED = Place.even(0.0, 0.0, CENTRED_NM)


@dataclass(frozen=True, slots=True)
class TakenSnapshot:
    """index: in the run's spool. angle_deg, t_s: of the middle of its exposure. look: of the pre-scan, which has no
    slots: there it is 0.
    """

    index: int
    slot: int
    angle_deg: float
    t_s: float
    look: int = 0

    @property
    def told(self) -> dict[str, Any]:
        """Which one it is, in its record."""
        which = {"slot": self.slot, **({"look": self.look} if self.look else {})}
        return {**which, "angle_deg": round(self.angle_deg, 4)}


class SeenCrystal:
    """Of one run. optics: of its snapshots, as they should be. path: as it is known before. disc_follows: corrections
    move the disc on the camera, as a probe takes it along. number: of several, from 1; 0 of one alone. flatfield: its
    index in the spool, once it is there.

    missed: in so many snapshots in a row, up to the last, it was not found, or not believed; why: the last time.
    elsewhere: it was seen in the last one where it could not have gone. last: the last snapshot that was believed.
    """

    def __init__(
        self,
        run: "Run",
        optics: Optics,
        detector: Detector,
        path: CrystalPath,
        *,
        disc_follows: bool = False,
        number: int = 0,
    ) -> None:
        self._run, self._optics, self._detector, self._disc_follows = run, optics, detector, disc_follows
        self._number = number
        self.path = path
        self._disc_known = not disc_follows
        """Whether it is known where the disc is without corrections: a probe may have been moved before."""
        self.flatfield: int | None = None
        self.missed, self.why, self.elsewhere = 0, "", False
        self.last: Found | None = None
        self._believed: list[tuple[float, Found]] = []  # with the time of each in s
        self._seen: Found | None = None  # whether it is believed or not
        self._optics_seen: Optics | None = None  # of the last snapshot that could be looked at
        self._assumed_now = False

    @property
    def is_lost(self) -> bool:
        """Whether it was not found, or not believed, for so long that nobody knows where it is."""
        return self.missed >= LOST_AFTER

    @property
    def was_found(self) -> bool:
        """Whether it was in the last snapshot, and that was believed."""
        return self.missed == 0 and not self._assumed_now

    @property
    def stands_out(self) -> bool:
        """Whether it was in the last snapshot by itself: not where its film has gone from where it was taken to be."""
        return self.was_found and self.last is not None and self.last.located.looks is not None

    @property
    def reaches_nm(self) -> float:
        """From the middle of what is lit, in the last snapshot that was believed; 0 where there is none."""
        return 0.0 if self.last is None else _reaches_nm(self.last)

    @property
    def was_dark(self) -> bool:
        """Whether there was no light in the last snapshot, as behind a bar of the grid."""
        return self.why.startswith((DARK, SHADOWED))

    def begin_again(self, angle_deg: float, lit_nm: float = math.inf) -> None:
        """What was missed counts no more, and the crystal looks as it did where it was seen nearest to this angle, with
        all of it within lit_nm of the middle.
        """
        self.missed, self.elsewhere = 0, False
        whole = [each for _, each in self._believed if _reaches_nm(each) <= lit_nm]
        nearest = min(whole, key=lambda each: abs(each.optics.tilt_deg - angle_deg), default=None)
        self._seen = self.last = nearest

    def forget(self, kept_s: float | None) -> None:
        """What was taken for it may have been something else, but for what was seen at this time; None: all of it."""
        if all(t_s == kept_s for t_s, _ in self._believed):
            return
        self.path.forget(kept_s)
        self._believed = [each for each in self._believed if each[0] == kept_s]
        told_s = None if kept_s is None else round(kept_s, 3)
        self._run.trace.record("tracking", FORGOTTEN, slot=0, kept_s=told_s)

    async def look(self, taken: TakenSnapshot, *, anywhere: bool) -> None:
        """Look for the crystal in a snapshot, and learn where it is. anywhere: and not only where it should be."""
        self.elsewhere = False
        place, self.why = await self._locate(taken, anywhere)
        self._assumed_now = place is None and self._assume(taken)
        if self._assumed_now:
            return
        if place is None:
            self.missed += 1
            self._run.trace.record("tracking", NOT_FOUND, **self._which(taken), reason=self.why)
            return
        seen = self.path.see(taken.angle_deg, taken.t_s, place)
        # A crystal that never stood out is where its film has gone from where it was taken to be: that is said.
        by = {"by": "film"} if self._seen is not None and self._seen.located.looks is None else {}
        self._run.trace.record("tracking", FOUND, **self._which(taken), **_told_of(taken, place), seen=seen.value, **by)
        if seen is Seen.DOUBTED:
            self.missed += 1
            self.elsewhere = True
            self.why = "it was found where it could not have gone"
            return
        self.missed = 0
        self.last = self._seen
        if self._seen is not None:
            self._believed.append((taken.t_s, self._seen))

    def _which(self, taken: TakenSnapshot) -> dict[str, Any]:
        return {**taken.told, **({"crystal": self._number} if self._number else {})}

    def _assume(self, taken: TakenSnapshot) -> bool:
        """Of a crystal that does not stand out in the first snapshot: it is in the middle, where it was centred."""
        if self.last is not None or self.missed or self._optics_seen is None or self.why != NOT_SEEN:
            return False
        if self._number > 1:  # nobody has centred it
            return False
        place = Place.even(0.0, 0.0, ASSUMED_NM)
        self.last = Found(taken.index, self._optics_seen, Located(place, 0.0, None))
        self._believed.append((taken.t_s, self.last))
        self.path.see(taken.angle_deg, taken.t_s, place)
        reason = f"{self.why}: taken to be in the middle, where it was centred"
        self._run.trace.record("tracking", ASSUMED, **self._which(taken), **_told_of(taken, place), reason=reason)
        return True

    @property
    def _looks_farther(self) -> bool:
        """It was not where it should be, or was seen elsewhere just now: it may have slipped."""
        return self.missed == 1 or self.elsewhere

    def _expected(self, taken: TakenSnapshot) -> Place:
        """Where it should be."""
        if self.last is None and not self.path.is_known:
            return CENTRED
        place = self.path.predict(taken.angle_deg, taken.t_s)
        more_nm = SLIPPED_NM if self._looks_farther else 0.0
        if self.last is not None and self.last.located.looks is None:  # a neighbour would be taken for it
            more_nm = CENTRED_NM
        xx, xy, yy = place.covariance_nm2
        return Place(place.x_nm, place.y_nm, (xx + more_nm**2, xy, yy + more_nm**2))

    async def _locate(self, taken: TakenSnapshot, anywhere: bool) -> tuple[Place | None, str]:
        """Where it is, or why that is not known."""
        expected = None if anywhere else self._expected(taken)
        optics = replace(self._optics, centre_px=self._disc_px(), tilt_deg=round(taken.angle_deg, 4))
        detector = replace(self._detector, flatfield=self.flatfield)
        # Twice in a row nothing looked like it: it may look otherwise from this side, so any look will do now.
        any_look = self.missed > 1 and not self._looks_farther and not anywhere
        earlier = [] if any_look or self.last is None else [self.last]
        pictures = [taken.index, *(each.index for each in earlier)]
        if self.flatfield is not None:
            pictures.append(self.flatfield)
        arguments = told(taken.index, optics, expected, earlier, detector, is_elsewhere=not self._disc_known)
        try:
            outcome = await self._run.compute.compute(LOCATE, arguments, pictures)
        except CredlineError as error:  # the disk has failed, which it says itself
            return None, str(error)
        if not outcome.good:
            return None, outcome.error
        result = outcome.fields
        answer, self._optics_seen = answered(result)
        if not self._disc_known:
            self._disc_known = True
            (fast_px, slow_px), (was_fast_px, was_slow_px) = self._optics_seen.centre_px, optics.centre_px
            centre_px = (
                self._optics.centre_px[0] + fast_px - was_fast_px,
                self._optics.centre_px[1] + slow_px - was_slow_px,
            )
            self._optics = replace(self._optics, centre_px=centre_px)
        if isinstance(answer, Refusal):
            return None, answer.reason
        if anywhere and self.last is not None and not may_be(answer.looks, self.last.located.looks):
            return None, "what was found elsewhere does not look like the crystal"
        self._seen = Found(taken.index, self._optics_seen, answer)
        return answer.place, ""

    def _disc_px(self) -> tuple[float, float]:
        """Where the disc should be on the camera."""
        fast_px, slow_px = self._optics.centre_px
        if not self._disc_follows:
            return fast_px, slow_px
        moved_px = square(self._optics.px_per_nm) @ np.array(self.path.corrected_nm)
        return round(fast_px - float(moved_px[0]), 3), round(slow_px - float(moved_px[1]), 3)


def _reaches_nm(found: Found) -> float:
    """How far from the middle its outline reaches; 0 of one that did not stand out."""
    looks = found.located.looks
    return 0.0 if looks is None else found.located.place.distance_nm + looks.radius_nm


def _told_of(taken: TakenSnapshot, place: Place) -> dict[str, Any]:
    at = {"t_s": round(taken.t_s, 3), "x_nm": place.x_nm, "y_nm": place.y_nm}
    return {**at, "covariance_nm2": list(place.covariance_nm2)}
