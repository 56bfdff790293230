"""From the run folder of a flux calibration to electrons per A^2 and s, one value for each setting of the panel.

Counts of a pixel in the disc, by the camera's gain, are electrons per pixel; how much of the specimen a pixel shows,
the crystal's moves tell. What cannot be a calibration is refused with DataError; the run folder stays as it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.record.jsonobject import JsonObject
from protocols.calibrate.disc.discfit import Disc
from protocols.calibrate.disc.frames import DiscFrames, Seen
from protocols.calibrate.disc.snapshot import Moved, moved_of
from protocols.calibrate.measured import Analysed, Measured
from protocols.calibrate.truth import truth_of

Array = NDArray[np.float64]

NAME = "flux_e_A2_s"
A2_PER_NM2 = 100.0
RESPONSE_SHARE = 0.01
"""By how much the pixels of a disc may collect more or less than those of the whole camera, where nobody knows their
response: a camera of four modules that differ by 3 % makes 1 % (by 30 simulated instruments)."""
GAIN_SHARE = 0.003
"""A gain that the pictures' scatter tells is not surer than this."""
LIKE_SHARE = 0.3
CLEAR_PX, LANDS_SIGMAS = 3.0, 2.0
FEWEST_COUNTS = 2.0


@dataclass(frozen=True, slots=True)
class Gain:
    """Counts per electron. source: in words."""

    value: float
    sigma: float
    source: str


def analyse(folder: Path) -> Analysed:
    """The calibration of a run, with a picture in its `report` folder. Raises DataError for what makes none."""
    from protocols.calibrate.disc.fluxdrawing import draw_flux

    with DiscFrames(folder, "flux") as frames:
        visits = list(frames.visits())
        plan, has_response, exposure_s = frames.run.plan, frames.has_response, frames.exposure_s
        calibrated = _calibrated(frames.run.instrument)
    moves, panels = parted(visits, 8 * int(plan["rounds"]))
    try:
        moved = moved_of(moves)
        gain = gain_of(float(plan["gain"]), calibrated, moves)
        bright, said = _settings(moved, moves, panels)
    except DataError as error:
        raise DataError(f"{folder}: {error}; nothing was stored.") from error
    size, size_sigma = moved.fit.determinant
    shares = [size_sigma / abs(size), gain.sigma / gain.value, 0.0 if has_response else RESPONSE_SHARE]
    values = {}
    for (spot_size, brightness), (counts, share) in bright.items():
        flux = counts / exposure_s / gain.value * abs(size) / A2_PER_NM2
        sigma = flux * math.hypot(*shares, share)
        values[f"{NAME} at spot {spot_size} {brightness:g}"] = Measured(
            flux, sigma, "electrons per A^2 and s", spot_size=spot_size, brightness=brightness
        )
    path = folder / "report" / "flux.png"
    draw_flux(path, moved, values)
    truth = truth_of(folder)
    lines = [
        f"{path}: the disc, and the flux of each setting",
        f"gain {gain.value:.3f} +- {gain.sigma:.2g} counts per electron, {gain.source}; a pixel shows "
        f"{1 / abs(size):.4g} "
        f"nm^2 +- {size_sigma / abs(size):.1%}; response of the pixels "
        + ("divided out" if has_response else f"not known: +- {RESPONSE_SHARE:.1%}"),
        *said,
    ]
    if any(seen.spot_size == 0 for seen in visits):
        lines.append(
            "the microscope tells no spot size: the values are stored as those of spot 0, and hold as it is now"
        )
    return Analysed(values, tuple(lines), truth={name: truth[name] for name in values if name in truth})


def parted(visits: Sequence[Seen], moves: int) -> tuple[list[Seen], list[Seen]]:
    """Those of a run that was not ended early: the moves, and the settings of the panel. Raises DataError for
    others.
    """
    if len(visits) <= moves:
        raise DataError(f"flux: the run was ended after {len(visits)} visits of more than {moves}; nothing was stored.")
    return list(visits[:moves]), list(visits[moves:])


