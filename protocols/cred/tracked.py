"""The crystal of a run followed by its snapshots, and brought back into the middle of the aperture.

While the lens goes back into focus a computation looks at the snapshot (`protocols.tracking.computation`). What it says
is learned (`protocols.tracking.path`), and where the crystal will be in the frames up to the next snapshot tells what
to correct (`protocols.tracking.correction`): two calls to the deflectors. All of it fits into the time that the lens
settles, so it costs no slot. An answer that comes too late is missed, and the next snapshot tells.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from drivers.calibration.trackingfacts import TrackingFacts
from drivers.contract import Microscope
from drivers.parts import Deflector, DeflectorFacts, Deflectors
from engine.errors import CredlineError, DeviceError, DeviceLost
from engine.run.compute import Computation
from engine.run.contract import SafeAction
from protocols.cred.lookingaround import LookingAround
from protocols.cred.snapshotslots import NextSnapshot
from protocols.cred.trackedpath import CORRECTED, FOUND, NOT_FOUND
from protocols.cred.trackingfits import LOCATE_S, SHIFTS
from protocols.tracking.computation import Detector, Found, answered, told
from protocols.tracking.correction import Coils, Correction, CorrectionLimits, Corrector, Pair, Trust
from protocols.tracking.interval import off_middle_nm
from protocols.tracking.locating import Optics, Refusal
from protocols.tracking.path import CrystalPath, Seen
from protocols.tracking.place import Place
from protocols.tracking.search import may_be

if TYPE_CHECKING:
    from engine.run.run import Run
    from protocols.cred.plan import CredPlan

LOCATE = Computation(
    "locate", "protocols.tracking.computation:locate_in", latency_s=0.03, limit_s=LOCATE_S, resolution=1e-3, quick=True
)
CENTRED_NM = 150.0
"""The operator has centred the crystal: there it is looked for in the first snapshot, and not its neighbour. Standard
deviation along x and y, with what play and the first half degree do.
"""
SLIPPED_NM = 400.0
"""Once it was not where it should be, it may have slipped by this: standard deviation along x and y."""
LOST_AFTER = 3
"""So many snapshots in a row in which the crystal is not found, or not believed: it is lost."""
Ahead = Callable[[int], tuple[float, float]]
"""Angle in deg and time in s, so many halves of a slot after the snapshot."""
CENTRED = Place.even(0.0, 0.0, CENTRED_NM)
BACK_S = 1.5


@dataclass(frozen=True, slots=True)
class TakenSnapshot:
    """index: in the run's spool. angle_deg, t_s: of the middle of its exposure."""

    index: int
    slot: int
    angle_deg: float
    t_s: float


