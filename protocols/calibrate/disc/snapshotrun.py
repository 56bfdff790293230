"""The experiment of `credline calibrate snapshot`: the crystal moved about in the disc, at the plan's defocus and its
opposite.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from drivers.contract import Microscope
from drivers.facts import Facts
from engine.errors import Refused
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import ExperimentType, Progress, Times
from engine.run.machine import StrictMachine
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.disc.experiment import PreparedDisc
from protocols.calibrate.disc.visits import DARK, SNAPSHOT, TRIED, Visit, around, disc_machine
from protocols.calibrate.picturing import SMALL, beam_is_off, looked_at_diffraction

OPPOSITE_ROUNDS = 2


class SnapshotPlan(BaseModel):
    """What the operator asks for: a crystal of about a third of the disc lies in its middle, at no tilt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defocus: int = Field(
        default=1500, gt=-(2**31), lt=2**31, description="of the runs that follow, in units of the lens"
    )
    radius_nm: float = Field(
        default=450.0,
        gt=0,
        le=1e6,
        description="how far the crystal is moved at most; less where it would leave the disc",
    )
    rounds: int = Field(default=12, ge=2, le=100, description="how often each of eight places is arrived at")
    snapshots: int = Field(default=3, ge=1, le=100, description="pictures at each place")
    exposure_s: float = Field(default=0.1, gt=0, description="of a picture")
    opposite: bool = Field(
        default=True, description="look at the other side of focus, too, whether all is inverted there"
    )


def visits_of(plan: SnapshotPlan, radius_nm: float) -> list[Visit]:
    """The plan's places at its defocus, then some at the opposite one."""
    there = around(plan.defocus, radius_nm, plan.rounds)
    return [*there, *(around(-plan.defocus, radius_nm, OPPOSITE_ROUNDS) if plan.opposite else ())]


class SnapshotCalibration(ExperimentType[SnapshotPlan]):
    """The entry in the register of protocols."""

    name = "snapshot"
    summary = "how nm of the stage become px of the defocused disc"
    plan_type = SnapshotPlan
    frame_kinds = (DARK, TRIED, SNAPSHOT)
    needs = ("beam", "detector", "optics", "stagexyz")
    formats = ("snapshot",)

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return disc_machine(entered)

    def prepare(self, plan: SnapshotPlan, facts: Facts) -> PreparedDisc:
        """See `ExperimentType.prepare`."""
        if plan.defocus == 0:
            raise Refused("snapshot: defocus = 0 is no disc; nothing was started. Give the defocus of your runs.")
        words = {
            "before it begins": "a crystal of about a third of the disc in its middle, at no tilt; diffraction",
            "stage": f"at most {plan.radius_nm:g} nm around where it stands, each place from below",
            "lens": f"defocus {plan.defocus}" + (f" and {-plan.defocus}" if plan.opposite else ""),
        }
        return PreparedDisc(plan, partial(visits_of, plan), facts, words, "snapshot")

    def device_options(self, plan: SnapshotPlan) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: an instrument that hides what it is."""
        return {"hidden": True}

    async def look(self, plan: SnapshotPlan, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`."""
        return await looked_at_diffraction(microscope)

    def times(self, plan: SnapshotPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s), plan.defocus)

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the frames of the run."""
        from protocols.calibrate.disc.snapshot import analyse

        return analyse(folder).lines

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return SnapshotTrial()


class SnapshotTrial(Trial):
    """What `credline soak snapshot` draws, and the rules that it adds."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan = {"rounds": 2, "snapshots": rng.choice([1, 2]), "opposite": rng.choice([True, False])}
        return plan, super().draw(rng)[1]

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures."""
        return SMALL

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield from beam_is_off(soaked)


SNAPSHOT_CALIBRATION = SnapshotCalibration()
