"""The work of each state of a session: one child each, and between them what no child knows of.

The session has the instrument to itself between its children: it tilts the stage back, goes to diffraction and
condenses the beam before a rotation, and puts all of it back after it. What it decides by stands in its own trace, so
it is replayed without its children's folders. A child that fails never ends the night; a device that does not answer
does, or is waited for, as the plan says.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast

from drivers.approach import REACHED_DEG, arrive_deg, arrive_xy, stands_xy
from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from engine.clock import ns
from engine.errors import DeviceError, Refused
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.record.warned import WARNING
from engine.run.children import ChildReport
from engine.run.contract import Experiment, SafeAction, Work
from engine.run.run import Run
from protocols.calibrate.asfound import AsFound
from protocols.session.children import Children
from protocols.session.crystals import Crystal, neighbours_of
from protocols.session.dialsmeanwhile import ByDials
from protocols.session.forecast import crystal_s
from protocols.session.goal import reached
from protocols.session.judged import ALWAYS_TRIED, JUDGED, MOST_TRIED, TAKE_IN, crystals_in_parts, data_set_in
from protocols.session.machine import State, session_machine
from protocols.session.mending import RETRY_S, Mending, device_of
from protocols.session.mergedsofar import INTEGRATE, MERGED, Merging
from protocols.session.night import (
    BLOCK,
    CHOSEN,
    COLLECTED,
    CRED,
    DATA_SET,
    FAULT,
    HEIGHT,
    HEIGHT_SET,
    NO_HEIGHT,
    ORDER,
    OVER,
    RECALL,
    REGION,
    SERIALED,
    SET_ASIDE,
    Night,
    is_indexable,
    kept_of,
)
from protocols.session.orders import is_order
from protocols.session.plan import SessionPlan
from protocols.session.ranking import Ranked, ranked, unfit
from protocols.session.status import status_of, write_status

STAGE_ALARM = "THE STAGE MAY STILL BE MOVING: stop it at the microscope now"
SAFE_LIMIT_S = 1.5
S_PER_MIN = 60.0
BLOCK_TRIES = 2
MOST_MENDED = 4
"""A device that was mended so often without a crystal collected in between cannot be worked with."""
GOOD = (Status.DONE, Status.STOPPED)


class SessionSequence(Experiment):
    """The states of one session at work."""

    def __init__(self, plan: SessionPlan, children: Children, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, session_machine(run.entered))
        self.plan, self.children = plan, children
        self._found = AsFound(run, microscope)
        self._stage = run.gate.wrap("stage", microscope.stage)
        if microscope.stagexyz is None or microscope.deflectors is None or microscope.mode is None:
            raise DeviceError("session: a part is missing; nothing was done.")  # `needs` says so before
        self._xy = run.gate.wrap("stagexyz", microscope.stagexyz)
        self._coils = run.gate.wrap("deflectors", microscope.deflectors)
        self._mode = run.gate.wrap("mode", microscope.mode)
        self._optics = run.gate.wrap("optics", microscope.optics)
        self._camera = run.gate.wrap("detector", microscope.detector)
        self._light = self._found.illumination
        self._mending = Mending(run, microscope, lambda: self._found.actions(read_in=OpticalMode.IMAGING))
        self._neutral: tuple[float, float] = (0.0, 0.0)
        self._brightness = 0.0
        self._crystal: Crystal | None = None
        self._fault = ("", "")
        """Which device does not answer, and how that was found out."""
        self._in_a_row: tuple[str, int] = ("", 0)
        self._mended = 0
        """So often a device was mended since the last crystal was collected."""
        self._block_tries = 0
        earlier: Any = (run.trace.first or {}).get("continued") or {}
        self.night = Night.of(run.carried_over, str(earlier.get("run", "")))
        run.trace.observe(self._take)
        run.compute.declare(TAKE_IN, JUDGED, *((INTEGRATE, MERGED) if plan.merge else ()))
        by_dials = ByDials(run, self._tell, self._warn) if plan.dials else None
        self._merging = Merging(run, self._tell, self._warn, by_dials)

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.BEGIN: self.begin,
            State.SCREEN: self.screen,
            State.RANK: self.rank,
            State.HEIGHT: self.height,
            State.RECALL: self.recall,
            State.COLLECT: self.collect,
            State.JUDGE: self.judge,
            State.WAIT: self.wait,
        }

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: beam first, then the stage stands, and all that was found goes back."""
        return (*self._make_safe, *self._found.actions(read_in=OpticalMode.IMAGING))

    @property
    def _make_safe(self) -> Sequence[SafeAction]:
        blank, *others = super().safe_actions()
        return (blank, SafeAction("stop x and y", self._xy.stop, SAFE_LIMIT_S, STAGE_ALARM), *others)

    def is_mine(self, words: str) -> bool:
        """See `Experiment.is_mine`: the order of crystals, and the goal."""
        return is_order(words)

    def heard(self, words: str) -> None:
        """See `Experiment.heard`: which crystals come next, and the goal."""
        said = self.night.orders.would(words)
        self.run.trace.record("note", ORDER, words=words)
        self._tell(said)

    async def begin(self) -> str:
        """What is there is remembered; the region lies around where the stage stands, if nothing else is said."""
        await self._found.remember_mode()
        await self._mode.set_mode(OpticalMode.IMAGING)
        await self._found.remember_magnification()
        if self._light is not None:
            _, self._brightness = await self._found.remember_illumination()
        self._neutral = await self._found.remember_deflector(Deflector.BEAM_SHIFT)
        if self.night.centre_nm is None:
            here = await self._xy.position()
            centre_nm = self.plan.centre_nm or (float(round(here.x_nm)), float(round(here.y_nm)))
            self.run.trace.record("note", REGION, centre_nm=list(centre_nm))
        if self.children.no_height:
            self.run.trace.record("note", NO_HEIGHT, reason=self.children.no_height)
            self._tell(f"no height is set: {self.children.no_height}")
        for each in self.night.data_sets:  # of the sessions before
            await self.run.compute.compute(TAKE_IN, data_set_in(each))
            self._merge(each)
        await self._take_in(self.night.crystals)
        return "begun"

    async def rank(self) -> str:
        """What comes next: a crystal, more of the region, or the end."""
        await self.run.checkpoint()
        goal = self.night.orders.goal_of(self.plan.goal)
        elapsed_s = self.night.elapsed_s(self.run.timeline.now_ns)
        if why := reached(self.night, goal, elapsed_s, crystal_s(self.night, self.children)):
            return await self._done(why)
        tried = len(self.night.over)
        if self.plan.choose.crystals is not None and tried >= self.plan.choose.crystals:
            return await self._done(f"choose.crystals = {tried}: so many were tried")
        waiting = self._to_come()
        if waiting:
            self._crystal = waiting[0].crystal
            self.run.trace.record(
                "note", CHOSEN, crystal=self._crystal.number, value=round(waiting[0].value, 4), to_come=len(waiting)
            )
            return "next_crystal"
        if self.night.blocks < len(self.children.blocks):
            return "screen_more"
        if not self.night.crystals and (failed := self.night.unscreened):
            return self.run.finish(Status.FAILED, f"nothing was screened: {failed[-1]}. {self._words}")
        return await self._done("no crystal is left to be tried")

    async def _done(self, why: str) -> str:
        """The end, once all data sets are merged."""
        await self._merging.over()
        return self.run.finish(Status.DONE, f"{why}. {self._words}")

    def _to_come(self, *, valued: bool = True) -> list[Ranked]:
        worth = self.night.known_worth if valued else {}
        screening: Any = self.children.screening(0, (0.0, 0.0))
        rotation: Any = self.children.rotation()
        tilt_deg = max(abs(rotation.start_deg), abs(rotation.start_deg + rotation.range_deg))
        return ranked(self.night, self.plan, worth, screening.step_um * 1000.0, tilt_deg)

    async def screen(self) -> str:
        """The next block of the region, by a serial run."""
        block, known = self.night.blocks, len(self.night.crystals)
        if trouble := await self._level():
            return self._lost(*trouble)
        report = await self.run.perform(
            self.children.kind(SERIALED), self.children.screening(block, self.night.centre_nm)
        )
        good = report.ending.status in GOOD
        self._block_tries += 1
        await self._take_in(self.night.crystals[known:])
        lost = ""
        if not good:
            self._warn(f"block {block + 1} was not screened whole: {report.ending.reason}")
            lost = await self._is_lost(report)
        if good or self._block_tries == BLOCK_TRIES:
            how = report.ending.status.value if good else report.ending.reason
            self.run.trace.record("note", BLOCK, block=block + 1, how=how)
            self._block_tries = 0
        return lost or "screened"  # a block that is not over comes again when what was found of it is tried

    async def _take_in(self, crystals: Sequence[Crystal]) -> None:
        """For the judgements to come."""
        for part in crystals_in_parts([crystal for crystal in crystals if not unfit(crystal, self.plan.choose)]):
            await self.run.compute.compute(TAKE_IN, part)

    async def height(self) -> str:
        """The stage to the crystal; how high the film lies there is measured and set, or known from near by."""
        crystal = self._here
        if self.children.no_height:
            return "at_height"
        if trouble := await self._level():
            return self._lost(*trouble, again=crystal)
        try:
            known_nm = self.night.height_near(crystal, self.plan.height_within_um)
            if known_nm is not None:
                await self._to_z(known_nm)
                return "at_height"
            await arrive_xy(self._xy, self.run.timeline, crystal.x_nm, crystal.y_nm)
        except (DeviceError, Refused) as error:
            return self._lost("stagexyz", str(error), again=crystal)
        report = await self.run.perform(self.children.kind(HEIGHT), self.children.height())
        if report.ending.status not in GOOD:
            if lost := await self._is_lost(report, again=crystal):
                return lost
            self._warn(f"crystal {crystal.number}: its height was not set: {report.ending.reason}")
            return "at_height"
        try:
            z_nm = (await self._xy.position()).z_nm
        except DeviceError as error:
            return self._lost("stagexyz", str(error), again=crystal)
        self.run.trace.record("note", HEIGHT_SET, x_nm=crystal.x_nm, y_nm=crystal.y_nm, z_nm=z_nm)
        return "at_height"

    async def _to_z(self, z_nm: float) -> None:
        await self._xy.move_z(z_nm)
        if not await stands_xy(self._xy, self.run.timeline):
            raise DeviceError(
                f"stagexyz: the move of z to {z_nm:.0f} nm was not over after a minute; it was told to stop. Look what "
                "holds it."
            )

    async def recall(self) -> str:
        """The crystal back under the beam, and known again."""
        crystal = self._here
        if trouble := await self._level():
            return self._lost(*trouble, again=crystal)
        plan = self.children.recall(crystal, neighbours_of(crystal, self.night.crystals))
        report = await self.run.perform(self.children.kind(RECALL), plan)
        if report.ending.status in GOOD and report.result.get("found"):
            return "recalled"
        return await self._not_done(report, State.RECALL, again=crystal)

    async def collect(self) -> str:
        """The rotation, in diffraction, with the beam condensed; then all as it was."""
        crystal = self._here
        try:
            await self._to_diffraction()
        except DeviceError as error:
            return self._lost("instrument", str(error), again=crystal)
        report = await self.run.perform(self.children.kind(CRED), self.children.rotation())
        trouble = await self._back_to_images()
        result = report.result
        frames = result.get("frames") or 0
        if not frames or (report.ending.status not in GOOD and not is_indexable(result)):
            unlit = not result.get("beam_on_s")
            return await self._not_done(report, State.COLLECT, again=crystal if unlit else None)
        told: JsonDict = {
            "number": len(self.night.data_sets) + 1,
            "crystal": crystal.number,
            "run_dir": report.folder,
            "result": {**kept_of(result), "reason": report.ending.reason},
        }
        self.run.trace.record("note", DATA_SET, **told)
        self._over(crystal, COLLECTED, report.ending.reason, State.COLLECT)
        await self.run.compute.compute(TAKE_IN, data_set_in(told))
        self._merge(told)
        if report.ending.status in GOOD and not trouble:
            self._in_a_row, self._mended = ("", 0), 0
            return "collected"
        if lost := await self._is_lost(report):
            return lost
        return self._lost(*trouble) if trouble else "collected"

    async def judge(self) -> str:
        """What all data sets come to so far."""
        camera, rotation = self._camera.facts, cast(Any, self.children.rotation())
        goal = self.night.orders.goal_of(self.plan.goal)
        told: JsonDict = {
            "d_min_A": goal.d_min_A,
            "geometry": self.children.facts.as_dict()["geometry"],
            "shape": list(camera.known_shape),
            "tilt_deg": sorted((rotation.start_deg, rotation.start_deg + rotation.range_deg)),
            "completeness": goal.completeness or 1.0,
            "crystals": self._worth_asking(),
        }
        outcome = await self.run.compute.compute(JUDGED, told)
        if not outcome.good:
            self._warn(f"the data sets could not be judged: {outcome.error}")
        self._tell(self._words)
        return "judged"

    def _merge(self, told: JsonDict) -> None:
        if self.plan.merge and is_indexable(told["result"]):
            self._merging.begin(told["number"], self.night.orders.goal_of(self.plan.goal).d_min_A)

    def _worth_asking(self) -> list[int]:
        """Crystals whose patterns are tried on the cells now: the next ones by what is known, for their worth changes
        with each data set; then those that were not tried yet, so that a rare phase is seen wherever it is.
        """
        next_ = [each.crystal.number for each in self._to_come()]
        asked = self.night.asked
        rest = [n for each in self._to_come(valued=False) if (n := each.crystal.number) not in asked]
        return list(dict.fromkeys([*next_[:ALWAYS_TRIED], *rest, *next_]))[:MOST_TRIED]

    async def wait(self) -> str:
        """A device does not answer: it is connected anew and all made good, or the session ends."""
        device, reason = self._fault
        began_ns = self.run.timeline.now_ns
        limit_ns = ns(self.plan.wait_for_device_min * S_PER_MIN) if self.plan.device_fault == "wait" else 0
        self._tell(f"{device} does not answer: {reason}")
        self._mended += 1
        if self._mended > MOST_MENDED:
            return self.run.finish(
                Status.FAILED, f"{device} failed again after it was mended {MOST_MENDED} times: {reason}. {self._words}"
            )
        while True:
            ends = not limit_ns and await self._mending.silent()
            why = reason if ends else await self._mend(device)
            waited_s = round((self.run.timeline.now_ns - began_ns) / 1e9, 3)
            if not why:
                self.run.trace.record("note", FAULT, device=device, how="over", waited_s=waited_s, reason="")
                self._tell(f"{device} answers again, after {waited_s:.0f} s")
                return "answers_again"
            if self.run.timeline.now_ns - began_ns >= limit_ns:
                self.run.trace.record("note", FAULT, device=device, how="lost", waited_s=waited_s, reason=why)
                waits = f"after {waited_s / S_PER_MIN:.1f} min" if limit_ns else "device_fault = end"
                return self.run.finish(
                    Status.FAILED,
                    f"{device} does not answer ({waits}): {why.rstrip('.')}. {self._words} See to it, then "
                    "`credline run --continue` goes on.",
                )
            await self._mending.wait(RETRY_S)

    async def _mend(self, device: str) -> str:
        """One try; why it is not good yet, or empty."""
        silent = await self._mending.silent()
        wanted = [*dict.fromkeys([*silent, *([device] if device in ("beam", "stage", "detector") else [])])]
        if wanted and (why := await self._mending.connect(wanted)):
            return why
        if still := await self._mending.silent():
            return f"no answer from {', '.join(still)}"
        return await self._mending.make_good(self._make_safe)

    async def _not_done(self, report: ChildReport, state: State, again: Crystal | None) -> str:
        """A child did not do its part: the device's fault, or the crystal's, which is set aside then."""
        if lost := await self._is_lost(report, again):
            return lost
        self._over(self._here, SET_ASIDE, report.ending.reason, state)
        return "set_aside"

    async def _is_lost(self, report: ChildReport, again: Crystal | None = None) -> str:
        """Whether a child failed because a device does not answer: then the trigger that leads to `wait`."""
        device = device_of(report)
        if not device:
            return ""
        before, times = self._in_a_row
        self._in_a_row = (device, times + 1 if device == before else 1)
        silent = await self._mending.silent()
        if silent:
            return self._lost(silent[0], report.ending.reason, again)
        if report.alarms or self._in_a_row[1] >= self.plan.failures_in_a_row:
            return self._lost(device, report.ending.reason, again)
        return ""

    def _lost(self, device: str, reason: str, again: Crystal | None = None) -> str:
        """To `wait`. again: a crystal that had no dose yet; it comes once more, and then it is set aside."""
        self._fault = (device, reason)
        told = {}
        if again is not None and again.number not in self.night.retried:
            told = {"retried": again.number}
        elif again is not None:
            self._over(again, SET_ASIDE, reason, State(self.night.state))
        self.run.trace.record("note", FAULT, device=device, how="began", reason=reason, **told)
        return "device_lost"

    async def _level(self) -> tuple[str, str] | None:
        """The stage back to 0 deg; the device and its words where that fails."""
        try:
            if abs((await self._stage.angle()).value) > REACHED_DEG:
                await arrive_deg(self._stage, self.run.timeline, 0.0, self._level_speed_deg_s)
        except DeviceError as error:
            return "stage", str(error)
        return None

    @property
    def _level_speed_deg_s(self) -> float:
        facts, wanted = self._stage.facts, self.plan.level_speed_deg_s
        if facts.speeds_deg_s:
            slower = [speed for speed in facts.speeds_deg_s if speed <= wanted]
            return max(slower) if slower else min(facts.speeds_deg_s)
        if facts.speed_limits_deg_s is not None:
            slowest, fastest = facts.speed_limits_deg_s
            return min(max(wanted, slowest), fastest)
        return wanted

    async def _to_diffraction(self) -> None:
        await self._mode.set_mode(OpticalMode.DIFFRACTION)
        settles_s = self._mode.facts.settling_s
        if self._light is not None and self.plan.beam_brightness is not None:
            await self._set_brightness(self.plan.beam_brightness)
            screening: Any = self.children.screening(0, (0.0, 0.0))
            settles_s = max(settles_s, screening.condenser_settling_s)
        await self.run.timeline.wait("lenses", self.run.timeline.now_ns + ns(settles_s))
        self._mending.focus = sorted([await self._optics.focus() for _ in range(3)])[1]

    async def _back_to_images(self) -> tuple[str, str] | None:
        """Mode, condenser and beam shift as the children expect them; the device and its words where that fails."""
        try:
            await self._mode.set_mode(OpticalMode.IMAGING)
            if self._light is not None:
                await self._set_brightness(self._brightness)
            await self._coils.set(Deflector.BEAM_SHIFT, *self._neutral)
            await self.run.timeline.wait("lenses", self.run.timeline.now_ns + ns(self._mode.facts.settling_s))
        except DeviceError as error:
            return "instrument", str(error)
        return None

    async def _set_brightness(self, value: float) -> None:
        if self._light is not None:
            await self._light.set_brightness(round(value) if self._light.facts.whole_numbers else value)

    def _over(self, crystal: Crystal, how: str, reason: str, state: State) -> None:
        self.run.trace.record("note", OVER, crystal=crystal.number, how=how, reason=reason, stage=state.value)

    @property
    def _here(self) -> Crystal:
        if self._crystal is None:
            raise DeviceError("session: there is no crystal; nothing was done.")
        return self._crystal

    @property
    def _words(self) -> str:
        night = self.night
        return (
            f"{len(night.data_sets)} data sets of {len(night.over)} crystals tried, {night.indexable} can be indexed, "
            f"{len(night.phases)} phases."
        )

    def _tell(self, text: str) -> None:
        self.run.trace.record("note", "operator", text=text)

    def _warn(self, text: str) -> None:
        self.run.trace.record("note", WARNING, what="session", text=text)

    def _take(self, record: Record) -> None:
        """Every record of the trace: what is known of the night, and the status for other programs."""
        self.night.take(record)
        if record["kind"] in ("state", "child") or record["name"] in (OVER, MERGED.name):
            self._write_status()

    def _write_status(self) -> None:
        goal = self.night.orders.goal_of(self.plan.goal)
        to_come = len(self._to_come()) if self.night.crystals else 0
        told = status_of(self.night, goal, to_come, self.run.timeline.now_ns)
        folder = self.run.folder
        self.run.writer.submit_observation(lambda: write_status(folder, told))

    async def when_safe(self) -> None:
        """See `Experiment.when_safe`: the trace is whole for who reads the folder next."""
        self.run.write_trace()
