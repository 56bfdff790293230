"""The run of a flatfield: dark frames, a try that says how many are needed, then lit ones with the beam shifted about.

Beam and camera are the engine's to make safe: the beam is blanked first; then beam shift and stage go back to where
they were found. What becomes of the frames is in `analysis`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from drivers.approach import arrive_xy
from drivers.contract import Microscope
from drivers.facts import DetectorFacts, Facts
from drivers.parts import Deflector
from engine.clock import ns
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record
from engine.run.compute import Computation, Json
from engine.run.contract import Experiment, ExperimentType, Prepared, Progress, SafeAction, Times, Work
from engine.run.machine import StrictMachine
from engine.run.panels import Kept
from engine.run.run import Run
from engine.run.series import Series
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.asfound import AsFound
from protocols.calibrate.flatfield.level import Level, frames_for, judged
from protocols.calibrate.flatfield.plan import (
    DARK,
    LIT,
    POSITIONS,
    TRIED,
    FlatfieldPlan,
    State,
    flatfield_machine,
)
from protocols.calibrate.flatfield.specimen import seen

TRIES = 2
LEVEL = Computation(
    "level", "protocols.calibrate.flatfield.level:level", latency_s=0.2, limit_s=20.0, resolution=1e-4, quick=True
)
SPECIMEN = Computation(
    "specimen", "protocols.calibrate.flatfield.specimen:specimen", latency_s=0.2, limit_s=20.0, resolution=1e-4,
    quick=True,
)  # fmt: skip
STAGE_REST_S = 0.3


class FlatfieldExperiment(Experiment):
    """The work of each state."""

    def __init__(self, plan: FlatfieldPlan, facts: Facts, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, flatfield_machine(run.entered))
        self.plan, self.facts, self.detector_facts = plan, facts, detector_of(facts)
        self.beam = run.gate.wrap("beam", microscope.beam)
        self.detector = run.gate.wrap("detector", microscope.detector)
        self.found = AsFound(run, microscope)
        self.deflectors = self.found.deflectors if shifts(plan, facts) else None
        self.stage = self.found.stagexyz if plan.stage_um > 0 else None
        self.step = step_of(plan, facts)
        self.found_at: tuple[float, float] | None = None
        self.frames, self.taken = 0, 0
        for computation in (LEVEL, SPECIMEN):
            run.compute.declare(computation)

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {State.DARK: self.dark, State.TRY: self.try_it, State.SHIFT: self.shift, State.EXPOSE: self.expose}

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: as usual, then beam shift and stage go back."""
        return [*super().safe_actions(), *self.found.actions()]

    async def dark(self) -> str:
        """Frames without beam."""
        await self.beam.blank()
        if self.deflectors is not None:
            self.found_at = await self.found.remember_deflector(Deflector.BEAM_SHIFT)
            if why := self._too_far(self.found_at):
                return self.run.finish(Status.FAILED, why)
        await self.detector.arm((self.plan.exposure_s,))
        self.series = Series(self.run, self.detector)
        for _ in range(self.plan.dark_frames):
            await self._frame(DARK.name, {})
        self.dark_index = self.run.data.last[0]
        return "dark_taken"

    async def try_it(self) -> str:
        """Two frames with the beam: is it of use, and how many are needed? Two more with the stage elsewhere."""
        await self.beam.unblank()
        indices = await self._tried()
        saturation = self.detector_facts.saturation_of(self.plan.exposure_s)
        told: dict[str, Json] = {
            "lit": indices,
            "dark": self.dark_index,
            "saturation": saturation,
            "wide_cross": self.detector_facts.wide_cross,
        }
        outcome = await self.run.compute.compute(LEVEL, told, (*indices, self.dark_index))
        result = outcome.fields
        level = Level(**result)
        if why := judged(level, saturation):
            return self.run.finish(Status.FAILED, f"{why}; nothing is stored.")
        if why := await self._specimen(indices, level.gain):
            return self.run.finish(Status.FAILED, f"{why}; nothing is stored.")
        self.frames = frames_for(self.plan.accuracy_percent, level)
        if self.frames > self.plan.most_frames:
            return self.run.finish(
                Status.FAILED,
                f"{self.plan.accuracy_percent:g} % takes {self.frames} frames of {level.counts:.0f} counts, and the "
                f"plan allows {self.plan.most_frames}; nothing is stored. More beam, a longer exposure_s, a larger "
                "accuracy_percent or more most_frames.",
            )
        return "bright_enough"

    async def _tried(self) -> list[int]:
        """Indices of two lit frames."""
        indices = []
        for _ in range(TRIES):
            await self._frame(TRIED.name, {})
            indices.append(self.run.data.last[0])
        return indices

    async def _specimen(self, here: Sequence[int], gain: float) -> str:
        """Whether something in the light moves with the stage, in words; the stage is back then."""
        if self.stage is None:
            return ""
        x_nm, y_nm = await self.found.remember_xy()
        by_nm = 1000 * self.plan.stage_um
        ways = ((1, 1), (-1, 1), (1, -1), (-1, -1))
        places = [(x_nm + x * by_nm, y_nm + y * by_nm) for x, y in ways]
        away = next((place for place in places if not self.stage.facts.outside(*place)), None)
        if away is None:
            return f"the stage has no room for the {self.plan.stage_um:g} um of stage_um. Move it away from its limits"
        await self._go(*away)
        there = await self._tried()
        await self._go(x_nm, y_nm)
        told: dict[str, Json] = {"here": list(here), "there": list(there), "dark": self.dark_index, "gain": gain}
        outcome = await self.run.compute.compute(SPECIMEN, told, (*here, *there, self.dark_index))
        return seen(outcome.fields, self.plan.accuracy_percent)

    async def _go(self, x_nm: float, y_nm: float) -> None:
        if self.stage is not None:
            await arrive_xy(self.stage, self.run.timeline, x_nm, y_nm)
            await self.run.timeline.wait("stage at rest", self.run.timeline.now_ns + ns(STAGE_REST_S))

    async def shift(self) -> str:
        """The beam to the next place; the run may be paused here."""
        await self.run.checkpoint()
        if self.deflectors is not None and self.found_at is not None:
            x, y = POSITIONS[self.taken % len(POSITIONS)]
            at = self.found_at[0] + x * self.step, self.found_at[1] + y * self.step
            await self.deflectors.set(Deflector.BEAM_SHIFT, *at)
            settled_ns = self.run.timeline.now_ns + ns(self.deflectors.facts.settling_s)
            await self.run.timeline.wait("beam settled", settled_ns)
        return "shifted"

    async def expose(self) -> str:
        """A frame there."""
        x, y = POSITIONS[self.taken % len(POSITIONS)] if self.deflectors is not None else (0, 0)
        await self._frame(LIT.name, {"shift_x": float(x), "shift_y": float(y)})
        self.taken += 1
        if self.taken == self.frames:
            return self.run.finish(Status.DONE, "all frames taken")
        return "exposed"

    async def _frame(self, kind: str, columns: dict[str, int | float | str | None]) -> None:
        await self.series.start(self.plan.exposure_s)
        frame = await self.series.frame(self.plan.exposure_s, columns)
        await self.series.keep(kind, frame, columns)

    def _too_far(self, found_at: tuple[float, float]) -> str:
        for x, y in POSITIONS:
            at = found_at[0] + x * self.step, found_at[1] + y * self.step
            if self.facts.deflectors is not None and (said := self.facts.deflectors.outside(Deflector.BEAM_SHIFT, *at)):
                return f"the beam shift cannot go {self.plan.shift_percent:g} % of its range from where it is: {said}."
        return ""

    def write_extra(self, folder: Path) -> None:
        """See `Experiment.write_extra`."""
        if self.microscope.truth is not None:
            self.microscope.truth.write_hidden(folder / "truth.h5")


