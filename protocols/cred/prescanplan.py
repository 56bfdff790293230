"""The looks of a pre-scan: at which angles the crystal is looked at before the rotation, and what that costs.

The stage comes to every angle from the side from which the rotation will come, so that its play is taken up as then.
The first looks lie close together, for each one tells where to expect the crystal in the next. Where it is to be
corrected the image shift is tried at the first angle, while nothing else moves. Where the crystal was missed there,
further looks may follow (`protocols.cred.prescanfurther`): how many at most is told with the others.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.facts import DetectorFacts, StageFacts, Timing
from engine.errors import Refused
from engine.run.budget import Budget, BudgetStep

if TYPE_CHECKING:
    from protocols.cred.plan import CredPlan

MOST_IMAGES = 50
GOTO_SPEED_DEG_S = 10.0
"""Of the stage on its way to an angle."""
APPROACH_DEG = 3.0
"""So far before its first angle the stage begins, to come to it with its play taken up."""
REST_S = 0.5
"""So long a stage that has come to an angle is left alone before anything is exposed."""


MOST_FURTHER = 12
"""Looks at most that follow where the crystal was missed at the first angle: three where it was found, to try the image
shift, and steps of some 10 deg over 50 deg, of which some are in vain."""
FURTHER_S = 4.0
"""Of each of these: there, with the play taken up, and the look."""


@dataclass(frozen=True, slots=True)
class Look:
    """number: from 1. tries: the axis of the stage along which the image shift is tried after this look, 0 or 1; None
    where the crystal is brought to the middle for the next one.
    """

    number: int
    angle_deg: float
    tries: int | None = None


class PrescanPlan:
    """Of a plan on a given instrument. Raises Refused where the stage cannot be told to go to an angle.

    looks: in their order, none without a pre-scan. most_further: looks that may follow. image: the time with the beam
    on the crystal, for one look.
    """

    def __init__(self, plan: "CredPlan", timing: Timing, stage: StageFacts, detector: DetectorFacts) -> None:
        count = plan.prescan_images
        if count and (why := stage.no_speed(GOTO_SPEED_DEG_S)):
            raise Refused(
                f"prescan_images = {count}: the stage has to go to these angles by itself, and {why}; nothing was "
                "started. Set prescan_images = 0."
            )
        shares = [(k / (count - 1)) ** 2 if count > 1 else 0.0 for k in range(count)]
        tries: list[int | None] = [0, 1] if count and plan.tracking == "correct" else []
        at = [(plan.start_deg, axis) for axis in tries]
        at += [(plan.start_deg + share * plan.range_deg, None) for share in shares]
        self.looks = tuple(Look(number, angle_deg, axis) for number, (angle_deg, axis) in enumerate(at, start=1))
        self.most_further = MOST_FURTHER if tries else 0
        self._limits_deg, self._direction = stage.limits_deg, plan.direction
        self.image = Budget("pre-scan image", (), 0.0)
        self._frame_s = plan.exposure_s
        self._over_deg = abs(plan.range_deg) if count > 1 else 0.0
        self._tries = len(tries)
        if count:
            part_s = 0.0 if detector.paced is None else detector.paced.period_s
            steps = (
                BudgetStep("unblank", "microscope call", timing.api_call_s, timing.api_call_worst_s),
                *([BudgetStep("part of the camera", "begins with one", part_s / 2, part_s)] if part_s else []),
                BudgetStep.fixed("exposure", "plan: snapshot_exposure_s", plan.snapshot_exposure_s),
                BudgetStep.fixed(
                    "readout", "camera", detector.cycle_s(plan.snapshot_exposure_s) - plan.snapshot_exposure_s
                ),
                BudgetStep("blank", "microscope call", timing.api_call_s, timing.api_call_worst_s),
            )
            self.image = Budget("pre-scan image", steps, sum(step.worst_s for step in steps))

    def approach_deg(self, angle_deg: float) -> float:
        """Where the stage goes before an angle, to come to it from the side from which the rotation comes."""
        low_deg, high_deg = self._limits_deg
        return min(max(angle_deg - self._direction * APPROACH_DEG, low_deg), high_deg)

    def reaches(self, angle_deg: float) -> bool:
        """Whether the stage may be sent there."""
        low_deg, high_deg = self._limits_deg
        return low_deg <= angle_deg <= high_deg

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """That of one look, the whole of it with the beam on."""
        return (self.image,) if self.looks else ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Where the stage cannot come to its first angle from the side from which the rotation comes."""
        if not self.looks:
            return ()
        first_deg = self.looks[0].angle_deg
        if abs(first_deg - self.approach_deg(first_deg)) >= APPROACH_DEG / 2:
            return ()
        return (
            f"start_deg = {first_deg:g} is at the end of the holder's range: the pre-scan cannot come "
            "to it from beyond, so the play of the stage may move the crystal in the first degrees of the rotation.",
        )

    @property
    def words(self) -> dict[str, str]:
        """For `credline plan`: how many looks, the dose, the time."""
        if not self.looks:
            return {}
        first, last = self.looks[0].angle_deg, self.looks[-1].angle_deg
        over = f"at {first:g} deg" if first == last else f"from {first:g} to {last:g} deg"
        tried = f" ({self._tries} of them to try the image shift, at {first:g} deg)" if self._tries else ""
        lit_s = len(self.looks) * self.image.worst_s
        way_s = 2 * (self._over_deg + APPROACH_DEG) / GOTO_SPEED_DEG_S
        words = {
            "pre-scan": f"{len(self.looks)} looks {over}{tried}, some {way_s + 1.5 * len(self.looks):.0f} s",
            "dose of the pre-scan": f"{lit_s:.2f} s of beam at most, as much as {lit_s / self._frame_s:.1f} frames",
        }
        if self.most_further:
            more_s = self.most_further * self.image.worst_s
            words["further looks"] = (
                f"at most {self.most_further}, only where the crystal is missed or it is dark at {first:g} deg: "
                f"{FURTHER_S:g} s and {self.image.worst_s:.2f} s of beam each, as much as "
                f"{more_s / self._frame_s:.1f} frames all together"
            )
        return words
