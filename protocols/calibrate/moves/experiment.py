"""The work of each state of a calibration by moves: light, first moves that tell how far to go, then the grid.

Nothing is typed: a first small move is made larger until it is plainly seen, and tells the size of the grid's steps,
within the range of the part and on the camera. Each place is arrived at from below and from above, which tells
hysteresis. What was changed is put back in the safe state. What becomes of the frames is in `analysis`.
"""

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from drivers.contract import Microscope
from drivers.facts import Facts
from drivers.parts import Mode, OpticalMode
from engine.clock import ns
from engine.record.endings import Status
from engine.run.compute import Computation, Json
from engine.run.contract import Experiment, SafeAction, Work
from engine.run.run import Run
from engine.run.series import Series
from protocols.calibrate.asfound import AsFound
from protocols.calibrate.moves.light import DARK, MOST_SATURATED, Brightness, judged, room_px, side_px
from protocols.calibrate.moves.motion import DeflectorMotion, Motion, StageMotion
from protocols.calibrate.moves.mover import Mover, SeenBy
from protocols.calibrate.moves.plan import (
    MOVED,
    TRIED,
    AnyMovesPlan,
    MovesPlan,
    State,
    more_visits,
    moves_machine,
    visits,
)
from protocols.calibrate.moves.steps import Steps, fitted_steps

LOOK = Computation(
    "look", "protocols.calibrate.moves.seen:look", latency_s=0.05, limit_s=20.0, resolution=1e-4, quick=True
)
DISPLACED = Computation(
    "displaced", "protocols.calibrate.moves.seen:displaced", latency_s=0.1, limit_s=20.0, resolution=1e-4, quick=True
)
SURE = Computation(
    "sure", "protocols.calibrate.moves.meanwhile:sure", latency_s=3.0, limit_s=120.0, resolution=1e-6, quick=True
)
MOST_LOOKS = 25
CONDENSER_S = 0.3
SHORTER = 4.0
LARGER = 2.5
PLAIN_SHARE, SEEN_PX = 0.08, 3.0
"""A first move is long enough where it is this share of the camera's smaller side; where a longer one cannot be
followed, so many pixels must do."""