def detector_of(facts: Facts) -> DetectorFacts:
    """The camera's facts. Raises Refused where there is none."""
    if facts.detector is None:
        raise Refused("flatfield: this instrument has no camera; nothing was started. Name one in the devices file.")
    return facts.detector


def shifts(plan: FlatfieldPlan, facts: Facts) -> bool:
    """Whether the beam is shifted: it can be, and it is wanted."""
    has_shift = facts.deflectors is not None and Deflector.BEAM_SHIFT in facts.deflectors.limits
    return has_shift and plan.shift_percent > 0


def step_of(plan: FlatfieldPlan, facts: Facts) -> float:
    """A step of the beam shift in the instrument's own units; 0 where it is not shifted."""
    if facts.deflectors is None or not shifts(plan, facts):
        return 0.0
    low, high = facts.deflectors.limits[Deflector.BEAM_SHIFT]
    step = plan.shift_percent / 100 * (high - low)
    return float(round(step)) if facts.deflectors.whole_numbers else step


class PreparedFlatfield(Prepared):
    """A plan that fits the instrument."""

    def __init__(self, plan: FlatfieldPlan, facts: Facts) -> None:
        self.plan, self.facts = plan, facts

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        plan, camera = self.plan, detector_of(self.facts)
        cycle_s = camera.cycle_s(plan.exposure_s) + 2 * self.facts.timing.api_call_s
        return {
            "before it begins": "spread the beam over the camera; no specimen, no beam stop",
            "dark frames": f"{plan.dark_frames}",
            "lit frames": f"50 to {plan.most_frames}, as {plan.accuracy_percent:g} % asks for; the first ones tell",
            "duration": f"{(plan.dark_frames + 50) * cycle_s:.0f} to {plan.most_frames * cycle_s:.0f} s",
            "beam shift": f"by {self.step:g}" if (self.step) else "stays as it is",
            "stage": f"{plan.stage_um:g} um away for {TRIES} frames, and back" if self._looks else "stays where it is",
        }

    @property
    def step(self) -> float:
        """Of the beam shift."""
        return step_of(self.plan, self.facts)

    @property
    def _looks(self) -> bool:
        """Whether the stage is moved, to look for a specimen in the light."""
        return self.facts.stagexyz is not None and self.plan.stage_um > 0

    @property
    def remarks(self) -> Sequence[str]:
        """See `Prepared.remarks`."""
        remarks = []
        if not shifts(self.plan, self.facts):
            remarks.append(
                "the beam is not shifted, so light that is uneven over the camera becomes part of the flatfield: for "
                "intensities spread the beam as evenly as you can."
            )
        if not self._looks:
            remarks.append(
                "the stage is not moved, so a specimen in the light would become part of the flatfield: look that "
                "there is none."
            )
        return remarks

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        rows, columns = detector_of(self.facts).shape or (0, 0)
        return super().size_bytes + 2 * rows * columns * (200 + self.plan.dark_frames)

    def begin(self, run: Run, microscope: Microscope) -> FlatfieldExperiment:
        """See `Prepared.begin`."""
        return FlatfieldExperiment(self.plan, self.facts, microscope, run)


