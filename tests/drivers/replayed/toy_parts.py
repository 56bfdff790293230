"""A toy experiment that uses every optional part of a microscope, and makes frames of its own kinds in two series."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from drivers.approach import way_points
from drivers.parts import Deflector, OpticalMode
from engine.clock import ns
from engine.errors import DeviceError
from engine.record.framekinds import Column, FrameKind
from engine.run.compute import Computation
from engine.run.contract import Experiment, ExperimentType, Prepared, Work
from engine.run.machine import FINISH, StrictMachine, Transition
from engine.run.perform import Report, Request, execute
from engine.run.run import Run


class State(Enum):
    MOVE = "move"
    LOOK = "look"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition("moved", (State.MOVE,), State.LOOK),
    Transition(FINISH, (State.MOVE, State.LOOK), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)
TOTAL = Computation("total", "tests.engine.run.computations:total", latency_s=0.3, limit_s=60.0)
EXPOSURE_S = 0.1
OPTIONAL = ("stagexyz", "deflectors", "mode", "illumination")


class PartsPlan(BaseModel):
    optional: bool = True
    """Whether the optional parts are called, and something is computed."""


class UsesParts(Experiment):
    """Moves, shifts, changes modes and illumination, then looks; what it was answered stands in notes of its trace."""

    def __init__(self, kind: "PartsKind", plan: PartsPlan, microscope: Any, run: Run) -> None:
        super().__init__(run, microscope, kind.machine(run.entered))
        self.plan = plan
        self.stagexyz, self.deflectors, self.mode, self.illumination, self.detector = (
            run.gate.wrap(name, getattr(microscope, name)) for name in (*OPTIONAL, "detector")
        )
        run.compute.inline = True
        run.compute.declare(TOTAL)
        self.kept: list[int] = []
        run.trace.observe(lambda r: self.kept.append(r["index"]) if r["kind"] == "frame" else None)

    def activities(self) -> Mapping[Enum, Work]:
        return {State.MOVE: self.move, State.LOOK: self.look}

    async def wait(self, what: str, seconds: float) -> None:
        self.run.write_trace()
        await self.run.timeline.wait(what, self.run.timeline.now_ns + ns(seconds))

    def told(self, what: str, value: object) -> None:
        """A value with its type: a replay that gave another type would write another note."""
        self.run.trace.record("note", what, type=type(value).__name__, repr=repr(value))

    async def move(self) -> str:
        if not self.plan.optional:
            return "moved"
        for x_nm, y_nm in way_points(self.stagexyz.facts, 3000.0, -2000.0):
            await self.stagexyz.move_xy(x_nm, y_nm)
            while await self.stagexyz.is_moving():
                await self.wait("moving", 0.1)
        await self.stagexyz.move_z(500.0)
        await self.stagexyz.stop()
        self.told("position", await self.stagexyz.position())
        try:
            await self.stagexyz.move_xy(float("nan"), 0.0)
        except DeviceError as error:
            self.told("refused", str(error))
        await self.deflectors.set(Deflector.BEAM_SHIFT, 33000, 32000)
        await self.wait("beam shift", self.deflectors.facts.settling_s)
        # Calls that go side by side: their answers come in any order.
        shift, spot, place = await asyncio.gather(
            self.deflectors.read(Deflector.BEAM_SHIFT), self.illumination.spot_size(), self.stagexyz.position()
        )
        for what, value in (("shift", shift), ("spot", spot), ("place", place)):
            self.told(what, value)
        self.told("mode", await self.mode.mode())
        self.told("camera length", await self.mode.camera_length_mm())
        await self.mode.set_mode(OpticalMode.IMAGING)
        await self.wait("lenses", self.mode.facts.settling_s)
        self.told("magnification", await self.mode.magnification())
        await self.mode.set_magnification(self.mode.facts.magnifications[OpticalMode.IMAGING][3])
        await self.illumination.set_spot_size(self.illumination.facts.spot_sizes[-1])
        await self.illumination.set_brightness(self.illumination.facts.brightness_limits[1])
        self.told("brightness", await self.illumination.brightness())
        await self.mode.set_mode(OpticalMode.DIFFRACTION)
        return "moved"

    async def look(self) -> str:
        for series, (kind, number) in enumerate((("field", 1), ("still", 3))):
            await self.detector.arm((EXPOSURE_S,))
            frames = self.detector.frames()
            for _ in range(number):
                await self.detector.start(EXPOSURE_S)
                frame = await self.run.gate.next_item("detector.frames", frames, 5.0)
                arrived_ns = self.run.timeline.now_ns
                await self.run.data.keep(kind, frame, arrived_ns=arrived_ns, columns={"series": series})
                await self.wait("next", EXPOSURE_S)
            await self.detector.disarm()
        if not self.plan.optional:
            return FINISH
        outcome = await self.run.compute.compute(TOTAL, {"of": self.kept}, self.kept)
        self.told("total", outcome.result)
        return FINISH


@dataclass
class PreparedParts(Prepared):
    kind: "PartsKind"
    plan: PartsPlan

    def begin(self, run: Run, microscope: Any) -> UsesParts:
        return UsesParts(self.kind, self.plan, microscope, run)


class PartsKind(ExperimentType[PartsPlan]):
    name = "parts"
    summary = "a toy that uses the optional parts"
    plan_type = PartsPlan
    needs = ("beam", "detector", *OPTIONAL)
    frame_kinds = (
        FrameKind("field", (Column("series", "<i4", "of the camera"),)),
        FrameKind("still", (Column("series", "<i4", "of the camera"),)),
    )

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        return StrictMachine(State, TRANSITIONS, State.MOVE, ENDS, entered)

    def prepare(self, plan: PartsPlan, facts: Any) -> PreparedParts:
        return PreparedParts(self, plan)


PARTS = PartsKind()


def made(out: Path, plan: PartsPlan, *faults: str, virtual: bool = True) -> Report:
    """A run of it on the simulated instrument, with what befalls that (`drivers.faults`)."""
    request = Request(PARTS, plan, out, "simulated-timing", virtual, seed=3, draw=False, accept_timing=True)
    return execute(replace(request, faults=faults))
