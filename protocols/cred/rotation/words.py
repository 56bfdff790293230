"""What the operator is told of the rotation: what to do with the pedal, and what is then seen of the stage."""

from drivers.facts import SPEED_SHARE, StageFacts
from protocols.cred.plan import CredPlan

# Where the stage may stand beside the plan's start without a word.
START_SHARE_DEG = 0.5


def pedal_words(plan: CredPlan, facts: StageFacts, here_deg: float, target_deg: float) -> str:
    """Which way, how far, at which speed setting and for how long the pedal is to be held. here_deg: as read."""
    towards = "higher" if plan.direction > 0 else "lower"
    setting = facts.setting_for(plan.speed_deg_s)
    if setting is None:
        speed_deg_s = plan.speed_deg_s
        speed = f"{plan.speed_deg_s:g} deg/s"
    else:
        speed_deg_s = setting[1]
        speed = f"{setting[0]:g} ({setting[1]:.4g} deg/s, planned {plan.speed_deg_s:g})"
    lines = [
        f"PEDAL: hold it towards {towards} angles, from {here_deg:.1f} to {target_deg:.1f} deg,",
        f"for about {abs(target_deg - here_deg) / speed_deg_s:.0f} s. Speed setting: {speed}.",
    ]
    if abs(here_deg - plan.start_deg) > START_SHARE_DEG:
        lines.append(f"The stage stands at {here_deg:.1f} deg, the plan begins at {plan.start_deg:g} deg.")
    return " ".join(lines)


def seen_words(plan: CredPlan, rate_deg_s: float, uncertainty_deg_s: float, period_s: float) -> str:
    """How fast the stage is seen to turn, signed, and what that means where it is not as planned."""
    speed_deg_s = abs(rate_deg_s)
    seen = f"The stage turns at {speed_deg_s:.4f} +- {uncertainty_deg_s:.4f} deg/s"
    if abs(speed_deg_s - plan.speed_deg_s) <= max(SPEED_SHARE * plan.speed_deg_s, 2 * uncertainty_deg_s):
        return f"{seen}, as planned."
    return (
        f"{seen}; PLANNED WERE {plan.speed_deg_s:g} deg/s. Each slot covers {speed_deg_s * period_s:.4f} instead of "
        f"{plan.speed_deg_s * period_s:.4f} deg. Ctrl-C stops the run."
    )
