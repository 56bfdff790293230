"""A live view under way: picture after picture, the microscope read meanwhile, and what the operator says done at once.

What is told is done by tasks of their own, so that the beam goes off in the middle of a long exposure; calls of one
device go one after the other, in the order in which they were asked for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from functools import partial

from drivers.contract import Microscope, Optics, Stage
from drivers.facts import Facts
from engine.clock import ns
from engine.errors import CredlineError, DeviceLost, Refused
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict
from engine.run.contract import Experiment, SafeAction, Work
from engine.run.run import Run
from engine.run.series import Series
from protocols.view.images import Image, write_image
from protocols.view.plan import ARMED, LIVE, OTHER_EXPOSURE, SAVED, State, ViewPlan, view_machine
from protocols.view.standing import Standing
from protocols.view.words import (
    BLANK,
    DEFOCUS,
    EXPOSURE,
    FOCUS,
    RELAX,
    SAVE,
    STOP_STAGE,
    TILT,
    UNBLANK,
    Told,
    told_in,
)

TILT_SPEED_DEG_S = 2.0
"""Or the nearest that the stage can do."""
RELAX_CYCLES, RELAX_HALF_CYCLE_S = 5, 0.5
"""As before a cRED run (Cichocka et al., 2018): against hysteresis of the lens."""
LENS_S = 1.5
LENS_ALARM = "THE LENS MAY BE OUT OF FOCUS: set its focus by hand before the next experiment"


class ViewExperiment(Experiment):
    """The work of each state."""

    def __init__(self, plan: ViewPlan, facts: Facts, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, view_machine(run.entered))
        self.plan, self.facts = plan, facts
        self.exposure_s = plan.exposure_s
        wrap = run.gate.wrap
        self.beam, self.detector = wrap("beam", microscope.beam), wrap("detector", microscope.detector)
        self.optics = None if microscope.optics is None else wrap("optics", microscope.optics)
        self.stage = None if microscope.stage is None else wrap("stage", microscope.stage)
        self.standing = Standing(microscope, run.gate)
        self.series: Series | None = None
        self.defocused = 0
        self._focus: int | None = None
        """The lens in focus, while it is away from there by this view; None while it is not."""
        self._turns = {"beam": asyncio.Lock(), "optics": asyncio.Lock(), "stage": asyncio.Lock()}
        self._saves = self._saved = self._tasks = 0
        self._until_ns = 0
        self._does: Mapping[str, tuple[str, Callable[[Told], Awaitable[None]]]] = {
            UNBLANK: ("beam", lambda _: self.beam.unblank()),
            BLANK: ("beam", lambda _: self.beam.blank()),
            DEFOCUS: ("optics", self._defocus),
            FOCUS: ("optics", lambda _: self._back_in_focus()),
            RELAX: ("optics", lambda _: self._relax()),
            TILT: ("stage", self._tilt),
            STOP_STAGE: ("stage", lambda _: self._stage().stop()),
        }

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {State.ARM: self.arm, State.VIEW: self.view}

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: as usual, and the lens back in focus where this view took it away."""
        lens = SafeAction("focus the lens", self._back_in_focus, LENS_S, LENS_ALARM)
        *usual, last = super().safe_actions()
        return [*usual, lens, last] if self.optics is not None else [*usual, last]

    async def arm(self) -> str:
        """Arm the camera for the exposure that is asked for; the beam stays as it is, and is off at first."""
        if self.series is None:
            await self.beam.blank()
            self._until_ns = self.run.timeline.now_ns + ns(60 * self.plan.lasts_min)
        else:
            await self.series.close()
            await self.detector.disarm()
        await self.detector.arm((self.exposure_s,))
        self.series = Series(self.run, self.detector)
        return ARMED

    async def view(self) -> str:
        """Picture after picture until something ends it."""
        timeline, series = self.run.timeline, self.series
        if series is None:
            raise RuntimeError("a view is armed first")
        exposure_s = self.exposure_s
        while exposure_s == self.exposure_s:
            begin_ns = timeline.now_ns
            if begin_ns >= self._until_ns:
                words = f"the view has lasted its {self.plan.lasts_min:g} min; begin another one to go on"
                return self.run.finish(Status.DONE, words)
            await series.start(exposure_s)
            await self.standing.read()
            frame = await series.frame(exposure_s)
            if self._saves > self._saved:
                self._saved += 1
                columns: JsonDict = {"exposure_s": exposure_s, **self.standing.columns(), "defocus": self.defocused}
                if await series.keep(SAVED.name, frame, columns):
                    image = Image(self._saved, frame.counts, frame.start_ns, columns)
                    write = partial(write_image, self.run.folder, self.run.document, image)
                    self.run.writer.submit_observation(write, frame.counts.nbytes)
            else:
                series.show(LIVE.name, frame)
            await timeline.wait("next picture", begin_ns + ns(self.plan.interval_s))
        return OTHER_EXPOSURE

    def heard(self, words: str) -> None:
        """See `Experiment.heard`."""
        told = told_in(words)
        if told.verb == SAVE:
            self._saves += 1
        elif told.verb == EXPOSURE and told.number is not None:
            if said := self.facts.detector.cannot_expose((told.number,)) if self.facts.detector else "":
                raise Refused(f"exposure {told.number:g} s: the camera {said}; the exposure is as it was.")
            self.exposure_s = told.number
        else:
            device, does = self._does[told.verb]
            if getattr(self, device) is None:
                raise Refused(f"{told}: this instrument has no {device}; nothing was done.")
            self._tasks += 1
            self.run.in_background(self._obey(device, partial(does, told), str(told)), f"told {self._tasks:04d}")

    async def _obey(self, device: str, work: Callable[[], Awaitable[None]], words: str) -> None:
        """Do what was told when it is its turn; what cannot be done is said, and the view goes on."""
        try:
            async with self._turns[device]:
                await work()
        except DeviceLost:
            raise
        except CredlineError as error:
            self.run.trace.record("note", "operator", text=f"{words}: {error}")

    async def _defocus(self, told: Told) -> None:
        await self._away(self.plan.defocus if told.number is None else int(told.number))

    async def _away(self, units: int) -> None:
        optics = self._lens()
        if self._focus is None:  # the middle one of three, as a run reads it
            self._focus = sorted([await optics.focus() for _ in range(3)])[1]
        self.defocused = units
        await optics.set_focus(self._focus + units)

    async def _back_in_focus(self) -> None:
        if self._focus is not None:
            await self._lens().set_focus(self._focus)
            self._focus, self.defocused = None, 0

    async def _relax(self) -> None:
        timeline, away = self.run.timeline, self.defocused
        for _ in range(RELAX_CYCLES):
            await self._away(self.plan.defocus)
            await timeline.wait("relax", timeline.now_ns + ns(RELAX_HALF_CYCLE_S))
            await self._away(0)
            await timeline.wait("relax", timeline.now_ns + ns(RELAX_HALF_CYCLE_S))
        await (self._away(away) if away else self._back_in_focus())

    async def _tilt(self, told: Told) -> None:
        stage = self._stage()
        facts = stage.facts
        speed_deg_s = TILT_SPEED_DEG_S
        if facts.speeds_deg_s:
            speed_deg_s = min(facts.speeds_deg_s, key=lambda speed: abs(speed - speed_deg_s))
        elif facts.speed_limits_deg_s is not None:
            slowest_deg_s, fastest_deg_s = facts.speed_limits_deg_s
            speed_deg_s = min(max(speed_deg_s, slowest_deg_s), fastest_deg_s)
        if said := facts.no_speed(speed_deg_s):
            raise Refused(f"{said}. Nothing moved.")
        await stage.rotate(told.number or 0.0, speed_deg_s)

    def _lens(self) -> Optics:
        if self.optics is None:
            raise Refused("this instrument has no lens that can be defocused; nothing was done.")
        return self.optics

    def _stage(self) -> Stage:
        if self.stage is None:
            raise Refused("this instrument has no stage that tilts; nothing was done.")
        return self.stage
