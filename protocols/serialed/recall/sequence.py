"""The work of each state of a recall: stage to the place, an image at low dose, the crystal known again, beam on it.

The beam is on for exposures alone. The stage stays where the crystal is, and so does a beam shift that was corrected;
whatever else was changed goes back, and the beam shift too where the crystal was not found.
"""

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import cast

from drivers.approach import arrive_xy, stands_xy
from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from engine.clock import ns
from engine.errors import DeviceError
from engine.record.endings import Status
from engine.record.jsonobject import JsonObject
from engine.record.warned import TRUTH, WARNING
from engine.run.contract import Experiment, SafeAction, Work
from engine.run.run import Run
from protocols.calibrate.asfound import AsFound
from protocols.screening.computation import SCREEN
from protocols.screening.computation import told as screen_told
from protocols.serialed.aim import Aim, corrected, settings_to
from protocols.serialed.budgets import SerialedBudgets
from protocols.serialed.exposing import Exposures
from protocols.serialed.finding.computation import FIND
from protocols.serialed.finding.computation import answered as find_answered
from protocols.serialed.finding.computation import told as find_told
from protocols.serialed.finding.crystals import Found
from protocols.serialed.finding.settings import FinderSettings
from protocols.serialed.ontarget import on_target
from protocols.serialed.probeseen import PROBE
from protocols.serialed.probeseen import told as probe_told
from protocols.serialed.recall.finish import RECALLED
from protocols.serialed.recall.matching import Known, Match, matched
from protocols.serialed.recall.plan import IMAGE, RecallPlan, State, recall_machine
from protocols.serialed.records import BEAM, PATTERN
from protocols.serialed.scale import FieldScale
from protocols.serialed.stageways import BACKLASHES

STAGE_ALARM = "THE STAGE MAY STILL BE MOVING: stop it at the microscope now"
SHIFT_ALARM = "THE BEAM SHIFT IS NOT WHERE IT SHOULD BE: look where the beam is before the next experiment"
SAFE_LIMIT_S = 1.5
USUAL_SIGMA_NM = 1000.0
ANSWERS_MISSED = 1
"""So many answers may not come: a worker that was late costs an image, and not the crystal."""
EDGE_SHARE = 0.02
"""Of the image's side: nearer to its border no crystal is expected to be found."""
ASIDE = 0.3
"""The look at the probe lies this share of the picture's side from its middle."""
ASIDES = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
Pair = tuple[float, float]
ANYWHERE = (math.inf, math.inf)
"""Every setting of the beam shift falls from there, so that it is arrived at from below."""


