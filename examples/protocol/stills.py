"""Stills: at each of a few tilts, places of the stage and beam shifts, a number of still frames.

A template for your own experiment: a plan, a machine, the work of its states, and what becomes of the frames.
Everything else (folder, trace, safe state, recovery, replay) is the engine's. docs/protocol-writing.md explains it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import product
from typing import Any

from drivers.approach import arrive_deg, arrive_xy, way_points
from drivers.facts import Facts
from drivers.parts import Deflector
from engine.clock import ns
from engine.errors import Refused
from engine.record.endings import Status
from engine.record.framekinds import Column, FrameKind
from engine.record.remains import Remains, RunEnd
from engine.record.trace import Record
from engine.run.budget import Budget, BudgetStep
from engine.run.contract import (
    OVERRUNS,
    Experiment,
    ExperimentType,
    Figure,
    Prepared,
    Progress,
    SafeAction,
    Times,
    WhatIf,
    Work,
)
from engine.run.machine import FINISH, StrictMachine, Transition
from engine.run.run import Run
from engine.run.series import Series
from engine.run.trial import Rules, SoakedRun, Trial
from pydantic import BaseModel, ConfigDict, Field

TILT_SPEED_DEG_S = 10.0
XY = tuple[float, float]


class StillsPlan(BaseModel):
    """What the operator asks for. beam_shifts: in the instrument's own units. beam_limit_s: longest in the beam."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tilts_deg: tuple[float, ...] = Field(default=(-10.0, 0.0, 10.0), min_length=1)
    places_nm: tuple[XY, ...] = ()
    beam_shifts: tuple[XY, ...] = ()
    frames: int = Field(default=3, ge=1)
    exposure_s: float = Field(default=0.2, gt=0)
    beam_limit_s: float = Field(default=2.0, gt=0)

    def stops(self) -> list[tuple[float, XY | None, XY | None]]:
        """Tilt, place and beam shift of each stop, in order; None for what stays as it is."""
        return list(product(self.tilts_deg, self.places_nm or (None,), self.beam_shifts or (None,)))


STILL = FrameKind(
    "still",
    arrival=(
        Column("stop", "<i4", "which, counted from 1 in the order of the plan"),
        Column("tilt_deg", "<f8", "tilt of the stage, as read"),
        Column("x_nm", "<f8", "place of the stage as commanded; no number where it stayed"),
        Column("y_nm", "<f8", "the same along y"),
        Column("shift_x", "<f8", "beam shift as set, in the instrument's own units; no number where it stayed"),
        Column("shift_y", "<f8", "the same along y"),
    ),
)


