"""The folder `ED` for AutoED (eBIC): master, data and metadata under the names by which it knows a data set.

AutoED looks in folders of this name, takes `NAME_master.h5` for a data set when `NAME_data_000001.h5` and `NAME.json`
lie beside it, converts these by nexgen and hands them to DIALS. It is made for one camera, the DECTRIS Singla of
1062 x 1028 pixels: its mask is that one's, nexgen's pixels are 0.075 mm. It finds and reads the data of other cameras,
too, and stops at the conversion; `not_converted` says so.

The pictures are the raw ones of frames.h5, as in master.nxs, and nothing is copied. Angles are about the axis that
makes every step positive (rotation.py), for DIALS refuses negative steps in what nexgen writes. AutoED's pipelines have
an axis of their own; ours stands in the metadata for them to use (docs/products.md).
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.products.atomic import make_folder, replacing, write_text
from protocols.products.metadata import RunHeader
from protocols.products.nexus import MASK_CROSS, virtual_sweep
from protocols.products.source import FRAMES_FILE, RunInfo

FOLDER = "ED"
SINGLA_SHAPE = (1062, 1028)
SINGLA = "SINGLA"
"""What nexgen looks for in the camera's description."""


def write_autoed(info: RunInfo, run: RunHeader, untrusted: NDArray[np.bool_]) -> int:
    """Write the three files into `ED` of the run folder; returns their number. Each is atomic, the metadata the last.

    untrusted: (rows, columns) of the corrected grid.
    """
    import h5py

    folder = info.folder / FOLDER
    make_folder(folder)
    base = info.folder.resolve().name
    with (
        replacing(folder / f"{base}_data_000001.h5") as part,
        h5py.File(part, "w", libver=("earliest", "v110")) as file,
    ):
        virtual_sweep(file.create_group("entry/data"), info, f"../{FRAMES_FILE}")
    with replacing(folder / f"{base}_master.h5") as part, h5py.File(part, "w") as file:
        _master(file, info, run, untrusted)
    write_text(folder / f"{base}.json", json.dumps(metadata(info, run), indent=2, ensure_ascii=False) + "\n")
    return 3


def metadata(info: RunInfo, run: RunHeader) -> dict[str, Any]:
    """What AutoED asks for, in A, deg, mm, deg/s and images a second; below it, what pipelines can use besides.

    rotation_axis, mosflm_beam_centre (slow, fast; mm): as dials.import takes them. empty_images: counted from 1; gaps,
    and what is in a shadow.
    """
    measured = set(run.measured(info))
    rotation = run.rotation
    slow_mm, fast_mm = (px * run.pixel_size_mm for px in (run.beam_slow_px, run.beam_fast_px))
    return {
        "wavelength": info.wavelength_A,
        "angle_increment": rotation.width_deg,
        "start_angle": rotation.start_deg,
        "detector_distance": info.camera_length_mm,
        "sample_type": info.sample,
        "unit_cell": None,
        "space_group": None,
        "rotation_speed": rotation.width_deg / info.period_s,
        "frame_rate": 1 / info.period_s,
        "number_of_images": info.last_slot,
        "exposure_time": info.exposure_s,
        "rotation_axis": ",".join(f"{c:.6f}" for c in rotation.axis),
        "mosflm_beam_centre": f"{slow_mm:.5f},{fast_mm:.5f}",
        "empty_images": [k for k in range(1, info.last_slot + 1) if k not in measured],
        "run_id": info.run_id,
        "program": run.program,
    }


def not_converted(info: RunInfo) -> Iterator[str]:
    """Why AutoED will not convert these data; nothing for data of its camera."""
    if info.shape != SINGLA_SHAPE or SINGLA not in info.detector.upper():
        rows, columns = info.shape
        yield (
            f"{info.folder / FOLDER}: AutoED finds and reads these files, and stops at their conversion: that is for a "
            f"Singla of 1062 x 1028 px, this camera is {info.detector or 'unnamed'!r} of {rows} x {columns}"
        )


def _master(file: Any, info: RunInfo, run: RunHeader, untrusted: NDArray[np.bool_]) -> None:
    """What nexgen takes from the master file of a Singla. A mask of that size AutoED replaces by its own."""
    detector = file.create_group("entry/instrument/detector")
    detector["description"] = info.detector or "camera"
    detector["count_time"] = info.exposure_s
    detector["frame_time"] = info.period_s
    detector["bit_depth_readout"] = 8 * np.dtype(info.raw_type).itemsize
    detector["x_pixel_size"] = detector["y_pixel_size"] = run.pixel_size_mm / 1000
    detector["beam_center_x"], detector["beam_center_y"] = run.beam_fast_px, run.beam_slow_px
    specific = detector.create_group("detectorSpecific")
    specific["data_collection_date"] = info.created_at.strftime("%Y-%m-%dT%H:%M:%S")
    specific["nimages"] = info.last_slot
    specific["ntriggers"] = 1
    specific["software_version"] = run.program
    place = specific if info.shape == SINGLA_SHAPE else detector
    place.create_dataset("pixel_mask", data=untrusted * np.uint32(MASK_CROSS), compression="gzip")
