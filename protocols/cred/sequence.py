"""The work of each state of a cRED run: relax, wait, delay, expose slot after slot, snapshot, refocus.

Time is angle here, so every frame begins on its slot's boundary or not at all: a slot that cannot be kept is lost
by name. Frames are written while the next one is exposed, never between two slots.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from pathlib import Path
from typing import cast

from drivers.contract import Microscope, PacedDetector
from engine.clock import NS_PER_MS, NS_PER_S, ns
from engine.errors import DeviceError, Refused, Underflow
from engine.frame import Frame
from engine.record.endings import Status
from engine.run.contract import Experiment, SafeAction, Work
from engine.run.run import Run
from engine.run.safety import sure_of
from engine.run.series import Series
from engine.run.timeline import PeriodMonitor, SlotGrid
from protocols.cred.fadingwatch import FadingWatch
from protocols.cred.finish import put_together
from protocols.cred.livelook import LiveLook
from protocols.cred.machine import State, cred_machine
from protocols.cred.plan import RELAX_HALF_CYCLE_S, CredPlan
from protocols.cred.prescan import Prescan, first_frames
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.cred.rotation.words import pedal_words, seen_words
from protocols.cred.seencrystal import TakenSnapshot
from protocols.cred.slotplan import ACTIVATION_THRESHOLD_DEG, START_DELAY_S, SlotPlan
from protocols.cred.snapshotslots import NextSnapshot
from protocols.cred.tracked import TrackedCrystal, tracked_crystal
from protocols.cred.trackingwords import offset_in

# Where nothing in the plan leaves the interface idle, the stage is read during every so-manieth frame.
READING_INTERVAL = 10
# Soon after one another at first, so that the speed is known and a wrong reading is known for what it is.
EARLY_READINGS = (1, 2, 4, 7)
# The period is lengthened when frames are too long for it by more than this share of what a frame may be late.
STRETCH_SHARE = 0.02
HOWEVER_LATE_NS = 2**62
SAFE_LIMIT_S = 1.5
# With two last readings before the stop, four after it, and the stop told once more.
STOP_LIMIT_S = 3.5
BEAM_ALARM = "THE BEAM MAY STILL BE ON THE CRYSTAL: blank it at the microscope now"
STAGE_ALARM = "THE STAGE MAY STILL BE ROTATING: stop it at the microscope now"
CAMERA_ALARM = "the detector may still be armed: stop it in its own software"
LENS_ALARM = "the lens may be left defocused: focus it at the microscope"
# Records of the trace are written this many at a time while frames follow one another.
TRACE_BATCH = 50


class CredSequence(Experiment):
    """The states of one cRED run at work."""

    def __init__(self, plan: CredPlan, slots: SlotPlan, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, cred_machine(run.entered))
        self.plan = plan
        self.slots = slots
        self._timeline = run.timeline
        self._stage = run.gate.wrap("stage", microscope.stage)
        self._beam = run.gate.wrap("beam", microscope.beam)
        self._optics = run.gate.wrap("optics", microscope.optics)
        self._detector = run.gate.wrap("detector", microscope.detector)
        self._series: Series | None = None
        self._focus: int | None = None
        period_ns = ns(slots.period_s)
        self._waits_seen = 0
        self._monitor = PeriodMonitor(period_ns)
        self.grid = SlotGrid(0, period_ns)
        self.slot = 1
        self.last_slot = slots.slots
        self._unstored: tuple[str, int, Frame] | None = None
        self._snapshot: Frame | None = None
        self._speed_told = False
        self._watch = StageWatch(run, self._stage, plan, slots.travel_deg[1])
        self._next_snapshot = NextSnapshot(run, slots.snapshots)
        self._tracked = None if plan.tracking == "off" else tracked_crystal(run, microscope, plan, self._next_snapshot)
        self._prescan = None
        if self._tracked is not None:
            if not plan.other_paths:  # frames of another crystal are no fading
                FadingWatch(run, self._next_snapshot, microscope.geometry, plan.exposure_s)
            if slots.prescan.looks:
                self._prescan = Prescan(
                    run, plan, slots, self._watch, self._beam, self._optics, self._tracked, self._back_from_prescan
                )
        camera = microscope.detector.facts
        self._live = (
            LiveLook(run, plan, self._watch, microscope.geometry, camera) if plan.live and camera.has_pictures else None
        )

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.RELAX: self.relax,
            **(self._prescan.activities() if self._prescan is not None else {}),
            State.WAIT_FOR_ROTATION: self.wait_for_rotation,
            State.DELAY: self.delay,
            State.EXPOSE: self.expose,
            State.DEFOCUS_SNAPSHOT: self.defocus_snapshot,
            State.REFOCUS: self.refocus,
        }

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: the beam first, whatever else there is to do, and a look at it at last."""
        return (
            SafeAction("blank the beam", self._beam.blank, SAFE_LIMIT_S, ""),
            SafeAction("stop the rotation", self._watch.stop, STOP_LIMIT_S, STAGE_ALARM),
            SafeAction("disarm the detector", self._detector.disarm, SAFE_LIMIT_S, CAMERA_ALARM),
            SafeAction("focus the lens", self._left_in_focus, SAFE_LIMIT_S, LENS_ALARM),
            sure_of(self._beam, BEAM_ALARM),
            *(() if self._tracked is None else self._tracked.safe_actions()),
        )

    async def relax(self) -> str:
        """Go to the start angle if the rotation is ours, toggle the lens against its hysteresis, arm the camera."""
        # The middle one of three: everything later goes back to this value.
        self._focus = sorted([await self._optics.focus() for _ in range(3)])[1]
        if not self.plan.unblank and await self._beam.is_blanked():
            raise DeviceError(
                "beam: it is blanked and the plan says unblank = false, so every frame would be dark; nothing was "
                "exposed. Unblank the beam yourself, or set unblank = true."
            )
        if self.plan.rotation == "commanded":
            await self._watch.go_to(self.plan.start_deg, "start_deg")
        for _ in range(self.plan.relax_cycles if self.plan.snapshot_interval else 0):
            for value in (self._focus + self.plan.defocus, self._focus):
                await self._optics.set_focus(value)
                await self._timeline.wait("relax", self._timeline.now_ns + ns(RELAX_HALF_CYCLE_S))
            await self._check_focus()
        if self._detector.flatfield is not None:  # into the spool: a run that is cut off needs it as well
            index = await self.run.data.keep_extra("flatfield", self._detector.flatfield)
            if self._live is not None:
                self._live.flatfield = index
            if self._tracked is not None:
                self._tracked.flatfield_is(index)
        if self._tracked is not None:
            await self._tracked.begin()
        await self._detector.arm((self.plan.exposure_s, self.plan.snapshot_exposure_s))
        self._series = Series(self.run, self._detector)
        if self._prescan is not None:
            self._prescan.begin(self._series, self._in_focus + self.plan.defocus)
            return "prescan"
        if self._tracked is not None and self.plan.path is not None:
            await self._tracked.set_out(
                self.plan.start_deg,
                first_frames(self.plan, self.slots, self.plan.start_deg, self._timeline.now_ns / NS_PER_S),
            )
        return "relaxed"

    async def _back_from_prescan(self) -> None:
        await self._back_in_focus()
        if self.slots.change_s:
            await self._set_camera_back()

    async def wait_for_rotation(self) -> str:
        """Read the stage until it has turned by the activation threshold; fail after the plan's time-out."""
        self.last_slot = max(1, self.slots.slots_for(self._watch.range_deg))
        rest_deg = await self._watch.rest_deg()
        _, target_deg = self.slots.travel_deg
        self._watch.may_turn = True  # before it is told: of a call that is given up nobody knows whether it was heard
        if self.plan.rotation == "pedal":
            await self._stage.release_to_pedal(target_deg, self.plan.speed_deg_s)
            self._tell(pedal_words(self.plan, self.slots.stage, rest_deg, target_deg))
        else:
            await self._stage.rotate(target_deg, self.plan.speed_deg_s)
        give_up_ns = self._timeline.now_ns + ns(self.plan.rotation_timeout_s)
        seen = 0
        while seen < 2:  # twice in a row: a single reading may be wrong
            turned_deg = (await self._watch.poll_deg() - rest_deg) * self.plan.direction
            seen = seen + 1 if abs(turned_deg) >= ACTIVATION_THRESHOLD_DEG else 0
            if seen == 2 and turned_deg < 0:
                raise DeviceError(
                    f"stage: rotates towards {'lower' if self.plan.direction > 0 else 'higher'} angles, against "
                    f"range_deg = {self.plan.range_deg:g}; nothing was exposed. Use the other pedal, or turn the sign "
                    "of range_deg."
                )
            self.run.write_trace(at_least=TRACE_BATCH)
            if not seen and self._timeline.now_ns > give_up_ns:
                raise DeviceError(
                    f"stage: no rotation within rotation_timeout_s = {self.plan.rotation_timeout_s:g} s; nothing was "
                    "exposed. Start the rotation when asked, or allow more time."
                )
        self._watch.turning = True
        self._tell("Rotation seen: keep the pedal down." if self.plan.rotation == "pedal" else "Rotation seen.")
        return "rotating"

    def heard(self, words: str) -> None:
        """See `Experiment.heard`: where in the aperture the crystal is to be held."""
        x_nm, y_nm = offset_in(words)
        if self._tracked is None:
            raise Refused("tracking = off: this run brings no crystal back, so it holds none; nothing was changed.")
        self._tell(self._tracked.aim(x_nm, y_nm))

    def _tell(self, text: str) -> None:
        """Words for the operator, now; they stand in the trace."""
        self.run.trace.record("note", "operator", text=text)

    async def delay(self) -> str:
        """Unblank if asked, let acceleration and backlash pass and read the stage; then the first slot begins.

        Without a reading before the first frame, one wrong reading and a jump of the same size after it would look
        like a stage that turned steadily.
        """
        begin_ns = self._timeline.now_ns + ns(START_DELAY_S)
        if self.plan.unblank:
            await self._beam.unblank()
            if await self._beam.is_blanked():
                raise DeviceError(
                    "beam: told to unblank, the blanker stays closed; nothing was exposed. Look at the blanker."
                )
        await self._timeline.wait("delay", begin_ns)
        await self._watch.look()
        first_ns = self._timeline.now_ns + 2 * NS_PER_MS  # room to get from state to state
        if lead_ns := ns(self.slots.lead_s):
            paced = cast(PacedDetector, self._detector)  # as its facts say
            first_ns = await paced.part_begin_ns(first_ns + lead_ns) - lead_ns
        self.grid = SlotGrid(first_ns, self.grid.period_ns)
        return "delay_over"

    async def expose(self) -> str:
        """Expose frame after frame until a snapshot is due, the range is covered, a look has decided that it is enough,
        or the stage has stopped.
        """
        while True:
            if self._watch.stopped_ns is not None:
                await self._store()
                angle = self._watch.readings[-1].value
                return self.run.finish(Status.STOPPED, f"the stage stopped at {angle:.2f} deg")
            if self.plan.bad_frames == "stop" and (troubles := self.run.data.watch.troubles):
                await self._store()
                return self.run.finish(Status.STOPPED, f"bad_frames = stop: {troubles[0]}")
            if self._tracked is not None and (why := self._tracked.ends_run):
                await self._store()
                return self.run.finish(Status.STOPPED, why)
            if self._live is not None and (decision := self._live.decision) is not None:
                await self._store()
                return self._done(decision.reason)
            if self.slot > self.last_slot:
                await self._store()
                return self._done("range covered")
            if self._next_snapshot.is_due(self.slot):
                if self._timeline.now_ns <= self.grid.start_ns(self.slot) + self.grid.period_ns:
                    return "snapshot_due"
                await self._store()
                self._lose_until(self.grid.next_slot(self._timeline.now_ns), self._why_late())
                continue
            try:
                await self._frame(self.slot)
                self.slot += 1
            except Underflow:
                await self._store()
                self._lose_until(self.grid.next_slot(self._timeline.now_ns), self._why_late())
            self._fit_period()

    def _done(self, reason: str) -> str:
        """The plan is fulfilled."""
        if self.plan.rotation == "pedal":
            self._tell(f"{reason[0].upper()}{reason[1:]}: let the pedal go.")
        return self.run.finish(Status.DONE, reason)

    async def _frame(self, slot: int) -> None:
        at_ns = self.grid.start_ns(slot)
        async with self._timeline.step(
            "frame",
            slot=slot,
            at_ns=at_ns,
            budget_ns=self.grid.period_ns + ns(self.slots.tolerance_s),
            tolerance_ns=ns(self.slots.wake_tolerance_s),
            stretch=True,
        ):
            start_ns = await self._armed.start(self.plan.exposure_s)
            await self._store()
            if self._reading_due(slot):
                self.run.in_background(self._read_stage(), f"stage reading {slot}")
            frame = await self._next_frame(self.plan.exposure_s)
        self._monitor.observe(self._timeline.now_ns - start_ns + ns(self.slots.lead_s))
        self._unstored = ("diffraction", slot, frame)

    def _reading_due(self, slot: int) -> bool:
        if slot in EARLY_READINGS or slot == self.last_slot:
            return True
        return not self.plan.snapshot_interval and slot % READING_INTERVAL == 0

    @property
    def _armed(self) -> Series:
        if self._series is None:
            raise DeviceError("detector: not armed; no exposure was made.")
        return self._series

    async def _next_frame(self, exposure_s: float) -> Frame:
        return await self._armed.frame(exposure_s, {"slot": self.slot})

    async def _store(self) -> None:
        """Write the frame that arrived last; called while the next one is exposed."""
        if self._unstored is None:
            return
        kind, slot, frame = self._unstored
        fit = self._watch.recent_fit
        angle_deg = round(fit.angle_deg(frame.start_ns), 4) if fit else None
        columns = {"slot": slot, "angle_deg": angle_deg}
        kept = await self._armed.keep(kind, frame, columns)
        if kind == "snapshot":
            self._snapshot = frame if kept else None
        elif kept and self._live is not None:
            self._live.kept(slot, frame, self.plan.exposure_s)
        self._unstored = None  # not before: who is stopped while the disk is behind tries again when finalizing
        self.run.write_trace(at_least=TRACE_BATCH)

    def _why_late(self) -> str:
        """Who cost the slots that are given up now."""
        waits, self._waits_seen = self.run.writer.waits - self._waits_seen, self.run.writer.waits
        return "the disk was behind" if waits else "the engine or the camera was late"

    def _lose_until(self, slot: int, reason: str) -> None:
        """Give up the slots before `slot`, by name."""
        lost = [s for s in range(self.slot, slot) if s <= self.last_slot]
        for name in lost:
            self.run.trace.record("slot", "lost", slot=name, reason=reason)
        self.slot = slot

    def _fit_period(self) -> None:
        """Lengthen the period, for all to see, when the camera's median frame does not fit it any more."""
        late_ns = self._timeline.now_ns - self.grid.start_ns(self.slot)
        # Frames that only seem long, because the machine wakes late, do not add up to lateness.
        adds_up = late_ns > ns(self.slots.tolerance_s) // 2
        if not adds_up or self._monitor.too_long_ns() <= ns(self.slots.tolerance_s * STRETCH_SHARE):
            return
        period_ns = self._monitor.median_ns + NS_PER_MS
        start_ns = max(self.grid.start_ns(self.slot), self._timeline.now_ns + NS_PER_MS)
        if self.slots.paced is not None and self.slots.lead_s:  # it keeps its place among the parts
            part_ns, on_ns = ns(self.slots.paced.period_s), self.grid.start_ns(self.slot)
            period_ns = -(-period_ns // part_ns) * part_ns
            start_ns = on_ns - (on_ns - start_ns) // part_ns * part_ns
        self.grid = self.grid.stretched(self.slot, start_ns, period_ns)
        self._monitor.restart(period_ns)
        self.run.trace.record("slot", "stretched", slot=self.slot, start_ns=start_ns, period_ns=period_ns)

    async def defocus_snapshot(self) -> str:
        """Defocus, take a short picture of the crystal."""
        self._next_snapshot.taken(self.slot)
        at_ns = self.grid.start_ns(self.slot)
        async with self._snapshot_step("defocus", at_ns, self._budget_ns(0, 1)):
            await self._optics.set_focus(self._in_focus + self.plan.defocus)
        async with self._snapshot_step("snapshot", self._timeline.now_ns, self._budget_ns(1, 3)):
            await self._armed.start(self.plan.snapshot_exposure_s)
            await self._store()
            frame = await self._next_frame(self.plan.snapshot_exposure_s)
        self._unstored = ("snapshot", self.slot, frame)
        await self._store()
        return "imaged"

    async def refocus(self) -> str:
        """Refocus and let the lens settle; the next frame begins on the first slot boundary after that."""
        at_ns = self._timeline.now_ns
        async with self._snapshot_step("refocus", at_ns, self._budget_ns(3, 4)):
            await self._optics.set_focus(self._in_focus)
        settled_ns = self._timeline.now_ns + ns(self.slots.settling_s)
        # Begun before anything is waited for: a wait that is over already would move the run's time first.
        self.run.in_background(self._read_stage(), f"stage reading {self.slot}")
        await self._check_focus()
        if self.slots.change_s:
            await self._set_camera_back()
            settled_ns = max(settled_ns, self._timeline.now_ns)
        if self._tracked is not None:
            await self._follow(self._tracked)
            settled_ns = max(settled_ns, self._timeline.now_ns + ns(self._tracked.stands_after_s))
        await self._timeline.wait("settling", settled_ns)
        planned = self.slot + self.slots.snapshot_slots
        self.slot = planned
        self._lose_until(max(planned, self.grid.next_slot(settled_ns)), "the snapshot cycle took longer than planned")
        return "settled"

    async def _follow(self, tracked: TrackedCrystal) -> None:
        """Look for the crystal in the snapshot that was just stored; bring it back for the frames up to the next. A
        snapshot that was not kept tells nothing.
        """
        fit = self._watch.recent_fit
        if self._snapshot is None or fit is None:
            return
        middle_ns = (self._snapshot.start_ns + self._snapshot.end_ns) // 2

        def ahead(halves: int) -> tuple[float, float]:
            t_ns = middle_ns + halves * self.grid.period_ns // 2
            return fit.angle_deg(t_ns), t_ns / NS_PER_S

        index, _ = self.run.data.last
        await tracked.follow(TakenSnapshot(index, self.slot, *ahead(0)), ahead)

    async def _set_camera_back(self) -> None:
        """Expose the frame that sets the camera to frames again; it is not kept."""
        await self._armed.start(self.plan.exposure_s)
        await self._next_frame(self.plan.exposure_s)
        self._armed.discard("it set the camera back from snapshots to frames")

    @property
    def _in_focus(self) -> int:
        if self._focus is None:
            raise DeviceError("optics: the focus is not known yet; the lens was not touched.")
        return self._focus

    def _snapshot_step(self, name: str, at_ns: int, budget_ns: int) -> AbstractAsyncContextManager[int]:
        """A step of the snapshot cycle: done even when late, for the next frame waits for its end anyway."""
        return self._timeline.step(
            name, slot=self.slot, at_ns=at_ns, budget_ns=budget_ns, tolerance_ns=HOWEVER_LATE_NS, stretch=True
        )

    def _budget_ns(self, first: int, last: int) -> int:
        """What these steps of the plan may take, and what the engine may be late itself."""
        return ns(sum(step.worst_s for step in self.slots.snapshot.steps[first:last]) + self.slots.tolerance_s)

    async def _read_stage(self) -> None:
        """Look at the stage, and count the slots anew that the range needs at its speed."""
        await self._watch.look()
        self._tell_speed()
        needed = self._watch.slots_for_range(self.grid.period_ns / NS_PER_S)
        if needed is not None:
            self.last_slot = max(self.slot, needed)

    def _tell_speed(self) -> None:
        """As soon as three readings tell it: then the operator can still change it for the next crystal."""
        fit = self._watch.recent_fit
        if self._speed_told or fit is None or fit.readings < 3:
            return
        self._speed_told = True
        self._tell(seen_words(self.plan, fit.rate_deg_s, fit.rate_uncertainty_deg_s, self.grid.period_ns / NS_PER_S))

    async def _back_in_focus(self) -> None:
        if self._focus is not None:
            await self._optics.set_focus(self._focus)
            await self._check_focus()

    async def _left_in_focus(self) -> None:
        """The same, for good: the lens is asked twice, for an answer may be the one before."""
        await self._back_in_focus()
        if self._focus is not None:
            await self._check_focus()

    async def _check_focus(self) -> None:
        """Ask the lens itself: an accepted call is no lens in focus."""
        if (value := await self._optics.focus()) != self._in_focus:
            raise DeviceError(
                f"optics: told to go back to focus ({self._in_focus}), the lens stands at {value}. "
                "Focus at the microscope."
            )

    async def when_safe(self) -> None:
        """See `Experiment.when_safe`: the last frame, and whether anything of the run can be used."""
        await self._store()
        if self.run.ending is not None and self.run.ending.status is Status.DONE:
            if self.run.data.end().result["frames"] == 0:
                self.run.finish(
                    Status.FAILED, f"{self.run.ending.reason}, and no frame of it can be used; see run.json"
                )

    def write_extra(self, folder: Path) -> None:
        """See `Experiment.write_extra`: truth.h5 if the plan asks for it and the instrument knows it."""
        truth = self.microscope.truth
        if self.plan.truth and truth is not None:
            frames = put_together(self.run.data.remains()).collected
            kept = [frame for frame, keep in zip(frames.frames, frames.kept(), strict=True) if keep]
            truth.write(
                folder / "truth.h5", [frame.slot for frame in kept], [(frame.start_ns, frame.end_ns) for frame in kept]
            )
