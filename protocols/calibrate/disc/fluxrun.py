"""The experiment of `credline calibrate flux`: snapshots of a crystal moved about in the disc, for the scale, then of
each spot size and brightness.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydantic import Field

from drivers.facts import Facts
from engine.errors import Refused
from engine.record.jsonobject import JsonDict
from engine.run.trial import Trial
from protocols.calibrate.disc.experiment import PreparedDisc
from protocols.calibrate.disc.kind import DiscExperimentType, DiscPlan, DiscTrial
from protocols.calibrate.disc.visits import Visit, around


class FluxPlan(DiscPlan):
    """What the operator asks for: a crystal of about a third of the disc lies in its middle, at no tilt."""

    spot_sizes: tuple[int, ...] = Field(default=(), description="of the panel; none: as it is")
    brightnesses: tuple[float, ...] = Field(
        default=(), description="of the panel, each with every spot size; none: as it is"
    )
    gain: float = Field(
        default=0.0, ge=0, description="counts per electron; 0: as the instrument file says, or as the pictures scatter"
    )
    rounds: int = Field(default=6, ge=2, le=100, description="how often each of eight places is arrived at")
    snapshots: int = Field(default=4, ge=2, le=100, description="pictures at each place and setting")


def visits_of(plan: FluxPlan, radius_nm: float, scatter_nm: float | None = None) -> list[Visit]:
    """The plan's places, then its settings of the panel; as many whatever the stage's scatter."""
    panels = [
        Visit(plan.defocus, 0.0, 0.0, spot_size, brightness)
        for spot_size in plan.spot_sizes or (None,)
        for brightness in plan.brightnesses or (None,)
    ]
    return [*around(plan.defocus, radius_nm, plan.rounds), *panels]


class FluxCalibration(DiscExperimentType[FluxPlan]):
    """The entry in the register of protocols."""

    name = "flux"
    summary = "electrons per A^2 and s at the specimen"
    plan_type = FluxPlan
    formats = ("flux",)

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

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the frames of the run."""
        from protocols.calibrate.disc.flux import analyse

        return analyse(folder).lines

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return FluxTrial()


def _told(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "as it is"


class FluxTrial(DiscTrial):
    """What `credline soak flux` draws."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan = {"rounds": 2, "snapshots": 2, "spot_sizes": rng.choice([[], [1, 3]])}
        return {**plan, "brightnesses": rng.choice([[], [20000.0, 40000.0]])}, super().draw(rng)[1]


FLUX_CALIBRATION = FluxCalibration()
