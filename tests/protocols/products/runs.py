"""Small run folders as the engine leaves them, made directly: the input of every product test."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

FRAME_ROW = np.dtype(
    [
        ("slot", "i4"),
        ("kept", "u1"),
        ("start_ns", "i8"),
        ("end_ns", "i8"),
        ("start_deg", "f8"),
        ("end_deg", "f8"),
        ("late_ns", "i8"),
    ]
)

Picture = Callable[[float, float, int], NDArray[np.uint16]]
"""(start_deg, end_deg, slot) -> raw counts."""


def disc(shape: tuple[int, int], fast_px: float, slow_px: float) -> Picture:
    """Pictures of a Gaussian beam and a faint gradient, the same in every slot but for a count that says which."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    beam = 5000 * np.exp(-((x - fast_px) ** 2 + (y - slow_px) ** 2) / (2 * 4.0**2)) + 3 + 0.01 * x
    base = np.rint(beam).astype(np.uint16)

    def picture(start_deg: float, end_deg: float, slot: int) -> NDArray[np.uint16]:
        counts = base.copy()
        counts[0, 0] = slot
        return counts

    return picture


AT_THE_BEAM = {"beam_fast_px": 240.25, "beam_slow_px": 230.75}
"""The geometry by which the beam of the usual pictures is where it was said to be."""


def write_run(
    folder: Path,
    *,
    slots: int = 23,
    interval: int = 10,
    lost: Sequence[int] = (),
    not_kept: Sequence[int] = (),
    shape: tuple[int, int] = (512, 512),
    wide_cross: bool = True,
    start_deg: float = -5.0,
    oscillation_deg: float = 0.2314,
    exposure_s: float = 0.5,
    period_s: float = 0.512,
    picture: Picture | None = None,
    flatfield: NDArray[np.float32] | None = None,
    geometry: dict[str, float] | None = None,
    changes: dict[str, Any] | None = None,
) -> Path:
    """Write `run.json` and `frames.h5` of a run whose every `interval`-th slot is a snapshot (0: none)."""
    folder.mkdir(parents=True)
    grown = 4 if wide_cross else 0
    snapshots = [k for k in range(1, slots + 1) if interval and k % interval == 0]
    delivered = [k for k in range(1, slots + 1) if k not in snapshots and k not in lost]
    known = {
        "wavelength_A": 0.02508,
        "camera_length_mm": 250.0,
        "pixel_size_mm": 0.055,
        "rotation_axis_deg": -38.505,
        "beam_fast_px": (shape[1] + grown) / 2,
        "beam_slow_px": (shape[0] + grown) / 2,
        "distortion_amplitude_percent": 0.0,
        "distortion_azimuth_deg": 0.0,
        **(geometry or {}),
    }
    picture = picture or disc(shape, 240.25, 230.75)
    table = np.zeros(len(delivered), dtype=FRAME_ROW)
    delay_ns = 1_234_000_000
    with h5py.File(folder / "frames.h5", "w") as file:
        data = file.create_dataset(
            "data",
            (len(delivered), *shape),
            np.uint16,
            chunks=(1, *shape),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        for i, k in enumerate(delivered):
            begin = start_deg + (k - 1) * oscillation_deg
            end = begin + oscillation_deg * exposure_s / period_s
            begin_ns = delay_ns + round((k - 1) * period_s * 1e9)
            table[i] = (k, k not in not_kept, begin_ns, begin_ns + round(exposure_s * 1e9), begin, end, 1500)
            data[i] = picture(begin, end, k)
        file["frames"] = table
        file.attrs["schema"] = 1
        if flatfield is not None:
            file["flatfield"] = flatfield.astype(np.float32)
    run: dict[str, Any] = {
        "schema": 1,
        "program": "credline",
        "version": "0.1.0",
        "protocol": "cred",
        "run_id": f"{folder.name}-0123abcd",
        "status": "done",
        "reason": "",
        "sample": "mordenite",
        "created_at": "2026-11-21T01:02:03.456789+01:00",
        "plan": {"exposure_s": exposure_s},
        "geometry": known,
        "detector": {"shape": list(shape), "saturation": 11810, "wide_cross": wide_cross, "name": "simulated Timepix"},
        "result": {
            "slots": slots,
            "frames": len(delivered),
            "snapshots": len(snapshots),
            "lost_slots": len(lost),
            "lost_slot_numbers": list(lost),
            "exposure_s": exposure_s,
            "period_s": period_s,
            "start_deg": start_deg,
            "end_deg": start_deg + slots * oscillation_deg,
            "range_deg": slots * abs(oscillation_deg),
            "oscillation_deg": oscillation_deg,
            "rate_deg_s": oscillation_deg / period_s,
            "offset_uncertainty_deg": 0.004,
            "snapshot_interval": interval,
        },
        "snapshots": [{"slot": k, "file": f"snapshots/{k:05d}.tiff", "start_deg": 0.0} for k in snapshots],
    }
    for dotted, value in (changes or {}).items():
        *path, last = dotted.split(".")
        target = run
        for key in path:
            target = target[key]
        target[last] = value
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder
