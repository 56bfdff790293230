"""What brings the crystal back in a run: image shift, beam shift or stage, as the plan says; whether the instrument can
do that, and how long its calls take.

A plan that cannot is refused before anything moves. The calls themselves are in `protocols.cred.trackingcalls`.
"""

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from drivers.approach import way_points
from drivers.calibration.trackingfacts import TrackingFacts
from drivers.facts import Facts
from drivers.judged import grid
from drivers.parts import Deflector, StageXYZFacts
from engine.errors import Refused
from engine.run.budget import BudgetStep
from protocols.tracking.actuator import NONE, Actuator, four, square

TrackBy = Literal["image shift", "beam shift", "stage"]
WHICH = {"image shift": Deflector.IMAGE_SHIFT, "beam shift": Deflector.BEAM_SHIFT}
LACKING = {
    "image_shift_nm": "stage and image-shift, at one magnification",
    "image_shift_px": "pattern-shift",
    "diffraction_shift_px": "diffraction-shift",
    "beam_shift_nm": "stage and beam-shift, at one magnification",
    "stage_repeatability_nm": "stage",
}
"""Of `TrackingFacts`: what each is calibrated by."""
WANTS = {
    "image shift": ("image_shift_nm", "image_shift_px", "diffraction_shift_px"),
    "beam shift": ("beam_shift_nm",),
    "stage": ("stage_repeatability_nm",),
}
LANDS_SIGMAS, LANDS_SHARE = 3.0, 0.25
"""A stage serves if so many standard deviations of where it lands are less than this share of the radius of what is
selected."""
MOVE_S = 0.1
"""A move of the stage of some hundred nm takes no longer, from the return of its call; assumed."""
LEAST_RANGE_NM = 300.0
"""A probe that the camera lets go no farther follows no crystal."""


def actuator_by(by: TrackBy, facts: Facts, *, beam_follows: bool = False) -> Actuator:
    """What it does, as calibrated. beam_follows: by the beam shift, where the image shift goes. Raises Refused where
    this instrument cannot track by it.
    """
    known = facts.tracking
    if known is None:  # said before
        raise Refused(f"track_by = {by}: nobody knows what snapshots of this instrument show; nothing was started.")
    parts = {"stage": "stage that moves in x and y"}.get(by, "image shift or no diffraction shift")
    if by == "beam shift" or beam_follows:
        parts = "beam shift"
    if not (_has(by, facts) and (not beam_follows or _has("beam shift", facts))):
        raise Refused(
            f"tracking = correct: this instrument has no {parts} to correct by; nothing was started. Choose another "
            "track_by, or set tracking = show."
        )
    wanted = (*WANTS[by], *(WANTS["beam shift"] if beam_follows else ()))
    if lacks := [LACKING[name] for name in wanted if getattr(known, name) is None]:
        raise Refused(
            f"tracking = correct: not calibrated yet: {'; '.join(lacks)}; nothing was started. Make these by credline "
            "calibrate, or set tracking = show."
        )
    if by == "stage":
        found = _stage(facts.stagexyz, known)
    else:
        found = _image_shift(facts, known) if by == "image shift" else _beam_shift(facts, known)
    for each in (found, _beam(facts, known)) if beam_follows else (found,):
        if (why := each.why_not()) is not None:
            raise Refused(f"tracking = correct: {why}; nothing was started. Calibrate it again.")
    return _followed(found, facts, known) if beam_follows else found


def _has(by: TrackBy, facts: Facts) -> bool:
    if by == "stage":
        return facts.stagexyz is not None
    pairs = () if facts.deflectors is None else facts.deflectors.limits
    wanted = {WHICH[by]} if by == "beam shift" else {WHICH[by], Deflector.DIFFRACTION_SHIFT}
    return wanted <= set(pairs)


def _image_shift(facts: Facts, known: TrackingFacts) -> Actuator:
    if known.probe_selects:
        raise Refused(
            "track_by = image shift: a probe selects here, and no aperture, so it brings nothing back; nothing was "
            "started. Set track_by = beam shift."
        )
    return _coils("image shift", facts, known, known.image_shift_nm or NONE, known.image_shift_px)


def _beam_shift(facts: Facts, known: TrackingFacts) -> Actuator:
    if known.probe_selects is False:
        raise Refused(
            "track_by = beam shift: an aperture selects here, and no probe, so it brings nothing back; nothing was "
            "started. Set track_by = image shift."
        )
    return _beam(facts, known)


def _beam(facts: Facts, known: TrackingFacts) -> Actuator:
    a, b, c, d = known.beam_shift_nm or NONE  # the specimen under the beam goes the other way
    return _coils("beam shift", facts, known, (-a, -b, -c, -d), known.beam_shift_px)


