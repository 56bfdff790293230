"""Where the primary beam of a run is: found by its frames, as it was given, or as somebody says now; and how it moved.

The decision is one for all files of a run. What was found holds where it is sure: seen in most frames, at one place or
one that moves evenly, for as long a rotation as no reflection lasts. What is not sure never overrules what was given.
Either way it is said, and asked about where the two are apart.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, shown
from protocols.products.beammotion import Motion, Place, agreeing, motion_of, stray_px
from protocols.products.survey import FrameSurvey

Array = NDArray[np.float64]

FOUND, NOMINAL = "found", "nominal"
APART_PX = 3.0
"""From here on a found and a given centre are apart, and somebody is asked which is right."""
SURE_SHARE = 0.5
"""Of the frames: seen in fewer, the beam is not found surely."""
SURE_DEG, ALIKE_DEG = 1.0, 10.0
"""A reflection shines for less; a bright place that lasts longer is the beam. Where the next place is nearly as bright,
one near the rotation axis, which shines long, is reckoned with.
"""
ALIKE_TIMES = 2.0
"""Brighter than the next place: reflections are 1 to 2 times, the beam of simulated frames 8 times and more."""
DRIFT_PX = 1.0
"""More over a run is said as something unusual."""
LISTED = 5
FARTHEST_PX = 1e6


@dataclass(frozen=True, slots=True)
class RunBeam:
    """The primary beam of a run: what stands in all files, why, and what else is known. Places are (fast, slow) in px.

    asked: `found`, `nominal`, or a place; by the plan, or since. used: `found`, `nominal` or `given`. why: why what was
    found is not sure; empty if it is. found_px: median of what the finder gave, where that is sure or the same in most
    frames; None else. seen: frames in which the beam was seen, of all. places: by slot, of the frames that agree; empty
    if it is not sure. strays: slots in which it was seen elsewhere.
    """

    place_px: Place
    nominal_px: Place
    asked: str | Place
    used: str
    why: str
    found_px: Place | None
    uncertainty_px: float
    seen: int
    frames: int
    motion: Motion | None = None
    strays: tuple[int, ...] = ()
    places: Mapping[int, Place] = field(default_factory=dict)

    @property
    def apart_px(self) -> float:
        """From the nominal to the found place; 0 where nothing was found."""
        return 0.0 if self.found_px is None else float(np.hypot(*np.subtract(self.found_px, self.nominal_px)))


def asked_beam(plan: Mapping[str, object]) -> str | Place:
    """What a plan says of the beam; `found` where it says nothing, as older ones. DataError for anything else."""
    asked = plan.get("beam", FOUND)
    if asked in (FOUND, NOMINAL):
        return str(asked)
    if isinstance(asked, list | tuple) and len(asked) == 2 and all(map(_is_px, asked)):
        return float(asked[0]), float(asked[1])
    raise DataError(
        f"run.json: plan.beam is {shown(repr(asked))}; nothing was exported. Say found, nominal, or a place: credline "
        'export RUN --set "beam=[fast, slow]" (px)'
    )


def _is_px(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < FARTHEST_PX  # no NaN


def run_beam(
    surveys: Sequence[FrameSurvey],
    nominal_px: Place,
    asked: str | Place,
    shape: tuple[int, int],
    deg_per_slot: float,
) -> RunBeam:
    """The beam of a run from all of its frames. shape: (rows, columns) of the pictures."""
    ordered = sorted(surveys, key=lambda s: s.slot)
    places = np.array([(s.beam_fast_px, s.beam_slow_px) for s in ordered], dtype=np.float64).reshape(-1, 2)
    slots = np.array([s.slot for s in ordered])
    visible = np.array([s.beam_unseen is None for s in ordered], dtype=bool)
    reach_px = stray_px(shape)
    steady = np.zeros(len(ordered), dtype=bool)
    steady[visible] = agreeing(places[visible], reach_px)
    why = _not_sure(ordered, visible, steady)
    found_px = _common(places, reach_px) if why else _middle(places[steady])
    if not why and found_px is not None and np.hypot(*np.subtract(found_px, nominal_px)) >= APART_PX:
        span_deg = abs(deg_per_slot) * int(slots[steady].max() - slots[steady].min() + 1)
        times = float(np.median([s.beam_times for s, agrees in zip(ordered, steady, strict=True) if agrees]))
        why = _short(span_deg, times)
    motion = None if why else motion_of(slots[steady], places[steady])
    scatter_px = motion.scatter_px if motion else 0.0
    used, place_px = _chosen(asked, why, found_px, nominal_px)
    return RunBeam(
        place_px=place_px,
        nominal_px=nominal_px,
        asked=asked,
        used=used,
        why=why,
        found_px=found_px,
        uncertainty_px=1.25 * scatter_px / np.sqrt(max(1, int(steady.sum()))),
        seen=int(visible.sum()),
        frames=len(ordered),
        motion=motion,
        strays=() if why else tuple(slots[visible & ~steady].tolist()),
        places={} if why else dict(zip(slots[steady].tolist(), map(_pair, places[steady]), strict=True)),
    )


def beam_row(beam: RunBeam) -> str:
    """What stands in all files and how it is known, in one line."""
    fast, slow = beam.place_px
    given = {FOUND: "found", NOMINAL: "the nominal one"}.get(beam.used, "as beam = [fast, slow] says")
    text = f"primary beam at {fast:.2f}, {slow:.2f} px (fast, slow), {given}"
    if beam.used == FOUND:
        text += f" +-{max(beam.uncertainty_px, 0.01):.2f} px"
    text += f"; seen in {beam.seen} of {beam.frames} frames"
    return f"{text}; {motion_words(beam)}" if beam.motion is not None else text


def motion_words(beam: RunBeam) -> str:
    """Drift, jumps and strays, in words; empty where nothing is known of them."""
    motion = beam.motion
    if motion is None:
        return ""
    fast, slow = motion.drift_px
    words = [f"drift {motion.drift:.2f} px over the run ({fast:+.2f}, {slow:+.2f})"]
    if motion.jumps:
        each = [f"at slot {slot} by {px:.1f} px" for slot, px in motion.jumps[:LISTED]]
        more = f" and {len(motion.jumps) - LISTED} more" if len(motion.jumps) > LISTED else ""
        words.append(f"jumps {', '.join(each)}{more}")
    else:
        words.append("no jumps")
    if beam.strays:
        each = [str(slot) for slot in beam.strays[:LISTED]]
        more = f" and {len(beam.strays) - LISTED} more" if len(beam.strays) > LISTED else ""
        words.append(f"elsewhere in slots {', '.join(each)}{more}")
    return ", ".join(words)


def beam_questions(beam: RunBeam, run: str) -> list[str]:
    """What somebody should look at, one line each. run: the folder, for the command that would change it."""
    asked = []
    nominal = _px(beam.nominal_px)
    if beam.used == FOUND and beam.apart_px >= APART_PX:
        asked.append(
            f"the primary beam was found at {_px(beam.place_px)} px, {beam.apart_px:.1f} px from its nominal place "
            f"({nominal}): the found one stands in all files. Is that right? If not: credline export {run} --set "
            "beam=nominal; if so, center the pattern, or correct beam_fast_px and beam_slow_px in the devices file"
        )
    elif beam.asked == FOUND and beam.why:
        line = (
            f"the primary beam was not found surely ({beam.why}): the nominal centre, {nominal} px, stands in all files"
        )
        if beam.found_px is not None and beam.apart_px >= APART_PX:
            line += (
                f". What is brightest lies at {_px(beam.found_px)} px, {beam.apart_px:.1f} px from it; if the beam is "
                f'elsewhere: credline export {run} --set "beam=[fast, slow]" (px)'
            )
        asked.append(line)
    elif beam.asked != FOUND and not beam.why and beam.found_px is not None:
        apart_px = float(np.hypot(*np.subtract(beam.found_px, beam.place_px)))
        if apart_px >= APART_PX:
            asked.append(
                f"the primary beam was seen at {_px(beam.found_px)} px, {apart_px:.1f} px from {_px(beam.place_px)}, "
                f"which stands in all files as asked. If what was seen is right: credline export {run} --set beam=found"
            )
    if beam.motion is not None and (beam.motion.drift >= DRIFT_PX or beam.motion.jumps):
        asked.append(f"the primary beam moved: {motion_words(beam)}. All files have one centre; see the plot")
    return asked


def _chosen(asked: str | Place, why: str, found_px: Place | None, nominal_px: Place) -> tuple[str, Place]:
    if not isinstance(asked, str):
        return "given", asked
    if asked == FOUND and not why and found_px is not None:
        return FOUND, found_px
    return NOMINAL, nominal_px


def _not_sure(ordered: Sequence[FrameSurvey], visible: NDArray[np.bool_], steady: NDArray[np.bool_]) -> str:
    """Why what was found is not sure; empty if it is."""
    n = len(ordered)
    if not n:
        return "there is no frame"
    if visible.sum() < SURE_SHARE * n:
        reasons = Counter(s.beam_unseen for s in ordered if s.beam_unseen is not None)
        (reason, often), *_ = reasons.most_common(1)
        return f"seen in {int(visible.sum())} of {n} frames: what is brightest {reason.value}, in {often}"
    if steady.sum() < SURE_SHARE * n:
        return (
            f"seen in {int(visible.sum())} of {n} frames, of which only {int(steady.sum())} agree on a place, as "
            "reflections would"
        )
    return ""


def _short(span_deg: float, times: float) -> str:
    """Why a place far from the given one might be a reflection's; empty where it is not."""
    if span_deg < SURE_DEG:
        return f"seen over {span_deg:.2g} deg only, and a reflection may shine as long"
    if times < ALIKE_TIMES and span_deg < ALIKE_DEG:
        return (
            f"seen over {span_deg:.2g} deg only and {times:.1f} times as bright as the next place: a reflection near "
            "the rotation axis may be so"
        )
    return ""


def _common(places: Array, reach_px: float) -> Place | None:
    """Where most of the places are; None where they are not at one."""
    if (middle := _middle(places)) is None:
        return None
    near = np.hypot(*(places - middle).T) <= 2 * reach_px  # never so of a NaN
    return middle if near.sum() >= SURE_SHARE * len(places) else None


def _middle(places: Array) -> Place | None:
    finite = places[np.isfinite(places).all(axis=1)]
    return _pair(np.median(finite, axis=0)) if len(finite) else None


def _pair(place: Array) -> Place:
    return float(place[0]), float(place[1])


def _px(place: Place) -> str:
    return f"{place[0]:.2f}, {place[1]:.2f}"
