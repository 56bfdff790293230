"""What a cRED plan leaves unrecorded, and what would leave less: one line for `plan`, and for who wants to run it."""

import math

from protocols.cred.slotplan import SlotPlan

MOST_MISSING = 1 / 3
"""Of the range. From a third on, wedges are wide and near enough to each other for cell and symmetry to suffer."""
LITTLE = 0.1
"""A plan that misses no more needs no advice; it is also what advice aims at."""


def gaps_of(slots: SlotPlan) -> str:
    """The share of the range that no frame records, in wedges of what width; and a better plan where there is one."""
    shots = slots.snapshots
    if not shots.fewest:
        return "nothing is left out"
    if shots.adaptive:
        shares = f"{100 * shots.least_missing:.0f} to {100 * shots.most_missing:.0f} %"
        return f"{shares} of the range, in {shots.fewest} to {shots.most} wedges of {slots.wedge_deg:.3g} deg"
    share = shots.least_missing
    told = f"{100 * share:.0f} % of the range, in {shots.fewest} wedges of {slots.wedge_deg:.3g} deg"
    return told if share <= LITTLE * 1.05 else f"{told}; {_better(slots)}"


def turns_of(slots: SlotPlan) -> dict[str, str]:
    """Of several crystals, how much of the range each has; nothing of one."""
    count = len(slots.plan.paths)
    if count < 2:
        return {}
    share = 100 * (1 - slots.snapshots.least_missing) / count
    away = f"between its turns {(count - 1) * slots.plan.snapshot_interval * abs(slots.oscillation_deg):.3g} deg"
    return {"crystals": f"{count}, exposed in turns from snapshot to snapshot: {share:.0f} % of the range each, {away}"}


def _better(slots: SlotPlan) -> str:
    """By fewer snapshots, or by exposures so long that a snapshot takes one slot."""
    plan, taken = slots.plan, slots.snapshot_slots
    ways = []
    if (fewer := math.ceil(taken / LITTLE)) <= slots.slots:
        ways.append(f"snapshot_interval = {fewer} leaves out {100 * taken / fewer:.0f} %")
    dead_s = slots.period_s - plan.exposure_s
    longer_s = math.ceil(100 * (slots.snapshot.worst_s - dead_s)) / 100
    if taken > 1 and longer_s <= slots.detector.exposure_limits_s[1]:
        ways.append(f"with exposure_s = {longer_s:g} a snapshot takes one slot instead of {taken}")
    return "; or ".join(ways) or "snapshot_interval = 0 leaves out nothing"


def objection_to(slots: SlotPlan) -> str | None:
    """Why not to run such a plan, as a sentence; None where it records enough."""
    shots = slots.snapshots
    if shots.most_missing <= MOST_MISSING:
        return None
    if not shots.adaptive:
        return f"the plan does not record {gaps_of(slots)}."
    least = math.ceil(shots.taken / MOST_MISSING)
    return f"the plan does not record {gaps_of(slots)}; set snapshot_interval_least = {least} or more."
