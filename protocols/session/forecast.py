"""How long a session takes, and how much beam: from the plans of its children, and from what they took so far. Pure."""

from statistics import fmean
from typing import Any

from protocols.session.children import Children
from protocols.session.night import Night

RECALL_S, HEIGHT_S, BETWEEN_S = 12.0, 30.0, 4.0
"""A crystal brought back, its height, and what lies between; assumed until they were measured."""
RELAX_S = 1.0
"""A cycle of the lens before a rotation (`cred.plan`)."""
MEAN_OF = 10


def rotation_s(children: Children) -> float:
    """A rotation of its whole range, the way to its beginning and back to 0 deg included."""
    plan: Any = children.rotation()
    way_deg = abs(plan.start_deg) + abs(plan.start_deg + plan.range_deg)
    speed = max(children.plan.level_speed_deg_s, 1e-3)
    return float(abs(plan.range_deg) / plan.speed_deg_s + RELAX_S * plan.relax_cycles + way_deg / speed)


def exposed_s(children: Children) -> float:
    """Of it, with the beam on."""
    plan: Any = children.rotation()
    return float(abs(plan.range_deg) / plan.speed_deg_s)


def planned_crystal_s(children: Children) -> float:
    """One crystal, as planned."""
    return RECALL_S + BETWEEN_S + rotation_s(children) + (HEIGHT_S if children.sets_height else 0.0)


def crystal_s(night: Night, children: Children) -> float:
    """What the next crystal is expected to take: the mean of the last ones, as planned where there was none."""
    return fmean(night.crystal_s[-MEAN_OF:]) if night.crystal_s else planned_crystal_s(children)
