"""TIFF pictures for people and PETS2: baseline TIFF, one uncompressed strip of uint16, everything known in words.

The description (tag ImageDescription) is one JSON object; units are in the names. Written by hand: fabio's writer
can embed no description of its own and is several times slower; fabio reads the files in the tests.
"""

import json
import struct

from protocols.products.metadata import FrameHeader, RunHeader

_SHORT, _LONG, _ASCII = 3, 4, 2


def tiff_header(run: RunHeader, frame: FrameHeader) -> bytes:
    """What stands before the pixels, little-endian uint16 row after row."""
    return described_header(run.shape, describe(run, frame), run.program)


def described_header(shape: tuple[int, int], description: str, program: str) -> bytes:
    """The same for a picture of any kind. shape: rows and columns. description: one JSON object, in ASCII."""
    return _head(*shape, description.encode("ascii"), program.encode("ascii", "replace"))


def describe(run: RunHeader, frame: FrameHeader) -> str:
    """The JSON object in the description of a frame, in ASCII."""
    rotation = run.rotation
    seen = run.frame_beams.get(frame.slot)
    return json.dumps(
        {
            "run_id": run.run_id,
            "sample": run.sample,
            "detector": run.detector,
            "slot": frame.slot,
            "stage_start_deg": round(frame.stage_start_deg, 6),
            "stage_end_deg": round(frame.stage_end_deg, 6),
            "slot_width_deg": round(rotation.sign * rotation.width_deg, 8),
            "rotation_axis_xyz": [round(rotation.sign * c, 6) for c in rotation.axis],
            "exposure_s": run.exposure_s,
            "started_at": frame.started_at.isoformat(timespec="microseconds"),
            "wavelength_A": run.wavelength_A,
            "camera_length_mm": run.camera_length_mm,
            "pixel_size_mm": run.pixel_size_mm,
            "beam_fast_px": round(run.beam_fast_px, 4),
            "beam_slow_px": round(run.beam_slow_px, 4),
            "frame_beam_px": None if seen is None else [round(each, 3) for each in seen],
            "saturation": run.saturation,
            "clipped_pixels": frame.clipped,
        }
    )


def _head(rows: int, columns: int, description: bytes, software: bytes) -> bytes:
    """Header, directory and texts of a little-endian TIFF whose strip follows them, padded to 16 bytes."""
    texts = {270: description + b"\0", 305: software + b"\0"}
    entries = 11
    texts_at = 8 + 2 + entries * 12 + 4
    text_places: dict[int, int] = {}
    blob = b""
    for tag, text in texts.items():
        text_places[tag] = texts_at + len(blob)
        blob += text + b"\0" * (len(text) % 2)
    strip_at = -(-(texts_at + len(blob)) // 16) * 16

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    def ascii_entry(tag: int) -> bytes:
        text = texts[tag]
        if len(text) <= 4:  # short values stand in the entry itself
            return struct.pack("<HHI4s", tag, _ASCII, len(text), text)
        return entry(tag, _ASCII, len(text), text_places[tag])

    directory = b"".join(
        [
            entry(256, _LONG, 1, columns),
            entry(257, _LONG, 1, rows),
            entry(258, _SHORT, 1, 16),  # bits a sample
            entry(259, _SHORT, 1, 1),  # no compression
            entry(262, _SHORT, 1, 1),  # black is zero
            ascii_entry(270),
            entry(273, _LONG, 1, strip_at),
            entry(277, _SHORT, 1, 1),  # samples a pixel
            entry(278, _LONG, 1, rows),
            entry(279, _LONG, 1, rows * columns * 2),
            ascii_entry(305),
        ]
    )
    head = struct.pack("<2sHIH", b"II", 42, 8, entries) + directory + struct.pack("<I", 0) + blob
    return head.ljust(strip_at, b"\0")
