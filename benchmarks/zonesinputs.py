"""Zones from every container and camera that `credline zones` reads, beside the plain case.

    python benchmarks/zonesinputs.py [--seed 1] [--zones 30] [--others 60] [--only NAME ...]

The same patterns of a triclinic cell of 700 A^3, so many zonal ones and so many others, become frames as in
`zonesframes.py`, each kind of camera and container in its turn. They are opened, sorted by geometry and given to the
search for the cell as `credline zones` does it. What is measured: zones found, others called zones, spots of a frame,
whether the cell came out, and seconds of one core a frame (reading and finding of spots included; making the frames
not).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import mrcfile
import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.zonesframes import (  # noqa: E402
    CONDITIONS,
    TIMEPIX,
    WAVELENGTH_A,
    Camera,
    crystal,
    found_cell,
    frame_of,
)  # fmt: skip
from protocols.lattice.cell import Cell  # noqa: E402
from protocols.zones.patterns.simulation import Patterns  # noqa: E402
from protocols.zones.patterns.snapshots import Snapshots, looked_over, open_snapshots  # noqa: E402
from protocols.zones.sorting.labels import INTERSECTIONS, LABELS, ZONE  # noqa: E402
from protocols.zones.sorting.method import Method  # noqa: E402
from protocols.zones.sorting.sorting import sort_snapshots  # noqa: E402

Frame = NDArray[Any]
CONDITION = CONDITIONS["triclinic 700 A^3"]


def write_tiff(folder: Path, frames: list[Frame]) -> Path:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(folder / "s.tif", save_all=True, append_images=rest, compression="tiff_deflate")
    return folder / "s.tif"


def write_mrc(folder: Path, frames: list[Frame]) -> Path:
    with mrcfile.new(folder / "s.mrcs") as file:
        file.set_data(np.stack(frames))
    return folder / "s.mrcs"


def write_one_each(folder: Path, frames: list[Frame]) -> Path:
    for number, frame in enumerate(frames):
        with h5py.File(folder / f"{number:04}.h5", "w") as file:
            file["entry/data/data"] = frame
    return folder


def write_master(folder: Path, frames: list[Frame]) -> Path:
    with h5py.File(folder / "s_master.h5", "w") as master:
        for number, begin in enumerate(range(0, len(frames), 40), 1):
            name = f"s_data_{number:06}.h5"
            part = np.stack(frames[begin : begin + 40])
            with h5py.File(folder / name, "w") as file:
                file.create_dataset(
                    "entry/data/data", data=part, chunks=(1, *part.shape[1:]), **hdf5plugin.Bitshuffle()
                )
            master[f"entry/data/data_{number:06}"] = h5py.ExternalLink(name, "/entry/data/data")
    return folder


def marked(frame: Frame, number: int) -> Frame:
    """Groups of marked pixels, at other places in every frame."""
    rng = np.random.default_rng([7, number])
    frame = frame.copy()
    for row, column in rng.integers(20, len(frame) - 24, (4, 2)):
        frame[row : row + 2, column : column + 3] = 2**16 - 1
    return frame


def hot(frame: Frame, number: int) -> Frame:
    """Groups of hot pixels, at the same places in every frame."""
    places, counts = np.random.default_rng(8), np.random.default_rng([9, number])
    frame = frame.copy()
    for row, column in places.integers(20, len(frame) - 24, (5, 2)):
        frame[row : row + 2, column : column + 2] += counts.poisson(500, (2, 2)).astype(frame.dtype)
    return frame


@dataclass(frozen=True)
class Input:
    """How the frames come: the camera, what is done to a frame, and the file they are written to."""

    camera: Camera = TIMEPIX
    spoil: Callable[[Frame, int], Frame] | None = None
    write: Callable[[Path, list[Frame]], Path] | None = None


BURNT = replace(TIMEPIX, beam=3e6, beam_sigma_px=6.0, saturation=2**16 - 1)
INPUTS = {
    "plain": Input(),
    "TIFF stack, compressed": Input(write=write_tiff),
    ".mrcs": Input(write=write_mrc),
    "one HDF5 a picture": Input(write=write_one_each),
    "_master.h5, bitshuffle-LZ4": Input(write=write_master),
    "16-bit marks in groups": Input(spoil=marked),
    "hot groups in all frames": Input(spoil=hot),
    "saturated beam": Input(camera=BURNT),
    "saturated beam, dark inside": Input(camera=BURNT, spoil=lambda f, _: np.where(f == 2**16 - 1, 3, f)),
    "float, scaled to 1": Input(spoil=lambda f, _: (f / f.max()).astype(np.float32)),
    **{
        f"{size} px, sigma {sigma:g} px": Input(Camera(size, sigma, max(sigma, 1.5 * sigma), saturation=2**16 - 1))
        for size, sigmas in ((2048, (1.3, 4.0, 7.0, 10.0)), (4096, (1.3, 4.0, 7.0, 10.0)))
        for sigma in sigmas
    },
}


def judge(way: Input, cell: Cell, patterns: Patterns, seed: int) -> str:
    """One row of the table."""
    count = len(patterns)

    made_s = 0.0

    def frame(i: int) -> Frame:
        nonlocal made_s
        begin = time.process_time()
        counts: Frame = frame_of(patterns, i, CONDITION, np.random.default_rng([seed, i]), way.camera)
        counts = counts if way.spoil is None else way.spoil(counts, i)
        made_s += time.process_time() - begin
        return counts

    with tempfile.TemporaryDirectory() as folder:
        if way.write is None:
            source = Snapshots([str(i) for i in range(count)], way.camera.per_px, WAVELENGTH_A, picture=frame)
        else:
            path = way.write(Path(folder), [frame(i) for i in range(count)])
            (source,) = open_snapshots([path], way.camera.per_px, WAVELENGTH_A)
        made_s, begin = 0.0, time.process_time()
        found = list(sort_snapshots(looked_over(source), Method.GEOMETRY))
        took_s = time.process_time() - begin - made_s
    zonal, called = patterns.label == ZONE, np.array([one.label == LABELS[ZONE] for one in found])
    answer = found_cell(found, cell)
    spots = np.median([0 if one.spots is None else len(one.spots) for one in found])
    right = "right" if answer.right else "WRONG"
    said = "determined" if answer.determined else "not determined"
    return (
        f"{(called & zonal).sum()}/{zonal.sum()} | {(called & ~zonal).sum()}/{(~zonal).sum()} | {spots:.0f} | "
        f"{right}, {said} | {answer.length_percent:.3f} %, {answer.angle_deg:.3f} deg | {took_s / count:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zones", type=int, default=30)
    parser.add_argument("--others", type=int, default=60)
    parser.add_argument("--only", nargs="*", choices=list(INPUTS), default=list(INPUTS))
    arguments = parser.parse_args()
    cell, patterns = crystal(CONDITION.crystal, 1500, np.random.default_rng(arguments.seed))
    zones, others = (np.flatnonzero(patterns.label == kind) for kind in (ZONE, INTERSECTIONS))
    chosen = patterns.take(np.concatenate([zones[: arguments.zones], others[: arguments.others]]))
    print("input | zones found | others called zones | spots | cell | error | s/frame")
    for name in arguments.only:
        print(f"{name} | {judge(INPUTS[name], cell, chosen, arguments.seed)}", flush=True)


if __name__ == "__main__":
    main()
