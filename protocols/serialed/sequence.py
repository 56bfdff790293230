"""The work of each state of a serial run: to the field, an image of it, the probe onto each crystal, and on.

What can go on at the same time does: crystals are found while the lenses go to diffraction and the beam is focused;
patterns are scored, and everything is written, while the stage goes to the next field and the lenses go back. The beam
is on for exposures alone. A field that cannot be worked on is named and left; the run goes on with the next.
"""

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from pathlib import Path
from typing import cast

from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from engine.clock import ns
from engine.errors import DeviceError, DeviceLost
from engine.record.endings import Status
from engine.record.jsonobject import JsonObject
from engine.record.warned import TRUTH, WARNING
from engine.run.contract import Experiment, SafeAction, Work
from engine.run.run import Run
from protocols.calibrate.asfound import AsFound
from protocols.screening.computation import SCREEN
from protocols.screening.computation import told as screen_told
from protocols.serialed.aim import settings_to
from protocols.serialed.answer import Answer
from protocols.serialed.beamlooks import BeamLooks
from protocols.serialed.budgets import SerialedBudgets
from protocols.serialed.exposing import Exposures
from protocols.serialed.fieldmap import FieldMap
from protocols.serialed.fieldwork import finder_settings, visits_of
from protocols.serialed.finding.computation import FIND
from protocols.serialed.finding.computation import answered as find_answered
from protocols.serialed.finding.computation import told as find_told
from protocols.serialed.finding.crystals import Found
from protocols.serialed.machine import State, serialed_machine
from protocols.serialed.ontarget import on_target
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.probeseen import PROBE
from protocols.serialed.raster import NM_PER_UM, Field, Queue, raster
from protocols.serialed.records import BEAM, FIELD, IMAGE, PATTERN, QUEUE, ROUTE
from protocols.serialed.scale import FieldScale
from protocols.serialed.stageways import StageWays
from protocols.serialed.takenup import TakenUp
from protocols.serialed.tellspots import FROM_SCORE, SPOTS
from protocols.serialed.tellspots import told as spots_told
from protocols.serialed.visits import Visit

STAGE_ALARM = "THE STAGE MAY STILL BE MOVING: stop it at the microscope now"
SAFE_LIMIT_S = 1.5
MOST_FAILED = 3
"""So many fields in a row that the stage does not reach: it cannot be worked with."""
OFF_SHARE = 0.25
"""A stage that stands farther than this share of a step from where it was sent: that is said."""
TRACE_BATCH = 50
"""Records of the trace are written this many at a time within a field."""
HOWEVER_LATE_NS = 2**62
Pair = tuple[float, float]
ANYWHERE = (math.inf, math.inf)
"""Every setting falls from there."""