def _calibrated(instrument: JsonObject) -> Gain | None:
    """The gain of the instrument file, where the run had it."""
    calibration = instrument.get("calibration")
    figures = calibration.get("figures") if isinstance(calibration, Mapping) else None
    figure = figures.get("detector.gain_counts_per_electron") if isinstance(figures, Mapping) else None
    if not isinstance(figure, Mapping) or figure.get("value") is None:
        return None
    return Gain(float(figure["value"]), float(figure["sigma"]), f"calibrated ({figure['data']})")


def gain_of(typed: float, calibrated: Gain | None, visits: Sequence[Seen]) -> Gain:
    """Typed goes before calibrated before what the pictures' scatter tells. Raises DataError where nothing tells it."""
    if typed > 0:
        return Gain(typed, 0.0, "typed")
    if calibrated is not None:
        return calibrated
    told = [(seen.gain, seen.pairs) for seen in visits if seen.pairs and math.isfinite(seen.gain)]
    pairs = sum(number for _, number in told)
    if not pairs:
        raise DataError("the gain of the camera is not known, and the pictures do not tell it. Calibrate the flatfield")
    value = sum(gain * number for gain, number in told) / pairs
    if not value > 0:
        raise DataError("the pictures do not scatter at all, so they are no counts of electrons")
    # The median of absolute differences uses 37 % of them.
    return Gain(
        value, value * math.hypot(GAIN_SHARE, math.sqrt(2 / (0.37 * pairs))), "by how much the pictures scatter"
    )


def _settings(
    moved: Moved, moves: Sequence[Seen], panels: Sequence[Seen]
) -> tuple[dict[tuple[int, float], tuple[float, float]], list[str]]:
    """Counts of a pixel in the disc and their uncertainty as a share, for each setting; and what is to be said.

    Raises DataError where none is of use.
    """
    still, disc = moved.shadows.still, moved.disc
    lit = _lit(still, disc, moved)
    counts = _typical(still[lit])
    clear = lit & _beside_crystal(moved)
    if not clear.any():
        raise DataError(
            "the crystal covers the light while it lies where it was found. Take a smaller one, or bring it to the "
            "middle of the disc"
        )
    first = moves[0].spot_size, moves[0].brightness
    found: dict[tuple[int, float], tuple[float, float]] = {}
    said: list[str] = []
    for seen in panels:
        setting = seen.spot_size, seen.brightness
        if seen.saturated:
            said.append(f"spot {setting[0]}, brightness {setting[1]:g}: the camera is saturated, so it is not measured")
            continue
        share = _typical(seen.picture[clear] / still[clear])
        if share * counts < FEWEST_COUNTS:
            said.append(f"spot {setting[0]}, brightness {setting[1]:g}: no light in the disc, so it is not measured")
            continue
        pixels = np.count_nonzero(clear) * moved.window.times**2
        found[setting] = share * counts, 1 / math.sqrt(share * counts * pixels)
    if first not in found:
        found[first] = counts, 0.0
    return found, said


def _lit(still: Array, disc: Disc, moved: Moved) -> NDArray[np.bool_]:
    """Where in the disc the light is seen, at the times when the crystal is elsewhere."""
    within = moved.window.distance_px(disc.fast_px, disc.slow_px) < disc.radius_px - 2 * disc.soft_px
    return np.asarray(within & (still > (1 - LIKE_SHARE) * disc.light) & (still < (1 + LIKE_SHARE) * disc.light))


def _beside_crystal(moved: Moved) -> NDArray[np.bool_]:
    """Where the crystal is not while it lies where it was found: beyond the farthest of its silhouette and of where the
    stage lands.
    """
    scale = math.sqrt(abs(moved.fit.determinant[0]))
    reach_px = CLEAR_PX + moved.shadows.reach_px * moved.window.times + LANDS_SIGMAS * moved.fit.repeat_nm * scale
    return np.asarray(moved.window.distance_px(*moved.fit.offset_px.tolist()) > reach_px)


def _typical(values: Array) -> float:
    """The mean without what is far from the median."""
    middle = float(np.median(values))
    return float(np.mean(values[np.abs(values - middle) <= LIKE_SHARE * abs(middle) + 1e-9]))
