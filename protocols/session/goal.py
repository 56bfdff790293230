"""Whether a session has what it wanted, or no time for more. Pure."""

from protocols.session.night import Night
from protocols.session.plan import GoalPlan

S_PER_H = 3600.0
AS_COMPLETE = 1e-6


def reached(night: Night, goal: GoalPlan, elapsed_s: float, next_s: float) -> str:
    """Why the session is over, in words; empty where it goes on. next_s: what the next crystal would take."""
    if goal.data_sets is not None and night.indexable >= goal.data_sets:
        return f"goal.data_sets = {goal.data_sets}: so many data sets can be indexed"
    if goal.completeness is not None and _complete(night, goal):
        return f"goal.completeness = {goal.completeness:g}: each of {len(night.phases)} phases is so complete"
    if goal.max_beam_on_h is not None and night.beam_on_s >= goal.max_beam_on_h * S_PER_H:
        return f"goal.max_beam_on_h = {goal.max_beam_on_h:g}: the beam was on for {night.beam_on_s / S_PER_H:.2f} h"
    if elapsed_s + next_s > goal.max_hours * S_PER_H:
        return (
            f"goal.max_hours = {goal.max_hours:g}: {elapsed_s / S_PER_H:.2f} h are over, the next takes {next_s:.0f} s"
        )
    return ""


def _complete(night: Night, goal: GoalPlan) -> bool:
    if goal.completeness is None or len(night.phases) < goal.phases:
        return False
    told = [phase.get("completeness") for phase in night.phases]
    return all(isinstance(each, float | int) and each >= goal.completeness - AS_COMPLETE for each in told)
