"""cRED_log.txt: the run on one page, for people. Units stand beside every number.

The name is Instamatic's, by which AutoLEI knows a run folder; it waits for as many pictures as `Number of frames` says,
and goes to work once they are there. So the log is written last of all.
"""

from itertools import pairwise
from math import isfinite

from drivers.geometry import high_tension_v, resolution
from protocols.products.metadata import RunHeader, hand_words
from protocols.products.source import RunInfo, ranges

LOG_FILE = "cRED_log.txt"


def parameters(info: RunInfo, run: RunHeader) -> list[tuple[str, str]]:
    """Name and value of everything worth knowing, in order; the report shows the same table."""
    last_ns = int(info.frame_end_ns[-1])
    rate = info.oscillation_deg / info.period_s
    rows, columns = info.shape
    beam_px = run.beam_fast_px, run.beam_slow_px
    seen = resolution(info.shape, *beam_px, info.pixel_size_mm, info.camera_length_mm, info.wavelength_A)
    edge = f"{seen.edge_A:.3f} A at the nearest edge" if isfinite(seen.edge_A) else "the beam is beside the detector"
    return [
        ("Program", run.program),
        ("Run", info.run_id),
        ("Sample", info.sample),
        ("Status", f"{info.status}{': ' + info.reason if info.reason else ''}"),
        ("Begin", info.created_at.isoformat(timespec="milliseconds")),
        ("First exposure", info.wall_time(int(info.frame_start_ns[0])).isoformat(timespec="milliseconds")),
        ("Last exposure ends", info.wall_time(last_ns).isoformat(timespec="milliseconds")),
        ("Slots", f"{info.slots}"),
        ("Frames", f"{len(info.slot)} in slots {info.first_slot} to {info.last_slot}"),
        ("Snapshots", f"{len(info.snapshots)}, {_apart(info)}" if info.snapshot_interval else "none"),
        ("Lost slots", slot_list(info.lost_slots)),
        ("Gaps in the numbering", slot_list(info.gaps)),
        *([("Frames in a shadow", slot_list(run.shadowed))] if run.shadowed else []),
        ("Exposure", f"{info.exposure_s:.4f} s"),
        ("Acquisition period", f"{info.period_s:.6f} s"),
        ("Rotation range", f"{info.range_deg:.4f} deg, {info.start_deg:.4f} to {info.end_deg:.4f} deg"),
        ("First exposure begins at", f"{info.frame_start_deg[0]:.4f} deg"),
        ("Last exposure ends at", f"{info.frame_end_deg[-1]:.4f} deg"),
        ("Rotation rate", f"{rate:.6f} deg/s"),
        ("Oscillation angle per slot", f"{info.oscillation_deg:.6f} deg"),
        (
            "Uncertainty of the angle offset",
            "unknown" if info.offset_uncertainty_deg is None else f"{info.offset_uncertainty_deg:.4f} deg",
        ),
        ("Rotation axis", f"{info.rotation_axis_deg:.4f} deg from fast towards up"),
        *(
            [
                (
                    "Lean of the rotation axis",
                    f"{info.rotation_axis_tilt_deg:.4f} deg out of the picture towards the source",
                )
            ]
            if info.rotation_axis_tilt_deg
            else []
        ),
        *([("Camera", words)] if (words := hand_words(info)) else []),
        ("Wavelength", f"{info.wavelength_A:.6f} A ({high_tension_v(info.wavelength_A) / 1000:.1f} kV)"),
        ("Camera length", f"{info.camera_length_mm:.4f} mm"),
        ("Physical pixel size", f"{info.pixel_size_mm:.4f} mm"),
        ("Pixel size", f"{info.angstrom_per_px:.8f} 1/A"),
        ("Resolution", f"{edge}, {seen.corner_A:.3f} A in the farthest corner"),
        ("Detector", f"{info.detector or 'camera'}, {columns} x {rows} px after correction"),
        ("Saturation", f"{info.saturation} counts"),
        ("Primary beam (fast, slow)", f"{run.beam_fast_px:.3f}, {run.beam_slow_px:.3f} px (pixel i covers i to i+1)"),
        *([("Primary beam is", run.beam_told)] if run.beam_told else []),
        ("Distortion amplitude", f"{info.distortion_amplitude_percent:.3f} %"),
        ("Distortion azimuth", f"{info.distortion_azimuth_deg:.3f} deg from fast towards up"),
    ]


def cred_log(info: RunInfo, run: RunHeader) -> str:
    """The text of cRED_log.txt."""
    rows = [*parameters(info, run), ("Number of frames", f"{len(info.slot)}")]
    width = max(len(name) for name, _ in rows) + 1
    lines = [f"{name + ':':<{width}}  {value}" for name, value in rows]
    lines += [
        "",
        "Files and frame numbers are slot numbers: a gap in the numbers is a gap in the rotation.",
        "",
        "Frames: slot, begin of the exposure (s from the begin of the run), stage angle at its begin and end (deg),",
        "lateness of its start (ms), primary beam as seen in it (fast, slow, px; - where not surely)",
    ]
    lines += [
        f"{slot:5d} {start_ns / 1e9:12.6f} {start_deg:11.5f} {end_deg:11.5f} {late_ns / 1e6:9.4f}"
        f" {_beam_words(run, int(slot))}"
        for slot, start_ns, start_deg, end_deg, late_ns in zip(
            info.slot, info.frame_start_ns, info.frame_start_deg, info.frame_end_deg, info.frame_late_ns, strict=True
        )
    ]
    return "\n".join(lines) + "\n"


def _beam_words(run: RunHeader, slot: int) -> str:
    seen = run.frame_beams.get(slot)
    return f"{'-':>10} {'-':>10}" if seen is None else f"{seen[0]:10.3f} {seen[1]:10.3f}"


def slot_list(slots: tuple[int, ...]) -> str:
    """(3, 10, 11, 12) as '3, 10-12'; 'none' when empty."""
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges(slots)) or "none"


def _apart(info: RunInfo) -> str:
    """How far snapshots are from one another; where the run decided that itself they are not on a grid."""
    slots = [shot.slot for shot in info.snapshots]
    apart = [after - before for before, after in pairwise(slots)]
    if any(each % info.snapshot_interval for each in apart):
        return f"{min(apart)} to {max(apart)} slots from one to the next"
    return f"every {info.snapshot_interval} slots"
