"""Whether an instrument can do what the plan's tracking asks for, and how long that takes after a snapshot."""

from typing import TYPE_CHECKING

from drivers.facts import Facts
from drivers.parts import Deflector
from engine.errors import Refused

if TYPE_CHECKING:
    from protocols.cred.plan import CredPlan

LOCATE_S = 0.12
"""So long an answer may take from when the snapshot is on the disk."""
SHIFTS = (Deflector.IMAGE_SHIFT, Deflector.DIFFRACTION_SHIFT)
MISSING = {
    "image_shift_nm": "stage and image-shift, at one magnification",
    "image_shift_px": "pattern-shift",
    "diffraction_shift_px": "diffraction-shift",
}
"""Of `TrackingFacts`: what each is calibrated by."""


def tracking_s(plan: "CredPlan", facts: Facts) -> float:
    """From the return of the lens until the last deflector stands; 0 without tracking. Raises Refused where the
    instrument cannot be tracked with.
    """
    if plan.tracking == "off":
        return 0.0
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
    # The lens is asked first whether it is in focus. Then the stage is read, behind which calls may have to wait.
    asked_s = facts.timing.api_call_worst_s + max(LOCATE_S, facts.timing.stage_read_s)
    if plan.tracking == "show":
        return asked_s
    if facts.deflectors is None or not set(SHIFTS) <= set(facts.deflectors.limits):
        raise Refused(
            "tracking = correct: this instrument has no image shift or no diffraction shift to correct by; nothing was "
            "started. Set tracking = show."
        )
    if lacks := [words for name, words in MISSING.items() if getattr(facts.tracking, name) is None]:
        raise Refused(
            f"tracking = correct: not calibrated yet: {'; '.join(lacks)}; nothing was started. Make these by credline "
            "calibrate, or set tracking = show."
        )
    return asked_s + len(SHIFTS) * facts.timing.api_call_worst_s + facts.deflectors.settling_s
