"""How fast a run becomes files: frames per second, against a plain write of the same bytes on the same disk.

    python benchmarks/export.py [--size 516 2048] [--frames 400] [--workers 2] [--folder DIR] [--json FILE]

Per size, uint16, TIFF + SMV + MRC together and each alone, in one process and in --workers processes:

* plain: the same number of files and bytes through open and write, nothing else;
* writers: frames that are in memory already, put aside and named as an export does it (what the peer program was
  measured with: 260-509 frames/s at 516 x 516, 5-9 at 2048 x 2048);
* export: `export_run` from frames.h5, decompression, flatfield, beam centres, start of the processes and all;
  `all` is with every format, master file and report too.

Beside them the processor time of one process in ms a frame, which other programs on the machine disturb less, and what
it is spent on. Nothing is forced to the disk (fsync), neither by the plain
write nor by an export. Each figure is the best of three. Memory is the peak of this process and of its largest worker.
Figures of different machines, or of one machine under different load, do not compare.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from protocols.products.cross import cross_mask  # noqa: E402
from protocols.products.export import FORMATS, export_run  # noqa: E402
from protocols.products.metadata import FrameHeader, RunHeader  # noqa: E402
from protocols.products.picturefiles import PictureFolders  # noqa: E402
from protocols.products.pictures import run_correction  # noqa: E402
from protocols.products.rotation import Rotation  # noqa: E402
from protocols.products.source import open_run  # noqa: E402
from protocols.products.survey import survey  # noqa: E402
from protocols.spots.beam_centre import even_level  # noqa: E402
from tests.protocols.products.runs import write_run  # noqa: E402

TRIES = 3
PICTURES = ("tiff", "smv", "mrc")
MARK = "part0"


@dataclass
class Result:
    """By what is written (`tiff+smv+mrc`, `smv`, ...): frames per second in one process and in `workers` of them, and
    ms of processor time for a frame in one.

    ms: processor time of a frame, by what is done. Memory in MB.
    """

    size: int
    frames: int
    workers: int
    plain: dict[str, list[float]]
    writers: dict[str, list[float]]
    export: dict[str, list[float]]
    ms: dict[str, float]
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


def folders_in(folder: Path, formats: tuple[str, ...]) -> PictureFolders:
    tiff, smv, mrc = (folder / name if name in formats else None for name in PICTURES)
    return PictureFolders(tiff, smv, mrc)


def write_frames(folder: Path, size: int, slots: range, formats: tuple[str, ...]) -> None:
    counts, run, folders = picture(size), header(size), folders_in(folder, formats)
    frames = [FrameHeader(slot, 0.0, 0.2, datetime(2026, 11, 21, tzinfo=UTC)) for slot in slots]
    for frame in frames:
        folders.put_aside(MARK, counts, run, frame)
    for frame in frames:
        folders.name(MARK, run, frame)


def write_plain(folder: Path, size: int, slots: range, formats: tuple[str, ...]) -> None:
    data = bytes(1024) + picture(size).tobytes()
    for slot in slots:
        for name in formats:
            with (folder / name / f"{slot:05d}").open("wb", buffering=0) as file:
                file.write(data)


def nothing(_: int) -> None:
    """Warm a worker up."""


class Best:
    """Frames per second, and ms of this process's time for one; the best of some, for the machine has other work."""

    def __init__(self, frames: int) -> None:
        self.frames, self.rate, self.ms = frames, 0.0, float("inf")

    def note(self, function: Callable[[], object]) -> None:
        """See whether it is faster this time."""
        os.sync()
        begin, used = time.perf_counter(), time.process_time()
        function()
        self.rate = max(self.rate, self.frames / (time.perf_counter() - begin))
        self.ms = min(self.ms, 1e3 * (time.process_time() - used) / self.frames)


def measured(function: Callable, folder: Path, size: int, frames: int, workers: int, formats: tuple[str, ...]) -> Best:
    best = Best(frames)
    parts = [range(1 + i, 1 + frames, workers) for i in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(nothing, range(4 * workers)))
        for _ in range(TRIES):
            for name in formats:
                (folder / name).mkdir(parents=True)
            if workers == 1:
                best.note(lambda: function(folder, size, parts[0], formats))
            else:
                best.note(lambda: shared(pool, function, folder, size, parts, formats))
            shutil.rmtree(folder)
    return best


def shared(pool: ProcessPoolExecutor, function: Callable, folder: Path, size: int, parts: list, formats: tuple) -> None:
    for future in [pool.submit(function, folder, size, part, formats) for part in parts]:
        future.result()


