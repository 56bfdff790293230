"""Are camera length, beam and ellipse as sure as `credline calibrate camera-length` says? Seeded hidden instruments.

.venv/bin/python -m benchmarks.calibrate_camera_length --seeds 100 --first 1000     # cameras of 256 x 256, virtual
clock

One line a seed: what each value is off in its stated sigmas. The ellipse is judged as strain and shear, the camera
length also without what the lattice of its standard is off.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np

from engine.errors import DataError
from engine.run.perform import Request, execute
from protocols.calibrate.cameralength.analysis import analyse
from protocols.calibrate.cameralength.experiment import CAMERA_LENGTH_TYPE
from protocols.calibrate.cameralength.plan import CameraLengthPlan

STANDARDS = ("Au", "Al", "TlCl")


def devices(folder: Path, px: int, pixel_mm: float) -> Path:
    path = folder / "devices.toml"
    path.write_text(
        f'[microscope]\ndriver = "simulated"\npictures.shape = [{px}, {px}]\ngeometry.pixel_size_mm = {pixel_mm}\n'
        f"geometry.beam_fast_px = {px / 2 + 2}\ngeometry.beam_slow_px = {px / 2 + 2}\n"
    )
    return path


def pulls(found: dict[str, float], sigma: dict[str, float], truth: dict[str, float]) -> dict[str, float]:
    """By how many sigmas each value is off; strain and shear instead of amplitude and azimuth."""
    off = {
        name: (found[name] - truth[name]) / sigma[name] for name in ("camera_length_mm", "beam_fast_px", "beam_slow_px")
    }
    size, azimuth = found["distortion_amplitude_percent"], math.radians(2 * found["distortion_azimuth_deg"])
    true, true_azimuth = truth["distortion_amplitude_percent"], math.radians(2 * truth["distortion_azimuth_deg"])
    away = size * np.exp(1j * azimuth) - true * np.exp(1j * true_azimuth)
    along = away * np.exp(-1j * azimuth)
    off["ellipse, along"] = float(along.real) / sigma["distortion_amplitude_percent"]
    off["ellipse, across"] = float(along.imag) / max(2 * size * math.radians(sigma["distortion_azimuth_deg"]), 1e-9)
    return off


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--px", type=int, default=256)
    parser.add_argument("--pixel-mm", type=float, default=0.055)
    asked = parser.parse_args()
    every: list[dict[str, float]] = []
    lengths, ellipses, refused = [], [], 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        named = str(devices(folder, asked.px, asked.pixel_mm))
        for seed in range(asked.first, asked.first + asked.seeds):
            plan = CameraLengthPlan(standard=STANDARDS[seed % 3])
            report = execute(
                Request(CAMERA_LENGTH_TYPE, plan, folder / "runs", named, virtual=True, seed=seed, draw=False)
            )
            try:
                analysed = analyse(report.folder, plan)
            except DataError as error:
                refused += 1
                print(f"{seed} {plan.standard}: {error}", flush=True)
                continue
            truth = {name: float(np.asarray(value)) for name, value in analysed.truth.items()}
            found = {name: each.number for name, each in analysed.values.items()}
            sigma = {name: float(np.asarray(each.sigma)) for name, each in analysed.values.items()}
            off = pulls(found, sigma, truth)
            every.append(off)
            of_rings = (
                found["camera_length_mm"] * (1 + truth["lattice_off_percent"] / 100) / truth["camera_length_mm"] - 1
            )
            lengths.append(100 * of_rings)
            ellipses.append(off["ellipse, along"] * sigma["distortion_amplitude_percent"])
            print(
                f"{seed} {plan.standard}: {', '.join(f'{name} {value:+.1f}' for name, value in off.items())}; by the "
                f"rings {100 * of_rings:+.4f} %",
                flush=True,
            )
    table = np.array([list(each.values()) for each in every])
    for name, column in zip(every[0], table.T, strict=True):
        print(f"{name}: rms {np.sqrt(np.mean(column**2)):.2f}, within 2 sigma {np.mean(np.abs(column) < 2):.0%}")
    print(
        f"all: rms {np.sqrt(np.mean(table**2)):.2f}, within 2 sigma {np.mean(np.abs(table) < 2):.1%}; refused "
        f"{refused}; camera length beyond the lattice rms {np.sqrt(np.mean(np.square(lengths))):.4f} %, largest "
        f"{np.abs(lengths).max():.4f} %; ellipse largest {np.abs(ellipses).max():.4f} %"
    )


if __name__ == "__main__":
    main()
