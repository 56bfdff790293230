"""The geometry as a run's own reflections have it, against what stands in its files; nothing is replaced by it.

The order typed, calibrated, told, default stays the only one (docs/decisions/0020, 0021): what was fitted to one
crystal goes before none of them. Where it is off by more than SIGMAS it is said, with the words that take it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from protocols.products.foundcrystal import FoundCrystal
from protocols.products.metadata import RunHeader
from protocols.products.source import RunInfo

SIGMAS = 3.0
LEAST = {
    "rotation_axis_deg": 0.2,
    "rotation_axis_tilt_deg": 0.2,
    "beam_px": 1.0,
    "camera_length_mm": 0.01,
    "distortion_amplitude_percent": 0.3,
}
"""Less is said by no line, however sure: no program minds it. Of the camera length a share."""


@dataclass(frozen=True, slots=True)
class Refined:
    """One figure in words: as the reflections have it, as the files have it, and how to take the former.

    off: whether both differ by more than SIGMAS and LEAST. setting: for `credline export --set`.
    """

    name: str
    fitted: str
    in_files: str
    off: bool
    setting: tuple[str, ...]


def refined(info: RunInfo, run: RunHeader, crystal: FoundCrystal) -> Iterator[Refined]:
    """Each figure that reflections tell of."""
    fitted = crystal.fitted
    yield _angle(info, crystal, "rotation_axis_deg", "rotation axis", info.rotation_axis_deg)
    yield _angle(info, crystal, "rotation_axis_tilt_deg", "lean of the rotation axis", info.rotation_axis_tilt_deg)
    fast, slow = fitted["beam_fast_px"], fitted["beam_slow_px"]
    off_px = (fast.value - run.beam_fast_px, slow.value - run.beam_slow_px)
    sure = all(abs(o) <= SIGMAS * each.sigma for o, each in zip(off_px, (fast, slow), strict=True))
    yield Refined(
        "primary beam",
        f"{fast.value:.2f}, {slow.value:.2f} +- {max(fast.sigma, slow.sigma):.2f} px",
        f"{run.beam_fast_px:.2f}, {run.beam_slow_px:.2f} px",
        not sure and math.hypot(*off_px) > LEAST["beam_px"],
        (f"beam=[{fast.value:.2f}, {slow.value:.2f}]",),
    )
    length = fitted["camera_length_mm"]
    off = abs(length.value - info.camera_length_mm)
    sigma = math.hypot(length.sigma, _calibrated_to(info, "camera_length_mm"))
    yield Refined(
        "camera length",
        f"{length.value:.2f} +- {length.sigma:.2f} mm",
        f"{info.camera_length_mm:g} mm{_origin(info, 'camera_length_mm')}",
        off > SIGMAS * sigma and off > LEAST["camera_length_mm"] * info.camera_length_mm,
        (f"geometry.camera_length_mm={length.value:.2f}",),
    )
    yield _ellipse(info, crystal)


def geometry_questions(info: RunInfo, run: RunHeader, crystal: FoundCrystal) -> Iterator[str]:
    """One line for each figure that is off, for people."""
    for each in refined(info, run, crystal):
        if each.off:
            settings = " ".join(f"--set '{setting}'" for setting in each.setting)
            yield (
                f"{each.name}: the reflections say {each.fitted}, all files have {each.in_files}; which is right? "
                f"credline export {info.folder} {settings} takes that of the reflections"
            )


def _angle(info: RunInfo, crystal: FoundCrystal, key: str, name: str, in_files: float) -> Refined:
    fitted = crystal.fitted[key]
    off = abs((fitted.value - in_files + 180) % 360 - 180)
    sigma = math.hypot(fitted.sigma, _calibrated_to(info, key))
    return Refined(
        name,
        f"{fitted.value:.2f} +- {fitted.sigma:.2f} deg",
        f"{in_files:g} deg{_origin(info, key)}",
        off > SIGMAS * sigma and off > LEAST[key],
        (f"geometry.{key}={fitted.value:.2f}",),
    )


def _ellipse(info: RunInfo, crystal: FoundCrystal) -> Refined:
    """Amplitude and azimuth are one figure with two numbers: of a round lens the second means nothing."""
    amplitude, azimuth = (crystal.fitted[f"distortion_{name}"] for name in ("amplitude_percent", "azimuth_deg"))
    told = (info.distortion_amplitude_percent, info.distortion_azimuth_deg)
    ours = (amplitude.value, azimuth.value)
    (x, y), (told_x, told_y) = (
        (a * math.cos(2 * math.radians(way)), a * math.sin(2 * math.radians(way))) for a, way in (ours, told)
    )
    off = math.hypot(x - told_x, y - told_y)
    sigma = math.hypot(amplitude.sigma, _calibrated_to(info, "distortion_amplitude_percent"))
    return Refined(
        "ellipse of the lens",
        f"{amplitude.value:.2f} +- {amplitude.sigma:.2f} % along {azimuth.value:.0f} deg",
        f"{told[0]:g} % along {told[1]:g} deg{_origin(info, 'distortion_amplitude_percent')}",
        off > SIGMAS * sigma and off > LEAST["distortion_amplitude_percent"],
        (
            f"geometry.distortion_amplitude_percent={amplitude.value:.3f}",
            f"geometry.distortion_azimuth_deg={azimuth.value:.1f}",
        ),
    )


def _calibrated_to(info: RunInfo, name: str) -> float:
    return float(info.calibrated[name]["sigma"]) if name in info.calibrated else 0.0


def _origin(info: RunInfo, name: str) -> str:
    return f" ({info.origins[name]})" if name in info.origins else ""
