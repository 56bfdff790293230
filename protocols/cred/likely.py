"""What keys of a cRED plan can be on any microscope, and what they usually are (`drivers.plausible`).

What this microscope can do is judged by `protocols.cred.plan`; a slip of unit is found here, and named as one.
"""

from collections.abc import Mapping

from drivers.judged import impossible, question
from drivers.plausible import DEFOCUS, EXPOSURE, SNAPSHOT, SPEED, TILT, WAITING, Plausible
from engine.errors import Refused
from protocols.cred.plan import CredPlan

KEYS: Mapping[str, Plausible] = {
    "exposure_s": EXPOSURE,
    "snapshot_exposure_s": SNAPSHOT,
    "speed_deg_s": SPEED,
    "start_deg": TILT,
    "range_deg": TILT,
    "rotation_timeout_s": WAITING,
    "defocus": DEFOCUS,
}


def refuse_impossible(plan: CredPlan) -> None:
    """Raise Refused for the first key whose value no microscope has."""
    for key, known in KEYS.items():
        if why := impossible(key, getattr(plan, key), known):
            raise Refused(f"{why} Nothing was started.")


def unusual(plan: CredPlan) -> tuple[str, ...]:
    """What to ask about the plan, one line each."""
    asked = (question(key, getattr(plan, key), known) for key, known in KEYS.items())
    return (*(text for text in asked if text), *_never_decides(plan))


def _never_decides(plan: CredPlan) -> tuple[str, ...]:
    limit_deg, range_deg = plan.stop_if.no_lattice_after_deg, abs(plan.range_deg)
    if limit_deg is None or limit_deg < range_deg:
        return ()
    return (
        f"stop_if.no_lattice_after_deg = {limit_deg:g} never ends this run: its range is {range_deg:g} deg. Give fewer "
        "degrees, or leave it out.",
    )
