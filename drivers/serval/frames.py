"""What the bytes of frames from Serval mean: the header line and pixels of `jsonimage`, and TIFF pictures.

Pure functions of bytes, called by `drivers.serval.camera`. What cannot be read raises ValueError with one line of text.

Sources: jsonimage as areaDetector's ADTimePix3 (ADServal) reads it: one line of JSON, then the pixels, most significant
byte first. TIFF as far as detectors use it: TIFF 6.0, one uncompressed picture of unsigned whole numbers.
"""

import json
import struct
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.integer[Any]]
LONGEST_HEADER_BYTES = 1 << 16
LARGEST_SIDE = 1 << 14
KINDS = {"uint8": "u1", "uint16": "u2", "uint32": "u4"}
BYTE_ORDERS = {"big": ">", "little": "<"}
TIFF_TYPES = {1: "B", 3: "H", 4: "I"}  # of the values of a tag: byte, short, long
WIDTH, LENGTH, BITS, COMPRESSION, OFFSETS, SAMPLES, COUNTS, FORMAT = 256, 257, 258, 259, 273, 277, 279, 339


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The line before the pixels. number: of the frame in its measurement, from 0. shape: (rows, columns)."""

    number: int
    shape: tuple[int, int]
    pixel: str
    threshold: int

    @property
    def size(self) -> int:
        """Bytes of pixels that follow."""
        return prod(self.shape) * np.dtype(KINDS[self.pixel]).itemsize


def image_header(line: bytes) -> ImageHeader:
    """The header of a jsonimage. Raises ValueError for what is none."""
    try:
        said = json.loads(line[line.index(b"{") :])
        shape = (said["height"], said["width"])
        header = ImageHeader(
            said["frameNumber"], shape, str(said.get("pixelFormat", "uint16")).lower(), said.get("thresholdID", 0)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"a frame's header line cannot be read: {line[:80]!r}") from error
    whole = (header.number, header.threshold, *shape)
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in whole):
        raise ValueError(f"a frame's header line makes no sense: {line[:200]!r}")
    if not all(0 < side <= LARGEST_SIDE for side in shape) or header.pixel not in KINDS:
        raise ValueError(f"a frame's header line makes no sense: {line[:200]!r}")
    return header


def image_counts(header: ImageHeader, pixels: bytes | bytearray | memoryview, byte_order: str = "big") -> Pixels:
    """The picture, a new array of shape `header.shape`."""
    if len(pixels) != header.size:
        raise ValueError(f"a frame of {header.shape} {header.pixel} has {len(pixels)} bytes of pixels")
    kind = np.dtype(BYTE_ORDERS[byte_order] + KINDS[header.pixel])
    return np.frombuffer(pixels, kind).reshape(header.shape).astype(kind.newbyteorder("="))


def tiff_counts(data: bytes) -> Pixels:
    """The first picture of a TIFF file, a new array (rows, columns)."""
    try:
        order = {b"II": "<", b"MM": ">"}[data[:2]]
        magic, at = struct.unpack_from(order + "HI", data, 2)
        if magic != 42:
            raise ValueError("it is no TIFF")
        tags = _tags(data, order, at)
        rows, columns = tags[LENGTH][0], tags[WIDTH][0]
        bits = tags.get(BITS, (1,))[0]
        plain = (tags.get(COMPRESSION, (1,))[0], tags.get(SAMPLES, (1,))[0], tags.get(FORMAT, (1,))[0]) == (1, 1, 1)
        if not plain or bits not in (8, 16, 32) or not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
            raise ValueError("it is compressed, coloured, or not of unsigned whole numbers")
        strips = zip(tags[OFFSETS], tags[COUNTS], strict=True)
        pixels = b"".join(data[begin : begin + size] for begin, size in strips)
        kind = np.dtype(f"{order}u{bits // 8}")
        if len(pixels) != rows * columns * kind.itemsize:
            raise ValueError(f"{len(pixels)} bytes are no {rows} x {columns} pixels of {bits} bits")
    except (KeyError, IndexError, struct.error, ValueError) as error:
        raise ValueError(f"a TIFF picture cannot be read ({error}): {data[:16]!r}") from error
    return np.frombuffer(pixels, kind).reshape(rows, columns).astype(kind.newbyteorder("="))


def _tags(data: bytes, order: str, at: int) -> dict[int, tuple[int, ...]]:
    """The tags with whole numbers of the directory at an offset."""
    tags = {}
    for entry in range(struct.unpack_from(order + "H", data, at)[0]):
        where = at + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(order + "HHI", data, where)
        if kind not in TIFF_TYPES or count > LARGEST_SIDE:
            continue
        values = f"{order}{count}{TIFF_TYPES[kind]}"
        inside = struct.calcsize(values) <= 4  # short values stand in the entry itself
        begin = where + 8 if inside else struct.unpack_from(order + "I", data, where + 8)[0]
        tags[tag] = struct.unpack_from(values, data, begin)
    return tags
