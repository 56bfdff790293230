"""The experiment of `credline calibrate snapshot`: the crystal moved about in the disc, at the plan's defocus and its
opposite.
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
from protocols.calibrate.disc.visits import MOST_ROUNDS, Visit, around, rounds_for

OPPOSITE_ROUNDS = 2


class SnapshotPlan(DiscPlan):
    """What the operator asks for: a crystal of about a third of the disc lies in its middle, at no tilt."""

    rounds: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="how often eight places are gone through; 0 for as often as the stage's scatter wants",
    )
    accuracy_percent: float = Field(
        default=0.22, gt=0, le=10, description="how sure each number of the matrix is to be, one standard deviation"
    )
    snapshots: int = Field(default=1, ge=1, le=100, description="pictures at each place")
    opposite: bool = Field(
        default=True, description="look at the other side of focus, too, whether all is inverted there"
    )


def visits_of(plan: SnapshotPlan, radius_nm: float, scatter_nm: float | None) -> list[Visit]:
    """The plan's places at its defocus, then some at the opposite one."""
    rounds = plan.rounds or (
        MOST_ROUNDS if scatter_nm is None else rounds_for(plan.accuracy_percent / 100, radius_nm, scatter_nm)
    )
    there = around(plan.defocus, radius_nm, rounds)
    return [*there, *(around(-plan.defocus, radius_nm, OPPOSITE_ROUNDS) if plan.opposite else ())]


class SnapshotCalibration(DiscExperimentType[SnapshotPlan]):
    """The entry in the register of protocols."""

    name = "snapshot"
    summary = "how nm of the stage become px of the defocused disc"
    plan_type = SnapshotPlan
    formats = ("snapshot",)

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

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the frames of the run."""
        from protocols.calibrate.disc.snapshot import analyse

        return analyse(folder).lines

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return SnapshotTrial()


class SnapshotTrial(DiscTrial):
    """What `credline soak snapshot` draws."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan = {"rounds": 2, "snapshots": rng.choice([1, 2]), "opposite": rng.choice([True, False])}
        return plan, super().draw(rng)[1]


SNAPSHOT_CALIBRATION = SnapshotCalibration()