class RecallSequence(Experiment):
    """The states of a recall at work."""

    def __init__(
        self, plan: RecallPlan, scale: FieldScale, budgets: SerialedBudgets, microscope: Microscope, run: Run
    ) -> None:
        super().__init__(run, microscope, recall_machine(run.entered))
        self.plan, self.scale, self.budgets = plan, scale, budgets
        if microscope.stagexyz is None or microscope.deflectors is None or microscope.mode is None:
            raise DeviceError("serialed-recall: a part is missing; nothing was done.")  # `needs` says so before
        self._timeline = run.timeline
        self._stage = run.gate.wrap("stagexyz", microscope.stagexyz)
        self._coils = run.gate.wrap("deflectors", microscope.deflectors)
        self._mode = run.gate.wrap("mode", microscope.mode)
        self._detector = run.gate.wrap("detector", microscope.detector)
        self._found = AsFound(run, microscope)
        self._light = self._found.illumination
        beam = run.gate.wrap("beam", microscope.beam)
        exposures_s = (plan.image_exposure_s, plan.probe_exposure_s)
        self._camera = Exposures(run, beam, self._detector, exposures_s, microscope.facts.timing.api_call_s)
        self._to_nm: Pair = (plan.x_nm, plan.y_nm)
        self._stage_nm: Pair = (0.0, 0.0)
        self._neutral: Pair | None = None
        self._leave: Pair | None = None
        """The beam shift that is left at the end, once it was read."""
        self._here: Pair = ANYWHERE
        """The beam shift as it is set, having come from below."""
        self._image_brightness = 0.0
        self._stands_ns = 0
        self._images = 0
        self._unanswered = 0
        self._image_index = -1
        self._flatfield: int | None = None
        """Where the camera's response lies in the spool; None where nobody knows it."""
        self._seen: Found | None = None
        self._target_px: Pair = (0.0, 0.0)
        self._aim: Aim | None = None
        self._match: Match | None = None
        run.compute.declare(FIND, PROBE, *((SCREEN,) if plan.pattern else ()))

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.BEGIN: self.begin,
            State.MOVE: self.move,
            State.IMAGE: self.image,
            State.FIND: self.find,
            State.LOOK_AT_BEAM: self.look_at_beam,
            State.AIM: self.aim,
            State.EXPOSE: self.expose,
        }

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: beam first, the stage stands, lenses go back, then the beam shift."""
        blank, *others = super().safe_actions()
        stop = SafeAction("stop x and y", self._stage.stop, SAFE_LIMIT_S, STAGE_ALARM)
        shift = SafeAction("beam shift", self._leave_shift, SAFE_LIMIT_S, SHIFT_ALARM)
        return (blank, stop, *others, *self._found.actions(read_in=OpticalMode.IMAGING), shift)

    async def _leave_shift(self) -> None:
        """As it was, or on the crystal."""
        if self._leave is not None:
            await self._coils.set(Deflector.BEAM_SHIFT, *self._leave)

    async def begin(self) -> str:
        """Lenses and condenser as images want them, the camera armed."""
        await self._found.remember_mode()
        await self._mode.set_mode(OpticalMode.IMAGING)
        if await self._found.remember_magnification() != self.plan.magnification:
            await self._mode.set_magnification(self.plan.magnification)
        self._stands_in(self._mode.facts.settling_s)
        if self._light is not None:
            _, brightness = await self._found.remember_illumination()
            self._image_brightness = brightness if self.plan.image_brightness is None else self.plan.image_brightness
            await self._set_brightness(self._image_brightness)
        self._neutral = self._leave = await self._coils.read(Deflector.BEAM_SHIFT)
        if self._detector.flatfield is not None:
            self._flatfield = await self.run.data.keep_extra("flatfield", self._detector.flatfield)
        await self._camera.arm()
        if not await stands_xy(self._stage, self._timeline):
            raise DeviceError("stagexyz: still moved after a minute; it was told to stop. Look what moves it.")
        return "begun"

    async def move(self) -> str:
        """To the crystal's place, from below as in the serial run."""
        async with self._timeline.step(
            "move", slot=self._images + 1, at_ns=self._timeline.now_ns, budget_ns=ns(self.budgets.move_s),
            tolerance_ns=2**62, stretch=True,
        ):  # fmt: skip
            await arrive_xy(self._stage, self._timeline, *self._to_nm, backlashes=BACKLASHES)
            self._stands_in(self.plan.stage_settling_s)
            read = await self._stage.position()
        self._stage_nm = (round(read.x_nm, 1), round(read.y_nm, 1))
        return "arrived"

    async def image(self) -> str:
        """An image, the beam on for its exposure alone."""
        self._images += 1
        columns: dict[str, int | float | str | None] = {
            "field": self._images,
            "x_nm": self._stage_nm[0],
            "y_nm": self._stage_nm[1],
            "nm_per_px": round(self.scale.nm_per_px, 4),
        }
        index = await self._camera.take(IMAGE.name, self.plan.image_exposure_s, columns, self._stands_ns)
        if index is None:
            return self._failed("the camera gave no image")
        self._image_index = index
        return "imaged"

    async def find(self) -> str:
        """Crystals found, and which of them is the one."""
        saturation = float(self._detector.facts.saturation_of(self.plan.image_exposure_s) or 0)
        index, flatfield = self._image_index, self._flatfield
        settings = FinderSettings(saturation=saturation)
        wide_cross = self._detector.facts.wide_cross
        told = find_told(index, self.scale.nm_per_px, settings, wide_cross=wide_cross, flatfield=flatfield)
        outcome = await self.run.compute.compute(FIND, told, (index,) if flatfield is None else (index, flatfield))
        if not outcome.good:
            self._unanswered += 1
            if self._unanswered > ANSWERS_MISSED:
                return self._failed(f"crystals could not be looked for: {outcome.error.rstrip('.')}")
            text = f"crystals could not be looked for, in another image they are: {outcome.error}"
            self.run.trace.record("note", WARNING, what="find", text=text)
            return "look_again"
        self._seen = found = find_answered(cast(JsonObject, outcome.result))
        match = self._match = self._matched(found)
        if match is None or match.sure < self.plan.sure:
            return self._failed(_not_known(found, match, self.plan))
        place = self.plan.x_nm + match.off_nm[0], self.plan.y_nm + match.off_nm[1]
        if match.target is None:
            self._target_px = self.scale.px_of(place, self._stage_nm)
        else:
            crystal = found.crystals[match.target]
            self._target_px = crystal.fast_px, crystal.slow_px
        place = self.scale.place_of(self._target_px, self._stage_nm)
        away_nm = math.dist(place, self._stage_nm)
        self._note(match, place, away_nm)
        by_beam = "beam" in self.plan.correct
        if "stage" in self.plan.correct and away_nm > self.plan.within_nm:
            if self._images < self.plan.stage_tries:
                self._to_nm = place
                return "move_again"
            if not by_beam:
                tries = f"{self._images} {'try' if self._images == 1 else 'tries'}"
                return self._failed(f"the stage is still {away_nm:.0f} nm off after {tries}, and not within_nm")
        if by_beam:
            return "found"
        return self.run.finish(Status.DONE, self._words(away_nm))

    def _matched(self, found: Found) -> Match | None:
        """The table in this image."""
        plan = self.plan
        places = [self.scale.place_of((each.fast_px, each.slow_px), self._stage_nm) for each in found.crystals]
        new = [
            Known(x - plan.x_nm, y - plan.y_nm, each.length_px * self.scale.nm_per_px)
            for (x, y), each in zip(places, found.crystals, strict=True)
        ]
        table = [Known(0.0, 0.0, plan.length_nm or float("nan"))]
        table += [Known(x, y, length or float("nan")) for x, y, length in plan.neighbours]
        rows, columns = self.scale.shape
        edge = EDGE_SHARE * min(rows, columns)
        corners = [
            self.scale.place_of((fast, slow), self._stage_nm)
            for fast in (edge, columns - edge)
            for slow in (edge, rows - edge)
        ]
        xs, ys = ([corner[axis] - at for corner in corners] for axis, at in enumerate((plan.x_nm, plan.y_nm)))
        return matched(new, table, (min(xs), max(xs), min(ys), max(ys)), self._sigma_nm)

    @property
    def _sigma_nm(self) -> float:
        """Of the stage's landing, and of what has moved since."""
        return self.plan.stage_sigma_nm or max(USUAL_SIGMA_NM, 2 * (self.scale.repeat_nm or 0.0))

    async def look_at_beam(self) -> str:
        """Where the probe lies, seen beside all crystals; without a condenser it is taken to be in the middle."""
        neutral = self._neutral or (0.0, 0.0)
        self._aim = self.scale.aim_at(neutral)
        if self._light is None or self.plan.probe_brightness is None:
            self._warn("the beam was not looked at: it is taken to be in the middle of the image")
            return "looked"
        await self._set_brightness(self.plan.probe_brightness)
        units = self._aside(self._aim)
        await self._set_shift(units)
        columns: dict[str, int | float | str | None] = {"field": self._images, "beam_x": units[0], "beam_y": units[1]}
        index = await self._camera.take(BEAM.name, self.plan.probe_exposure_s, columns, self._stands_ns)
        seen: JsonObject = {"at": None}
        if index is not None:
            camera = self._detector.facts
            saturation = camera.saturation_of(self.plan.probe_exposure_s)
            told = probe_told(index, of_pattern=False, wide_cross=camera.wide_cross, saturation=saturation)
            outcome = await self.run.compute.compute(PROBE, told, (index,))
            seen = cast(JsonObject, outcome.result) if outcome.good else seen
        if not seen["at"]:
            return self._failed("the probe was not seen in the image, so the beam cannot be brought onto the crystal")
        at = float(seen["at"][0]), float(seen["at"][1])
        found = corrected(self._aim, [(units, at)])
        self._aim = found.aim
        moved_nm = math.hypot(*found.moved_px) * self.scale.nm_per_px
        self.run.trace.record("note", "beam", field=self._images, looks=1, moved_nm=round(moved_nm, 1))
        return "looked"

    def _aside(self, aim: Aim) -> Pair:
        """The setting that puts the probe farthest from everything that was found."""
        rows, columns = self.scale.shape
        centre = self.scale.middle_px
        seen = () if self._seen is None else self._seen.crystals
        things = [((c.fast_px, c.slow_px), c.length_px / 2) for c in seen] + [(self._target_px, 0.0)]
        places = [(centre[0] + ASIDE * fast * columns, centre[1] + ASIDE * slow * rows) for fast, slow in ASIDES]

        def free_px(place: Pair) -> float:
            return min(math.dist(place, middle) - half for middle, half in things)

        allowed = [(free_px(place), units) for place in places if (units := self._allowed(aim.units_for(place)))]
        return max(allowed)[1] if allowed else (self._neutral or (0.0, 0.0))

    def _allowed(self, units: Pair) -> Pair | None:
        whole = self._coils.facts.whole_numbers
        set_to = (float(round(units[0])), float(round(units[1]))) if whole else units
        return None if self._coils.facts.outside(Deflector.BEAM_SHIFT, *set_to) else set_to

    async def aim(self) -> str:
        """The beam onto the crystal; it stays there."""
        aim = self._aim or self.scale.aim_at(self._neutral or (0.0, 0.0))
        units = self._allowed(aim.units_for(self._target_px))
        if units is None:
            return self._failed("the beam shift does not reach the crystal: it is too near the end of its range")
        await self._set_shift(units)
        self._leave = units
        self.run.trace.record("note", "aimed", beam_x=units[0], beam_y=units[1])
        if self.plan.pattern:
            return "aimed"
        return self.run.finish(Status.DONE, self._words(None))

    async def expose(self) -> str:
        """A pattern, and its score."""
        await self._mode.set_mode(OpticalMode.DIFFRACTION)
        self._stands_in(self._mode.facts.settling_s)
        x_nm, y_nm = self.scale.place_of(self._target_px, self._stage_nm)
        units = self._leave or (0.0, 0.0)
        columns: dict[str, int | float | str | None] = {
            "field": self._images,
            "crystal": self.plan.crystal,
            "fast_px": round(self._target_px[0], 2),
            "slow_px": round(self._target_px[1], 2),
            "x_nm": round(x_nm, 1),
            "y_nm": round(y_nm, 1),
            "beam_x": units[0],
            "beam_y": units[1],
            "length_nm": self.plan.length_nm,
            "is_isolated": 0,
        }
        index = await self._camera.take(PATTERN.name, self.plan.probe_exposure_s, columns, self._stands_ns)
        if index is not None:
            cross = self._detector.facts.wide_cross
            told = screen_told(index, self.budgets.inverse_A_per_px, wide_cross=cross)
            await self.run.compute.compute(SCREEN, told, (index,))
        return self.run.finish(Status.DONE, self._words(None))

    def _note(self, match: Match, place: Pair, away_nm: float) -> None:
        """What was found, for `finish` and for the next look."""
        self.run.trace.record(
            "note",
            RECALLED,
            image=self._images,
            off_nm=[round(place[0] - self.plan.x_nm, 1), round(place[1] - self.plan.y_nm, 1)],
            away_nm=round(away_nm, 1),
            place_nm=[round(place[0], 1), round(place[1], 1)],
            seen=match.target is not None,
            matched=match.matched,
            expected=match.expected,
            sure=round(match.sure, 4),
            left_nm=round(match.left_nm, 1),
        )

    def _words(self, away_nm: float | None) -> str:
        match = self._match
        if match is None:
            return "recalled"
        off = math.hypot(*match.off_nm)
        itself = "" if match.target is not None else ", though it was not seen itself"
        ends = {
            "beam": "the beam shift is on it",
            "stage": f"the stage is {away_nm or 0.0:.0f} nm off",
            "stage and beam": "the beam shift is on it",
            "nothing": "nothing was corrected",
        }
        return (
            f"crystal {self.plan.crystal} is {off:.0f} nm from its old place{itself}, by {match.matched} of "
            f"{match.expected} crystals, {100 * match.sure:.1f} % sure; {ends[self.plan.correct]}"
        )

    def _failed(self, why: str) -> str:
        return self.run.finish(
            Status.FAILED, f"{why}. The beam is off, the beam shift as it was, and the stage stands where it looked."
        )

    async def _set_brightness(self, value: float) -> None:
        if self._light is None:
            return
        await self._light.set_brightness(round(value) if self._light.facts.whole_numbers else value)
        self._stands_in(self.plan.condenser_settling_s)

    async def _set_shift(self, units: Pair) -> None:
        for x, y in settings_to(self._here, units, self.scale.lag_units or 0.0):
            whole = self._coils.facts.whole_numbers
            await self._coils.set(Deflector.BEAM_SHIFT, *((round(x), round(y)) if whole else (x, y)))
            if (x, y) != units:
                await self._timeline.wait("below", self._timeline.now_ns + ns(self._coils.facts.settling_s))
        self._here = units
        self._stands_in(self._coils.facts.settling_s)

    def _stands_in(self, seconds: float) -> None:
        self._stands_ns = max(self._stands_ns, self._timeline.now_ns + ns(seconds))

    def _warn(self, text: str) -> None:
        self.run.trace.record("note", WARNING, what="beam", text=text)

    async def when_safe(self) -> None:
        """See `Experiment.when_safe`: of a pattern, whether a simulated grid says that the crystal was lit."""
        if self.microscope.truth is not None and (told := on_target(self.microscope.truth, self.run.data.remains())):
            self.run.trace.record("note", TRUTH, **told)

    def write_extra(self, folder: Path) -> None:
        """See `Experiment.write_extra`: the truth of a simulation."""
        if self.microscope.truth is not None:
            self.microscope.truth.write_hidden(folder / "truth.h5")


def _not_known(found: Found, match: Match | None, plan: RecallPlan) -> str:
    """Why nothing is taken for the crystal, and what to do."""
    if not found.crystals:
        why = f" ({found.note})" if found.note else ""
        return f"no crystal is seen in the image{why}: is the sample, and the film, still there"
    seen = f"{len(found.crystals)} crystals are seen"
    if match is None:
        return f"{seen}, and none of them lies like crystal {plan.crystal} and its {len(plan.neighbours)} neighbours"
    return (
        f"{seen}, and it is only {100 * match.sure:.0f} % sure which of them is crystal {plan.crystal} "
        f"({match.matched} of {match.expected} lie as they should)"
    )
