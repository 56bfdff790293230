"""Writes MIB data sets (frames of a Merlin detector in a file) for LiberTEM's simulator and for the decoder's tests.

The encoders are the formats read backwards: plain big-endian pixels (U08, U16, U32), and the raw format R64, in which
the pixels of a 64-bit word run backwards and four chips lie side by side.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.integer[Any]]
PLAIN_BITS = {1: ("U08", "u1"), 6: ("U08", "u1"), 12: ("U16", ">u2"), 24: ("U32", ">u4")}
DACS = "3RX," + ",".join(["000"] * 27)


def pixels(picture: Pixels, depth: int, *, raw: bool, layout: str = "1x1") -> bytes:
    """The bytes that follow a frame's header."""
    if not raw:
        return picture.astype(PLAIN_BITS[depth][1]).tobytes()
    if layout == "2x2":
        (first, second), (third, fourth) = (np.hsplit(half, 2) for half in np.vsplit(picture, 2))
        picture = np.hstack([fourth[::-1, ::-1], third[::-1, ::-1], second, first])
    if depth == 1:
        words = np.packbits(picture.astype(np.uint8).reshape(-1, 8), axis=1, bitorder="little").reshape(-1, 8)
        return words[:, ::-1].tobytes()
    if depth == 6:
        return picture.astype(np.uint8).reshape(-1, 8)[:, ::-1].tobytes()
    if depth == 12:
        return picture.astype(">u2").reshape(-1, 4)[:, ::-1].tobytes()
    return b"".join(pixels(part, 12, raw=True) for part in (picture >> 12, picture & 0xFFF))


def frame(
    picture: Pixels,
    sequence: int,
    depth: int = 12,
    *,
    raw: bool = False,
    layout: str = "1x1",
    shutter_s: float = 0.01,
    extension: bool = True,
) -> bytes:
    """One frame with its header, as it lies in a file; a stream has the MPX prefix before it."""
    chips = 4 if layout == "2x2" else 1
    size = 256 + 128 * chips
    rows, columns = picture.shape
    if raw and layout == "2x2":
        rows, columns = rows // 2, columns * 2
    if raw and depth == 24:
        columns *= 2
    kind = "R64" if raw else PLAIN_BITS[depth][0]
    words = [
        *("MQ1", f"{sequence:06d}", f"{size:05d}", f"{chips:02d}", f"{columns:04d}", f"{rows:04d}", kind),
        *(
            f"{layout:>6}",
            "0F" if chips == 4 else "01",
            "2026-11-21 10:00:00.000000",
            f"{shutter_s:.6f}",
            "0",
            "0",
            "0",
        ),
        *["1.000000E+1"] * 8,
    ]
    if extension:
        words += [DACS] * chips
        words += ["MQ1A", "2026-11-21T10:00:00.000000000Z", f"{round(shutter_s * 1e9)}ns", str(depth)]
    header = ",".join(words).encode("ascii") + b","
    assert len(header) <= size
    return header.ljust(size, b"\0") + pixels(picture, depth, raw=raw, layout=layout)


def message(payload: bytes) -> bytes:
    """A payload with the prefix that it has on a port of the detector."""
    return b"MPX,%010d," % (len(payload) + 1) + payload


def acquisition_header(frames: int, depth: int = 12) -> bytes:
    """The text that opens a series, which is also the .hdr file beside the frames."""
    lines = ["HDR,", "Time and Date Stamp (day, mnth, yr, hr, min, s):\t21/11/2026 10:00:00"]
    lines += [f"Counter Depth (number):\t{depth}", f"Frames in Acquisition (Number):\t{frames}"]
    lines += ["Frames per Trigger (Number):\t1", "Software Version:\t0.75.4.84", "End\t"]
    return "\r\n".join(lines).encode("ascii")


def write(folder: Path, pictures: Iterable[Pixels], depth: int = 12, **how: Any) -> Path:
    """A data set in a folder; returns the path of its .hdr, which the simulator takes."""
    count = 0
    with (folder / "frames.mib").open("wb") as file:
        for count, picture in enumerate(pictures, 1):
            file.write(frame(picture, count, depth, **how))
    path = folder / "frames.hdr"
    path.write_bytes(acquisition_header(count, depth))
    return path
