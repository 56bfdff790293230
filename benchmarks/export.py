"""How fast a run becomes files: frames per second, against a plain write of the same bytes on the same disk.

    python benchmarks/export.py [--size 516 2048] [--frames 200] [--workers 2] [--folder DIR] [--json FILE]

Three figures per size, uint16, TIFF + SMV + MRC together:

* writers: frames that are in memory already, in one process and in --workers processes (what the peer program was
  measured with: 260-509 frames/s at 516 x 516, 5-9 at 2048 x 2048);
* plain: the same number of files and bytes through open and write, nothing else;
* export: `export_run` from frames.h5, decompression, flatfield, beam centres and all.

Memory is the peak of this process and of its largest worker. Figures of different machines, or of one machine under
different load, do not compare.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from protocols.products.export import export_run  # noqa: E402
from protocols.products.metadata import FrameHeader, RunHeader  # noqa: E402
from protocols.products.mrc import write_mrc  # noqa: E402
from protocols.products.rotation import Rotation  # noqa: E402
from protocols.products.smv import write_smv  # noqa: E402
from protocols.products.tiff import write_tiff  # noqa: E402
from tests.protocols.products.runs import write_run  # noqa: E402


@dataclass
class Result:
    """Frames per second, for one process (_1) and for `workers` of them (_n); memory in MB."""

    size: int
    frames: int
    workers: int
    plain_1: float
    plain_n: float
    writers_1: float
    writers_n: float
    export_n: float
    peak_mb: float
    peak_worker_mb: float


def picture(size: int) -> np.ndarray:
    """Something like a pattern: a halo and noise."""
    y, x = np.mgrid[:size, :size] - size / 2
    halo = 400 * np.exp(-np.hypot(x, y) / (size / 12)) + 2
    return np.random.default_rng(0).poisson(halo).astype(np.uint16)


def header(size: int) -> RunHeader:
    return RunHeader(
        run_id="benchmark-00000000", sample="benchmark", detector="none", program="credline", shape=(size, size),
        wavelength_A=0.02508, camera_length_mm=250.0, pixel_size_mm=0.055, angstrom_per_px=0.00877,
        beam_fast_px=size / 2, beam_slow_px=size / 2, exposure_s=0.5, saturation=11810,
        rotation=Rotation((1.0, 0.0, 0.0), 0.0, 0.2314, 1), timepix_516=size == 516,
    )  # fmt: skip


def write_frames(folder: Path, size: int, slots: range) -> None:
    counts, run = picture(size), header(size)
    for slot in slots:
        frame = FrameHeader(slot, 0.0, 0.2, datetime(2026, 11, 21, tzinfo=UTC))
        write_tiff(folder / f"{slot:05d}.tiff", counts, run, frame)
        write_smv(folder / f"{slot:05d}.img", counts, run, frame)
        write_mrc(folder / f"{slot:05d}.mrc", counts, run, frame)


def write_plain(folder: Path, size: int, slots: range) -> None:
    data = bytes(1024) + picture(size).tobytes()
    for slot in slots:
        for suffix in ("a", "b", "c"):
            with (folder / f"{slot:05d}.{suffix}").open("wb", buffering=0) as file:
                file.write(data)


def nothing(_: int) -> None:
    """Warm a worker up."""


def rate(function, folder: Path, size: int, frames: int, workers: int) -> float:
    """Frames per second; the best of three, for other programs use the machine too."""
    best = 0.0
    parts = [range(1 + i, 1 + frames, workers) for i in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(nothing, range(4 * workers)))
        for _ in range(3):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            os.sync()
            begin = time.perf_counter()
            if workers == 1:
                function(folder, size, parts[0])
            else:
                for future in [pool.submit(function, folder, size, part) for part in parts]:
                    future.result()
            best = max(best, frames / (time.perf_counter() - begin))
    shutil.rmtree(folder)
    return best


def export_rate(folder: Path, size: int, frames: int, workers: int) -> float:
    cross = size == 516
    raw = size - 4 if cross else size
    counts = picture(raw)
    response = np.random.default_rng(1).normal(1, 0.03, (raw, raw)).astype(np.float32)
    run = write_run(
        folder / "run", slots=frames, interval=0, shape=(raw, raw), wide_cross=cross,
        picture=lambda *_: counts, flatfield=response,
    )  # fmt: skip
    os.sync()
    begin = time.perf_counter()
    export_run(run, ["tiff", "smv", "mrc"], workers)
    seconds = time.perf_counter() - begin
    shutil.rmtree(run)
    return frames / seconds


def measure(folder: Path, size: int, frames: int, workers: int) -> Result:
    files = folder / "files"
    return Result(
        size=size,
        frames=frames,
        workers=workers,
        plain_1=rate(write_plain, files, size, frames, 1),
        plain_n=rate(write_plain, files, size, frames, workers),
        writers_1=rate(write_frames, files, size, frames, 1),
        writers_n=rate(write_frames, files, size, frames, workers),
        export_n=export_rate(folder, size, frames, workers),
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        peak_worker_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[516, 2048])
    parser.add_argument("--frames", type=int, default=0, help="frames per figure (0: 400 small or 40 large ones)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for size in options.size:
            frames = options.frames or (400 if size < 1024 else 40)
            result = measure(Path(name), size, frames, options.workers)
            results.append(result)
            n = result.workers
            print(
                f"{size} x {size}, {frames} frames, frames/s: plain {result.plain_1:.0f} ({n} processes "
                f"{result.plain_n:.0f}); writers {result.writers_1:.0f} ({n}: {result.writers_n:.0f}, "
                f"{result.writers_n / result.plain_n:.2f} of plain); export from frames.h5 ({n}) "
                f"{result.export_n:.0f}; peak memory {result.peak_mb:.0f} MB, worker {result.peak_worker_mb:.0f} MB",
                flush=True,
            )
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