class Flatfield(ExperimentType[FlatfieldPlan]):
    """The entry in the register of protocols."""

    name = "flatfield"
    summary = "response, dark counts, bad pixels and gain of the camera"
    plan_type = FlatfieldPlan
    frame_kinds = (DARK, TRIED, LIT)
    pauses = True
    needs = ("beam", "detector")
    formats = ("flatfield",)

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return flatfield_machine(entered)

    def prepare(self, plan: FlatfieldPlan, facts: Facts) -> PreparedFlatfield:
        """See `ExperimentType.prepare`."""
        if said := detector_of(facts).cannot_expose((plan.exposure_s,)):
            raise Refused(f"exposure_s: the camera {said}; nothing was started.")
        return PreparedFlatfield(plan, facts)

    def device_options(self, plan: FlatfieldPlan) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: a camera that hides what it is, and a beam spread over it."""
        return {"hidden": True, "spread": True}

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """See `ExperimentType.kept`."""
        from protocols.calibrate.keeping import kept_of

        return kept_of(folder, document)

    def times(self, plan: FlatfieldPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s))

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None

    def products(self, plan: FlatfieldPlan) -> Sequence[str]:
        """See `ExperimentType.products`: none while the instrument is held; the command makes them."""
        return ()

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the frames of the run."""
        from protocols.calibrate.flatfield.analysis import analyse

        return analyse(folder, progress).lines

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return FlatfieldTrial()


class FlatfieldTrial(Trial):
    """What `credline soak flatfield` draws, and the rule that it adds to those of the engine."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan = {"accuracy_percent": rng.choice([5.0, 2.0]), "dark_frames": 5, "shift_percent": rng.choice([0.0, 5.0])}
        return {**plan, "exposure_s": rng.choice([0.1, 0.3])}, super().draw(rng)[1]

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures."""
        geometry = {"beam_fast_px": 48.0, "beam_slow_px": 48.0}
        return {
            "driver": "simulated",
            "pictures": {"shape": [96, 96], "wide_cross": False, "spread_s": 800.0},
            "geometry": geometry,
        }

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""


def frames_of(result: JsonObject) -> int:
    """How many lit frames a run has kept."""
    kinds = result.get("frames_of_kind")
    return int(kinds.get(LIT.name, 0)) if isinstance(kinds, Mapping) else 0


FLATFIELD = Flatfield()
