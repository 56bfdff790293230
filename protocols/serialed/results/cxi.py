"""CXI (`patterns.cxi`): all patterns for CrystFEL and programs that read its files, with geometry and lists of events.

Nothing is copied: the stack is a virtual dataset over frames.h5 on the grid of equal pixels. Beside it the mask, where
the primary beam was in each pattern (as the shift of the detector that CrystFEL asks for), the spots of the good ones,
and the table of crystals, row k of `/entry_1/shots` being event k. Move the files together with frames.h5.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drivers.geometry import high_tension_v
from protocols.products.atomic import replacing, write_text
from protocols.products.nexus import virtual_sweep
from protocols.products.source import FRAMES_FILE
from protocols.serialed.results.crystaltable import CrystalRow
from protocols.serialed.results.crystfel import detector_shift_mm, events_text, geometry_text
from protocols.serialed.results.masks import Masks
from protocols.serialed.results.nexus import write_columns
from protocols.serialed.results.patternlook import PatternLook
from protocols.serialed.results.source import Patterns, SerialSource

if TYPE_CHECKING:
    import h5py

FILE, GEOMETRY, EVENTS, GOOD_EVENTS = "patterns.cxi", "patterns.geom", "events.lst", "events_good.lst"
CXI_VERSION = 160
INVALID, DEAD = 1, 8
"""Bits of CXI's masks."""
ELECTRON_C = 1.602176634e-19


def write_cxi(
    folder: Path,
    source: SerialSource,
    patterns: Patterns,
    masks: Masks,
    beam_px: tuple[float, float],
    beam_told: str,
    looks: Sequence[PatternLook],
) -> list[Path]:
    """Write all files into the run folder, each whole or not at all; which were written. Raises StorageError."""
    has_peaks = any(len(look.peaks) for look in looks)
    _write(folder / FILE, source, patterns, masks, beam_px, looks, has_peaks)
    write_text(folder / GEOMETRY, geometry_text(patterns, beam_px, beam_told, has_peaks))
    write_text(folder / EVENTS, events_text(FILE, range(patterns.count)))
    good = sorted(row.pattern for row in source.tables.crystals if row.is_good and row.pattern >= 0)
    write_text(folder / GOOD_EVENTS, events_text(FILE, good))
    return [folder / name for name in (FILE, GEOMETRY, EVENTS, GOOD_EVENTS)]


def _write(
    path: Path,
    source: SerialSource,
    patterns: Patterns,
    masks: Masks,
    beam_px: tuple[float, float],
    looks: Sequence[PatternLook],
    has_peaks: bool,
) -> None:
    import h5py

    with replacing(path) as part, h5py.File(part, "w", libver=("earliest", "v110")) as file:
        file["cxi_version"] = CXI_VERSION
        entry = file.create_group("entry_1")
        entry["title"] = source.name
        entry["program_name"] = f"credline {source.document.version or ''}".strip()
        entry["start_time"] = patterns.created_at.isoformat()
        instrument = entry.create_group("instrument_1")
        instrument["name"] = "transmission electron microscope"
        beam = instrument.create_group("source_1")
        beam["probe"] = "electron"
        beam["energy"] = high_tension_v(patterns.wavelength_A) * ELECTRON_C
        beam["energy"].attrs["units"] = "J"
        detector = instrument.create_group("detector_1")
        detector["description"] = patterns.detector or "camera"
        for name, value_m in (
            ("distance", patterns.camera_length_mm / 1000),
            ("x_pixel_size", patterns.pixel_size_mm / 1000),
            ("y_pixel_size", patterns.pixel_size_mm / 1000),
        ):
            detector[name] = value_m
            detector[name].attrs["units"] = "m"
        detector["mask"] = (masks.cross * np.uint32(INVALID)) | (masks.dead * np.uint32(DEAD))
        virtual_sweep(detector, patterns, FRAMES_FILE)
        data = entry.create_group("data_1")
        data["data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        data["mask"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/mask")
        _shots(entry, source, patterns, beam_px, looks)
        if has_peaks:
            _peaks(entry, looks)


def _shots(
    entry: "h5py.Group",
    source: SerialSource,
    patterns: Patterns,
    beam_px: tuple[float, float],
    looks: Sequence[PatternLook],
) -> None:
    """The row of each event: its crystal, and how far the beam was off."""
    of = {row.pattern: row for row in source.tables.crystals if row.pattern >= 0}
    rows = [of.get(number) or _nobody(number) for number in range(patterns.count)]
    group = entry.create_group("shots")
    write_columns(group, CrystalRow, rows)
    shifts = [
        (0.0, 0.0) if look.beam_px is None else detector_shift_mm(patterns, beam_px, look.beam_px) for look in looks
    ]
    for axis, name in enumerate(("shift_x_mm", "shift_y_mm")):
        group[name] = np.array(shifts, np.float64).reshape(-1, 2)[:, axis]
        group[name].attrs["units"] = "mm"
    group["beam_seen"] = np.array([look.beam_px is not None for look in looks], np.uint8)


def _nobody(pattern: int) -> CrystalRow:
    nan = math.nan
    return CrystalRow(
        -1, -1, -1, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, False, pattern,
        why_not="nothing tells of its crystal",
    )  # fmt: skip


def _peaks(entry: "h5py.Group", looks: Sequence[PatternLook]) -> None:
    """Spots as CXI has them: pixel indices, to which CrystFEL adds the half pixel."""
    group = entry.create_group("result_1")
    most = max(len(look.peaks) for look in looks)
    counts = np.array([len(look.peaks) for look in looks], np.int32)
    table = np.zeros((3, len(looks), most), np.float32)
    for number, look in enumerate(looks):
        table[:2, number, : len(look.peaks)] = look.peaks[:, :2].T - 0.5
        table[2, number, : len(look.peaks)] = look.peaks[:, 2]
    group["nPeaks"] = counts
    for name, values in zip(("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity"), table, strict=True):
        group.create_dataset(name, data=values, compression="gzip")
    group.attrs["meaning"] = "of patterns that were scored as good; others were not looked through for spots"