class MovesExperiment(Experiment):
    """The work of each state."""

    motion: Motion
    steps: Steps
    series: Series

    def __init__(self, mover: Mover, plan: AnyMovesPlan, facts: Facts, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, moves_machine(run.entered))
        self.mover, self.plan, self.facts = mover, plan, facts
        self.beam = run.gate.wrap("beam", microscope.beam)
        self.detector = run.gate.wrap("detector", microscope.detector)
        self.found = AsFound(run, microscope)
        self.setting, self.start, self.here = 0.0, (0.0, 0.0), (0.0, 0.0)
        self.side_px, self.room_px = 0.0, 0.0
        self.exposure_s = plan.exposure_s
        self.visits = list(visits(mover.points, plan.rounds or mover.rounds))
        self.at = 0
        self.is_judged = plan.rounds > 0
        self.visited: list[list[float]] = []
        self.frames: list[int] = []
        for computation in (LOOK, DISPLACED, SURE):
            run.compute.declare(computation)

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.PREPARE: self.prepare,
            State.LIGHT: self.light,
            State.FIND: self.find,
            State.MOVE: self.move,
            State.EXPOSE: self.expose,
            State.JUDGE: self.judge,
        }

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: as usual, then all that was changed goes back."""
        return [*super().safe_actions(), *self.found.actions()]

    async def prepare(self) -> str:
        """Mode and magnification, where the part stands, the camera."""
        if self.found.mode is not None:
            await self.found.remember_mode()
            await self._set_mode(self.found.mode)
        timeline, deflectors, stage = self.run.timeline, self.found.deflectors, self.found.stagexyz
        if self.mover.deflector is not None and deflectors is not None:
            self.start = await self.found.remember_deflector(self.mover.deflector)
            self.motion = DeflectorMotion(deflectors, self.mover.deflector, timeline)
        elif stage is not None:
            self.start = await self.found.remember_xy()
            pixel_nm = self.facts.geometry.pixel_size_mm * 1e6 / self.setting
            self.motion = StageMotion(stage, timeline, pixel_nm)
        await self._arm()
        await self.beam.unblank()
        return "prepared"

    async def _set_mode(self, mode: Mode) -> None:
        """To what the plan wants; the setting is read then."""
        if isinstance(self.plan, MovesPlan):
            await mode.set_mode(OpticalMode.LOW_MAG if self.plan.low_mag else OpticalMode.IMAGING)
            if self.plan.magnification:
                await self.found.remember_magnification()
                await mode.set_magnification(self.plan.magnification)
            self.setting = await mode.magnification()
        else:
            await mode.set_mode(OpticalMode.DIFFRACTION)
            self.setting = await mode.camera_length_mm()
        await self.run.timeline.wait("lenses settled", self.run.timeline.now_ns + ns(mode.facts.settling_s))

    async def _arm(self) -> None:
        await self.detector.disarm()
        await self.detector.arm((self.exposure_s,))
        self.series = Series(self.run, self.detector)

    async def light(self) -> str:
        """Is there light, and for the lit disc: is all of it on the camera? The condenser is set for that."""
        condenser: Brightness | None = None
        why = ""
        for _ in range(MOST_LOOKS):
            seen = await self._look()
            if seen["saturated"] > MOST_SATURATED and self.mover.seen_by is not SeenBy.BEAM:
                if self.detector.facts.cannot_expose((self.exposure_s / SHORTER,)):
                    return self._failed("frames are saturated at the shortest exposure. Spread the beam more")
                self.exposure_s /= SHORTER
                await self._arm()
                continue
            why = judged(seen, self.mover)
            if not why:
                self.side_px, self.room_px = side_px(seen), room_px(seen)
                return "lit"
            part = self.found.illumination
            if self.mover.seen_by is not SeenBy.DISC or part is None or seen["counts"] < DARK:
                return self._failed(why)
            if condenser is None:
                condenser = Brightness(part.facts, (await self.found.remember_illumination())[1])
            brightness = condenser.next(seen["counts"] / self.exposure_s, seen["radius"] / side_px(seen))
            if brightness is None:
                return self._failed(why)
            await part.set_brightness(brightness)
            await self.run.timeline.wait("condenser settled", self.run.timeline.now_ns + ns(CONDENSER_S))
        return self._failed(f"after {MOST_LOOKS} tries {why}")

    async def find(self) -> str:
        """First moves along x, then y, each larger than the last until it is plainly seen: they tell the steps."""
        here = await self.motion.go(*self.start, -1)
        columns: list[tuple[float, float]] = []
        for axis in (0, 1):
            before, begin = await self._frame(TRIED.name, {}), here
            move, guess = self.motion.smallest, (0.0, 0.0)
            per_unit: tuple[float, float] | None = None
            while True:
                there = [begin[0], begin[1]]
                there[axis] += move
                if not self.motion.reach[0] <= there[axis] <= self.motion.reach[1]:
                    if per_unit is not None:  # it moves little, but it was seen to
                        columns.append(per_unit)
                        break
                    return self._failed(
                        f"the {self.mover.words} moved to the end of its range and the {self.mover.seen} did not move: "
                        "the field is empty, or the part does nothing. Look at the frames"
                    )
                here = await self.motion.go(there[0], there[1], -1)
                after = await self._frame(TRIED.name, {})
                told = {**self._told, "before": before, "after": after, "guess": guess}
                outcome = await self.run.compute.compute(DISPLACED, told, (before, after))
                seen = outcome.fields
                if not seen["sure"] and per_unit is None:
                    return self._failed(
                        f"after a first move of the {self.mover.words} by {move:.4g} along {'xy'[axis]} two frames "
                        f"show nothing in common: the {self.mover.seen} cannot be followed. Look for a place that "
                        "shows film and particles, make exposure_s longer, or take a lower magnification"
                    )
                if seen["sure"]:
                    by, moved_px = here[axis] - begin[axis], math.hypot(seen["fast"], seen["slow"])
                    if moved_px >= SEEN_PX:
                        per_unit = seen["fast"] / by, seen["slow"] / by
                    guess = LARGER * seen["fast"], LARGER * seen["slow"]
                if per_unit is not None and (not seen["sure"] or moved_px >= PLAIN_SHARE * self.side_px):
                    columns.append(per_unit)
                    break
                move *= LARGER
        (a, c), (b, d) = columns
        steps = fitted_steps(self.mover, (a, b, c, d), self.start, self.motion.reach, self.side_px, self.room_px)
        if isinstance(steps, str):
            return self._failed(steps)
        self.steps = steps
        return "steps_found"

    async def move(self) -> str:
        """The part to the next place; the run may be paused here."""
        await self.run.checkpoint()
        visit = self.visits[self.at]
        x, y = self.start[0] + visit.x * self.steps.x, self.start[1] + visit.y * self.steps.y
        self.here = await self.motion.go(x, y, visit.side)
        return "moved"

    async def expose(self) -> str:
        """A frame there."""
        visit, (x, y) = self.visits[self.at], self.here
        fast, slow = self.steps.expected_px(x - self.start[0], y - self.start[1])
        columns: dict[str, int | float | str | None] = {
            "x": x,
            "y": y,
            "side": visit.side,
            "round": visit.number,
            "expected_fast_px": fast,
            "expected_slow_px": slow,
            "setting": self.setting,
        }
        self.frames.append(await self._frame(MOVED.name, columns))
        self.visited.append([x, y, visit.side, fast, slow])
        self.at += 1
        if self.at < len(self.visits):
            return "exposed"
        return self.run.finish(Status.DONE, "all places visited") if self.is_judged else "usual_visited"

    async def judge(self) -> str:
        """How sure is the matrix by what was visited, and what more makes it as sure as the plan wants? Where no answer
        comes in time, as of a very large camera, the usual places are enough: the analysis has time.
        """
        self.is_judged = True
        told = {**self._told, "mover": self.mover.name, "visited": self.visited, "frames": self.frames}
        outcome = await self.run.compute.compute(SURE, told, self.frames)
        if not outcome.good:
            text = f"How sure the matrix is was not worked out ({outcome.error}): no more places are visited."
            self.run.trace.record("note", "operator", text=text)
            return self.run.finish(Status.DONE, "the usual places visited")
        result = outcome.fields
        if result["why"]:
            return self._failed(result["why"])
        share, wanted = float(result["share"]), self.plan.accuracy_percent / 100
        more = more_visits(self.mover, share, wanted)
        if not more:
            return self.run.finish(Status.DONE, "all places visited")
        text = (
            f"After {self.at} places each number of the matrix is sure to {share:.2%}, {wanted:.2%} are wanted: "
            f"{len(more)} places more."
        )
        self.run.trace.record("note", "operator", text=text)
        self.visits += more
        return "more_wanted"

    async def _frame(self, kind: str, columns: dict[str, int | float | str | None]) -> int:
        """Take a frame and keep it; its index."""
        await self.series.start(self.exposure_s)
        frame = await self.series.frame(self.exposure_s, columns)
        await self.series.keep(kind, frame, columns)
        return self.run.data.last[0]

    async def _look(self) -> Any:
        index = await self._frame(TRIED.name, {})
        outcome = await self.run.compute.compute(LOOK, {**self._told, "frame": index}, (index,))
        return outcome.get()

    @property
    def _told(self) -> dict[str, Json]:
        camera = self.detector.facts
        return {
            "seen_by": self.mover.seen_by.value,
            "wide_cross": camera.wide_cross,
            "saturation": camera.saturation_of(self.exposure_s),
        }

    def _failed(self, why: str) -> str:
        return self.run.finish(Status.FAILED, f"{why}; nothing is stored.")

    def write_extra(self, folder: Path) -> None:
        """See `Experiment.write_extra`."""
        if self.microscope.truth is not None:
            self.microscope.truth.write_hidden(folder / "truth.h5")
