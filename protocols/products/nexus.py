"""NeXus NXmx (`master.nxs`): the raw counts of frames.h5 as one sweep that DIALS imports directly.

Nothing is copied. The sweep is an HDF5 virtual dataset over frames.h5, and two things are made right by it:

* gaps: image k of the sweep is slot k, so angles are evenly spaced; slots without a frame read as zeros. (NXmx
  could list the kept frames only, but then the angles jump, and DIALS takes one start and one step.)
* the wide cross: the four modules are placed on the corrected grid, 4 pixels larger, each where it is; the wide
  rows and columns stand in the middle of the three that they cover, and all of the cross is in the pixel mask.
  One flat panel with right distances everywhere, the same pixel numbers as in the SMV files.

The counts are raw: the flatfield lies beside them with flatfield_applied = 0. Move master.nxs with its frames.h5;
alone it reads as zeros. /entry/credline/raw links to the untouched pictures.

The frame of NeXus (McStas: z along the beam, y up) is that of DIALS with x and z reversed.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.products.atomic import replacing
from protocols.products.cross import GROWTH_PX, wide_range
from protocols.products.metadata import RunHeader, hand_words
from protocols.products.source import FRAMES_FILE, RunInfo

if TYPE_CHECKING:
    import h5py

SENSOR_THICKNESS_MM = 1e-3
"""Electrons stop near the surface. The 0.3 mm of the chip would make DIALS correct for the depth of X-rays."""

FIGURES = {
    "wavelength_A": "wavelength_A",
    "camera_length_mm": "camera_length_mm",
    "pixel_size_mm": "pixel_size_mm",
    "rotation_axis_deg": "rotation_axis_deg",
    "rotation_axis_tilt_deg": "rotation_axis_tilt_deg",
    "beam_fast_px": "nominal_beam_fast_px",
    "beam_slow_px": "nominal_beam_slow_px",
    "distortion_amplitude_percent": "distortion_amplitude_percent",
    "distortion_azimuth_deg": "distortion_azimuth_deg",
}
"""Figures of the geometry, and what they are called in a run's information."""

MASK_CROSS, MASK_DEAD = 1, 2
"""Bits of pixel_mask: 0 is a gap between modules, here the shared-out cross; 1 a dead pixel."""


def write_nexus(
    path: Path,
    info: RunInfo,
    run: RunHeader,
    untrusted: NDArray[np.bool_],
    dead: NDArray[np.bool_],
    response: NDArray[np.float32] | None,
) -> None:
    """Write the master file beside frames.h5; atomic.

    untrusted, dead, response: (rows, columns) of the corrected grid; response None without a flatfield.
    """
    import h5py

    with replacing(path) as part, h5py.File(part, "w", libver=("earliest", "v110")) as file:
        entry = nx_group(file, "entry", "NXentry")
        file.attrs["default"] = "entry"
        entry["definition"] = "NXmx"
        entry["definition"].attrs["version"] = "1.0"
        entry["start_time"] = info.created_at.isoformat()
        entry["end_time_estimated"] = info.wall_time(int(info.frame_end_ns[-1])).isoformat()
        entry["entry_identifier"] = info.run_id
        entry["program_name"] = run.program
        write_source(entry)
        _data(entry, info)
        _sample(entry, info, run)
        write_instrument(entry, info, (run.beam_fast_px, run.beam_slow_px), untrusted, dead, response)
        _provenance(entry, info, run)


def _data(entry: "h5py.Group", info: RunInfo) -> None:
    data = nx_group(entry, "data", "NXdata")
    data.attrs["signal"] = "data"
    virtual_sweep(data, info, FRAMES_FILE)


