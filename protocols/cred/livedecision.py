"""What a look at the crystal decides, where the plan asks for it: that the run has what it wanted, or will not get it.

`decide` is a pure function of what a look told (`protocols.live.look`) and of the plan; without `stop_at` and
`stop_if` it decides nothing. `protocols.cred.livelook` asks after each look, `protocols.cred.sequence` ends the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocols.cred.plan import CredPlan


@dataclass(frozen=True, slots=True)
class Decision:
    """That the run is over. key: of the plan, that asks for it. reason: for run.json, the trace and a person."""

    key: str
    reason: str


def decide(told: Mapping[str, Any], plan: CredPlan) -> Decision | None:
    """The first thing in a look that ends the run; None to go on. Raises nothing: what a look does not tell decides
    nothing.
    """
    stop_at, stop_if = plan.stop_at, plan.stop_if
    deg = f"after {told['deg']:.1f} deg"
    dark_deg = told.get("in_shadow_deg", 0.0)
    if stop_if.shadow_deg is not None and dark_deg >= stop_if.shadow_deg:
        found = f"something has stood in the beam for the last {dark_deg:.1f} deg, {deg}"
        return _decision("stop_if.shadow_deg", stop_if.shadow_deg, found)
    if not told["determined"]:
        limit_deg = stop_if.no_lattice_after_deg
        if limit_deg is None or told["deg"] < limit_deg:
            return None
        return _decision("stop_if.no_lattice_after_deg", limit_deg, f"{'; '.join(told['reasons'])}, {deg}")
    if stop_if.several_lattices and told["lattices"] > 1:
        return _decision("stop_if.several_lattices", True, f"{told['lattices']} lattices {deg}")
    lost = _lost(told)
    if stop_at.damage is not None and lost is not None and lost >= stop_at.damage:
        return _decision(
            "stop_at.damage", stop_at.damage, f"the outer shell has lost {lost:.0%} of its intensity {deg}"
        )
    complete = told["completeness"]
    if stop_at.completeness is not None and complete is not None and complete >= stop_at.completeness:
        return _decision(
            "stop_at.completeness",
            stop_at.completeness,
            f"{complete:.1%} complete to {told['resolution_A']:.2f} A {deg}",
        )
    return None


def _lost(told: Mapping[str, Any]) -> float | None:
    """Of the outer shell, where the beam is known to have done it."""
    damage = told.get("damage")
    return damage["lost"] if damage is not None and damage["verdict"] == "damage" else None


def _decision(key: str, value: float | bool, found: str) -> Decision:
    written = str(value).lower() if isinstance(value, bool) else f"{value:g}"
    return Decision(key, f"{key} = {written}: {found}")
