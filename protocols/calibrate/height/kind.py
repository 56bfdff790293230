"""Setting the eucentric height as the engine sees it: the type in the register, and a plan that fits an instrument."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from drivers.contract import Microscope
from drivers.facts import Facts
from drivers.parts import OpticalMode
from engine.errors import Refused
from engine.record.beamtime import beam_on_s
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.trace import Record
from engine.run.contract import ExperimentType, Prepared, Progress, Times
from engine.run.machine import StrictMachine
from engine.run.run import Run
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.height.plan import HEIGHT_NOTE, LOOKED, MOVED_NOTE, HeightPlan, height_machine
from protocols.calibrate.picturing import camera_of

if TYPE_CHECKING:
    from protocols.calibrate.height.experiment import HeightExperiment


@dataclass(frozen=True)
class PreparedHeight(Prepared):
    """A plan that fits the instrument. stage_px: see `ImageScale`."""

    plan: HeightPlan
    facts: Facts
    stage_px: tuple[float, float, float, float]
    modules = ("protocols.calibrate.height.experiment",)

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        plan = self.plan
        return {
            "before it begins": "film and particles in the middle of the image, away from bars",
            "looks": f"5 pictures of {plan.exposure_s:g} s each, at 0 and up to {plan.first_tilt_deg:g} deg, "
            f"then up to {plan.tilt_deg:g} deg",
            "z": f"moved {plan.moves} times at most, until the height is within {plan.within_nm:g} nm"
            if plan.moves
            else "not moved: the height is only measured",
        }

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        rows, columns = (0, 0) if self.facts.detector is None else self.facts.detector.shape or (0, 0)
        return super().size_bytes + 4 * rows * columns * 5 * (2 + self.plan.moves)

    def begin(self, run: Run, microscope: Microscope) -> "HeightExperiment":
        """See `Prepared.begin`."""
        from protocols.calibrate.height.experiment import HeightExperiment

        return HeightExperiment(self.plan, self.stage_px, self.facts, microscope, run)


class EucentricHeight(ExperimentType[HeightPlan]):
    """The entry in the register of protocols."""

    name = "eucentric-height"
    summary = "z of the stage moved until what is in the middle of the image stays there when the stage tilts"
    plan_type = HeightPlan
    unit = "images"
    frame_kinds = (LOOKED,)
    needs = ("beam", "detector", "stage", "stagexyz")

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return height_machine(entered)

    def label(self, plan: HeightPlan) -> str:
        """See `ExperimentType.label`."""
        return plan.sample

    def prepare(self, plan: HeightPlan, facts: Facts) -> PreparedHeight:
        """See `ExperimentType.prepare`."""
        camera = camera_of(facts, (plan.exposure_s,), self.name)
        if not camera.has_pictures:
            raise Refused(
                "eucentric-height: this camera makes no pictures (a run for timing), so nothing is seen to move; "
                "nothing was started. Take the driver simulated."
            )
        if facts.stage is None or facts.stagexyz is None:
            raise Refused(
                "eucentric-height: needs a stage that tilts and moves in z, which this instrument has not; nothing was "
                "started."
            )
        if plan.first_tilt_deg > plan.tilt_deg:
            raise Refused(
                f"first_tilt_deg = {plan.first_tilt_deg:g} is more than tilt_deg = {plan.tilt_deg:g}, the farthest; "
                "nothing was started. Make it smaller."
            )
        low_deg, high_deg = facts.stage.limits_deg
        if not low_deg <= -plan.tilt_deg < plan.tilt_deg <= high_deg:
            raise Refused(
                f"tilt_deg = {plan.tilt_deg:g} to both sides is past the limits of the stage, {low_deg:g} to "
                f"{high_deg:g} deg; nothing was started. Make it smaller."
            )
        if said := facts.stage.no_speed(plan.speed_deg_s):
            raise Refused(f"speed_deg_s: {said}; nothing was started. Choose another.")
        if facts.mode is not None and (why := facts.mode.no_magnification(OpticalMode.IMAGING, plan.magnification)):
            raise Refused(f"magnification: {why}; nothing was started.")
        scale = None if facts.images is None else facts.images.at(plan.magnification)
        if scale is None:
            raise Refused(
                f"magnification: what the stage moves in the image was never calibrated at {plan.magnification:g}x; "
                f"nothing was started. Calibrate it: credline calibrate stage --devices FILE --set "
                f"magnification={plan.magnification:g}."
            )
        return PreparedHeight(plan, facts, scale.stage_px)

    def finish(self, remains: Remains) -> RunEnd:
        """See `ExperimentType.finish`: z_nm, the height found before the first move; moved_nm, by which z was moved;
        left_over_nm and sigma_nm, the height of the last look and its standard deviation; looks, images; beam_on_s.
        None for what is not known.
        """
        looks = [r for r in remains.records if r["kind"] == "note" and r["name"] == HEIGHT_NOTE]
        first, last = (looks[0], looks[-1]) if looks else ({}, {})
        # A coarse look before a fine one of the same height told it less well.
        unmoved = [look for look in looks if look["moved_nm"] == 0.0]
        first = unmoved[-1] if unmoved else first
        moves = [r for r in remains.records if r["kind"] == "note" and r["name"] == MOVED_NOTE]
        result: JsonDict = {
            "z_nm": first.get("z_nm"),
            "moved_nm": moves[-1]["moved_nm"] if moves else 0.0,
            "left_over_nm": last.get("z_nm"),
            "sigma_nm": last.get("sigma_nm"),
            "looks": len(looks),
            "images": len(remains.of_kind(LOOKED.name)),
            "beam_on_s": round(beam_on_s(remains.records), 3),
        }
        return RunEnd(result)

    def told(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.told`."""
        if result.get("z_nm") is None:
            return [("height", "not known"), ("images", str(result.get("images", 0)))]
        return [
            ("height over the tilt axis", f"{result['z_nm']:.0f} nm"),
            ("z moved by", f"{result['moved_nm']:.0f} nm"),
            ("left over", f"{result['left_over_nm']:.0f} +- {result['sigma_nm']:.0f} nm"),
            ("images", f"{result['images']} in {result['looks']} looks"),
        ]

    def listed(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.listed`."""
        left_nm = result.get("left_over_nm")
        return [("left over", "-" if left_nm is None else f"{left_nm:.0f} nm")]

    def held(self, result: JsonObject) -> str:
        """See `ExperimentType.held`."""
        return f"{result.get('images', 0)} images."

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, "") if record["kind"] == "frame" else None

    def times(self, plan: HeightPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s), speed_deg_s=plan.speed_deg_s)

    def trial(self) -> "HeightTrial":
        """See `ExperimentType.trial`."""
        return HeightTrial()


class HeightTrial(Trial):
    """What a soak draws: a height on a small simulated grid, and troubles of the calls that this run makes."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan: JsonDict = {"moves": rng.choice([0, 2]), "within_nm": rng.choice([100.0, 400.0])}
        troubles = super().draw(rng)[1]
        if rng.random() < 0.5:
            calls = ("stage.rotate", "stage.angle", "stagexyz.move_z", "stagexyz.is_moving", "mode.set_mode")
            troubles.append(f"{rng.choice(calls)} {rng.randint(1, 6)} {rng.choice(['error', 'hang', 'slow 1.5'])}")
        return plan, troubles

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera over a grid of crystals that lies off the tilt axis."""
        return {
            "driver": "simulated",
            "pictures": {"rendered": "snapshots"},
            "grid": {"seed": 5, "film": "continuous"},
            "motion": {"height_nm": 1500.0},
        }

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""


HEIGHT = EucentricHeight()
