"""The work of the states of a pre-scan: go to an angle in the dark, look at the crystal for a moment, come back.

The crystal is looked for as in the rotation, and what is learned of its path is known before the first frame. The lens
stays at its defocus meanwhile, for the beam is off but for the looks. A crystal that was missed where the rotation
begins is gone after from where it was found (`protocols.cred.prescanfurther`); where it is dark there, the rotation
begins where there is light (`protocols.cred.prescanlit`).
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

from drivers.contract import Beam, Optics
from engine.clock import NS_PER_S, ns
from engine.errors import DeviceError
from engine.record.endings import Status
from engine.run.contract import Work
from engine.run.run import Run
from engine.run.series import Series
from protocols.cred.machine import State
from protocols.cred.plan import CredPlan
from protocols.cred.prescanfurther import FurtherLooks, Saw
from protocols.cred.prescanlit import FirstLit
from protocols.cred.prescanplan import GOTO_SPEED_DEG_S, REST_S, Look
from protocols.cred.records import PRESCAN_IMAGE
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.cred.seencrystal import TakenSnapshot
from protocols.cred.slotplan import SlotPlan
from protocols.cred.tracked import TrackedCrystal

HOWEVER_LATE_NS = 2**62
SURE_SHARE = 0.45
"""Of the radius of what is lit: a crystal whose place is known to that (sigma) will be seen there."""


class Prescan:
    """Of one run. watch, beam, optics: behind its gate. focused: puts the lens back into focus and makes sure of it."""

    def __init__(
        self,
        run: Run,
        plan: CredPlan,
        slots: SlotPlan,
        watch: StageWatch,
        beam: Beam,
        optics: Optics,
        tracked: TrackedCrystal,
        focused: Callable[[], Awaitable[None]],
    ) -> None:
        self._run, self._plan, self._slots = run, plan, slots
        self._watch, self._beam, self._optics = watch, beam, optics
        self._tracked, self._focused = tracked, focused
        self._timeline = run.timeline
        self._left = list(slots.prescan.looks)
        self._further = FurtherLooks(slots.prescan.looks, slots.prescan.most_further)
        self._lit = FirstLit(plan.start_deg, plan.direction)
        self._planned_over = False
        self._found_now = False
        self._set_out_from_deg: float | None = None
        self._found_s: dict[float, float] = {}
        """When the crystal stood out at an angle for the first time."""
        self._stands_at: float | None = None  # the angle at which it was told to stand
        self._stands_deg = 0.0  # and what it reads there
        self._series: Series | None = None
        self._defocused = 0
        self._found_deg: list[float] = []
        self._missed: list[str] = []

    def begin(self, series: Series, defocused: int) -> None:
        """What is known once the camera is armed. defocused: value of the lens."""
        self._series, self._defocused = series, defocused

    def activities(self) -> Mapping[Enum, Work]:
        """Its part of `Experiment.activities`."""
        return {
            State.PRESCAN_GOTO: self.go,
            State.PRESCAN_SNAPSHOT: self.look,
            State.PRESCAN_RETURN: self.come_back,
        }

    async def go(self) -> str:
        """Blank, defocus (the first time), go to the angle of the next look.

        To the first angle the stage comes as to all others: from the side from which the rotation comes.
        """
        look = self._left[0]
        if self._stands_at is None:
            await self._beam.blank()
            await self._make_sure()
            await self._optics.set_focus(self._defocused)
            if self._slots.change_s:
                await self._set_camera()
        if self._stands_at != look.angle_deg:
            if self._stands_at is None or (look.angle_deg - self._stands_at) * self._plan.direction < 0:
                await self._approach(look.angle_deg)
            await self._watch.go_to(look.angle_deg, "an angle of the pre-scan")
            self._stands_deg = await self._watch.rest_deg()
            self._stands_at = look.angle_deg
        stand_ns = self._timeline.now_ns + ns(self._tracked.stands_after_s)
        await self._timeline.wait("image shift stands", stand_ns)
        return "there"

    async def _set_camera(self) -> None:
        """Expose a frame in the dark that sets the camera to looks, which takes some cameras long; it is not kept."""
        exposure_s = self._plan.snapshot_exposure_s
        await self._armed.start(exposure_s)
        await self._armed.frame(exposure_s, {"look": 0})
        self._armed.discard("it set the camera to the looks of the pre-scan")

    @property
    def _armed(self) -> Series:
        if self._series is None:
            raise DeviceError("detector: not armed; no exposure was made.")
        return self._series

    async def _approach(self, angle_deg: float) -> None:
        if (before_deg := self._slots.prescan.approach_deg(angle_deg)) != angle_deg:
            await self._watch.go_to(before_deg, "the approach of the pre-scan")

    async def look(self) -> str:
        """Expose one image, with the beam on for no longer than that takes, and look for the crystal in it."""
        look, self._found_now = self._left.pop(0), False
        series = self._armed
        budget, exposure_s = self._slots.prescan.image, self._plan.snapshot_exposure_s
        async with self._timeline.step(
            "pre-scan image",
            slot=0,
            at_ns=self._timeline.now_ns,
            budget_ns=ns(budget.worst_s + self._slots.tolerance_s),
            tolerance_ns=HOWEVER_LATE_NS,
            stretch=True,
        ):
            await self._beam.unblank()
            await series.start(exposure_s)
            frame = await series.frame(exposure_s, {"look": look.number})
            await self._beam.blank()
        await self._make_sure()
        columns = {"look": look.number, "angle_deg": round(self._stands_deg, 4)}
        if await series.keep(PRESCAN_IMAGE.name, frame, columns):
            index, _ = self._run.data.last
            t_s = (frame.start_ns + frame.end_ns) / 2 / NS_PER_S
            taken = TakenSnapshot(index, 0, self._stands_deg, t_s, look.number)
            await self._tracked.scan(taken, lambda: self._seen(look, t_s))
            if look.tries is not None and self._found_now:
                await self._tracked.try_shift(look.tries)
        elif not self._left:
            self._look_further(self._timeline.now_ns / NS_PER_S)
        self._run.write_trace()
        return "next_look" if self._left else self._over()

    def _seen(self, look: Look, t_s: float) -> tuple[float, float] | None:
        """Decide where to look next, and for what to correct, as `TrackedCrystal.scan` asks. A crystal that is not seen
        cannot tell what the image shift does, and is not looked at again from the same side.
        """
        seen = self._tracked.seen
        self._found_now = seen.was_found
        if self._found_now:
            self._found_deg.append(look.angle_deg)
        else:
            self._missed.append(f"not at {look.angle_deg:.1f} deg: {seen.why}")
            if look.tries is not None:
                self._left = [other for other in self._left if other.angle_deg != look.angle_deg]
        if seen.stands_out:
            self._found_s.setdefault(look.angle_deg, t_s)
        saw = self._saw()
        self._further.saw(look, saw)
        self._lit.saw(look.angle_deg, dark=saw is Saw.DARK)
        if not self._left:
            self._look_further(t_s)
        return self._ahead(look, t_s) if look.tries is None else None

    def _saw(self) -> Saw:
        seen = self._tracked.seen
        if seen.was_found:
            if not seen.stands_out:
                return Saw.FILM
            return Saw.CRYSTAL if seen.reaches_nm <= self._tracked.farthest_nm else Saw.EDGE
        if seen.missed:
            return Saw.DARK if seen.was_dark else Saw.NOTHING
        return Saw.ASSUMED

    def _look_further(self, t_s: float) -> None:
        """One look more, where the first angle is dark, or the crystal was missed there and can be gone after."""
        tracked = self._tracked
        if (angle_deg := self._lit.next_deg) is not None and (between := self._further.at(angle_deg)) is not None:
            self._left.append(between)
            return
        if not self._planned_over:
            self._planned_over = True
            stood_deg = self._watch.stood_deg
            if stood_deg is not None and not self._slots.prescan.reaches(stood_deg):
                stood_deg = None
            if not self._further.begin(stood_deg, untried=tracked.can_be_tried):
                return
        if not tracked.is_held:
            return
        sure_nm = SURE_SHARE * tracked.farthest_nm
        look = self._further.next(lambda angle_deg: tracked.path.predict(angle_deg, t_s).sigma_nm <= sure_nm)
        if look is not None:
            if self._set_out_from_deg != self._further.from_deg:
                # What was found at other angles, far from each other, may be neighbours: the path is learned from here.
                self._set_out_from_deg = self._further.from_deg
                tracked.seen.forget(self._found_s.get(self._set_out_from_deg))
            tracked.seen.begin_again(look.angle_deg, tracked.farthest_nm)
            self._left.append(look)

    def _ahead(self, look: Look, t_s: float) -> tuple[float, float]:
        """Angle in deg and time in s of the next look, or of the first frames, roughly. At the first angle the image
        shift was tried, which is taken back: where the crystal goes from there is hardly known yet.
        """
        if not self._left:
            return first_frames(self._plan, self._slots, self._lit.begin_deg, t_s)
        stays = look.angle_deg == self._plan.start_deg and not self._planned_over
        angle_deg = look.angle_deg if stays else self._left[0].angle_deg
        return angle_deg, t_s + abs(angle_deg - look.angle_deg) / GOTO_SPEED_DEG_S + REST_S

    def _over(self) -> str:
        """Say what was seen; a crystal that was in no image is lost."""
        looks = len(self._found_deg) + len(self._missed)
        text = f"Pre-scan: the crystal was found in {len(self._found_deg)} of {looks} looks"
        text += f"; {self._missed[0]}" if self._missed else ""
        if (goal_deg := self._further.goal_deg) is not None:
            found = "found" if self._found_now and self._stands_at == goal_deg else "not found"
            text += f"; gone after from {self._further.from_deg:.1f} deg, in {self._further.made} of these looks: "
            text += f"{found} at {goal_deg:.1f} deg"
        if (begin_deg := self._lit.begin_deg) != self._plan.start_deg:
            text += f"; before {begin_deg:.1f} deg something stands in the beam, so the rotation begins there"
        self._run.trace.record("note", "operator", text=f"{text}.")
        if not self._found_deg and self._plan.crystal_lost == "stop":
            why = self._missed[0] if self._missed else "no image was kept"
            return self._run.finish(Status.STOPPED, f"crystal_lost = stop: not found in the pre-scan, {why}")
        return "looked"

    async def come_back(self) -> str:
        """Focus, and go back to the first angle, again from the side from which the rotation comes."""
        await self._focused()
        begin_deg = self._lit.begin_deg
        if self._stands_at != begin_deg:
            await self._approach(begin_deg)
            await self._watch.go_to(begin_deg, "start_deg" if begin_deg == self._plan.start_deg else "the first light")
        self._watch.begin_at(begin_deg)
        await self._tracked.set_out(
            begin_deg, first_frames(self._plan, self._slots, begin_deg, self._timeline.now_ns / NS_PER_S)
        )
        return "returned"

    async def _make_sure(self) -> None:
        """While the stage moves nothing is exposed; one answer may be wrong."""
        for _ in range(2):
            if not await self._beam.is_blanked():
                raise DeviceError(
                    "beam: told to blank before the stage moves, the blanker does not close; the rotation was not "
                    "begun. Close it at the microscope."
                )


def first_frames(plan: CredPlan, slots: SlotPlan, begin_deg: float, t_s: float) -> tuple[float, float]:
    """Angle in deg and time in s of the middle of the frames between the first two snapshots. begin_deg: of the
    rotation; t_s: now. When it is begun the operator decides, so the time is a guess.
    """
    half_s = plan.snapshot_interval * slots.period_s / 2
    turned_deg = slots.run_in_deg + plan.speed_deg_s * half_s
    return begin_deg + plan.direction * turned_deg, t_s + half_s