class State(Enum):
    """The states of a run, as the trace names them."""

    TILT = "tilt"
    PLACE = "place"
    EXPOSE = "expose"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition("tilted", (State.TILT,), State.PLACE),
    Transition("placed", (State.PLACE,), State.EXPOSE),
    Transition("next_place", (State.EXPOSE,), State.PLACE),
    Transition("next_tilt", (State.EXPOSE,), State.TILT),
    Transition(FINISH, (State.TILT, State.PLACE, State.EXPOSE), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


class StillsExperiment(Experiment):
    """The work of each state. It returns the trigger by which the state is left; what it raises fails the run."""

    def __init__(self, plan: StillsPlan, budget: Budget, microscope: Any, run: Run) -> None:
        super().__init__(run, microscope, STILLS.machine(run.entered))
        self.plan, self.budget, self.stops, self.at, self.tilt_deg = plan, budget, plan.stops(), 0, 0.0
        # Behind the gate every call is timed, recorded, and over after 10 s at the latest.
        self.stage = run.gate.wrap("stage", microscope.stage)
        self.stagexyz = run.gate.wrap("stagexyz", microscope.stagexyz)
        self.deflectors = run.gate.wrap("deflectors", microscope.deflectors)
        self.beam = run.gate.wrap("beam", microscope.beam)
        self.detector = run.gate.wrap("detector", microscope.detector)

    def activities(self) -> Mapping[Enum, Work]:
        return {State.TILT: self.tilt, State.PLACE: self.place, State.EXPOSE: self.expose}

    def safe_actions(self) -> Sequence[SafeAction]:
        """What the engine does for every microscope (blank the beam, stop the tilt, disarm), and stop x and y."""
        blank, *others = super().safe_actions()
        if self.plan.places_nm:
            alarm = "THE STAGE MAY STILL BE MOVING: stop it at the microscope now"
            others.insert(0, SafeAction("stop x and y", self.stagexyz.stop, 1.5, alarm))
        return (blank, *others)

    async def tilt(self) -> str:
        self.tilt_deg = await arrive_deg(self.stage, self.run.timeline, self.stops[self.at][0], TILT_SPEED_DEG_S)
        return "tilted"

    async def place(self) -> str:
        await self.run.checkpoint()  # nothing is under way here: the run may be paused
        _, place_nm, shift = self.stops[self.at]
        if place_nm is not None:
            await arrive_xy(self.stagexyz, self.run.timeline, *place_nm)
        if shift is not None:
            await self.deflectors.set(Deflector.BEAM_SHIFT, *shift)
            settled_ns = self.run.timeline.now_ns + ns(self.deflectors.facts.settling_s)
            await self.run.timeline.wait("beam settled", settled_ns)
        return "placed"

    async def expose(self) -> str:
        await self.detector.arm((self.plan.exposure_s,))
        series = Series(self.run, self.detector)
        _, place_nm, shift = self.stops[self.at]
        known = (self.at + 1, self.tilt_deg, *(place_nm or (None, None)), *(shift or (None, None)))
        columns = {column.name: value for column, value in zip(STILL.arrival, known, strict=True)}
        now_ns, limit_ns = self.run.timeline.now_ns, ns(self.budget.available_s)
        timed = {"at_ns": now_ns, "budget_ns": limit_ns, "tolerance_ns": limit_ns}
        # A stop that took too long is marked in the trace; its frames are good (stretch).
        async with self.run.timeline.step("stop", slot=self.at + 1, **timed, stretch=True):
            await self.beam.unblank()
            for _ in range(self.plan.frames):
                await series.start(self.plan.exposure_s)
                frame = await series.frame(self.plan.exposure_s, columns)
                await series.keep("still", frame, columns)
            await self.beam.blank()
        await self.detector.disarm()
        self.at += 1
        if self.at == len(self.stops):
            return self.run.finish(Status.DONE, "all stops visited")
        return "next_place" if self.stops[self.at][0] == self.stops[self.at - 1][0] else "next_tilt"


class PreparedStills(Prepared):
    """A plan that fits the instrument."""

    def __init__(self, plan: StillsPlan, budget: Budget) -> None:
        self.plan, self.budget = plan, budget

    @property
    def budgets(self) -> Sequence[Budget]:
        return (self.budget,)

    @property
    def total(self) -> int:
        return self.plan.frames * len(self.plan.stops())

    def begin(self, run: Run, microscope: Any) -> StillsExperiment:
        return StillsExperiment(self.plan, self.budget, microscope, run)


class Stills(ExperimentType[StillsPlan]):
    """The entry in the register of protocols; engine/run/contract.py says what each member is for."""

    name = "stills"
    summary = "still frames at tilts, places and beam shifts"
    plan_type = StillsPlan
    frame_kinds = (STILL,)
    pauses = True
    needs = ("stage", "beam", "detector")
    what_if = WhatIf(
        figures=(Figure("frames", "frames"), Figure("beam_s", "in the beam at one stop, max / s"), OVERRUNS),
        unanswerable=("tilts_deg", "places_nm", "beam_shifts"),  # where it never was, nobody knows what it would see
    )

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        return StrictMachine(State, TRANSITIONS, State.TILT, ENDS, entered)

    def prepare(self, plan: StillsPlan, facts: Facts) -> PreparedStills:
        """Refuse what cannot be, before anything moves."""
        stage, detector, stagexyz, deflectors = facts.stage, facts.detector, facts.stagexyz, facts.deflectors
        if stage is None or detector is None:
            raise Refused(
                "stills: needs a stage and a camera, of which this instrument lacks one; nothing was started."
            )
        low_deg, high_deg = stage.limits_deg
        if outside := [deg for deg in plan.tilts_deg if not low_deg <= deg <= high_deg]:
            raise Refused(f"tilts_deg: {outside[0]:g} is outside {low_deg:g}..{high_deg:g}; nothing was started.")
        if said := stage.no_speed(TILT_SPEED_DEG_S):
            raise Refused(f"tilts_deg: {said}; nothing was started.")
        if said := detector.cannot_expose((plan.exposure_s,)):
            raise Refused(f"exposure_s: the camera {said}; nothing was started.")
        for place_nm in plan.places_nm:
            if stagexyz is None:
                raise Refused("places_nm: this instrument's stage has no x and y; nothing was started. Leave it empty.")
            way_points(stagexyz, *place_nm)
        for shift in plan.beam_shifts:
            if deflectors is None:
                raise Refused("beam_shifts: this instrument has no deflectors; nothing was started. Leave it empty.")
            if said := deflectors.outside(Deflector.BEAM_SHIFT, *shift):
                raise Refused(f"beam_shifts: {said}; nothing was started.")
        call = ("timing", facts.timing.api_call_s, facts.timing.api_call_worst_s)
        frames_s = plan.frames * detector.cycle_s(plan.exposure_s)
        exposing = BudgetStep.fixed(f"{plan.frames} frames", "camera", frames_s)
        steps = (BudgetStep("unblank", *call), exposing, BudgetStep("blank", *call))
        budget = Budget("in the beam at one stop", steps, plan.beam_limit_s)
        budget.check("Take fewer or shorter frames, or raise beam_limit_s.")
        return PreparedStills(plan, budget)

    def times(self, plan: StillsPlan) -> Times:
        return Times((plan.exposure_s, plan.exposure_s), speed_deg_s=TILT_SPEED_DEG_S)

    def progress(self, record: Record) -> Progress | None:
        return Progress(record["index"] + 1, f"{record['tilt_deg']:.1f} deg") if record["kind"] == "frame" else None

    def finish(self, remains: Remains) -> RunEnd:
        """From records and frames alone: a run that was cut off has left nothing else."""
        plan, stops = StillsPlan(**remains.plan), [frame.columns["stop"] for frame in remains.of_kind("still")]
        kept = {k + 1: stops.count(k + 1) for k in range(len(plan.stops()))}
        missing = [{"stop": k, "reason": f"{n} of {plan.frames} frames"} for k, n in kept.items() if n < plan.frames]
        return RunEnd({"frames": len(stops), "stops": len(kept) - len(missing)}, missing=missing)

    def figures(self, records: Sequence[Record], result: Mapping[str, Any]) -> Mapping[str, Any]:
        took_s = [(r["end_ns"] - r["start_ns"]) / 1e9 for r in records if r["kind"] == "step" and "end_ns" in r]
        return {**super().figures(records, result), "beam_s": max(took_s, default=None)}

    def told(self, result: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        return [("frames", f"{result['frames']}, {result['stops']} stops whole")]

    def trial(self) -> Trial:
        return StillsTrial()


class StillsTrial(Trial):
    """What `credline soak stills` draws, and the rule that it adds to those of the engine."""

    def draw(self, rng: random.Random) -> tuple[dict[str, Any], list[str]]:
        plan = {"tilts_deg": [rng.uniform(-30, 30) for _ in range(rng.randint(1, 3))], "frames": rng.randint(1, 4)}
        return plan, super().draw(rng)[1]

    def judge(self, soaked: SoakedRun) -> Rules:
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""


STILLS = Stills()
