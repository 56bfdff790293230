"""The experiment of `credline calibrate flux`: snapshots of a crystal moved about in the disc, for the scale, then of
each spot size and brightness.
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


class FluxPlan(BaseModel):
    """What the operator asks for: a crystal of about a third of the disc lies in its middle, at no tilt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spot_sizes: tuple[int, ...] = Field(default=(), description="of the panel; none: as it is")
    brightnesses: tuple[float, ...] = Field(
        default=(), description="of the panel, each with every spot size; none: as it is"
    )
    gain: float = Field(
        default=0.0, ge=0, description="counts per electron; 0: as the instrument file says, or as the pictures scatter"
    )
    defocus: int = Field(default=1500, gt=-(2**31), lt=2**31, description="of the snapshots, in units of the lens")
    radius_nm: float = Field(
        default=450.0,
        gt=0,
        le=1e6,
        description="how far the crystal is moved at most; less where it would leave the disc",
    )
    rounds: int = Field(default=6, ge=2, le=100, description="how often each of eight places is arrived at")
    snapshots: int = Field(default=4, ge=2, le=100, description="pictures at each place and setting")
    exposure_s: float = Field(default=0.1, gt=0, description="of a picture")


def visits_of(plan: FluxPlan, radius_nm: float) -> list[Visit]:
    """The plan's places, then its settings of the panel."""
    panels = [
        Visit(plan.defocus, 0.0, 0.0, spot_size, brightness)
        for spot_size in plan.spot_sizes or (None,)
        for brightness in plan.brightnesses or (None,)
    ]
    return [*around(plan.defocus, radius_nm, plan.rounds), *panels]


class FluxCalibration(ExperimentType[FluxPlan]):
    """The entry in the register of protocols."""

    name = "flux"
    summary = "electrons per A^2 and s at the specimen"
    plan_type = FluxPlan
    frame_kinds = (DARK, TRIED, SNAPSHOT)
    needs = ("beam", "detector", "optics", "stagexyz")
    formats = ("flux",)

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return disc_machine(entered)

    def prepare(self, plan: FluxPlan, facts: Facts) -> PreparedDisc:
        """See `ExperimentType.prepare`."""
        if plan.defocus == 0:
            raise Refused("flux: defocus = 0 is no disc; nothing was started. Give the defocus of your runs.")
        if (plan.spot_sizes or plan.brightnesses) and facts.illumination is None:
            raise Refused(
                "flux: this instrument has no panel of spot sizes and brightness; nothing was started. Leave out "
                "spot_sizes and brightnesses: the flux is measured as it is."
            )
        for visit in visits_of(plan, plan.radius_nm):
            if facts.illumination and (said := facts.illumination.outside(visit.spot_size, visit.brightness)):
                raise Refused(f"flux: {said}; nothing was started. Choose what the panel has.")
        words = {
            "before it begins": "a crystal of about a third of the disc in its middle, at no tilt; diffraction",
            "stage": f"at most {plan.radius_nm:g} nm around where it stands, each place from below",
            "panel": f"spot sizes {_told(plan.spot_sizes)}; brightness {_told(plan.brightnesses)}",
            "gain": f"{plan.gain:g} counts per electron" if plan.gain else "as the file or the pictures tell",
        }
        return PreparedDisc(plan, partial(visits_of, plan), facts, words, "flux")

    def device_options(self, plan: FluxPlan) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: an instrument that hides what it is."""
        return {"hidden": True}

    async def look(self, plan: FluxPlan, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`."""
        return await looked_at_diffraction(microscope)

    def times(self, plan: FluxPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s), plan.defocus)

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the frames of the run."""
        from protocols.calibrate.disc.flux import analyse

        return analyse(folder).lines

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return FluxTrial()


def _told(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "as it is"


class FluxTrial(Trial):
    """What `credline soak flux` draws, and the rules that it adds."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan = {"rounds": 2, "snapshots": 2, "spot_sizes": rng.choice([[], [1, 3]])}
        return {**plan, "brightnesses": rng.choice([[], [20000.0, 40000.0]])}, super().draw(rng)[1]

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures."""
        return SMALL

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield from beam_is_off(soaked)


FLUX_CALIBRATION = FluxCalibration()
