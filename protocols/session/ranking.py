"""Which crystal comes next: pure functions of what is known of the night and of the plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocols.session.crystals import Bar, Crystal, free_deg
from protocols.session.night import Night
from protocols.session.plan import ChoosePlan, SessionPlan

UNKNOWN_D_MIN_A = 1.6
"""A crystal of which nobody says how far it diffracts counts as one that does so little."""
BEST_D_MIN_A = 0.8
FULL_SIZE_NM = 500.0
"""Larger ones are no better for it."""
NM_PER_UM = 1000.0
UNTOLD = 0.5
UNSCORED = 0.5


@dataclass(frozen=True, slots=True)
class Ranked:
    """A crystal that may come next. value: how good it looks, times how much it is worth for what is known so far."""

    crystal: Crystal
    value: float


def unfit(crystal: Crystal, choose: ChoosePlan, bars: Sequence[Bar] = (), step_nm: float = 0.0) -> str:
    """Why a crystal is not chosen, in words; empty where it may be."""
    if crystal.score_good is None and choose.score_least > 0.0:
        return "no score"
    if scored(crystal) < choose.score_least:
        return "score"
    if (crystal.score_several or 0.0) > choose.several_most:
        return "several lattices"
    if choose.d_min_most_A is not None and not (crystal.d_min_A or 99.0) <= choose.d_min_most_A:
        return "resolution"
    if choose.isolated and not crystal.is_isolated:
        return "not isolated"
    length_nm = crystal.length_nm or 0.0
    if length_nm < choose.smallest_nm or (choose.largest_nm and length_nm > choose.largest_nm):
        return "size"
    if choose.free_deg and free_deg(crystal, bars, step_nm, choose.bar_height_um * NM_PER_UM) < choose.free_deg:
        return "a bar"
    return ""


def scored(crystal: Crystal) -> float:
    """Its score, 0 to 1; of a crystal without one, what a crystal has of which nothing speaks for or against it."""
    return UNSCORED if crystal.score_good is None else crystal.score_good


def quality(crystal: Crystal) -> float:
    """How good a crystal looks, 0 to 1: its score, one lattice, how far it diffracts, its size."""
    several = crystal.score_several or 0.0
    reach = min(1.0, BEST_D_MIN_A / max(crystal.d_min_A or UNKNOWN_D_MIN_A, 0.1))
    size = min(1.0, (crystal.length_nm or FULL_SIZE_NM) / FULL_SIZE_NM)
    return scored(crystal) * (1.0 - several) * (0.5 + 0.5 * reach) * (0.75 + 0.25 * size)


def fit_crystals(night: Night, plan: SessionPlan, step_nm: float = 0.0) -> list[Crystal]:
    """Those that may be chosen, whether they have been or not."""
    return [crystal for crystal in night.crystals if not unfit(crystal, plan.choose, night.bars, step_nm)]


def ranked(
    night: Night, plan: SessionPlan, worth: Mapping[int, float], step_nm: float, tilt_deg: float
) -> list[Ranked]:
    """The crystals to come, the next one first: those that the operator asked for, then by value, then those that he
    put last. worth: by number, what the judgement says a crystal is worth for what was collected so far; where it says
    something, crystals that it does not name count `UNTOLD`. tilt_deg: the farthest of a rotation; one that a bar
    shades before counts by so much less.
    """
    height_nm = plan.choose.bar_height_um * NM_PER_UM

    def value(crystal: Crystal) -> float:
        known = worth.get(crystal.number, quality(crystal) * (UNTOLD if worth else 1.0))
        free = free_deg(crystal, night.bars, step_nm, height_nm)
        return known * (min(1.0, free / tilt_deg) if tilt_deg > 0.0 else 1.0)

    orders = night.orders
    asked = [night.crystals[n - 1] for n in orders.first if 1 <= n <= len(night.crystals)]
    first = {crystal.number for crystal in asked}
    rest = [
        Ranked(crystal, value(crystal))
        for crystal in fit_crystals(night, plan, step_nm)
        if crystal.number not in first and crystal.number not in night.over and crystal.number not in orders.skipped
    ]
    rest.sort(key=lambda each: (each.crystal.number in orders.last, -each.value, each.crystal.number))
    return [Ranked(crystal, quality(crystal)) for crystal in asked] + rest
