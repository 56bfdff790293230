"""What is found in an image, and which of it is visited. Pure, but for the asking."""

from collections.abc import Sequence

from drivers.facts import DetectorFacts
from drivers.parts import Deflector, DeflectorFacts
from protocols.serialed.aim import Aim
from protocols.serialed.finding.crystals import Found
from protocols.serialed.finding.settings import FinderSettings
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.raster import NM_PER_UM
from protocols.serialed.scale import FieldScale
from protocols.serialed.visits import Visit, rising

Pair = tuple[float, float]


def finder_settings(plan: SerialedPlan, camera: DetectorFacts) -> FinderSettings:
    """What the plan asks of the finder."""
    usual = FinderSettings()
    return FinderSettings(
        smallest_nm=plan.finder.smallest_nm or usual.smallest_nm,
        largest_nm=plan.finder.largest_nm or usual.largest_nm,
        isolated_nm=plan.neighbour_um * NM_PER_UM,
        border_nm=plan.border_um * NM_PER_UM,
        saturation=float(camera.saturation_of(plan.image_exposure_s) or 0),
    )


def visits_of(
    found: Found,
    plan: SerialedPlan,
    scale: FieldScale,
    aim: Aim,
    coils: DeflectorFacts,
    stage_nm: Pair,
    done: Sequence[Pair] = (),
) -> tuple[list[Visit], int]:
    """The crystals to visit, in their order, and how many the beam shift does not reach.

    stage_nm: where the stage stands. done: pixels of crystals whose patterns there are already.
    """
    left, there = 0, []
    for number, crystal in enumerate(found.crystals, start=1):
        px = crystal.fast_px, crystal.slow_px
        if plan.crystals == "isolated" and not crystal.is_isolated:
            continue
        if any(abs(px[0] - x) + abs(px[1] - y) < max(crystal.width_px, 4.0) for x, y in done):
            continue
        x, y = aim.units_for(px)
        beam = (float(round(x)), float(round(y))) if coils.whole_numbers else (x, y)
        if coils.outside(Deflector.BEAM_SHIFT, *beam):
            left += 1
            continue
        place = scale.place_of(px, stage_nm)
        length_nm = crystal.length_px * scale.nm_per_px
        there.append(Visit(number, *px, beam, *place, length_nm, bool(crystal.is_isolated)))
    there = there[: plan.crystals_per_field]
    return [there[k] for k in rising([visit.beam for visit in there])], left
