"""What a rotation told of its crystal, kept in the run folder as `crystal.json` for the files of the run and its
report.

Written after a run with `live = true`, before its files are made, and after `credline live`. It is made of all frames
of a finished run, by their final angles, and of nothing that was told while it went on; so it can be made again.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.record.jsonobject import JsonDict
from protocols.lattice.rotationfit import RotationFit
from protocols.live.frames import SeriesFrames, open_frames
from protocols.live.look import Look
from protocols.live.lookedframes import LookedFrames
from protocols.live.words import summary_of
from protocols.products.atomic import write_text
from protocols.products.foundcrystal import CRYSTAL_FILE, SCHEMA, asked_of, found_crystal
from protocols.products.source import open_run
from protocols.spots.joining import Reflections

MOST_POINTS = 3000
"""Of the reflections that are kept, the brightest: a picture with more is no clearer, and the file stays small."""


def keep_current_crystal(folder: Path, progress: Callable[[int, int], None]) -> None:
    """Look at a run, unless what was found stands there already and was found with the geometry of now.

    progress(done, total) in frames; 8 ms each of 512 x 512, and a second or more for the lattice. Raises DataError for
    a run that is not readable, StorageError for a full disk.
    """
    with open_run(folder) as source:
        try:
            if found_crystal(source.info) is not None:
                return
        except DataError:  # damaged: written anew
            pass
    with open_frames(folder, None) as frames:
        looked, total = LookedFrames(frames), len(frames.slot)
        for index in range(total):
            looked.add(index, frames.counts(index))
            progress(index + 1, total)
        keep_crystal(folder, frames, looked.reflections, looked.look())


def keep_crystal(folder: Path, frames: SeriesFrames, reflections: Reflections, look: Look) -> None:
    """Write a look at all frames of a run into its folder. StorageError where that fails; what was there is whole."""
    with open_run(folder) as source:
        info = source.info
    kept: JsonDict = {"schema": SCHEMA, "program": f"credline {info.version}", "run": info.run_id}
    kept |= {"asked": asked_of(info)} | look.told
    fit = look.found.fit if look.found is not None and look.told["determined"] else None
    if fit is not None:
        kept["orientation_as_told"] = _as_told(frames, reflections, fit)
        kept["fitted"] = _fitted(fit, info.pixel_size_mm)
    kept["words"] = summary_of(look.told)
    kept["points"] = _points(frames, reflections, fit)
    write_text(folder / CRYSTAL_FILE, _text(kept))


def _as_told(frames: SeriesFrames, reflections: Reflections, fit: RotationFit) -> list[list[float]]:
    """(3, 3) the `orientation` that comes nearest to the reflections in the geometry that other programs are told."""
    place = frames.geometry.crystal(reflections.fast_px, reflections.slow_px, reflections.angle_deg)[fit.used]
    ub = np.linalg.lstsq(fit.hkl[fit.used].astype(np.float64), place, rcond=None)[0].T
    return [[round(float(x), 7) for x in row] for row in ub]


def _fitted(fit: RotationFit, pixel_size_mm: float) -> dict[str, dict[str, float]]:
    """The geometry that the reflections ask for, with what is told of it in them, by the names of `Geometry`."""
    geometry = fit.geometry
    strain, shear = geometry.strain, geometry.shear
    ellipse = math.hypot(strain, shear)
    of_ellipse = max(fit.sigma("strain"), fit.sigma("shear"))
    figures = {
        "rotation_axis_deg": (geometry.axis_deg, fit.sigma("axis_deg")),
        "rotation_axis_tilt_deg": (geometry.out_of_plane_deg, fit.sigma("out_of_plane_deg")),
        "beam_fast_px": (geometry.beam_fast_px, fit.sigma("beam_fast_px")),
        "beam_slow_px": (geometry.beam_slow_px, fit.sigma("beam_slow_px")),
        "camera_length_mm": (
            geometry.camera_length_px * pixel_size_mm,
            fit.sigma("camera_length_px") * pixel_size_mm,
        ),
        "distortion_amplitude_percent": (200 * ellipse, 200 * of_ellipse),
        "distortion_azimuth_deg": (
            math.degrees(math.atan2(-shear, strain)) / 2 % 180,
            min(90.0, math.degrees(of_ellipse / max(2 * ellipse, 1e-9))),
        ),
    }
    return {name: {"value": round(value, 5), "sigma": round(sigma, 6)} for name, (value, sigma) in figures.items()}


def _points(frames: SeriesFrames, reflections: Reflections, fit: RotationFit | None) -> list[list[float]]:
    """See `FoundCrystal.points`. With the geometry as it was told where no lattice is determined."""
    if not len(reflections):
        return []
    geometry = frames.geometry if fit is None else fit.geometry
    place = geometry.crystal(reflections.fast_px, reflections.slow_px, reflections.angle_deg)
    used: NDArray[np.bool_] = np.zeros(len(reflections), dtype=bool) if fit is None else fit.used
    brightest = np.sort(np.argsort(-reflections.intensity, kind="stable")[:MOST_POINTS])
    return [
        [*(round(float(x), 4) for x in place[k]), round(float(reflections.intensity[k]), 1), int(used[k])]
        for k in brightest.tolist()
    ]


def _text(kept: JsonDict) -> str:
    """JSON for people: a key a line, and a reflection a line."""
    lines = [f"  {json.dumps(key)}: {_value(key, value)}" for key, value in kept.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(key: str, value: Any) -> str:
    if key != "points" or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(point)}" for point in value) + "\n  ]"
