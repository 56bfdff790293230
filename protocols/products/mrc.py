"""MRC pictures (MRC2014, mode 6 = uint16) for REDp: a header of 1024 bytes made of mrcfile's own record, then rows.

REDp reads from the bottom left corner, so the rows are written last to first; the picture as a program shows it
is then the same as the TIFF. The ten labels say what the picture is.
"""

from functools import cache
from typing import Any

import numpy as np

from protocols.products.metadata import FrameHeader, RunHeader

HEADER_BYTES = 1024
LABEL_CHARACTERS = 80
UINT16 = 6
"""MRC's mode for it."""


def mrc_header(run: RunHeader, frame: FrameHeader) -> bytes:
    """The HEADER_BYTES of one picture. The "cell" is the picture's size in pixels: 1 A = 1 px."""
    record = header_record((1, *run.shape), UINT16).copy()
    record["dmin"], record["dmax"], record["dmean"] = frame.lowest, frame.highest, frame.mean
    record["rms"] = -1.0  # not determined, as the standard has it
    labels = labels_of(run, frame)
    record["nlabl"] = len(labels)
    for i, label in enumerate(labels):
        record["label"][i] = label.encode("ascii", "replace")[:LABEL_CHARACTERS]
    header: bytes = record.tobytes()
    return header


def labels_of(run: RunHeader, frame: FrameHeader) -> list[str]:
    """At most ten lines of 80 characters, in `key = value` form."""
    rotation = run.rotation
    seen = run.frame_beams.get(frame.slot)
    in_frame = "" if seen is None else f"  frame: {seen[0]:.2f} {seen[1]:.2f}"
    axis = " ".join(f"{rotation.sign * c:.5f}" for c in rotation.axis)
    return [
        f"{run.program}  run {run.run_id}",
        f"sample = {run.sample}  slot = {frame.slot}  clipped_pixels = {frame.clipped}",
        f"stage_start_deg = {frame.stage_start_deg:.6f}  stage_end_deg = {frame.stage_end_deg:.6f}",
        f"slot_width_deg = {rotation.sign * rotation.width_deg:.8f}",
        f"rotation_axis_xyz = {axis}",
        f"started_at = {frame.started_at.isoformat(timespec='microseconds')}",
        f"exposure_s = {run.exposure_s:.6g}",
        f"wavelength_A = {run.wavelength_A:.7f}  camera_length_mm = {run.camera_length_mm:.4f}",
        f"pixel_size_mm = {run.pixel_size_mm:.6g}",
        f"beam_fast_px = {run.beam_fast_px:.4f}  beam_slow_px = {run.beam_slow_px:.4f}{in_frame}",
    ]


@cache
def header_record(shape: tuple[int, ...], mode: int) -> Any:
    """Mrcfile's record of a header for (pictures, rows, columns) of this mode; not to be changed, but copied."""
    from mrcfile.dtypes import HEADER_DTYPE

    pictures, rows, columns = shape
    record = np.zeros((), dtype=HEADER_DTYPE)
    record["nx"], record["ny"], record["nz"] = columns, rows, pictures
    record["mx"], record["my"], record["mz"] = columns, rows, 1
    record["mode"] = mode
    for axis, size in zip("xyz", (columns, rows, 1), strict=True):
        record["cella"][axis] = size
    for angle in ("alpha", "beta", "gamma"):
        record["cellb"][angle] = 90.0
    record["mapc"], record["mapr"], record["maps"] = 1, 2, 3
    record["nversion"] = 20141
    record["map"] = b"MAP "
    record["machst"][:] = (0x44, 0x44, 0, 0)
    return record
