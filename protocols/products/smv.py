"""SMV pictures (.img) for DIALS and XDS: a text header of 1024 bytes, then little-endian uint16, row after row.

Two readings of one header have to be served (tried with DIALS 3.12 and 3.28):

* 516 x 516 Timepix pictures name BEAMLINE=TimePix_SU and are read by DIALS' class for that camera: beam centre in
  pixels, X along fast.
* everything else is read as ADSC: beam centre in mm, X along *slow* and Y along *fast*. A DETECTOR_SN would bring
  a CCD's gain; GAIN=1.0 and no number.

OSC_START and OSC_RANGE are about the axis in ROTATION_AXIS, which makes the step positive (see rotation.py);
FRAME_BEAM_PX is where the primary beam was seen in the picture, fast and slow; BEAM_CENTER_X and _Y are those of the
run, for DIALS takes pictures of different centres for different sweeps. STAGE_START and STAGE_END are the goniometer's
own angles. Header lines are closed by ';', so no value holds one.
"""

from datetime import UTC, datetime

from protocols.products.metadata import FrameHeader, RunHeader

HEADER_BYTES = 1024
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def smv_header(run: RunHeader, frame: FrameHeader) -> bytes:
    """The header, padded to HEADER_BYTES. Texts are cut where they would not fit; numbers never are."""
    rows, columns = run.shape
    fast_mm, slow_mm = run.beam_fast_px * run.pixel_size_mm, run.beam_slow_px * run.pixel_size_mm
    seen = run.frame_beams.get(frame.slot)
    start_deg = run.rotation.slot_start_deg(frame.slot)
    if run.timepix_516:
        reading = {
            "BEAMLINE": "TimePix_SU",
            "DETECTOR_SN": "901",
            "BEAM_CENTER_X": f"{run.beam_fast_px:.4f}",
            "BEAM_CENTER_Y": f"{run.beam_slow_px:.4f}",
        }
    else:
        reading = {"BEAM_CENTER_X": f"{slow_mm:.6f}", "BEAM_CENTER_Y": f"{fast_mm:.6f}"}
    keys = {
        "HEADER_BYTES": f"{HEADER_BYTES:5d}",
        "DIM": "2",
        "BYTE_ORDER": "little_endian",
        "TYPE": "unsigned_short",
        "SIZE1": str(columns),
        "SIZE2": str(rows),
        "PIXEL_SIZE": f"{run.pixel_size_mm:.6g}",
        "BIN": "1x1",
        "BIN_TYPE": "HW",
        "ADC": "fast",
        "CREV": "1",
        **reading,
        "GAIN": "1.0",
        "DATE": ctime_utc(frame.started_at),
        "TIME": f"{run.exposure_s:.6g}",
        "DISTANCE": f"{run.camera_length_mm:.4f}",
        "TWOTHETA": "0.0",
        "PHI": f"{start_deg:.6f}",
        "OSC_START": f"{start_deg:.6f}",
        "OSC_RANGE": f"{run.rotation.width_deg:.8f}",
        "WAVELENGTH": f"{run.wavelength_A:.7f}",
        "DENZO_X_BEAM": f"{slow_mm:.6f}",
        "DENZO_Y_BEAM": f"{fast_mm:.6f}",
        "ROTATION_AXIS": " ".join(f"{c:.6f}" for c in run.rotation.axis),
        "STAGE_START": f"{frame.stage_start_deg:.6f}",
        "STAGE_END": f"{frame.stage_end_deg:.6f}",
        "TIMESTAMP": frame.started_at.isoformat(timespec="microseconds"),
        "SLOT": str(frame.slot),
        **({} if seen is None else {"FRAME_BEAM_PX": f"{seen[0]:.3f} {seen[1]:.3f}"}),
        "SATURATED_VALUE": str(run.saturation - 1),  # the largest count that is right
        "CLIPPED_PIXELS": str(frame.clipped),
        "PLACEHOLDER": "1" if frame.placeholder else "0",
        "PROGRAM": _text(run.program),
        "RUN_ID": _text(run.run_id),
        "SAMPLE": _text(run.sample),
    }
    header = "{\n" + "".join(f"{key}={value};\n" for key, value in keys.items()) + "}\n"
    return header.encode("ascii").ljust(HEADER_BYTES, b" ")


def ctime_utc(when: datetime) -> str:
    """'Sat Nov 21 01:02:03 2026 UTC', whatever the locale: the form that DIALS reads as a time of exposure."""
    t = when.astimezone(UTC)
    return f"{DAYS[t.weekday()]} {MONTHS[t.month - 1]} {t.day:2d} {t:%H:%M:%S} {t.year} UTC"


def _text(value: str) -> str:
    """ASCII, without the characters that end or split a header line, at most 64 long."""
    plain = value.encode("ascii", "replace").decode("ascii")
    return "".join("_" if c in "{};=" or not c.isprintable() else c for c in plain)[:64]
