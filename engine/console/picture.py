"""A frame as the bytes that a page draws: a head of JSON, then counts of 16 bits. Contrast and colours are the page's.

Bytes: length of the head (4, little-endian), the head in UTF-8, padded with spaces so that the counts begin at a
multiple of 4, counts in row order, little-endian. Counts above 65535 are shown as that, below 0 as 0. A picture larger
than the page shows is added up in squares of pixels.
"""

import json
import struct

import numpy as np

from engine.clock import NS_PER_S
from engine.console.tail import SeenFrame
from engine.frame import added_up, squares_px
from engine.record.jsonobject import JsonDict

LARGEST_PX = 1100
"""Of a side, where a page does not say how many it shows."""
PX_LIMITS = 600, 8192
"""What a page may ask for: frames of small cameras come as they are, however small their canvas."""
MOST = 65535


def packed_picture(frame: SeenFrame, seen: JsonDict | None = None, largest_px: int = LARGEST_PX) -> bytes:
    """The message for one frame. seen: what its protocol tells of it. largest_px: no side has more."""
    counts = frame.counts
    side = squares_px(counts.shape, largest_px)
    if side > 1:
        counts = added_up(counts, side)
    shown = np.clip(np.nan_to_num(counts) if counts.dtype.kind == "f" else counts, 0, MOST).astype("<u2")
    head = {
        "kind": frame.kind,
        "row": frame.row,
        "of": frame.of,
        "columns": {name: value for name, value in frame.columns.items() if _sayable(value)},
        "start_s": frame.start_ns / NS_PER_S,
        "shape": list(counts.shape),
        "binned": side,
        "most": int(shown.max(initial=0)),
        "seen": seen,
    }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + shown.tobytes()


def _sayable(value: object) -> bool:
    """JSON has no word for a number that is none."""
    return not isinstance(value, float) or bool(np.isfinite(value))
