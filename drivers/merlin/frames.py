"""What the bytes of a Merlin detector mean: commands and replies, the acquisition header, frames of every depth.

Pure functions of bytes, called by `drivers.merlin.camera`. Every message is `MPX,<10 digits>,<payload>`; the digits
count the payload and the comma before it. What cannot be read raises ValueError with one line of text, never a wrong
picture.

Sources: the frames and headers as LiberTEM and LiberTEM-live read and send them (MIB files are the same frames without
the MPX prefix), as ADMerlin of EPICS and the Merlin device of Diamond's tickit-devices name their fields.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.integer[Any]]
PREFIX_BYTES = 15
# The longest message that makes sense: 24 bits of the largest assembly are far below; more is noise read as a length.
LONGEST_BYTES = 1 << 28
PREFIX = re.compile(rb"MPX,(\d{10}),")
STATUS_DIGITS = b"0123456789"
REFUSALS = {1: "it is busy", 2: "it does not know this command", 3: "the value is out of range"}
DEPTHS = (1, 6, 12, 24)
PLAIN = {"U08": "u1", "U8": "u1", "U16": ">u2", "U32": ">u4"}
# Within a 64-bit word of the raw format the pixels run backwards: so many of them are turned round.
RAW_GROUP = {6: 8, 12: 4, 24: 4}


def command(kind: str, name: str, value: str | None = None) -> bytes:
    """The bytes of a command: kind GET, SET or CMD."""
    words = ",".join([kind, name, *([value] if value is not None else [])])
    return f"MPX,{len(words) + 1:010d},{words}".encode("ascii")


def payload_size(prefix: bytes) -> int:
    """Bytes that follow the 15 of a prefix. Raises ValueError for what is no prefix."""
    found = PREFIX.fullmatch(prefix)
    if not found:
        raise ValueError(f"a message begins with {bytes(prefix)!r}, not with MPX and its length")
    size = int(found[1]) - 1
    if not 0 < size <= LONGEST_BYTES:
        raise ValueError(f"a message says that it is {size} bytes long")
    return size


def lacks_status(payload: bytes) -> bool:
    """Whether a reply ends before its status digit: LiberTEM-live's simulator counts one byte too few."""
    return payload.endswith(b",")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on the command port. status: 0 is well, the others are in `REFUSALS`; value: of a GET, else empty."""

    kind: str
    name: str
    value: str
    status: int


def reply(payload: bytes) -> Reply:
    """The parts of a reply: `GET,<name>,<value>,<status>` or `SET|CMD,<name>,<status>`."""
    words = payload.decode("latin-1").split(",")
    if len(words) < 3 or not words[-1].strip().isdigit():
        raise ValueError(f"a reply reads {payload[:80]!r}")
    return Reply(words[0].upper(), words[1].upper(), ",".join(words[2:-1]), int(words[-1]))


def acquisition_header(payload: bytes) -> dict[str, str]:
    """The lines of the header that opens a series, `name: TAB value`, as a dictionary."""
    text = payload.decode("latin-1")
    if not text.startswith("HDR,"):
        raise ValueError(f"an acquisition header begins with {text[:20]!r}")
    lines = (line.partition("\t") for line in text.splitlines()[1:] if not line.startswith("End"))
    return {name.rstrip().rstrip(":"): value.strip() for name, _, value in lines if name}


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The head of one frame. sequence: from 1 in each acquisition. shape: of the picture, (rows, columns).

    pixel: U08, U16, U32 (plain, most significant byte first) or R64 (as the chips send it). depth: bits of the
    counter; None where neither the header nor the kind of pixel says it. shutter_s: the exposure as the camera had it.
    """

    sequence: int
    data_offset: int
    stored: tuple[int, int]
    pixel: str
    layout: str
    shutter_s: float
    depth: int | None

    @property
    def is_raw(self) -> bool:
        """Whether the pixels are as the chips send them."""
        return self.pixel == "R64"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture that `counts` makes."""
        rows, columns = self.stored
        if not self.is_raw:
            return rows, columns
        if self.depth == 24:  # two pictures one after the other, counted as columns
            columns //= 2
        return (2 * rows, columns // 2) if self.layout == "2x2" else (rows, columns)


def frame_header(message: bytes | bytearray | memoryview) -> FrameHeader:
    """The head of a frame message. Raises ValueError for what is no MQ1 frame."""
    try:
        offset = int(bytes(message[11:16]))
        words = bytes(message[:offset]).decode("latin-1").rstrip("\x00 ").split(",")
        if words[0] != "MQ1" or not 16 < offset <= len(message):
            raise ValueError("it does not begin with MQ1")
        head = FrameHeader(
            sequence=int(words[1]),
            data_offset=offset,
            stored=(int(words[5]), int(words[4])),
            pixel=words[6].strip().upper(),
            layout=words[7].strip().removesuffix("G"),
            shutter_s=float(words[10]),
            depth=None,
        )
        # The extension MQ1A says exposure and depth exactly; older software does not send it.
        if "MQ1A" in words:
            at = words.index("MQ1A")
            head = FrameHeader(
                head.sequence,
                head.data_offset,
                head.stored,
                head.pixel,
                head.layout,
                int(words[at + 2].removesuffix("ns")) / 1e9,
                int(words[at + 3]),
            )
    except (ValueError, IndexError) as error:
        raise ValueError(f"a frame's header cannot be read ({error}): {bytes(message[:40])!r}") from error
    if min(head.stored) <= 0 or (head.depth is not None and head.depth not in DEPTHS):
        raise ValueError(f"a frame's header makes no sense: {bytes(message[:40])!r}, depth {head.depth}")
    return head


def counts(head: FrameHeader, message: bytes | bytearray | memoryview) -> Pixels:
    """The picture of a frame message, a new array of shape `head.shape`. Raises ValueError when it does not fit."""
    data = np.frombuffer(message, np.uint8, offset=head.data_offset)
    if not head.is_raw:
        if head.pixel not in PLAIN:
            raise ValueError(f"frames of pixel format {head.pixel} are not known; set FILEFORMAT to 0 (binary)")
        kind = np.dtype(PLAIN[head.pixel])
        _fits(data, prod(head.stored) * kind.itemsize, head)
        return data.view(kind).reshape(head.stored).astype(kind.newbyteorder("="))
    if head.layout not in ("1x1", "2x2"):
        raise ValueError(f"raw frames of a {head.layout} assembly are not known; set FILEFORMAT to 0 (binary)")
    rows, columns = head.stored
    if head.depth == 1:
        _fits(data, prod(head.stored) // 8, head)
        words = data.reshape(-1, 8)[:, ::-1]  # the eight bytes of a word run backwards, the bits of a byte do not
        return _assembled(np.unpackbits(words, bitorder="little").reshape(rows, columns), head.layout)
    if head.depth == 6:
        _fits(data, prod(head.stored), head)
        return _assembled(_turned(data, 6).reshape(rows, columns), head.layout)
    if head.depth == 24:
        if head.layout != "1x1":
            raise ValueError("raw frames of 24 bits are known of single chips only; set FILEFORMAT to 0 (binary)")
        _fits(data, prod(head.stored) * 2, head)
        high, low = _turned(data.view(">u2"), 24).reshape(2, rows, columns // 2).astype(np.uint32)
        together: Pixels = (high << 12) + low
        return together
    if head.depth == 12 or len(data) == prod(head.stored) * 2:
        _fits(data, prod(head.stored) * 2, head)
        return _assembled(_turned(data.view(">u2"), 12).astype(np.uint16).reshape(rows, columns), head.layout)
    raise ValueError("a raw frame does not say the depth of its counter")


def _fits(data: Sequence[Any] | Pixels, size: int, head: FrameHeader) -> None:
    if len(data) != size:
        rows, columns = head.stored
        raise ValueError(f"a frame of {rows} x {columns} {head.pixel} has {len(data)} bytes of pixels, not {size}")


def _turned(data: Pixels, depth: int) -> Pixels:
    """Pixels of the raw format in reading order."""
    return data.reshape(-1, RAW_GROUP[depth])[:, ::-1].reshape(-1)


def _assembled(chips: Pixels, layout: str) -> Pixels:
    """The picture of an assembly; raw rows of four chips hold the chips 4, 3, 2, 1, and 3 and 4 are upside down."""
    if layout == "1x1":
        return np.ascontiguousarray(chips)
    fourth, third, second, first = np.hsplit(chips, 4)
    return np.block([[first, second], [third[::-1, ::-1], fourth[::-1, ::-1]]])
