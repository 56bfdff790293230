"""The run of the calibration of the rotation: there and back at several speeds, then watched there and back by the
camera.

The rotations are those of `devices check --move`. The stage ends where it stood.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path

from drivers.approach import arrive_deg
from drivers.check.rotation import ARRIVED_DEG, measure_rotations, speeds_to_try
from drivers.contract import Microscope, Reading, Stage
from drivers.facts import Facts
from drivers.parts import OpticalMode
from engine.clock import ns
from engine.errors import DeviceError, Refused
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import ExperimentType, Prepared, Progress, Times, Work
from engine.run.machine import StrictMachine
from engine.run.panels import Kept
from engine.run.run import Run
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.picturing import SMALL, Picturing, beam_is_off, camera_of
from protocols.calibrate.rotation.plan import MEASURED, WATCHED, RotationPlan, State, rotation_machine
from protocols.calibrate.setting import MODE, looked_at

LEAST_ROOM_DEG = 4.0
"""Less room to the limits than this watches nothing."""
RUN_IN_S = 1.0
"""After a rotation was told to begin, it turns steadily after this at the latest."""
LATE_S = 10.0


class RotationExperiment(Picturing):
    """The work of each state."""

    def __init__(self, plan: RotationPlan, facts: Facts, microscope: Microscope, run: Run) -> None:
        super().__init__(facts, microscope, run, rotation_machine)
        self.plan = plan
        self.here_deg = 0.0

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {State.TURN: self.turn, State.GO: self.go, State.WATCH: self.watch}

    async def turn(self) -> str:
        """Rotations there and back, beam off; each stands in the trace."""
        stage = self._stage
        await self.beam.blank()
        self.here_deg = (await stage.angle()).value
        speeds = speeds_to_try(stage, self.plan.speed_deg_s)
        for rotation in await measure_rotations(self.run.timeline, stage, speeds, self.plan.spans_deg):
            self.run.trace.record("note", MEASURED, **asdict(rotation))
        if not self.plan.watch:
            return self.run.finish(Status.DONE, "all rotations made")
        return "turned"

    async def go(self) -> str:
        """Half of the way that is watched to one side, so that it lies around where the stage stood."""
        await self.run.checkpoint()
        low_deg, high_deg = self._stage.facts.limits_deg
        room_deg = 2 * (min(self.here_deg - low_deg, high_deg - self.here_deg) - ARRIVED_DEG)
        self.half_deg = min(self.plan.watch_deg, room_deg) / 2
        if 2 * self.half_deg < LEAST_ROOM_DEG:
            return self.run.finish(
                Status.FAILED,
                f"the stage stands at {self.here_deg:.1f} deg, so near to its limits that there is no room to watch it "
                "turn. Nothing is stored. Bring it to the middle, or set watch = false.",
            )
        await arrive_deg(self._stage, self.run.timeline, self.here_deg - self.half_deg, self.plan.watch_deg_s)
        await self.begin_series((self.plan.exposure_s,))
        await self.beam.unblank()
        return "there"

    async def watch(self) -> str:
        """There and back, with pictures and readings all the time."""
        for direction in (1, -1):
            await self._way(direction)
        await self.beam.blank()
        await arrive_deg(self._stage, self.run.timeline, self.here_deg, self.plan.watch_deg_s)
        return self.run.finish(Status.DONE, "watched there and back")

    async def _way(self, direction: int) -> None:
        target_deg = self.here_deg + direction * self.half_deg
        begin_ns = self.run.timeline.now_ns
        give_up_ns = begin_ns + ns(3 * 2 * self.half_deg / self.plan.watch_deg_s + LATE_S)
        await self._stage.rotate(target_deg, self.plan.watch_deg_s)
        await self.wait("run-in", RUN_IN_S)
        reached = False
        while not reached:
            await self.series.start(self.plan.exposure_s)
            reading: Reading = await self._stage.angle()
            frame = await self.series.frame(self.plan.exposure_s, {})
            columns = {
                "direction": float(direction),
                "read_deg": reading.value,
                "asked_ns": float(reading.t_before_ns),
                "told_ns": float(reading.t_after_ns),
            }
            await self.series.keep(WATCHED.name, frame, columns)
            reached = abs(reading.value - target_deg) < ARRIVED_DEG
            if not reached and self.run.timeline.now_ns > give_up_ns:
                raise DeviceError(
                    f"stage: was told to go to {target_deg:.2f} deg and stands at {reading.value:.2f} deg; it is "
                    "stopped. Look what holds it."
                )
        await self.wait("stage at rest", RUN_IN_S)

    @property
    def _stage(self) -> Stage:
        if self.stage is None:
            raise Refused("rotation: this instrument has no stage that turns; nothing was started.")
        return self.stage


class PreparedRotation(Prepared):
    """A plan that fits the instrument."""

    def __init__(self, plan: RotationPlan, facts: Facts) -> None:
        self.plan, self.facts = plan, facts
        if facts.stage is None or (said := facts.stage.no_speed(plan.speed_deg_s)):
            said = "this instrument has no stage that turns" if facts.stage is None else said
            raise Refused(f"rotation: {said}; nothing was started. Choose another speed_deg_s.")
        if plan.watch:
            self.camera = camera_of(facts, (plan.exposure_s,), "rotation")
            if said := facts.stage.no_speed(plan.watch_deg_s):
                raise Refused(f"rotation: {said}; nothing was started. Choose another watch_deg_s, or watch = false.")

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        plan = self.plan
        seconds = sum(2 * span / (factor * plan.speed_deg_s) for span in plan.spans_deg for factor in (0.5, 1, 2))
        spans = ", ".join(f"{span:g}" for span in plan.spans_deg)
        watched = f"{plan.watch_deg:g} deg there and back at {plan.watch_deg_s:g} deg/s, beam on a crystal"
        return {
            "rotations": f"there and back by {spans} deg at half, once and twice {plan.speed_deg_s:g} deg/s, beam off",
            "watched": watched if plan.watch else "no: how old a reading is will not be known",
            "duration": f"{seconds + (3 * plan.watch_deg / plan.watch_deg_s if plan.watch else 0):.0f} s",
        }

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        if not self.plan.watch:
            return super().size_bytes
        rows, columns = self.camera.shape or (0, 0)
        frames = 2 * self.plan.watch_deg / self.plan.watch_deg_s / self.camera.cycle_s(self.plan.exposure_s)
        return super().size_bytes + int(2 * rows * columns * frames)

    def begin(self, run: Run, microscope: Microscope) -> RotationExperiment:
        """See `Prepared.begin`."""
        return RotationExperiment(self.plan, self.facts, microscope, run)


class RotationCalibration(ExperimentType[RotationPlan]):
    """The entry in the register of protocols."""

    name = "rotation"
    summary = "speeds, run-in, backlash and read delay of the stage's rotation"
    plan_type = RotationPlan
    frame_kinds = (WATCHED,)
    pauses = True
    needs = ("beam", "stage", "detector")
    formats = ("rotation",)

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return rotation_machine(entered)

    def prepare(self, plan: RotationPlan, facts: Facts) -> PreparedRotation:
        """See `ExperimentType.prepare`."""
        return PreparedRotation(plan, facts)

    def device_options(self, plan: RotationPlan) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: an instrument that hides what it is."""
        return {"hidden": True}

    async def look(self, plan: RotationPlan, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`."""
        look = await looked_at(microscope)
        if plan.watch and look.get(MODE, OpticalMode.DIFFRACTION.value) != OpticalMode.DIFFRACTION.value:
            raise Refused(
                f"the microscope is in {look[MODE]} mode, and the rotation is watched in diffraction; nothing was "
                "started. Set diffraction, or watch = false."
            )
        return look

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """See `ExperimentType.kept`."""
        from protocols.calibrate.keeping import kept_of

        return kept_of(folder, document)

    def times(self, plan: RotationPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s), speed_deg_s=plan.speed_deg_s)

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the trace and the frames of the run."""
        from protocols.calibrate.rotation.analysis import analyse

        return analyse(folder).lines

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return RotationTrial()


class RotationTrial(Trial):
    """What `credline soak rotation` draws, and the rules that it adds."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan = {"spans_deg": [1.0, 2.0], "watch": rng.choice([True, False]), "watch_deg": 5.0}
        return {**plan, "speed_deg_s": rng.choice([0.5, 1.0])}, super().draw(rng)[1]

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures."""
        return SMALL

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield from beam_is_off(soaked)


ROTATION_CALIBRATION = RotationCalibration()
