"""The ZeroMQ stream of DECTRIS detectors (SIMPLON "stream", version 1): from the parts of a message to pixels.

Used by `drivers.dectris.driver`. Pure functions: what is not a message of this stream raises ValueError and nothing
else, so that a damaged stream cannot do more than that.

Sources: SIMPLON API reference 1.6 and 1.8, chapter "stream" (part and key names; times in ns); the layout of the
compressed data is that of the HDF5 filters `lz4` and `bitshuffle` (a big-endian uint64 with the size of the pixels in
bytes, a big-endian uint32 with that of a block, then the blocks).
"""

import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.unsignedinteger[Any]]
Decompress = Callable[..., bytes]

TYPES = {"uint8": 1, "uint16": 2, "uint32": 4}
ENCODING = re.compile(r"(?:bs(8|16|32))?-?(lz4)?([<>])")
# Blocks of bitshuffle hold as many elements as fit into this many bytes, by default.
BITSHUFFLE_BLOCK_BYTES = 8192
LARGEST_SIDE = 1 << 16


@dataclass(frozen=True, slots=True)
class SeriesBegin:
    """A detector was armed: images of `series` may follow."""

    series: int


@dataclass(frozen=True, slots=True)
class SeriesEnd:
    """No more images of `series` will come: all were taken, or it was disarmed."""

    series: int


@dataclass(frozen=True, slots=True)
class StreamImage:
    """One image as it came, still compressed. number counts from 0 in its series, shape is (rows, columns)."""

    series: int
    number: int
    shape: tuple[int, int]
    dtype: str
    encoding: str
    blob: bytes | memoryview

    @property
    def marker(self) -> int:
        """The value that the detector writes where it has none: a masked or an overloaded pixel."""
        return (1 << 8 * TYPES[self.dtype]) - 1


Message = SeriesBegin | SeriesEnd | StreamImage


def read_message(parts: Sequence[bytes | memoryview]) -> Message:
    """What a multipart message says. Raises ValueError for what is no message of stream version 1."""
    if not parts:
        raise ValueError("an empty message")
    head = _table(parts[0])
    kind, series = head.get("htype"), _whole(head, "series")
    if kind == "dheader-1.0":
        return SeriesBegin(series)
    if kind == "dseries_end-1.0":
        return SeriesEnd(series)
    if kind != "dimage-1.0":
        raise ValueError(f"a message of the kind {kind!r}")
    if len(parts) < 4:
        raise ValueError(f"an image in {len(parts)} parts instead of four")
    about = _table(parts[1])
    if about.get("htype") != "dimage_d-1.0":
        raise ValueError(f"an image described by {about.get('htype')!r}")
    shape = about.get("shape")
    if not (isinstance(shape, list) and len(shape) == 2 and all(_is_side(side) for side in shape)):
        raise ValueError(f"an image of the shape {shape!r}")
    dtype, encoding = about.get("type"), about.get("encoding")
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise ValueError(f"pixels of the type {dtype!r}")
    if not isinstance(encoding, str) or not ENCODING.fullmatch(encoding):
        raise ValueError(f"the encoding {encoding!r}")
    # The stream names the fast axis first: x, then y.
    return StreamImage(series, _whole(head, "frame"), (shape[1], shape[0]), dtype, encoding, parts[2])


def pixels(image: StreamImage, decompress: Decompress) -> Pixels:
    """The counts of an image, (rows, columns), owned by the caller. Raises ValueError where they do not fit.

    decompress: `dectris.compression.decompress`. Takes 0.1-0.4 ms a million bytes and lets go of the interpreter.
    """
    match = ENCODING.fullmatch(image.encoding)
    if match is None:
        raise ValueError(f"the encoding {image.encoding!r}")
    shuffled, lz4, order = match.groups()
    size = TYPES[image.dtype]
    expected = image.shape[0] * image.shape[1] * size
    data: bytes | memoryview = image.blob
    if shuffled and int(shuffled) != 8 * size:
        raise ValueError(f"the encoding {image.encoding!r} of {image.dtype} pixels")
    if lz4:
        data = _with_header(data, expected, size if shuffled else 0)
        try:
            data = decompress(data, "bslz4" if shuffled else "lz4", elem_size=size)
        except (RuntimeError, MemoryError) as error:
            raise ValueError(f"{len(image.blob)} bytes that are not {image.encoding} ({error})") from error
    elif shuffled:
        raise ValueError(f"the encoding {image.encoding!r}")
    if len(data) != expected:
        raise ValueError(f"{len(data)} bytes of pixels instead of {expected}")
    counts = np.frombuffer(data, np.dtype(f"{order}u{size}")).reshape(image.shape)
    return counts.astype(f"u{size}")  # a copy in this machine's byte order, which may be written to


def _with_header(data: bytes | memoryview, expected: int, shuffled_size: int) -> bytes:
    """Compressed data with the header of the HDF5 filter.

    Detectors send bitshuffled data with it and plain LZ4 as one bare block; some other programs send bitshuffled data
    bare. What begins with the right size has its header; a bare block cannot begin so, as its first four bytes would
    be zeros, which is no LZ4.
    """
    if len(data) >= 12 and struct.unpack_from(">Q", data)[0] == expected:
        return bytes(data)
    if shuffled_size:
        return struct.pack(">QI", expected, BITSHUFFLE_BLOCK_BYTES) + bytes(data)
    return struct.pack(">QII", expected, expected, len(data)) + bytes(data)


def _table(part: bytes | memoryview) -> dict[str, Any]:
    try:
        table = json.loads(bytes(part))
    except (ValueError, RecursionError) as error:
        hint = ", which looks like stream version 2" if bytes(part[:3]) == b"\xd9\xd9\xf7" else ""  # the tag of CBOR
        raise ValueError(f"a part that is not JSON{hint}") from error
    if not isinstance(table, dict):
        raise ValueError("a part that is no JSON object")
    return table


def _whole(table: dict[str, Any], key: str) -> int:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{key} = {value!r}")
    return value


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_SIDE