def _coils(
    name: TrackBy,
    facts: Facts,
    known: TrackingFacts,
    nm: tuple[float, float, float, float],
    px: tuple[float, float, float, float] | None,
) -> Actuator:
    """A pair of deflectors, and the diffraction shift where there is something to take back."""
    if (coils := facts.deflectors) is None:
        raise Refused(f"track_by = {name}: this instrument has no deflectors; nothing was started.")
    limits, takes_back = coils.limits[WHICH[name]], name == "image shift" or bool(np.any(px or NONE))
    back = coils.limits.get(Deflector.DIFFRACTION_SHIFT)
    back_px = known.diffraction_shift_px if takes_back and back is not None else None
    return Actuator(
        name,
        nm=nm,
        px=px or NONE,
        back_px=back_px,
        limits=(limits, limits),
        back_limits=back or limits,
        whole_numbers=coils.whole_numbers,
        disc_follows=name == "beam shift",
    )


def _followed(image: Actuator, facts: Facts, known: TrackingFacts) -> Actuator:
    """The image shift with the beam after it: what is selected moves against the image, and the beam goes there."""
    beam = _beam(facts, known)
    by_beam = np.asarray(
        np.linalg.solve(square(beam.nm), square(image.nm)), np.float64
    )  # both move the specimen in what they stand for
    px = square(image.px) + square(beam.px) @ by_beam
    return replace(image, px=four(px), beam=four(by_beam), beam_limits=beam.limits[0])


def _stage(stage: StageXYZFacts | None, known: TrackingFacts) -> Actuator:
    if stage is None or not stage.xy_while_tilting:
        raise Refused(
            "track_by = stage: this one moves x and y only while it does not tilt; nothing was started. Set track_by = "
            "image shift, or beam shift."
        )
    if stage.backlash_nm > 0 and stage.tilt_counts_as_moving:
        raise Refused(
            "track_by = stage: while it tilts nobody sees the end of a move, and two are needed for its backlash; "
            "nothing was started. Set track_by = image shift, or beam shift."
        )
    sigma_nm, radius_nm = known.stage_repeatability_nm or 0.0, known.aperture_nm / 2
    if LANDS_SIGMAS * sigma_nm >= LANDS_SHARE * radius_nm:
        raise Refused(
            f"track_by = stage: it lands with a scatter of {sigma_nm:.0f} nm (sigma), and {LANDS_SIGMAS:g} times that "
            f"has to be less than {LANDS_SHARE:g} of the {radius_nm:.0f} nm around which crystals are lit; nothing was "
            "started. Set track_by = image shift, or beam shift."
        )
    # Places are arrived at from below, by the backlash.
    x_nm, y_nm = ((low_nm + stage.backlash_nm, high_nm) for low_nm, high_nm in stage.limits_nm[:2])
    return Actuator("stage", nm=(1.0, 0.0, 0.0, 1.0), limits=(x_nm, y_nm), foreshortened=True)


def not_taken_back(by: TrackBy, facts: Facts, *, beam_follows: bool) -> str | None:
    """In words, what moves the pattern as well and is not taken back, for nobody knows it; None where nothing does."""
    if (by != "beam shift" and not beam_follows) or facts.tracking is None or facts.tracking.beam_shift_px is not None:
        return None
    return "what the beam shift does to the pattern is not known: where that is something, the pattern moves with it."


def disc_range_nm(defocus: int, facts: Facts) -> float:
    """How far a probe may be shifted until the disc of its snapshot comes to the border of the camera; infinite where
    nobody knows how large its pictures are.
    """
    known, geometry = facts.tracking, facts.geometry
    pixels = None if facts.detector is None else grid(facts.detector)
    if known is None or pixels is None:
        return math.inf
    (rows, columns), fast_px, slow_px = pixels, geometry.beam_fast_px, geometry.beam_slow_px
    radius_px = abs(known.disc_radius_px * (defocus - known.disc_zero_defocus))
    room_px = min(fast_px, columns - fast_px, slow_px, rows - slow_px) - radius_px
    return max(0.0, room_px) / float(np.linalg.norm(defocus * square(known.snapshot), 2))


def call_steps(actuator: Actuator, facts: Facts) -> tuple[BudgetStep, ...]:
    """What making a correction takes, call by call, until all stands."""

    def call(name: str) -> BudgetStep:
        return BudgetStep(name, "microscope call", facts.timing.api_call_s, facts.timing.api_call_worst_s)

    if actuator.name == "stage" and facts.stagexyz is not None:
        moves = way_points(facts.stagexyz, 0.0, 0.0)
        steps: list[BudgetStep] = []
        for number in range(1, len(moves) + 1):
            steps += [call(f"stage, move {number}"), BudgetStep.fixed("until it stands", "assumed", MOVE_S)]
            if not facts.stagexyz.tilt_counts_as_moving:
                steps.append(call("does it stand"))
        return tuple(steps)
    settling_s = 0.0 if facts.deflectors is None else facts.deflectors.settling_s
    back = () if actuator.back_px is None else (call("diffraction shift"),)
    beam = () if actuator.beam is None else (call("beam shift"),)
    return call(actuator.name), *back, *beam, BudgetStep.fixed("at rest", "deflectors", settling_s)