def stored_run(folder: Path, size: int, frames: int) -> Path:
    """A run of 512 x 512 with a cross, or of `size`, with a flatfield."""
    cross = size == 516
    raw = size - 4 if cross else size
    counts = picture(raw)
    response = np.random.default_rng(1).normal(1, 0.03, (raw, raw)).astype(np.float32)
    return write_run(
        folder, slots=frames, interval=0, shape=(raw, raw), wide_cross=cross, picture=lambda *_: counts,
        flatfield=response,
    )  # fmt: skip


def exported(run: Path, frames: int, workers: int, formats: tuple[str, ...]) -> Best:
    best = Best(frames)
    for _ in range(TRIES):
        best.note(lambda: export_run(run, formats, workers))
        for path in run.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
    return best


def times_ms(run: Path, size: int) -> dict[str, float]:
    """What one process does with a frame, one thing at a time."""
    with open_run(run) as source:
        info, correct, folders = source.info, run_correction(source), folders_in(run, PICTURES)
        counts, clipped = correct.apply(source.raw(0))
        level = even_level(info.overload, info.wide_cross)
        cross = cross_mask(info.raw_shape) if info.wide_cross else None
        frame = FrameHeader(1, 0.0, 0.2, datetime(2026, 11, 21, tzinfo=UTC))
        folders.make()

        def look(for_spots: bool) -> None:
            survey(1, counts, clipped, (size / 2, size / 2), None, level, cross, for_spots)

        steps: dict[str, Callable[[], object]] = {
            "read": lambda: source.raw(1),
            "correct": lambda: correct.apply(source.raw(0)),
            "beam and counts": lambda: look(False),
            "spots, for the report": lambda: look(True),
            "write": lambda: folders.put_aside(MARK, counts, header(size), frame),
            "name": lambda: folders.name(MARK, header(size), frame),
        }
        found = dict.fromkeys(steps, float("inf"))
        for _ in range(10):
            for name, step in steps.items():
                begin = time.process_time()
                step()
                found[name] = min(found[name], 1e3 * (time.process_time() - begin))
            for name in PICTURES:
                shutil.rmtree(run / name)
            folders.make()
    found["correct"] -= found["read"]
    found["spots, for the report"] -= found["beam and counts"]
    return found


def measure(folder: Path, size: int, frames: int, workers: int) -> Result:
    files, run = folder / "files", stored_run(folder / "run", size, frames)
    cases = {"+".join(names): names for names in (PICTURES, *((name,) for name in PICTURES))}

    def figures(function: Callable, names: tuple[str, ...]) -> list[float]:
        alone, together = (function(n, names) for n in (1, workers))
        return [alone.rate, together.rate, alone.ms]

    def plain(n: int, names: tuple[str, ...]) -> Best:
        return measured(write_plain, files, size, frames, n, names)

    def writers(n: int, names: tuple[str, ...]) -> Best:
        return measured(write_frames, files, size, frames, n, names)

    def export(n: int, names: tuple[str, ...]) -> Best:
        return exported(run, frames, n, names)

    result = Result(
        size=size,
        frames=frames,
        workers=workers,
        plain={key: figures(plain, names) for key, names in cases.items()},
        writers={key: figures(writers, names) for key, names in cases.items()},
        export={key: figures(export, names) for key, names in {**cases, "nexus": ("nexus",), "all": FORMATS}.items()},
        ms=times_ms(run, size),
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        peak_worker_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    )
    shutil.rmtree(run)
    return result


def show(result: Result) -> None:
    """A table: in one process and in several; the shares are those of the plain write's rate."""
    n = result.workers
    print(
        f"\n{result.size} x {result.size}, {result.frames} frames, frames/s in 1 process | {n} (ms of processor time)"
    )
    print(f"{'':13} {'plain':>19} {'writers':>19} {'share':>12} {'export':>19} {'share':>12}")
    for key, export in result.export.items():
        cells = [pair(export), ""]
        if plain := result.plain.get(key):
            writers = result.writers[key]
            print(f"{key:13} {pair(plain):>19} {pair(writers):>19} {shares(writers, plain):>12}", end=" ")
            cells = [pair(export), shares(export, plain)]
        else:
            print(f"{key:66}", end=" ")
        print(f"{cells[0]:>19} {cells[1]:>12}")
    print("processor ms a frame: " + ", ".join(f"{name} {ms:.2f}" for name, ms in result.ms.items()))
    print(f"peak memory {result.peak_mb:.0f} MB, of a worker {result.peak_worker_mb:.0f} MB", flush=True)


def pair(figures: list[float]) -> str:
    return f"{figures[0]:.0f} | {figures[1]:.0f} ({figures[2]:.2f})"


def shares(figures: list[float], plain: list[float]) -> str:
    return f"{figures[0] / plain[0]:.2f} | {figures[1] / plain[1]:.2f}"


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
            result = measure(Path(name), size, options.frames or (400 if size < 1024 else 40), options.workers)
            results.append(result)
            show(result)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
