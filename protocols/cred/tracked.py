"""The crystal of a run followed by its snapshots, and brought back into the middle of the aperture.

While the lens goes back into focus a computation looks at the snapshot (`protocols.tracking.computation`). What it says
is learned (`protocols.tracking.path`), and where the crystal will be in the frames up to the next snapshot tells what
to correct (`protocols.tracking.correction`): one call, or a few (`protocols.cred.trackingcalls`). All of it fits into
the time that the lens settles, so it costs no slot. An answer that comes too late is missed; the next snapshot tells.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drivers.contract import Microscope
from engine.errors import DeviceError, DeviceLost, Refused
from engine.run.contract import SafeAction
from protocols.cred.lookingaround import LookingAround
from protocols.cred.seencrystal import LOCATE, SeenCrystal, TakenSnapshot
from protocols.cred.snapshotslots import NextSnapshot
from protocols.cred.trackedby import actuator_by, disc_range_nm
from protocols.cred.trackedpath import AIMED, CORRECTED, paths_before
from protocols.cred.trackingcalls import DeflectorCalls, StageCalls, TrackingCalls
from protocols.cred.turns import Turns
from protocols.tracking.actuator import Actuator, Correction
from protocols.tracking.correction import CorrectionLimits, Corrector, Trust
from protocols.tracking.interval import off_middle_nm
from protocols.tracking.locating import Optics
from protocols.tracking.path import CrystalPath
from protocols.tracking.place import Place
from protocols.tracking.question import Detector

if TYPE_CHECKING:
    from engine.run.run import Run
    from protocols.cred.plan import CredPlan

TRIED_SHARE = 0.1
"""Of the aperture's diameter, by which the image shift is tried: many times what a look is off by."""
MOST_STEPS = 30
"""Before the rotation there is time for more than one step, once it is known what they do."""
Ahead = Callable[[int], tuple[float, float]]
"""Angle in deg and time in s, so many halves of a slot after the snapshot."""


@dataclass(frozen=True, slots=True)
class BringingBack:
    """By what the crystal is brought back, behind the gate of the run, and how far at most. farthest_nm: from the
    middle of what is selected to where it ends.
    """

    actuator: Actuator
    limits: CorrectionLimits
    calls: TrackingCalls
    farthest_nm: float


@dataclass(frozen=True, slots=True)
class CrystalLost:
    """What becomes of a crystal that is lost. policy: as in the plan. upcoming: when the next snapshot comes. around:
    the search for it.
    """

    policy: str
    upcoming: NextSnapshot
    around: LookingAround

    @property
    def is_searched_for(self) -> bool:
        """Whether the plan says so."""
        return self.policy == "search"

    @property
    def ends(self) -> bool:
        """Whether the run ends."""
        return self.policy == "stop" or (self.is_searched_for and bool(self.around.over))


