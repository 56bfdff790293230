"""From the run folder of a cRED run to the rotation axis: values, pictures; nothing is stored in the instrument here.

Ellipse and camera length are taken as the run knew them: calibrated ones to their uncertainty, others as little known
as they are. What tells no axis is refused with DataError; the run folder stays as it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drivers.origins import DEFAULT, TOLD, TYPED
from engine.errors import DataError
from engine.record.document import RunDocument
from protocols.calibrate.measured import Analysed, Measured
from protocols.calibrate.rotationaxis.axisfit import FEWEST_BEYOND, RotationAxis, rotation_axis
from protocols.calibrate.runreflections import RunReflections, observed, reflections_of
from protocols.calibrate.truth import truth_of
from protocols.lattice.rotationfit import UNKNOWN_ELLIPSE
from protocols.products.source import RunInfo, open_run

LENGTH_KNOWN_TO: Mapping[str, float] = {TYPED: 0.02, TOLD: 0.1, DEFAULT: 0.1}
"""Of a camera length that is not calibrated, as a share: one that a microscope tells is nominal."""
BEAM_PX = 0.004
"""A lens goes back to its place to so much."""


@dataclass(frozen=True, slots=True)
class KnownTo:
    """Standard deviations of what is not measured here: strain and shear of the ellipse; share of the camera length."""

    ellipse: float
    length: float

    @classmethod
    def of(cls, info: RunInfo) -> "KnownTo":
        """As a run knew them."""
        ellipse, length = UNKNOWN_ELLIPSE, LENGTH_KNOWN_TO.get(info.origins.get("camera_length_mm", ""), 0.1)
        amplitude, azimuth = (
            info.calibrated.get(f"distortion_{name}") for name in ("amplitude_percent", "azimuth_deg")
        )
        if amplitude is not None and azimuth is not None:
            half = info.distortion_amplitude_percent / 200
            across = 2 * half * math.radians(float(azimuth["sigma"]))
            ellipse = max(float(amplitude["sigma"]) / 200, across, 1e-6)
        if (sure := info.calibrated.get("camera_length_mm")) is not None:
            length = float(sure["sigma"]) / info.camera_length_mm
        return cls(ellipse, length)


def analyse(folder: Path) -> Analysed:
    """The axis that a cRED run tells, with a picture in its `report` folder. Raises DataError for what tells none."""
    from protocols.calibrate.rotationaxis.dialscheck import dials_axis
    from protocols.calibrate.rotationaxis.drawing import draw

    run = RunDocument.read(folder)
    if run.protocol != "cred":
        raise DataError(f"{folder}: is a run of {run.protocol}, not of cred; nothing was stored")
    with open_run(folder) as source:
        seen, known = reflections_of(source), KnownTo.of(source.info)
    try:
        found = axis_of(seen, known)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    picture = folder / "report" / "rotation-axis.png"
    draw(picture, seen, found)
    values = measured(found)
    lines = [f"{picture}: reciprocal space along the axis, and what is left", *_lines(found, known)]
    lines += dials_axis(folder, seen, found)
    told = truth_of(folder)
    return Analysed(values, tuple(lines), truth={name: told[name] for name in values if name in told})


def axis_of(seen: RunReflections, known: KnownTo) -> RotationAxis:
    """The axis of a run's reflections; of the direction that the instrument says no more is used than its hand, where
    that is not seen. Raises DataError.
    """
    sure = seen.sure
    return rotation_axis(
        observed(sure),
        sure.intensity,
        seen.geometry,
        ellipse_known_to=known.ellipse,
        length_known_to=known.length,
    )


def measured(found: RotationAxis) -> dict[str, Measured]:
    """The values. The camera length that they hold for is the one of the run."""
    fast, slow = (math.hypot(found.fit.sigma(f"beam_{way}_px"), BEAM_PX) for way in ("fast", "slow"))
    return {
        "rotation_axis_deg": Measured(found.rotation_axis_deg, found.sigma_deg, "deg"),
        "rotation_axis_tilt_deg": Measured(found.out_of_plane_deg, found.out_of_plane_sigma_deg, "deg"),
        "beam_fast_px": Measured(found.beam_fast_px, fast, "px"),
        "beam_slow_px": Measured(found.beam_slow_px, slow, "px"),
    }


def _lines(found: RotationAxis, known: KnownTo) -> list[str]:
    if found.hand_told:
        by = "the other explains nothing" if math.isinf(found.hand_sigmas) else f"by {found.hand_sigmas:.0f} sigma"
        hand = f"hand told ({by}, {found.beyond} reflections beyond 2 A)"
    else:
        hand = (
            f"HAND NOT TOLD ({found.beyond} reflections beyond 2 A, {FEWEST_BEYOND} are needed): the axis may be the "
            "opposite one. It is the one nearer to what the instrument says. Record a crystal that diffracts farther"
        )
    ellipse = f"to {known.ellipse:.2%}" if known.ellipse < UNKNOWN_ELLIPSE else "not at all: fitted, at the axis' cost"
    return [
        f"{found.reflections} reflections, {found.share:.0%} of those of the run; {hand}",
        f"ellipse known {ellipse}; camera length known to {known.length:.1%}",
        f"cell {found.cell} (by the fitted camera length, which is no calibration of it)",
    ]
