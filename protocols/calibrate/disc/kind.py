"""What the experiments of the defocused disc have in common, as plans and as entries in the register of protocols."""

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from drivers.contract import Microscope
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import ExperimentType, Progress, Times
from engine.run.machine import StrictMachine
from engine.run.panels import Kept
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.disc.visits import DARK, SNAPSHOT, TRIED, disc_machine
from protocols.calibrate.picturing import SMALL, beam_is_off, looked_at_diffraction


class DiscPlan(BaseModel):
    """What the operator asks for: a crystal of about a third of the disc lies in its middle, at no tilt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defocus: int = Field(default=1500, gt=-(2**31), lt=2**31, description="of the snapshots, in units of the lens")
    radius_nm: float = Field(
        default=450.0,
        gt=0,
        le=1e6,
        description="how far the crystal is moved at most; less where it would leave the disc",
    )
    exposure_s: float = Field(default=0.1, gt=0, description="of a picture")


DiscPlanT = TypeVar("DiscPlanT", bound=DiscPlan)


class DiscExperimentType(ExperimentType[DiscPlanT]):
    """All but what differs: name, plan, what is visited, and what is made of the frames."""

    frame_kinds = (DARK, TRIED, SNAPSHOT)
    pauses = True
    needs = ("beam", "detector", "optics", "stagexyz")

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return disc_machine(entered)

    def device_options(self, plan: DiscPlanT) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: an instrument that hides what it is."""
        return {"hidden": True}

    async def look(self, plan: DiscPlanT, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`."""
        return await looked_at_diffraction(microscope)

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """See `ExperimentType.kept`."""
        from protocols.calibrate.keeping import kept_of

        return kept_of(folder, document)

    def times(self, plan: DiscPlanT) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s), plan.defocus)

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None


class DiscTrial(Trial):
    """On what a soak of them is made, and the rule that they add; which plans, each says for itself."""

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures."""
        return SMALL

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield from beam_is_off(soaked)