class Stack(Protocol):
    """Pictures of frames.h5 as one virtual dataset: image slot - 1 of it is row `row` there; others read as zeros."""

    @property
    def slot(self) -> NDArray[np.int32]: ...  # noqa: D102
    @property
    def row(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def last_slot(self) -> int: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def raw_shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def raw_type(self) -> str: ...  # noqa: D102
    @property
    def raw_place(self) -> str: ...  # noqa: D102
    @property
    def wide_cross(self) -> bool: ...  # noqa: D102


class Instrument(Stack, Protocol):
    """What is said of the instrument beside its pictures; as `RunInfo` has it."""

    @property
    def created_at(self) -> datetime: ...  # noqa: D102
    @property
    def wavelength_A(self) -> float: ...  # noqa: D102
    @property
    def camera_length_mm(self) -> float: ...  # noqa: D102
    @property
    def pixel_size_mm(self) -> float: ...  # noqa: D102
    @property
    def detector(self) -> str: ...  # noqa: D102
    @property
    def exposure_s(self) -> float: ...  # noqa: D102
    @property
    def period_s(self) -> float: ...  # noqa: D102
    @property
    def saturation(self) -> int: ...  # noqa: D102
    @property
    def origins(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def calibrated(self) -> Mapping[str, Mapping[str, Any]]: ...  # noqa: D102


def virtual_sweep(data: "h5py.Group", info: Stack, frames_file: str) -> None:
    """The sweep as virtual dataset `data` of a group: image k - 1 is slot k, gaps read as zeros.

    frames_file: where frames.h5 lies, from the folder of the file that is written.
    """
    import h5py

    pixel = np.dtype(info.raw_type)
    sweep = h5py.h5s.create_simple((info.last_slot, *info.shape))
    spool = h5py.h5s.create_simple((int(info.row.max()) + 1, *info.raw_shape))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)  # h5py's own virtual layouts write the time of writing
    creation.set_fill_value(np.zeros((), dtype=info.raw_type))
    for raw_rows, rows in _pieces(info.raw_shape[0], info.wide_cross):
        for raw_columns, columns in _pieces(info.raw_shape[1], info.wide_cross):
            size = (raw_rows.stop - raw_rows.start, raw_columns.stop - raw_columns.start)
            for (first, last), row in _blocks(info):
                sweep.select_hyperslab((first - 1, rows.start, columns.start), (last - first + 1, *size))
                spool.select_hyperslab((row, raw_rows.start, raw_columns.start), (last - first + 1, *size))
                creation.set_virtual(sweep, frames_file.encode(), info.raw_place.encode(), spool)
    sweep.select_all()
    h5py.h5d.create(data.id, b"data", h5py.h5t.py_create(pixel), sweep, creation)


def _blocks(info: Stack) -> list[tuple[tuple[int, int], int]]:
    """Runs of consecutive slots that lie consecutively in frames.h5: ((first, last), row of the first)."""
    blocks: list[tuple[tuple[int, int], int]] = []
    for slot, row in zip(info.slot.tolist(), info.row.tolist(), strict=True):
        if blocks:
            (first, last), start = blocks[-1]
            if slot == last + 1 and row == start + (slot - first):
                blocks[-1] = ((first, slot), start)
                continue
        blocks.append(((slot, slot), row))
    return blocks


def _pieces(raw_size: int, wide_cross: bool) -> list[tuple[slice, slice]]:
    """Where the raw lines of one direction go: (raw, corrected) slices."""
    if not wide_cross:
        return [(slice(0, raw_size), slice(0, raw_size))]
    half, (begin, end) = raw_size // 2, wide_range(raw_size)
    return [
        (slice(0, half - 1), slice(0, begin)),
        (slice(half - 1, half), slice(begin + 1, begin + 2)),
        (slice(half, half + 1), slice(begin + 4, begin + 5)),
        (slice(half + 1, raw_size), slice(end, raw_size + GROWTH_PX)),
    ]


def _sample(entry: "h5py.Group", info: RunInfo, run: RunHeader) -> None:
    sample = nx_group(entry, "sample", "NXsample")
    sample["name"] = info.sample
    sample["depends_on"] = "/entry/sample/transformations/alpha"
    axes = nx_group(sample, "transformations", "NXtransformations")
    rotation = run.rotation
    slots = np.arange(1, info.last_slot + 1)
    start = rotation.start_deg + (slots - 1) * rotation.width_deg
    x, y, z = rotation.axis
    nx_axis(axes, "alpha", start, "rotation", (-x, y, -z), "deg", ".")
    axes["alpha_end"] = start + rotation.width_deg
    axes["alpha_end"].attrs["units"] = "deg"
    axes["alpha_increment_set"] = rotation.width_deg
    axes["alpha_increment_set"].attrs["units"] = "deg"


def write_instrument(
    entry: "h5py.Group",
    info: Instrument,
    beam_px: tuple[float, float],
    untrusted: NDArray[np.bool_],
    dead: NDArray[np.bool_],
    response: NDArray[np.float32] | None,
) -> None:
    """Beam, camera with its masks, and where each pixel is. beam_px: the primary beam (fast, slow); else as for
    `write_nexus`.
    """
    instrument = nx_group(entry, "instrument", "NXinstrument")
    instrument["name"] = "transmission electron microscope"
    instrument["time_zone"] = info.created_at.strftime("%z")
    beam = nx_group(instrument, "beam", "NXbeam")
    nx_number(beam, "incident_wavelength", info.wavelength_A, "angstrom")
    nx_number(beam, "total_flux", 0.0, "Hz")  # asked for by NXmx; not measured
    detector = nx_group(instrument, "detector", "NXdetector")
    detector["description"] = info.detector or "camera"
    detector["type"] = "Pixel"
    detector["sensor_material"] = "Si"
    nx_number(detector, "sensor_thickness", SENSOR_THICKNESS_MM, "mm")
    nx_number(detector, "distance", info.camera_length_mm, "mm")
    nx_number(detector, "beam_center_x", beam_px[0], "pixel")
    nx_number(detector, "beam_center_y", beam_px[1], "pixel")
    nx_number(detector, "x_pixel_size", info.pixel_size_mm, "mm")
    nx_number(detector, "y_pixel_size", info.pixel_size_mm, "mm")
    nx_number(detector, "count_time", info.exposure_s, "s")
    nx_number(detector, "frame_time", info.period_s, "s")
    detector["saturation_value"] = info.saturation - 1  # the largest count that is valid, by NXmx
    raw = np.dtype(info.raw_type)
    # Below this a pixel is not trusted: counts of a camera with signs are right below 0.
    detector["underload_value"] = 0 if raw.kind == "u" else -(2 ** (min(8 * raw.itemsize, 32) - 1))
    detector["bit_depth_readout"] = 8 * raw.itemsize
    detector["pixel_mask"] = (untrusted & ~dead) * np.uint32(MASK_CROSS) + dead * np.uint32(MASK_DEAD)
    detector["pixel_mask_applied"] = False
    if response is not None:
        detector.create_dataset("flatfield", data=response, compression="gzip", shuffle=True)
    detector["flatfield_applied"] = False
    detector["depends_on"] = "/entry/instrument/detector/transformations/distance"
    axes = nx_group(detector, "transformations", "NXtransformations")
    if "camera_length_mm" in info.calibrated:
        nx_number(detector, "distance_errors", float(info.calibrated["camera_length_mm"]["sigma"]), "mm")
    nx_axis(axes, "distance", np.array([info.camera_length_mm]), "translation", (0, 0, 1), "mm", ".")
    module = nx_group(detector, "module", "NXdetector_module")
    module["data_origin"] = np.array([0, 0])
    module["data_size"] = np.array(info.shape)
    corner = np.array(beam_px) * info.pixel_size_mm
    away = float(np.hypot(*corner))
    direction = (float(corner[0] / away), float(corner[1] / away), 0.0) if away else (1.0, 0.0, 0.0)
    on = "/entry/instrument/detector/transformations/distance"
    nx_axis(module, "module_offset", np.array([away]), "translation", direction, "mm", on)
    pixel = np.array([info.pixel_size_mm])
    on = "/entry/instrument/detector/module/module_offset"
    nx_axis(module, "fast_pixel_direction", pixel, "translation", (-1, 0, 0), "mm", on)
    nx_axis(module, "slow_pixel_direction", pixel, "translation", (0, -1, 0), "mm", on)


def write_source(entry: "h5py.Group") -> None:
    """What the beam is of."""
    source = nx_group(entry, "source", "NXsource")
    source["name"] = "electron gun"
    source["probe"] = "electron"
    source["type"] = "Electron Source"


def _provenance(entry: "h5py.Group", info: RunInfo, run: RunHeader) -> None:
    """What NXmx has no place for: the goniometer's own angles, the primary beam of each frame (beam_center_x and _y are
    one number each), and the way back to the untouched pictures.
    """
    import h5py

    notes = nx_group(entry, "credline", "NXcollection")
    notes["raw"] = h5py.ExternalLink(FRAMES_FILE, info.raw_place)
    notes["raw_frames"] = h5py.ExternalLink(FRAMES_FILE, info.table_place)
    notes["slot"] = info.slot
    notes["gap_slots"] = np.array(info.gaps, dtype=np.int32)
    for name, angle in (("stage_start", info.frame_start_deg), ("stage_end", info.frame_end_deg)):
        notes[name] = angle
        notes[name].attrs["units"] = "deg"
    nowhere = (float("nan"), float("nan"))
    seen = np.array([run.frame_beams.get(slot, nowhere) for slot in info.slot.tolist()])
    for axis, name in enumerate(("frame_beam_fast", "frame_beam_slow")):
        notes[name] = seen[:, axis]
        notes[name].attrs["units"] = "pixel"
    notes["beam_told"] = run.beam_told
    if info.camera_hand is not None:
        notes["camera_hand"] = info.camera_hand
        notes["camera_hand"].attrs["meaning"] = hand_words(info)
    write_figures(notes, info)


def write_figures(notes: "h5py.Group", info: Instrument) -> None:
    """Each figure of the geometry: its value, where it is from, and of a calibrated one how sure it is, when it was
    measured and in which run.
    """
    group = nx_group(notes, "geometry", "NXcollection")
    values = {name: getattr(info, place) for name, place in FIGURES.items()}
    for name, value in values.items():
        figure = nx_group(group, name, "NXcollection")
        units = {"mm": "mm", "px": "pixel", "deg": "deg", "A": "angstrom", "percent": "percent"}[
            name.rpartition("_")[2]
        ]
        nx_number(figure, "value", value, units)
        figure["method"] = info.origins.get(name, "default")
        if (sure := info.calibrated.get(name)) is not None:
            nx_number(figure, "value_errors", float(sure["sigma"]), units)
            figure["date"], figure["data"] = str(sure["made_on"]), str(sure["data"])


def nx_group(parent: "h5py.Group", name: str, kind: str) -> "h5py.Group":
    """A group of a class of NeXus."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def nx_number(parent: "h5py.Group", name: str, value: float, units: str) -> None:
    """A number with its unit."""
    parent[name] = value
    parent[name].attrs["units"] = units


def nx_axis(
    parent: "h5py.Group",
    name: str,
    values: NDArray[Any],
    kind: str,
    vector: tuple[float, float, float],
    units: str,
    depends_on: str,
) -> None:
    """An axis of NXtransformations."""
    parent[name] = values
    parent[name].attrs["transformation_type"] = kind
    parent[name].attrs["vector"] = np.array(vector, dtype=np.float64)
    parent[name].attrs["units"] = units
    parent[name].attrs["depends_on"] = depends_on
