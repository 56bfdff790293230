"""The folder `pyautoprocess` for the program of that name (Nelson laboratory): a movie, and the microscope it is from.

It takes `NAME_DISTANCE_RATE_EXPOSURE.mrc` for a movie, splits it into TIFF pictures and writes an XDS.INP of its own,
with the numbers of the name and those of `microscope.json`. That XDS.INP knows neither gaps nor a cross, but pixels
below 1 are not valid in it, and the program adds 1 to all counts. So what holds no counts is -1 in the movie: pictures
of gaps and those in a shadow, the wide cross, dead pixels. Its limit of overload is 65534 for every camera, so what is
saturated is 65535.
Pictures are square there; `not_square` says so of others.

The movie is made of the SMV pictures, which are corrected already.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.products.atomic import make_folder, replacing, write_text
from protocols.products.metadata import RunHeader
from protocols.products.mrc import header_record
from protocols.products.smv import HEADER_BYTES
from protocols.products.source import RunInfo
from protocols.products.xds import TRUSTED_VALUES

FOLDER = "pyautoprocess"
MICROSCOPE = "credline"
"""The name of the entry in microscope.json, as --microscope-config takes it."""
NO_COUNTS, OVERLOADED = -1, 65535
FLOAT32 = 2
"""MRC's mode for it: whole numbers are exact up to 2^24, and unlike uint16 it has negative ones."""


def write_pyautoprocess(info: RunInfo, run: RunHeader, untrusted: NDArray[np.bool_], smv: Path) -> int:
    """Write movie and microscope.json into `pyautoprocess` of the run folder; returns how many files (0: `not_square`).

    untrusted: (rows, columns) of the corrected grid. smv: the folder with all pictures of the run, NNNNN.img.
    """
    if any(not_square(info)):
        return 0
    folder = info.folder / FOLDER
    make_folder(folder)
    name = movie_name(info)
    slots = range(info.first_slot, info.last_slot + 1)
    measured = set(run.measured(info))
    record = header_record((len(slots), *info.shape), FLOAT32)
    with replacing(folder / name) as part, part.open("wb") as file:
        file.write(record.tobytes())
        for slot in slots:
            picture = np.full(info.shape, NO_COUNTS, dtype="<f4")
            if slot in measured:
                counts = np.fromfile(smv / f"{slot:05d}.img", "<u2", offset=HEADER_BYTES).reshape(info.shape)
                np.copyto(picture, np.where(counts >= run.saturation, OVERLOADED, counts), where=~untrusted)
            file.write(picture.data)
    for old in folder.glob("*.mrc"):  # of an earlier export, before something was corrected
        if old.name != name:
            old.unlink()
    write_text(folder / "microscope.json", json.dumps({MICROSCOPE: microscope(info, run)}, indent=2) + "\n")
    return 2


def movie_name(info: RunInfo) -> str:
    """Sample, distance (mm), rate (deg/s), exposure (s), with '_' between.

    Rate times exposure is taken for the width of an image, so the exposure is the period of the slots here.
    """
    sample = "".join(c if c.isascii() and c.isalnum() else "-" for c in info.sample) or "sample"
    rate_deg_s = abs(info.oscillation_deg) / info.period_s
    return f"{sample}_{info.camera_length_mm:.4f}_{rate_deg_s:.9f}_{info.period_s:.6f}.mrc"


def microscope(info: RunInfo, run: RunHeader) -> dict[str, Any]:
    """An entry of its microscopes, with the figures of our XDS.INP, or XDS' defaults where that has none."""
    return {
        "rotation_axis": " ".join(f"{c:.6f}" for c in run.rotation.xds_axis),
        "frame_size": info.shape[0],
        "signal_pixel": 3,
        "min_pixel": 6,
        "background_pixel": 6,
        "value_range_min": TRUSTED_VALUES[0],
        "value_range_max": TRUSTED_VALUES[1],
        "pixel_size": run.pixel_size_mm,
        "wavelength": f"{run.wavelength_A:.7f}",
        "beam_center_x": round(run.beam_fast_px + 0.5, 4),
        "beam_center_y": round(run.beam_slow_px + 0.5, 4),
        "file_extension": ".mrc",
    }


def not_square(info: RunInfo) -> Iterator[str]:
    """Why there is no movie; nothing for square pictures."""
    rows, columns = info.shape
    if rows != columns:
        yield (
            f"pyautoprocess knows square pictures only, and these are {rows} x {columns}: no movie was written for it; "
            "use SMV/XDS.INP"
        )