class TrackedCrystal:
    """Of one run. crystals: as their snapshots show them; of several each has its turn. by: None where the crystal is
    only shown.
    """

    def __init__(self, run: "Run", crystals: Sequence[SeenCrystal], by: BringingBack | None, lost: CrystalLost) -> None:
        self._run, self._by, self._lost = run, by, lost
        self._turns = Turns(run, crystals)
        self._corrector: Corrector | None = None
        self._is_held = by is not None
        self._aim_nm = (0.0, 0.0)
        self._corrected_now = False

    @property
    def seen(self) -> SeenCrystal:
        """By its snapshots; of several that one whose turn it is."""
        return self._turns.now

    @property
    def path(self) -> CrystalPath:
        """Where it goes."""
        return self.seen.path

    def flatfield_is(self, index: int) -> None:
        """In the spool."""
        for crystal in self._turns.crystals:
            crystal.flatfield = index

    @property
    def is_held(self) -> bool:
        """Whether it is brought back: the plan says so, and it goes as it should."""
        return self._is_held and not (self._corrector is not None and self._corrector.trust is Trust.STOPPED)

    @property
    def farthest_nm(self) -> float:
        """From the middle of what is selected to where it ends; 0 where nothing is corrected."""
        return 0.0 if self._by is None else self._by.farthest_nm

    @property
    def can_be_tried(self) -> bool:
        """Whether it is not known yet what corrections do."""
        return self._corrector is not None and self._corrector.trust is Trust.UNTRIED

    @property
    def stands_after_s(self) -> float:
        """From the return of the last call until all stands; 0 where none was made for the last snapshot."""
        return self._by.calls.settling_s if self._by is not None and self._corrected_now else 0.0

    @property
    def ends_run(self) -> str:
        """Why the run ends, in words: the crystal is lost, and the plan says so. Empty where it goes on."""
        if not self._turns.all_lost or not self._lost.ends:
            return ""
        searched = f"; {self._lost.around.over}" if self._lost.around.over else ""
        return (
            f"crystal_lost = {self._lost.policy}: not found in {self.seen.missed} snapshots in a row, the last time: "
            f"{self.seen.why}{searched}"
        )

    async def begin(self) -> None:
        """Read where all stands that will be set, for it goes back there; no call where nothing is corrected."""
        self._turns.begin()
        if self._by is not None:
            self._corrector = Corrector(self._by.actuator, self._by.limits, *await self._by.calls.begin())

    def safe_actions(self) -> Sequence[SafeAction]:
        """What was set goes back to where it was."""
        return () if self._by is None else self._by.calls.safe_actions()

    def aim(self, x_nm: float, y_nm: float) -> str:
        """From the next snapshot on the crystal is to lie there, and not in the middle of the aperture; words for the
        operator. Raises Refused where it cannot.
        """
        if self._turns.are_several:
            raise Refused("Tracking: of several crystals each is held in the middle; nothing was changed.")
        if self._by is None or not self.is_held:
            raise Refused("Tracking: the crystal is not held, for no corrections are made; nothing was changed.")
        if (away_nm := math.hypot(x_nm, y_nm)) > self._by.farthest_nm:
            raise Refused(
                f"Tracking: {away_nm:.0f} nm from the middle a crystal is lit no more, {self._by.farthest_nm:.0f} nm "
                "is the farthest; nothing was changed."
            )
        self._aim_nm = x_nm, y_nm
        self._run.trace.record("tracking", AIMED, x_nm=x_nm, y_nm=y_nm)
        return f"Tracking: from the next snapshot on the crystal is held at {x_nm:g}, {y_nm:g} nm."

    async def set_out(self, from_deg: float, ahead: tuple[float, float]) -> None:
        """Before the rotation: what looks missed on the way there counts no more, the crystal looks as it did nearest
        to the first angle, and what is known of its path brings it to the middle. ahead: angle in deg and time in s of
        the first frames.
        """
        self._corrected_now = False
        self.seen.begin_again(from_deg)
        await self._correct(0, ahead)

    async def try_shift(self, axis: int) -> None:
        """Move the crystal along one axis of the stage by a tenth of the aperture, towards the middle: while nothing
        else moves the next look tells what the image shift does.
        """
        if self._corrector is None or self._by is None or not self.seen.was_found or self.seen.last is None:
            return
        by_nm = TRIED_SHARE * 2 * self._by.farthest_nm
        place = self.seen.last.located.place.array_nm
        moves_nm = [0.0, 0.0]
        moves_nm[axis] = -by_nm if place[axis] > 0 else by_nm
        correction = self._corrector.trial((moves_nm[0], moves_nm[1]))
        if correction is not None:
            await self._make(0, correction)

    async def scan(self, taken: TakenSnapshot, seen: Callable[[], tuple[float, float] | None]) -> None:
        """Look for the crystal in an image of the pre-scan, and correct for where it will be. seen: asked then, for
        angle in deg and time in s of that; None where nothing is to be corrected.
        """
        await self._look(taken)
        ahead = seen()
        if ahead is not None and (not self.seen.missed or self._goes_on_unseen):
            await self._correct(taken.slot, ahead)

    async def follow(self, taken: TakenSnapshot, ahead: Ahead) -> None:
        """Look for the crystal in a snapshot, decide when to look again, and correct for where it will be until then.

        Takes at most LOCATE_S, and the calls where something is corrected. Never fails a run: what goes wrong with a
        look is noted.
        """
        await self._look(taken)
        upcoming = self._lost.upcoming
        if self._turns.are_several:
            await self._next_turn(taken.slot, ahead(upcoming.decide(None)))
            return
        if self.seen.missed:
            soon = upcoming.decide(None)
            if self._lost.is_searched_for and self.seen.is_lost and not self.seen.elsewhere:
                await self._look_around(taken.slot, ahead(2 * soon))
            elif self._goes_on_unseen:
                await self._correct(taken.slot, ahead(soon))
            upcoming.comes_after(soon, None)
            return
        self._lost.around.found()
        slots = upcoming.decide(lambda slots: self.path.predict(*ahead(2 * slots)).sigma_nm)
        await self._correct(taken.slot, ahead(slots))

        def off_nm(slots: int) -> float:
            predicted = self._off_aim(self.path.predict(*ahead(2 * slots)))
            return predicted.sigma_nm if self._corrector is None else off_middle_nm(predicted)

        # Anew: a correction acts not exactly as it should, and may not have brought it all the way.
        slots = upcoming.decide(off_nm)
        upcoming.comes_after(slots, off_nm(slots) if upcoming.is_decided else None)

    async def _next_turn(self, slot: int, ahead: tuple[float, float]) -> None:
        """The next crystal to the middle, by as much as that takes: what the correction did, its snapshot tells."""
        if self._corrector is None:
            return
        correction = self._turns.next(slot, self._corrector, ahead)
        if correction is not None:
            self._corrector.looked_elsewhere(correction)
            await self._set(slot, correction)

    async def _look(self, taken: TakenSnapshot) -> None:
        self._corrected_now = False
        await self.seen.look(taken, anywhere=self._lost.around.goes_on)

    @property
    def _goes_on_unseen(self) -> bool:
        """Where it should be tells as much as where it is seen, once it is known what corrections do."""
        known = self._corrector is not None and self._corrector.trust is Trust.RIGHT
        return known and not self.seen.is_lost and not self.seen.elsewhere

    def _off_aim(self, place: Place) -> Place:
        """As seen from where it is to be held."""
        x_nm, y_nm = self._aim_nm
        return replace(place, x_nm=place.x_nm - x_nm, y_nm=place.y_nm - y_nm)

    async def _correct(self, slot: int, ahead: tuple[float, float] | None) -> None:
        corrector = self._corrector
        if corrector is None or ahead is None:
            return
        effect, before, predicted = self.path.effect(), corrector.trust, self._off_aim(self.path.predict(*ahead))
        if (trust := corrector.judge(effect, predicted)) is not before and trust in (Trust.DOUBTED, Trust.STOPPED):
            self._run.trace.record("note", "operator", text=f"Tracking: {corrector.words}")
        for _ in range(1 if slot else MOST_STEPS):
            correction = corrector.next(self._off_aim(self.path.predict(*ahead)), effect, ahead[0])
            if correction is None:
                return
            await self._make(slot, correction)
            if corrector.trust is not Trust.RIGHT:
                return

    async def _make(self, slot: int, correction: Correction) -> None:
        corrector, by = self._corrector, self._by  # no corrector once the deflectors have refused one
        if corrector is None or by is None:
            return
        corrector.made(correction)
        await self._set(slot, correction)

    async def _look_around(self, slot: int, next_look: tuple[float, float]) -> None:
        """Move the view to the next place where the crystal may be, if there is one. next_look: angle in deg and time
        in s of the next snapshot.
        """
        corrector, around, last = self._corrector, self._lost.around, self.seen.last
        if last is None or last.located.looks is None:  # nobody knows how it looks, so it is not searched for
            return
        if corrector is None or corrector.trust is Trust.STOPPED:
            around.stop("it is not looked for elsewhere, for nothing is moved any more")
            return
        seen_nm = last.located.place.x_nm, last.located.place.y_nm
        correction = around.next(slot, corrector, self.path, next_look, seen_nm)
        if correction is not None and correction.moves_nm != (0.0, 0.0):
            corrector.looked_elsewhere(correction)
            await self._set(slot, correction)

    async def _set(self, slot: int, correction: Correction) -> None:
        """The calls that make a correction."""
        if self._by is None:
            return
        # Before it is made: of a call that fails nobody knows whether it was heard.
        self._corrected_now = True
        for crystal in self._turns.crystals:
            crystal.path.correct(*correction.moves_nm)
        x_nm, y_nm = correction.moves_nm
        told = {"slot": slot, "by": self._by.actuator.name, "x_nm": round(x_nm, 3), "y_nm": round(y_nm, 3)}
        self._run.trace.record("tracking", CORRECTED, **told)
        try:
            await self._by.calls.make(correction)
        except DeviceLost:
            raise
        except DeviceError as error:
            self._corrector, self._is_held = None, False
            text = f"Tracking: no more corrections are made, for the {self._by.actuator.name} refused one: {error}"
            self._run.trace.record("note", "operator", text=text)


