"""Whether an instrument can do what the plan's tracking asks for, and how long that takes after a snapshot."""

from typing import TYPE_CHECKING

from drivers.facts import Facts
from engine.errors import Refused
from engine.run.budget import BudgetStep
from protocols.cred.trackedby import LEAST_RANGE_NM, actuator_by, call_steps, disc_range_nm

if TYPE_CHECKING:
    from protocols.cred.plan import CredPlan

LOCATE_S = 0.12
"""So long an answer may take from when the snapshot is on the disk."""


def tracking_steps(plan: "CredPlan", facts: Facts) -> tuple[BudgetStep, ...]:
    """From the return of the lens until all stands that was set; none without tracking. Raises Refused where the
    instrument cannot be tracked with.
    """
    if plan.tracking == "off":
        return ()
    if facts.tracking is None:
        raise Refused(
            f"tracking = {plan.tracking}: nobody knows what snapshots of this instrument show; nothing was started. "
            "Calibrate it: credline calibrate lens, then snapshot; or set tracking = off."
        )
    if facts.detector is not None and not facts.detector.has_pictures:
        raise Refused(
            f"tracking = {plan.tracking}: this camera delivers no pictures to look at; nothing was started. Set "
            "tracking = off, or take another camera."
        )
    timing = facts.timing
    # The stage is read meanwhile, behind which calls may have to wait.
    looked = (
        BudgetStep("is the lens in focus", "microscope call", timing.api_call_s, timing.api_call_worst_s),
        BudgetStep.fixed("looking, the stage read meanwhile", "at most", max(LOCATE_S, timing.stage_read_s)),
    )
    if plan.tracking == "show":
        return looked
    actuator = actuator_by(plan.track_by, facts, beam_follows=plan.beam_follows)
    if actuator.disc_follows and (range_nm := disc_range_nm(plan.defocus, facts)) < LEAST_RANGE_NM:
        raise Refused(
            f"track_by = {plan.track_by}: the disc of a snapshot moves with the probe, and after {range_nm:.0f} nm it "
            f"comes to the border of the camera; {LEAST_RANGE_NM:g} nm are needed. Nothing was started. Lower defocus."
        )
    return (*looked, *call_steps(actuator, facts))
