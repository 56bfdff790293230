"""A live view under way: picture after picture, the microscope read meanwhile, and what the operator says done at once.

What is told is done by tasks of their own, so that the beam goes off in the middle of a long exposure; calls of one
device go one after the other, in the order in which they were asked for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from functools import partial

from drivers.contract import Microscope, Optics
from drivers.facts import Facts
from drivers.parts import ModeFacts, OpticalMode
from engine.clock import ns
from engine.errors import CredlineError, DeviceLost, Refused
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict
from engine.run.contract import Experiment, SafeAction, Work
from engine.run.run import Run
from engine.run.series import Series
from protocols.view.images import Image, write_image
from protocols.view.plan import ARMED, LIVE, OTHER_EXPOSURE, SAVED, State, ViewPlan, view_machine
from protocols.view.stagemoves import StageMoves
from protocols.view.standing import Standing
from protocols.view.words import (
    BLANK,
    DEFOCUS,
    EXPOSURE,
    FOCUS,
    MODE,
    MOVE_X,
    MOVE_Y,
    MOVE_Z,
    RELAX,
    SAVE,
    STOP_STAGE,
    TILT,
    TILT_BY,
    UNBLANK,
    Told,
    told_in,
)

RELAX_CYCLES, RELAX_HALF_CYCLE_S = 5, 0.5
"""As before a cRED run (Cichocka et al., 2018): against hysteresis of the lens."""
LENS_S = 1.5
AT_ONCE = ""
"""The turn of what waits for nothing."""
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
        self.mode = None if microscope.mode is None else wrap("mode", microscope.mode)
        self.moves = StageMoves(run, microscope)
        self.standing = Standing(microscope, run.gate)
        self.series: Series | None = None
        self.defocused = 0
        self._focus: int | None = None
        """The lens in focus, while it is away from there by this view; None while it is not."""
        self._turns = {name: asyncio.Lock() for name in ("beam", "lenses", "stage")}
        self._saves = self._saved = self._tasks = 0
        self._until_ns = 0
        stage, translation = ("stage",), ("stagexyz",)
        self._does: Mapping[str, tuple[tuple[str, ...], str, Callable[[Told], Awaitable[None]]]] = {
            UNBLANK: (("beam",), "beam", lambda _: self.beam.unblank()),
            BLANK: (("beam",), "beam", lambda _: self.beam.blank()),
            DEFOCUS: (("optics",), "lenses", self._defocus),
            FOCUS: (("optics",), "lenses", lambda _: self._back_in_focus()),
            RELAX: (("optics",), "lenses", lambda _: self._relax()),
            MODE: (("mode",), "lenses", self._change_mode),
            **dict.fromkeys((MOVE_X, MOVE_Y, MOVE_Z), (translation, "stage", self.moves.move)),
            TILT: (stage, "stage", self.moves.tilt_to),
            TILT_BY: (stage, "stage", self.moves.tilt_by),
            STOP_STAGE: ((*stage, *translation), AT_ONCE, lambda _: self.moves.stop()),
        }
        """Of words: the parts of which there has to be one, in whose turn it is done, and what is done."""

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {State.ARM: self.arm, State.VIEW: self.view}

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: as usual, a move that is under way is stopped, and the lens is back in focus
        where this view took it away. Stage and mode stay as they are: the operator has chosen them for what comes next.
        """
        *usual, last = super().safe_actions()
        own = self.moves.safe_actions()
        if self.optics is not None:
            own.append(SafeAction("focus the lens", self._back_in_focus, LENS_S, LENS_ALARM))
        return [*usual, *own, last]

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
            parts, turn, does = self._does[told.verb]
            if all(getattr(self.microscope, part) is None for part in parts):
                raise Refused(f"{told}: this instrument has no {parts[0]}; nothing was done.")
            if told.verb == MODE and (said := cannot_be(told, self.facts.mode)):
                raise Refused(f"{told}: {said}; nothing was changed.")
            self._tasks += 1
            self.run.in_background(self._obey(turn, partial(does, told), str(told)), f"told {self._tasks:04d}")

    async def _obey(self, turn: str, work: Callable[[], Awaitable[None]], words: str) -> None:
        """Do what was told when it is its turn; what cannot be done is said, and the view goes on."""
        stops = self.moves.stops
        try:
            if turn == AT_ONCE:
                await work()
                return
            async with self._turns[turn]:
                if turn == "stage":
                    self.moves.go_on_since(stops)
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

    async def _change_mode(self, told: Told) -> None:
        """The lens goes back in focus first: the microscope keeps a value of it for each mode."""
        mode = self.mode
        if mode is None or told.mode is None:
            return
        await self._back_in_focus()
        await mode.set_mode(told.mode)
        if told.number is not None and told.mode is OpticalMode.DIFFRACTION:
            await mode.set_camera_length_mm(told.number)
        elif told.number is not None:
            await mode.set_magnification(told.number)
        await self.standing.read_lenses()

    def _lens(self) -> Optics:
        if self.optics is None:
            raise Refused("this instrument has no lens that can be defocused; nothing was done.")
        return self.optics


def cannot_be(told: Told, facts: ModeFacts | None) -> str | None:
    """In words, why an instrument has no such mode, magnification or camera length; None where it has."""
    if facts is None or told.mode is None or told.mode not in facts.modes:
        return f"there is no {told.mode} mode"
    if told.mode is OpticalMode.DIFFRACTION:
        return facts.no_camera_length(told.mode, told.number)
    return facts.no_magnification(told.mode, told.number)