class SerialedSequence(Experiment):
    """The states of one serial run at work."""

    def __init__(self, plan: SerialedPlan, scale: FieldScale, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, serialed_machine(run.entered))
        self.plan, self.scale = plan, scale
        facts = microscope.facts
        self.facts = facts
        self.budgets = SerialedBudgets(plan, facts)
        self._timeline = run.timeline
        self._beam = run.gate.wrap("beam", microscope.beam)
        self._detector = run.gate.wrap("detector", microscope.detector)
        self._found = AsFound(run, microscope)
        if microscope.stagexyz is None or microscope.deflectors is None or microscope.mode is None:
            raise DeviceError("serialed: a part is missing; nothing was done.")  # `needs` says so before
        self._stage = StageWays(run.gate.wrap("stagexyz", microscope.stagexyz), run.timeline)
        self._coils = run.gate.wrap("deflectors", microscope.deflectors)
        self._mode = run.gate.wrap("mode", microscope.mode)
        self._light = self._found.illumination
        self._camera = Exposures(
            *(run, self._beam, self._detector, (plan.image_exposure_s, plan.pattern_exposure_s)),
            facts.timing.api_call_s,
        )
        self._looks = BeamLooks(run, plan, scale, self._detector.facts)
        self._fields: tuple[Field, ...] = ()
        self._queue = Queue()
        self._map = FieldMap(plan)
        self._taken_up = TakenUp.of(run.carried_over)
        self.field: Field | None = None
        self._stage_nm: Pair = (0.0, 0.0)
        self._is_under_way = False
        self._failed_in_a_row = 0
        self._stands_ns = 0
        """When lenses, condenser and coils stand."""
        self._here: Pair = ANYWHERE
        """The beam shift as it is set, having come from below; ANYWHERE where nobody knows that."""
        self._neutral: Pair = (0.0, 0.0)
        self._image_brightness = 0.0
        self._finding: Answer[Found | None] | None = None
        self._visits: list[Visit] = []
        self._said: set[str] = set()
        self._image_index = -1
        self._flatfield: int | None = None
        self._counted = {"found": 0, "visited": 0, "left": 0}
        self._pending = 0
        self._all_answered = asyncio.Event()
        self._all_answered.set()
        run.compute.declare(FIND, PROBE, *((SCREEN,) if plan.score else ()))
        if plan.score and plan.tell_crystals:
            run.compute.declare(SPOTS)

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.BEGIN: self.begin,
            State.MOVE: self.move,
            State.IMAGE: self.image,
            State.FIND: self.find,
            State.CHECK_BEAM: self.check_beam,
            State.FOCUS_BEAM: self.focus_beam,
            State.SHIFT: self.shift,
            State.EXPOSE: self.expose,
            State.RESTORE: self.restore,
        }

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: beam first, then the stage stands, and lenses and coils go back."""
        blank, *others = super().safe_actions()
        stop = SafeAction("stop x and y", self._stage.stage.stop, SAFE_LIMIT_S, STAGE_ALARM)
        return (blank, stop, *others, *self._found.actions(read_in=OpticalMode.IMAGING))

    def heard(self, words: str) -> None:
        """See `Experiment.heard`: the order of the fields."""
        self._tell(self._queue.told(words, len(self._fields)))
        self.run.trace.record("note", QUEUE, queue=list(self._queue.numbers))

    async def begin(self) -> str:
        """Lenses, condenser and coils as they are, and as images want them; the camera armed; the region laid out."""
        await self._found.remember_mode()
        await self._mode.set_mode(OpticalMode.IMAGING)
        if (found := await self._found.remember_magnification()) != self.plan.magnification:
            if not self._mode.facts.magnifications.get(OpticalMode.IMAGING):
                raise DeviceError(
                    f"mode: the image is at {found:g}x, the plan's magnification is {self.plan.magnification:g}x, and "
                    "which ones there are nobody tells; nothing was exposed. Set it on the panel."
                )
            await self._mode.set_magnification(self.plan.magnification)
        if self._light is not None:
            _, brightness = await self._found.remember_illumination()
            self._image_brightness = brightness if self.plan.image_brightness is None else self.plan.image_brightness
            await self._set_brightness(self._image_brightness)
        self._neutral = await self._found.remember_deflector(Deflector.BEAM_SHIFT)
        self._looks.aim = self._taken_up.aim or self.scale.aim_at(self._neutral)
        self._stands_in(self._mode.facts.settling_s)
        if self._detector.flatfield is not None:  # into the spool: the finder needs it, and who makes files of the run
            self._flatfield = await self.run.data.keep_extra("flatfield", self._detector.flatfield)
        await self._camera.arm()
        here = await self._stage.place()
        centre_nm = self._taken_up.centre_nm or self.plan.centre_nm or (round(here.x_nm), round(here.y_nm))
        self._fields = raster(self.plan, centre_nm)
        self._queue = Queue.of(len(self._fields), self._taken_up.done, self._taken_up.queue)
        self._map.learn(self._taken_up.seen, self._fields)
        self.run.trace.record(
            "note", ROUTE, centre_nm=list(centre_nm), total=len(self._fields), queue=list(self._queue.numbers)
        )
        return "begun"

    async def move(self) -> str:
        """To the next field, unless the stage is on its way already; which one, the queue says when it sets out."""
        if not self._is_under_way:
            await self.run.checkpoint()
            if not await self._set_out():
                return await self._end()
        field = self._field
        async with self._step("move", self.budgets.move_s):
            if not await self._arrive(field):
                return "nothing_there"
        return "arrived"

    async def _set_out(self) -> bool:
        """Send the stage to the next field that is worth it; False at the end of the queue."""
        while (number := self._queue.take()) is not None:
            self.field = field = self._fields[number - 1]
            self._counted = {"found": 0, "visited": 0, "left": 0}
            if why := self._map.skips(field):
                self._over(why)
                continue
            try:
                await self._stage.set_out((field.x_nm, field.y_nm))
            except DeviceLost:
                raise
            except DeviceError as error:
                self._stage_failed(error)
                continue
            self._is_under_way = True
            return True
        self.field = None
        return False

    async def _arrive(self, field: Field) -> bool:
        """Wait until the stage stands where it was sent, as it says; False, and said, where it does not."""
        try:
            await self._stage.arrive()
        except DeviceLost:
            raise
        except DeviceError as error:
            self._is_under_way = False
            self._stage_failed(error)
            return False
        self._is_under_way, self._failed_in_a_row = False, 0
        self._stands_in(self.plan.stage_settling_s)
        self._stage_nm = field.x_nm, field.y_nm
        return True

    def _stage_failed(self, error: DeviceError) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MOST_FAILED:
            raise error
        self._tell(f"field {self._field.number} is left out: {error}")
        self._over("stage")

    async def image(self) -> str:
        """An image of the field; one that is lost twice leaves it out."""
        field = self._field
        columns: dict[str, int | float | str | None] = {
            "field": field.number,
            "x_nm": field.x_nm,
            "y_nm": field.y_nm,
            "nm_per_px": round(self.scale.nm_per_px, 4),
        }

        async def read_place() -> None:
            read = await self._stage.place()
            self._stage_nm = round(read.x_nm, 1), round(read.y_nm, 1)
            columns["x_nm"], columns["y_nm"] = self._stage_nm
            off_nm = max(abs(read.x_nm - field.x_nm), abs(read.y_nm - field.y_nm))
            if off_nm > OFF_SHARE * self.plan.step_um * NM_PER_UM:
                self._warn(
                    "stage",
                    f"the stage stood {off_nm / NM_PER_UM:.1f} um from where it was sent, in field {field.number}; "
                    "places are told as it reads them",
                )
                self._stage.here = None

        async with self._step("image", self.budgets.image_s):
            index = await self._camera.take(
                IMAGE.name, self.plan.image_exposure_s, columns, self._stands_ns, read_place
            )
        if index is None:
            self._over("lost")
            return "nothing_there"
        self._image_index = index
        return "imaged"

    async def find(self) -> str:
        """Have the crystals looked for; whether it is waited for depends on what the fields before had."""
        self._finding = self._ask_where()
        if not (self._looks.is_due or self._map.waits):
            return "focus"
        async with self._step("find", self.budgets.find_s):
            found = await self._finding.get()
        if found is None or not found.crystals:
            self._over(self._map.learned(self._field, found))
            return "nothing_there"
        return "look_for_beam" if self._looks.is_due else "focus"

    def _ask_where(self) -> Answer[Found | None]:
        index, answer = self._image_index, Answer[Found | None]()
        camera, flatfield = self._detector.facts, self._flatfield
        settings = finder_settings(self.plan, camera)
        told = find_told(index, self.scale.nm_per_px, settings, wide_cross=camera.wide_cross, flatfield=flatfield)
        pictures = (index,) if flatfield is None else (index, flatfield)

        async def ask() -> None:
            outcome = await self.run.compute.compute(FIND, told, pictures)
            if not outcome.good:
                self._warn("find", f"crystals could not be looked for: {outcome.error}")
            answer.give(find_answered(cast(JsonObject, outcome.result)) if outcome.good else None)

        self.run.in_background(ask(), f"find {index}")
        return answer

    async def check_beam(self) -> str:
        """Look where the probe lies in the image, and correct what is known of it."""
        found = None if self._finding is None else await self._finding.get()
        crystals = () if found is None else found.crystals
        async with self._step("check_beam", self.budgets.check_s(self._looks.count)):
            await self._set_brightness(self.plan.probe_brightness)
            looks = []
            for units in self._looks.settings(crystals, self._coils.facts):
                await self._set_shift(units)
                columns: dict[str, int | float | str | None] = {
                    "field": self._field.number,
                    "beam_x": units[0],
                    "beam_y": units[1],
                }
                index = await self._camera.take(BEAM.name, self.plan.pattern_exposure_s, columns, self._stands_ns)
                if index is None:
                    continue
                outcome = await self.run.compute.compute(PROBE, self._looks.told(index), (index,))
                if outcome.good:
                    looks.append((units, cast(JsonObject, outcome.result)))
        for text in self._looks.judged(looks, self._field.number):
            self._warn(text, text)
        if not self._looks.is_known:  # no crystal is aimed at blindly: this field comes again at the end
            self._queue.numbers.append(self._field.number)
            return "field_done"
        return "focus"

    async def focus_beam(self) -> str:
        """Lenses to diffraction, the condenser to the probe; then the crystals are known, and which is the first."""
        async with self._step("focus_beam", self.budgets.focus_s):
            await self._mode.set_mode(OpticalMode.DIFFRACTION)
            self._stands_in(self._mode.facts.settling_s)
            await self._set_brightness(self.plan.probe_brightness)
            found = None if self._finding is None else await self._finding.get()
        how = self._map.learned(self._field, found)
        if found is not None:
            done = self._taken_up.done_px(self._field.number, found, self.scale)
            self._visits, left = visits_of(
                *(found, self.plan, self.scale, self._looks.aim, self._coils.facts, self._stage_nm, done)
            )
            self._counted = {"found": len(found.crystals), "visited": 0, "left": left}
            if left:
                self._warn("reach", "crystals lie where the beam shift does not reach; they are left out")
        if not self._visits:
            self._over(how)
            return "field_done"
        return "aim"

    async def shift(self) -> str:
        """The probe onto the next crystal, from below where the beam shift has hysteresis."""
        async with self._step("shift", self.budgets.shift_s):
            await self._set_shift(self._visits[0].beam)
        return "aimed"

    async def expose(self) -> str:
        """A pattern of it; it is scored while the run goes on."""
        visit, field = self._visits.pop(0), self._field
        columns: dict[str, int | float | str | None] = {
            "field": field.number,
            "crystal": visit.crystal,
            "fast_px": visit.fast_px,
            "slow_px": visit.slow_px,
            "x_nm": round(visit.x_nm, 1),
            "y_nm": round(visit.y_nm, 1),
            "beam_x": visit.beam[0],
            "beam_y": visit.beam[1],
            "length_nm": round(visit.length_nm, 1),
            "is_isolated": int(visit.is_isolated),
        }
        async with self._step("expose", self.budgets.pattern_s):
            index = await self._camera.take(PATTERN.name, self.plan.pattern_exposure_s, columns, self._stands_ns)
        self.run.write_trace(at_least=TRACE_BATCH)
        if index is not None:
            self._counted["visited"] += 1
            self._judge(index, first=self._counted["visited"] == 1)
        if self._visits:
            return "aim"
        self._over("visited")
        return "field_done"

    def _judge(self, index: int, *, first: bool) -> None:
        """Have a pattern scored, and of the first of a field looked where its own beam is."""

        async def score() -> None:
            per_px, cross = self.budgets.inverse_A_per_px, self._detector.facts.wide_cross
            told = screen_told(index, per_px, wide_cross=cross)
            outcome = await self.run.compute.compute(SCREEN, told, (index,))
            if self.plan.tell_crystals and outcome.good:
                score = cast(JsonObject, outcome.result)["good"]
                if score >= FROM_SCORE:
                    await self.run.compute.compute(SPOTS, spots_told(index, per_px, wide_cross=cross), (index,))

        async def centre() -> None:
            outcome = await self.run.compute.compute(PROBE, self._looks.told(index, of_pattern=True), (index,))
            if outcome.good and (said := self._looks.pattern_at(cast(JsonObject, outcome.result)["at"])):
                self._warn("pattern", said)

        if self.plan.score:
            self._beside(score(), f"score {index}")
        if first:
            self._beside(centre(), f"centre {index}")

    def _beside(self, work: Coroutine[object, object, None], name: str) -> None:
        """Something that is asked beside the present state and waited for at the end of the run only."""
        self._pending += 1

        async def counted() -> None:
            try:
                await work
            finally:
                self._pending -= 1
                if not self._pending:
                    self._all_answered.set()

        self._all_answered.clear()
        self.run.in_background(counted(), name)

    async def restore(self) -> str:
        """The stage on its way to the next field, and meanwhile lenses, condenser and coils back to the image."""
        await self.run.checkpoint()
        goes_on = await self._set_out()
        if not goes_on:
            return await self._end()
        async with self._step("restore", self.budgets.restore_s):
            await self._mode.set_mode(OpticalMode.IMAGING)
            self._stands_in(self._mode.facts.settling_s)
            await self._set_brightness(self._image_brightness)
            if self._here != ANYWHERE:
                await self._coils.set(Deflector.BEAM_SHIFT, *self._neutral)
                self._here = ANYWHERE
                self._stands_in(self._coils.facts.settling_s)
        return "restored"

    async def _end(self) -> str:
        """All fields are done: wait for what was asked, and end."""
        await self._all_answered.wait()
        return self.run.finish(Status.DONE, self._map.words(len(self._fields)))

    async def when_safe(self) -> None:
        """See `Experiment.when_safe`: what a simulated grid knows of the run, for the result."""
        truth = self.microscope.truth
        if truth is not None and self.plan.truth:
            told = on_target(truth, self.run.data.remains())
            if told is not None:
                self.run.trace.record("note", TRUTH, **told)

    async def _set_brightness(self, value: float) -> None:
        if self._light is None:
            return
        await self._light.set_brightness(round(value) if self._light.facts.whole_numbers else value)
        self._stands_in(self.plan.condenser_settling_s)

    async def _set_shift(self, units: Pair) -> None:
        lag = self.scale.lag_units or 0.0
        for x, y in settings_to(self._here, units, lag):
            whole = self._coils.facts.whole_numbers
            await self._coils.set(Deflector.BEAM_SHIFT, *((round(x), round(y)) if whole else (x, y)))
            if (x, y) != units:  # the coil is to reach what lies below before it turns
                await self._timeline.wait("below", self._timeline.now_ns + ns(self._coils.facts.settling_s))
        self._here = units
        self._stands_in(self._coils.facts.settling_s)

    def _stands_in(self, seconds: float) -> None:
        self._stands_ns = max(self._stands_ns, self._timeline.now_ns + ns(seconds))

    @property
    def _field(self) -> Field:
        if self.field is None:
            raise DeviceError("serialed: there is no field; nothing was done.")
        return self.field

    def _step(self, name: str, budget_s: float) -> AbstractAsyncContextManager[int]:
        """A step from now on; one that took too long is marked in the trace, for what was done is good."""
        now_ns = self._timeline.now_ns
        slot = 0 if self.field is None else self.field.number
        return self._timeline.step(
            name, slot=slot, at_ns=now_ns, budget_ns=ns(budget_s), tolerance_ns=HOWEVER_LATE_NS, stretch=True
        )

    def _over(self, how: str) -> None:
        """A field is over: it stands in the trace how."""
        self._looks.field_over()
        self.run.trace.record("note", FIELD, field=self._field.number, how=how, **self._counted)

    def _tell(self, text: str) -> None:
        self.run.trace.record("note", "operator", text=text)

    def _warn(self, what: str, text: str) -> None:
        """Say something once, as a warning of the run."""
        if what not in self._said:
            self._said.add(what)
            self.run.trace.record("note", WARNING, what=what, text=text)

    def write_extra(self, folder: Path) -> None:
        """See `Experiment.write_extra`: the truth of a simulation."""
        truth = self.microscope.truth
        if truth is not None and self.plan.truth:
            truth.write_hidden(folder / "truth.h5")
            truth.write_grid(folder / "grid_truth.h5")