def tracked_crystal(
    run: "Run", microscope: Microscope, plan: "CredPlan", next_snapshot: NextSnapshot
) -> TrackedCrystal:
    """The crystal of a run whose plan fits the instrument."""
    facts, camera, geometry = microscope.tracking, microscope.detector.facts, microscope.geometry
    if facts is None:
        raise ValueError("snapshots are not calibrated")
    a, b, c, d = (plan.defocus * number for number in facts.snapshot)
    radius_px = abs(facts.disc_radius_px * (plan.defocus - facts.disc_zero_defocus))
    optics = Optics((geometry.beam_fast_px, geometry.beam_slow_px), radius_px, (a, b, c, d), 0.0)
    saturation = camera.saturation_of(plan.snapshot_exposure_s) or 0
    detector = Detector(None, camera.wide_cross, saturation, _electron_counts(microscope))
    by = _bringing_back(run, microscope, plan) if plan.tracking == "correct" else None
    paths = paths_before(plan, foreshortened=by is not None and by.actuator.foreshortened)
    lost = CrystalLost(plan.crystal_lost, next_snapshot, LookingAround(run, facts.aperture_nm / 2))
    disc_follows = by is not None and by.actuator.disc_follows
    run.compute.declare(LOCATE)
    several = len(paths) > 1
    crystals = [
        SeenCrystal(run, optics, detector, path, disc_follows=disc_follows, number=number if several else 0)
        for number, path in enumerate(paths, start=1)
    ]
    return TrackedCrystal(run, crystals, by, lost)


