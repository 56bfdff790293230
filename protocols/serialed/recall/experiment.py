"""Recalling a crystal as the engine sees it: the type in the register, and a plan prepared for an instrument."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from drivers.approach import way_points
from drivers.contract import Microscope
from drivers.facts import Facts
from drivers.parts import OpticalMode
from engine.errors import Refused
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from engine.run.budget import Budget
from engine.run.contract import ExperimentType, Prepared, Times
from engine.run.machine import StrictMachine
from engine.run.run import Run
from engine.run.trial import Rules, SoakedRun, Trial
from protocols.serialed.budgets import SerialedBudgets
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.recall.plan import KINDS, RecallPlan, recall_machine
from protocols.serialed.scale import FieldScale, field_scale
from protocols.serialed.stageways import BACKLASHES

if TYPE_CHECKING:
    from protocols.serialed.recall.sequence import RecallSequence

PIXEL_BYTES = 4
CORRECTED = {
    "beam": "by the beam shift",
    "stage": "by the stage",
    "stage and beam": "by the stage until it is near, then by the beam shift",
    "nothing": "not at all",
}


@dataclass(frozen=True)
class PreparedRecall(Prepared):
    """A plan that fits the instrument."""

    plan: RecallPlan
    facts: Facts
    scale: FieldScale
    modules = ("protocols.serialed.recall.sequence",)

    @property
    def _times(self) -> SerialedBudgets:
        """As those of the serial run, with this plan's exposures."""
        plan = self.plan
        return SerialedBudgets(
            SerialedPlan(
                magnification=plan.magnification,
                image_exposure_s=plan.image_exposure_s,
                pattern_exposure_s=plan.probe_exposure_s,
                condenser_settling_s=plan.condenser_settling_s,
                stage_settling_s=plan.stage_settling_s,
            ),
            self.facts,
        )

    @property
    def budgets(self) -> Sequence[Budget]:
        """See `Prepared.budgets`."""
        return (self._times.image,)

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        plan = self.plan
        known = len(plan.neighbours)
        return {
            "crystal": f"{plan.crystal or 'one'} at ({plan.x_nm / 1000:.2f}, {plan.y_nm / 1000:.2f}) um of the stage",
            "known again by": f"itself and {known} neighbours" if known else "its place and its size only",
            "corrected": CORRECTED[plan.correct],
            "exposures": f"{plan.image_exposure_s:g} s for the image"
            + (f", {plan.probe_exposure_s:g} s of the probe beside the crystals" if "beam" in plan.correct else ""),
        }

    @property
    def remarks(self) -> Sequence[str]:
        """See `Prepared.remarks`."""
        if self.plan.neighbours:
            return ()
        return ("no neighbours are given: where crystals of its size are near, it is not sure which of them it is.",)

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        rows, columns = self.scale.shape
        return super().size_bytes + (self.plan.stage_tries + 2) * rows * columns * PIXEL_BYTES

    def begin(self, run: Run, microscope: Microscope) -> "RecallSequence":
        """See `Prepared.begin`."""
        from protocols.serialed.recall.sequence import RecallSequence

        return RecallSequence(self.plan, self.scale, self._times, microscope, run)


class Recall(ExperimentType[RecallPlan]):
    """The entry in the register of protocols."""

    name = "serialed-recall"
    summary = "a crystal of an earlier serial run brought back under the beam"
    plan_type = RecallPlan
    unit = "images"
    frame_kinds = KINDS
    needs = ("beam", "detector", "stagexyz", "deflectors", "mode")

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return recall_machine(entered)

    def label(self, plan: RecallPlan) -> str:
        """See `ExperimentType.label`."""
        return plan.sample

    def prepare(self, plan: RecallPlan, facts: Facts) -> PreparedRecall:
        """See `ExperimentType.prepare`."""
        camera, stage, mode = facts.detector, facts.stagexyz, facts.mode
        if camera is None or stage is None or facts.deflectors is None or mode is None:
            raise Refused(
                "serialed-recall: needs a camera, x and y of the stage, the beam shift and the mode, of which this "
                "instrument lacks one; nothing was started. Name a driver that has it in the devices file."
            )
        if not camera.has_pictures:
            raise Refused(
                "serialed-recall: this camera makes no pictures (a run for timing), so no crystal is found again; "
                "nothing was started. Take the driver simulated."
            )
        if why := camera.cannot_expose((plan.image_exposure_s, plan.probe_exposure_s)):
            raise Refused(f"image_exposure_s, probe_exposure_s: the camera {why}; nothing was started.")
        if why := mode.no_magnification(OpticalMode.IMAGING, plan.magnification):
            raise Refused(f"magnification: {why}; nothing was started.")
        if plan.pattern and OpticalMode.DIFFRACTION not in mode.modes:
            raise Refused("pattern: this microscope has no diffraction mode; nothing was started. Leave it out.")
        if (light := facts.illumination) is not None:
            for key, value in (
                ("probe_brightness", plan.probe_brightness),
                ("image_brightness", plan.image_brightness),
            ):
                if why := light.outside(brightness=value):
                    raise Refused(f"{key}: {why}; nothing was started.")
        way_points(stage, plan.x_nm, plan.y_nm, BACKLASHES)
        scale = field_scale(facts, plan.magnification, (512, 512) if camera.shape is None else None)
        return PreparedRecall(plan, facts, scale)

    def finish(self, remains: Remains) -> RunEnd:
        """See `ExperimentType.finish`."""
        from protocols.serialed.recall.finish import finish_recall

        return finish_recall(remains)

    def told(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.told`."""
        from protocols.serialed.recall.finish import told_rows

        return told_rows(result)

    def listed(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.listed`."""
        return [("found", "yes" if result.get("found") else "no")]

    def held(self, result: JsonObject) -> str:
        """See `ExperimentType.held`."""
        return f"{result.get('images', 0)} images and {result.get('patterns', 0)} patterns."

    def times(self, plan: RecallPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.probe_exposure_s, plan.image_exposure_s))

    def trial(self) -> "RecallTrial":
        """See `ExperimentType.trial`."""
        return RecallTrial()


class RecallTrial(Trial):
    """What a soak draws: a place on the simulated grid, and troubles of the calls that this run makes."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan: JsonDict = {
            "x_nm": rng.uniform(-20000, 20000),
            "y_nm": rng.uniform(-20000, 20000),
            "correct": rng.choice(["beam", "stage", "stage and beam", "nothing"]),
            "pattern": rng.random() < 0.5,
            "neighbours": [[rng.uniform(-2000, 2000), rng.uniform(-2000, 2000), 500.0] for _ in range(4)],
        }
        troubles = super().draw(rng)[1]
        if rng.random() < 0.5:
            calls = ("stagexyz.move_xy", "stagexyz.is_moving", "deflectors.set", "mode.set_mode")
            troubles.append(f"{rng.choice(calls)} {rng.randint(1, 6)} {rng.choice(['error', 'hang', 'slow 1.5'])}")
        return plan, troubles

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""


RECALL = Recall()
