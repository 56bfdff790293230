"""Whether figures of an instrument or a plan can be, in words: the impossible is refused, the unusual asked about.

Pure functions of numbers; what is plausible is data in `drivers.plausible`. Every text names the key and its value,
and the unit that was likely meant. Used where devices are put together, by plans, and when a finished run is corrected.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING

from drivers.origins import DEFAULT
from drivers.plausible import (
    BACKLASH,
    GEOMETRY,
    READOUT,
    SETTLING,
    SPEED,
    TILT,
    TIMING,
    Plausible,
    Span,
)

if TYPE_CHECKING:
    from drivers.facts import DetectorFacts, Facts, Geometry, StageFacts, Timing

# A beam beside the detector records half of every pattern: some do so, but nobody by more than its width.
BESIDE = 1.0
NO_AXIS = (
    "geometry.rotation_axis_deg is known to nobody, and 0 deg is taken: no program will index the frames so. After the "
    "run: credline calibrate rotation-axis --from its folder; then export it again."
)


def within(span: Span, value: float) -> bool:
    """Whether a value lies in a span; what is no number does not."""
    low, high = span
    return low <= value <= high


def meant(key: str, value: float, known: Plausible) -> str:
    """` 0.25 m would be camera_length_mm = 250.`: the unit that was likely meant; empty where none leads anywhere."""
    if within(known.usual, value):
        return ""
    name = key.rpartition(".")[2]
    for slip in known.slips:
        if within(known.usual, right := slip.meant(value)):
            return f" If {value:.10g} {slip.unit} was meant, write {name} = {right:.4g}."
    return ""


def impossible(key: str, value: float, known: Plausible) -> str | None:
    """Why a figure cannot be, as a sentence or two; None where it can."""
    if within(known.possible, value):
        return None
    return f"{key} = {value:.10g}: {known.what} is {_range(known.possible, known.unit)}.{meant(key, value, known)}"


def question(key: str, value: float, known: Plausible) -> str | None:
    """What to ask about a figure that can be and is unusual; None where there is nothing to ask."""
    if within(known.usual, value) or not within(known.possible, value):
        return None
    usual = _range(known.usual, known.unit)
    return f"{key} = {value:.10g}: {known.what} is usually {usual}; is it right?{meant(key, value, known)}"


def _range(span: Span, unit: str) -> str:
    low, high = (f"{end:.3g}" if abs(end) < 1000 else f"{end:.0f}" for end in span)
    return f"{low} to {high} {unit}".rstrip()


def cannot_be(facts: "Facts") -> str | None:
    """The first figure of an instrument that no instrument has, as a sentence or two; None for one that can be."""
    return next(_impossible(facts), None)


def questions(facts: "Facts") -> tuple[str, ...]:
    """What to ask about an instrument that can be and is unusual, one line each."""
    asked = [question(key, value, known) for key, value, known in _figures(facts)]
    beside = None if facts.detector is None else beam_beside(facts.geometry, facts.detector)
    apart = [f"geometry: {text}; which is right?" for text in facts.disagreements]
    guessed = NO_AXIS if facts.origins.get("rotation_axis_deg") == DEFAULT else None
    return tuple(text for text in (*asked, beside, guessed, *apart) if text)


def geometry_cannot_be(geometry: "Geometry", shape: tuple[int, int] | None = None) -> str | None:
    """The same of a geometry alone. shape: rows and columns of the grid that the beam is given on, where known."""
    found = (impossible(f"geometry.{key}", value, GEOMETRY[key]) for key, value in _known(asdict(geometry), GEOMETRY))
    return next((text for text in found if text), None) or (_far_beam(geometry, shape) if shape else None)


def geometry_unusual(geometry: "Geometry") -> tuple[str, ...]:
    """What to ask about a geometry that can be and is unusual, one line each."""
    asked = (question(f"geometry.{key}", value, GEOMETRY[key]) for key, value in _known(asdict(geometry), GEOMETRY))
    return tuple(text for text in asked if text)


def grid(detector: "DetectorFacts") -> tuple[int, int] | None:
    """Rows and columns of equal pixels, on which the beam is given: a wide cross counts four more of each.

    None for a camera that has not told yet how large its pictures are.
    """
    if detector.shape is None:
        return None
    rows, columns = detector.shape
    return (rows + 4, columns + 4) if detector.wide_cross else (rows, columns)


def _impossible(facts: "Facts") -> Iterator[str]:
    for key, value, known in _figures(facts):
        if text := impossible(key, value, known):
            yield text
    if (
        facts.detector is not None
        and facts.detector.has_pictures
        and (shape := grid(facts.detector))
        and (text := _far_beam(facts.geometry, shape))
    ):
        yield text
    if text := _slower_than_its_worst(facts.timing):
        yield text
    if facts.stage is not None:
        yield from _stage(facts.stage)


def _known(values: Mapping[str, float], table: Mapping[str, Plausible]) -> Iterator[tuple[str, float]]:
    """Those that a range is known of and that are known: what only the connected instrument tells is no number."""
    return ((key, value) for key, value in values.items() if key in table and not math.isnan(value))


def _figures(facts: "Facts") -> Iterator[tuple[str, float, Plausible]]:
    """Every figure that a range is known of, by the names of the tables of a devices file."""
    for table, values, ranges in (("geometry", facts.geometry, GEOMETRY), ("timing", facts.timing, TIMING)):
        for key, value in _known(asdict(values), ranges):
            yield f"{table}.{key}", value, ranges[key]
    if (stage := facts.stage) is not None:
        for limit_deg in stage.limits_deg:
            yield "stage.limits_deg", limit_deg, TILT
        yield "stage.backlash_deg", stage.backlash_deg, BACKLASH
        for speed_deg_s in stage.speeds_deg_s:
            yield "stage.speeds_deg_s", speed_deg_s, SPEED
    if facts.optics is not None:
        yield "optics.reference_settling_s", facts.optics.reference_settling_s, SETTLING
        yield "optics.time_constant_s", facts.optics.time_constant_s, SETTLING
    if facts.detector is not None:
        yield "detector.readout_s", facts.detector.readout_s, READOUT
        yield "detector.overhead_s", facts.detector.overhead_s, READOUT


def _beam_keys(geometry: "Geometry", shape: tuple[int, int]) -> Iterator[tuple[str, float, int]]:
    rows, columns = shape
    yield "geometry.beam_fast_px", geometry.beam_fast_px, columns
    yield "geometry.beam_slow_px", geometry.beam_slow_px, rows


def _far_beam(geometry: "Geometry", shape: tuple[int, int]) -> str | None:
    for key, value_px, size in _beam_keys(geometry, shape):
        if value_px < -BESIDE * size or value_px > (1 + BESIDE) * size:
            mm = value_px * geometry.pixel_size_mm
            tail = f" {size / 2:g} would be its middle."
            return f"{key} = {value_px:.10g}: the detector has {size} pixels there, the beam is {mm:.3g} mm away.{tail}"
    return None


def beam_beside(geometry: "Geometry", detector: "DetectorFacts") -> str | None:
    """What to ask about a primary beam that is not on the detector, or in its corner; None where it is well on it."""
    if not detector.has_pictures or (shape := grid(detector)) is None:
        return None
    for key, value_px, size in _beam_keys(geometry, shape):
        if value_px < 0 or value_px > size:
            return (
                f"{key} = {value_px:.10g}: the detector has {size} pixels there, so the beam is beside it; is it right?"
            )
        if 0 < value_px <= 1:
            return f"{key} = {value_px:.10g}: is the beam in the detector's corner? It is given in pixels."
    return None


def _slower_than_its_worst(timing: "Timing") -> str | None:
    if timing.api_call_s <= timing.api_call_worst_s:
        return None
    return (
        f"timing.api_call_s = {timing.api_call_s:g}: a typical call cannot take longer than the worst, "
        f"timing.api_call_worst_s = {timing.api_call_worst_s:g}. Give both, as `devices check` measures them."
    )


def _stage(stage: "StageFacts") -> Iterator[str]:
    low_deg, high_deg = stage.limits_deg
    if not low_deg < high_deg:
        right = f" Write [{high_deg:g}, {low_deg:g}]." if high_deg < low_deg else ""
        yield (
            f"stage.limits_deg = [{low_deg:g}, {high_deg:g}]: the lowest tilt comes first, the highest second.{right}"
        )
    if any(before >= after for before, after in pairwise(stage.speeds_deg_s)):
        yield f"stage.speeds_deg_s = {list(stage.speeds_deg_s)}: the slowest comes first, each faster than the last."