def _bringing_back(run: "Run", microscope: Microscope, plan: "CredPlan") -> BringingBack:
    actuator, limits = actuator_by(plan.track_by, microscope.facts, beam_follows=plan.beam_follows), CorrectionLimits()
    if actuator.disc_follows:
        limits = replace(limits, range_nm=min(limits.range_nm, disc_range_nm(plan.defocus, microscope.facts)))
    stage, coils = microscope.stagexyz, microscope.deflectors
    calls: TrackingCalls
    if plan.track_by == "stage" and stage is not None:
        calls = StageCalls(run, run.gate.wrap("stagexyz", stage))
    elif coils is not None:
        calls = DeflectorCalls(actuator, run.gate.wrap("deflectors", coils))
    else:
        raise ValueError(f"there is nothing to track with by {plan.track_by}")
    radius_nm = 0.0 if microscope.tracking is None else microscope.tracking.aperture_nm / 2
    return BringingBack(actuator, limits, calls, radius_nm)


def _electron_counts(microscope: Microscope) -> float:
    """Counts of one electron, by the calibration; 1 where nobody knows, as of a camera that counts."""
    figures = {} if microscope.calibration is None else microscope.calibration.figures
    figure = figures.get("detector.gain_counts_per_electron")
    return 1.0 if figure is None or figure.value is None else figure.value
