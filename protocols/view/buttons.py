"""What a display offers to be told to a live view: of the parts that its instrument has, with what they declare."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drivers.parts import OpticalMode
from engine.record.document import RunDocument
from engine.run.contract import Button
from protocols.view import words

STEP_UM, STEP_DEG = "5", "5"
"""What stands in the fields of distances at first."""
AS_IT_WAS = ("", "as it was")
MODE_HINT = "The lenses go there; as it was: with what the microscope has for that mode"


def buttons_of(document: RunDocument) -> Sequence[Button]:
    """From run.json, which may be of another version: a part that is not understood has no buttons."""
    plan, instrument = document.plan, document.instrument
    return [
        Button("Unblank", words.UNBLANK, "The beam goes on the specimen"),
        Button("Blank", words.BLANK, "The beam goes off; the view goes on"),
        *(_of_lens(plan) if _part(instrument, "optics") else ()),
        *_of_stage(instrument),
        *_of_modes(_part(instrument, "mode")),
        Button("Exposure", words.EXPOSURE, "Of the next pictures", f"{plan.get('exposure_s', 0.2)}", "s"),
        Button("Save image", words.SAVE, "The next picture is kept, and written as TIFF into the run's folder"),
    ]


def _part(instrument: Mapping[str, object], name: str) -> Mapping[str, Any]:
    """The facts of a part; none where the instrument does not have it."""
    told = instrument.get(name)
    return told if isinstance(told, Mapping) else {}


def _of_lens(plan: Mapping[str, object]) -> Iterator[Button]:
    yield Button("Defocus", words.DEFOCUS, "Away from focus by so much", f"{plan.get('defocus', 1500)}", "units")
    yield Button("Focus", words.FOCUS, "Back to where the lens was")
    yield Button("Relax", words.RELAX, "Five times out of focus and back, against hysteresis; 5 s")


def _of_stage(instrument: Mapping[str, object]) -> Iterator[Button]:
    stage, translation = _part(instrument, "stage"), _part(instrument, "stagexyz")
    if translation:
        for axis, word in (("x", words.MOVE_X), ("y", words.MOVE_Y), ("z", words.MOVE_Z)):
            hint = f"The stage goes so far along its own {axis}, and arrives from below, against its backlash"
            yield Button(f"Move {axis}", word, hint, STEP_UM, "um", both_ways=True)
    if stage.get("can_rotate"):
        yield Button("Tilt by", words.TILT_BY, "The stage turns so far from where it stands", STEP_DEG, "deg", True)
        yield Button("Tilt to", words.TILT, "The stage turns there", "0", "deg")
    if stage or translation:
        yield Button("Stop stage", words.STOP_STAGE, "The stage stands still, and begins nothing that was told before")


def _of_modes(facts: Mapping[str, Any]) -> Iterator[Button]:
    """One for each mode, with the magnifications or camera lengths that it can be set to."""
    magnifications = facts.get("magnifications") or {}
    for mode in facts.get("modes") or ():
        is_pattern = mode == OpticalMode.DIFFRACTION.value
        steps = facts.get("camera_lengths_mm") if is_pattern else magnifications.get(mode)
        choices = [AS_IT_WAS, *((f"{step:.10g}", f"{step:.10g}") for step in steps)] if steps else []
        unit = ("mm" if is_pattern else "x") if choices else ""
        label = str(mode).capitalize()
        yield Button(label, f"{words.MODE} {mode}", MODE_HINT, None, unit, choices=choices)