class TrackedCrystal:
    """Of one run. optics: of its snapshots, as they should be. deflectors: None where the crystal is only shown; else
    behind the gate of the run. flatfield: its index in the spool, once it is there.
    """

    def __init__(
        self,
        run: "Run",
        facts: TrackingFacts,
        optics: Optics,
        detector: Detector,
        deflectors: Deflectors | None,
        next_snapshot: NextSnapshot,
        policy: str,
    ) -> None:
        self._next, self._policy = next_snapshot, policy
        self._around = LookingAround(run, facts.aperture_nm / 2)
        self._run, self._facts, self._deflectors = run, facts, deflectors
        self._optics, self._detector = optics, detector
        self.path = CrystalPath()
        self.flatfield: int | None = None
        self._corrector: Corrector | None = None
        self._begin: dict[Deflector, Pair] = {}
        self._seen: Found | None = None  # the snapshot in which it was found last
        self._last: Found | None = None  # and the last one of which that was believed
        self._missed = 0
        self._elsewhere = False
        self._touched = self._corrected_now = False
        self._why = ""
        run.compute.declare(LOCATE)

    @property
    def stands_after_s(self) -> float:
        """From the return of the last call until the deflectors stand; 0 where none was made for the last snapshot."""
        return self._deflectors.facts.settling_s if self._deflectors is not None and self._corrected_now else 0.0

    @property
    def ends_run(self) -> str:
        """Why the run ends, in words: the crystal is lost, and the plan says so. Empty where it goes on."""
        if not self.is_lost or self._policy == "go on" or (self._policy == "search" and not self._around.over):
            return ""
        searched = f"; {self._around.over}" if self._around.over else ""
        return (
            f"crystal_lost = {self._policy}: not found in {self._missed} snapshots in a row, the last time: "
            f"{self._why}{searched}"
        )

    @property
    def is_lost(self) -> bool:
        """Whether it was not found, or not believed, for so long that nobody knows where it is."""
        return self._missed >= LOST_AFTER

    async def begin(self) -> None:
        """Read where the deflectors stand, for they go back there: two calls; none where nothing is corrected."""
        if self._deflectors is None:
            return
        self._begin = {which: await self._deflectors.read(which) for which in SHIFTS}
        coils = coils_of(self._facts, self._deflectors.facts)
        self._corrector = Corrector(coils, CorrectionLimits(), *self._begin.values())

    def safe_actions(self) -> Sequence[SafeAction]:
        """Deflectors go back to where they were, if they were touched."""
        words = {which: which.replace("_", " ") for which in SHIFTS}
        return [
            SafeAction(
                f"{words[which]} back",
                self._back(which),
                BACK_S,
                f"THE {words[which].upper()} IS NOT BACK where it was: set it by hand before the next experiment",
            )
            for which in (SHIFTS if self._deflectors is not None else ())
        ]

    def _back(self, which: Deflector) -> Callable[[], Awaitable[None]]:
        async def back() -> None:
            if self._deflectors is not None and self._touched:
                await self._deflectors.set(which, *self._begin[which])

        return back

    async def follow(self, taken: TakenSnapshot, ahead: Ahead) -> None:
        """Look for the crystal in a snapshot, decide when to look again, and correct for where it will be until then.

        Takes at most LOCATE_S, and two calls where something is corrected. Never fails a run: what goes wrong with a
        look is noted.
        """
        self._corrected_now = False
        place, self._why = await self._locate(taken)
        told: dict[str, Any] = {"slot": taken.slot, "angle_deg": round(taken.angle_deg, 4)}
        self._elsewhere = False
        if place is None:
            self._missed += 1
            self._run.trace.record("tracking", NOT_FOUND, **told, reason=self._why)
            if self.is_lost and self._policy == "search":
                await self._look_around(taken.slot, ahead)
            # Where it should be tells as much as where it is seen, once it is known what corrections do.
            elif not self.is_lost and self._corrector is not None and self._corrector.trust is Trust.RIGHT:
                await self._correct(taken.slot, ahead(self._next.decide(None)))
            self._next.comes_after(self._next.decide(None), None)
            return
        seen = self.path.see(taken.angle_deg, taken.t_s, place)
        at = {"t_s": round(taken.t_s, 3), "x_nm": place.x_nm, "y_nm": place.y_nm}
        covariance_nm2 = list(place.covariance_nm2)
        self._run.trace.record("tracking", FOUND, **told, **at, covariance_nm2=covariance_nm2, seen=seen.value)
        if seen is Seen.DOUBTED:
            self._missed += 1
            self._elsewhere = True
            self._why = "it was found where it could not have gone"
            self._next.comes_after(self._next.decide(None), None)
            return
        self._missed = 0
        self._last = self._seen
        self._around.found()
        slots = self._next.decide(lambda slots: self.path.predict(*ahead(2 * slots)).sigma_nm)
        await self._correct(taken.slot, ahead(slots))

        def off_nm(slots: int) -> float:
            predicted = self.path.predict(*ahead(2 * slots))
            return predicted.sigma_nm if self._corrector is None else off_middle_nm(predicted)

        # Anew: a correction acts not exactly as it should, and may not have brought it all the way.
        slots = self._next.decide(off_nm)
        self._next.comes_after(slots, off_nm(slots) if self._next.is_decided else None)

    @property
    def _looks_farther(self) -> bool:
        """It was not where it should be, or was seen elsewhere just now: it may have slipped."""
        return self._missed == 1 or self._elsewhere

    def _expected(self, taken: TakenSnapshot) -> Place:
        """Where it should be."""
        if self._last is None:
            return CENTRED
        place = self.path.predict(taken.angle_deg, taken.t_s)
        if not self._looks_farther:
            return place
        xx, xy, yy = place.covariance_nm2
        return Place(place.x_nm, place.y_nm, (xx + SLIPPED_NM**2, xy, yy + SLIPPED_NM**2))

    async def _locate(self, taken: TakenSnapshot) -> tuple[Place | None, str]:
        """Where it is, or why that is not known."""
        expected = self._expected(taken)
        optics = replace(self._optics, tilt_deg=round(taken.angle_deg, 4))
        detector = replace(self._detector, flatfield=self.flatfield)
        # Twice in a row nothing looked like it: it may look otherwise from this side, so any look will do now.
        again = self._missed > 1 and not self._looks_farther and not self._around.goes_on
        any_look = self._last is None or again
        earlier = [] if any_look or self._last is None else [self._last]
        pictures = [taken.index, *(each.index for each in earlier)]
        if self.flatfield is not None:
            pictures.append(self.flatfield)
        arguments = told(taken.index, optics, None if self._around.goes_on else expected, earlier, detector)
        try:
            outcome = await self._run.compute.compute(LOCATE, arguments, pictures)
        except CredlineError as error:  # the disk has failed, which it says itself
            return None, str(error)
        if not outcome.good:
            return None, outcome.error
        result: Any = outcome.result
        answer, seen = answered(result)
        if isinstance(answer, Refusal):
            return None, answer.reason
        if self._around.goes_on and self._last is not None and not may_be(answer.looks, self._last.located.looks):
            return None, "what was found elsewhere does not look like the crystal"
        self._seen = Found(taken.index, seen, answer)
        return answer.place, ""

    async def _correct(self, slot: int, ahead: tuple[float, float]) -> None:
        corrector, deflectors = self._corrector, self._deflectors
        if corrector is None or deflectors is None:
            return
        effect, before = self.path.effect(), corrector.trust
        if (trust := corrector.judge(effect)) is not before and trust in (Trust.DOUBTED, Trust.STOPPED):
            self._run.trace.record("note", "operator", text=f"Tracking: {corrector.words}")
        correction = corrector.next(self.path.predict(*ahead), effect)
        if correction is None:
            return
        corrector.made(correction)
        await self._set(slot, correction, deflectors)

    async def _look_around(self, slot: int, ahead: Ahead) -> None:
        """Move the view to the next place where the crystal may be, if there is one."""
        corrector, deflectors, last = self._corrector, self._deflectors, self._last
        if last is None:  # nobody knows how it looks, so what was never found is not searched for
            return
        if corrector is None or deflectors is None or corrector.trust is Trust.STOPPED:
            self._around.stop("it is not looked for elsewhere, for the image shift is no more moved")
            return
        seen_nm = last.located.place.x_nm, last.located.place.y_nm
        next_look = ahead(2 * self._next.decide(None))
        correction = self._around.next(slot, corrector, self.path, next_look, seen_nm)
        if correction is not None and correction.moves_nm != (0.0, 0.0):
            corrector.looked_elsewhere(correction)
            await self._set(slot, correction, deflectors)

    async def _set(self, slot: int, correction: Correction, deflectors: Deflectors) -> None:
        """Two calls to the deflectors."""
        # Before it is made: of a call that fails nobody knows whether it was heard.
        self._touched = self._corrected_now = True
        self.path.correct(*correction.moves_nm)
        x_nm, y_nm = correction.moves_nm
        self._run.trace.record("tracking", CORRECTED, slot=slot, x_nm=round(x_nm, 3), y_nm=round(y_nm, 3))
        try:
            await deflectors.set(Deflector.IMAGE_SHIFT, *correction.image_shift)
            await deflectors.set(Deflector.DIFFRACTION_SHIFT, *correction.diffraction_shift)
        except DeviceLost:
            raise
        except DeviceError as error:
            self._corrector = None
            text = f"Tracking: no more corrections are made, for the deflectors refused one: {error}"
            self._run.trace.record("note", "operator", text=text)


def coils_of(facts: TrackingFacts, deflectors: DeflectorFacts) -> Coils:
    """What the deflectors do. Raises ValueError where that is not known; a plan that wants it is refused before."""
    nm, px, back_px = facts.image_shift_nm, facts.image_shift_px, facts.diffraction_shift_px
    if nm is None or px is None or back_px is None:
        raise ValueError("image shift and diffraction shift are not calibrated")
    image, diffraction = (deflectors.limits[which] for which in SHIFTS)
    return Coils(nm, px, back_px, image, diffraction, deflectors.whole_numbers)


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
    wrapped = run.gate.wrap("deflectors", microscope.deflectors) if plan.tracking == "correct" else None
    return TrackedCrystal(run, facts, optics, detector, wrapped, next_snapshot, plan.crystal_lost)


def _electron_counts(microscope: Microscope) -> float:
    """Counts of one electron, by the calibration; 1 where nobody knows, as of a camera that counts."""
    figures = {} if microscope.calibration is None else microscope.calibration.figures
    figure = figures.get("detector.gain_counts_per_electron")
    return 1.0 if figure is None or figure.value is None else figure.value
