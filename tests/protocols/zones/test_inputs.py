"""One zone is a zone from every container and in every unit, and so are its neighbours in a stack."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin
import mrcfile
import numpy as np
import pytest
from PIL import Image

from benchmarks.zonesframes import CONDITIONS, PER_PX, crystal, frame_of
from protocols.zones.patterns.snapshots import looked_over, open_snapshots
from protocols.zones.sorting.labels import LABELS, ZONE
from protocols.zones.sorting.method import Method
from protocols.zones.sorting.sorting import sort_snapshots
from tests.quickly import quick

Frames = list[np.ndarray]
CONDITION = CONDITIONS["triclinic 700 A^3"]


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Frames of counts of four zones."""
    _, patterns = crystal(CONDITION.crystal, 600, np.random.default_rng(1))
    zones = np.flatnonzero(patterns.label == ZONE)
    return [frame_of(patterns, int(i), CONDITION, np.random.default_rng(int(i))) for i in zones[:4]]


def hdf5(name: str, **how: object) -> Callable[[Path, Frames], Path]:
    def write(folder: Path, frames: Frames) -> Path:
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("entry/data/data", data=np.stack(frames), chunks=(1, 516, 516), **how)
        return folder / name

    return write


def master(folder: Path, frames: Frames) -> Path:
    hdf5("s_data_000001.h5", **hdf5plugin.Bitshuffle())(folder, frames)
    with h5py.File(folder / "s_master.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("s_data_000001.h5", "entry/data/data")
    return folder / "s_master.h5"


def tiff(folder: Path, frames: Frames) -> Path:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(folder / "s.tif", save_all=True, append_images=rest, compression="tiff_deflate")
    return folder / "s.tif"


def mrc(folder: Path, frames: Frames) -> Path:
    with mrcfile.new(folder / "s.mrcs") as file:
        file.set_data(np.stack(frames))
    return folder / "s.mrcs"


def one_each(folder: Path, frames: Frames) -> Path:
    for number, frame in enumerate(frames):
        hdf5(f"{number}.h5")(folder, [frame])
    return folder


def marked(folder: Path, frames: Frames) -> Path:
    """A group of 2 x 2 marked pixels in each, at another place."""
    changed = [frame.copy() for frame in frames]
    for number, frame in enumerate(changed):
        frame[100 + 40 * number : 102 + 40 * number, 330:332] = 2**16 - 1
    return hdf5("s.h5")(folder, changed)


def hot(folder: Path, frames: Frames) -> Path:
    """Two groups of hot pixels, at the same places in all."""
    changed = [frame.copy() for frame in frames]
    for frame in changed:
        frame[100:102, 330:332] += 700
        frame[411:413, 190:193] += 200
    return hdf5("s.h5")(folder, changed)


def scaled(folder: Path, frames: Frames) -> Path:
    return tiff(folder, [(frame / 30000).astype(np.float32) for frame in frames])


WAYS: dict[str, Callable[[Path, Frames], Path]] = {
    "plain HDF5": hdf5("s.h5"),
    "bitshuffle-LZ4": hdf5("s.h5", **hdf5plugin.Bitshuffle()),
    "master": master,
    "TIFF stack": tiff,
    "MRC stack": mrc,
    "one HDF5 a picture": one_each,
    "marked groups": marked,
    "hot groups in all frames": hot,
    "scaled": scaled,
}


@pytest.mark.parametrize("way", quick(4, WAYS))
def test_a_zone_is_a_zone_whatever_it_comes_in(way: str, frames: Frames, tmp_path: Path) -> None:
    (source,) = open_snapshots([WAYS[way](tmp_path, frames)], PER_PX)
    source = looked_over(source)
    found = list(sort_snapshots(source, Method.GEOMETRY))
    assert [one.label for one in found] == [LABELS[ZONE]] * 4
    assert ("places are hot in all frames" in source.note) == (way == "hot groups in all frames")


def test_a_third_number_of_a_peak_is_not_a_position(tmp_path: Path) -> None:
    rows = [[0.1 * h, 0.13 * k, 50.0 + h] for h in range(-5, 6) for k in range(-5, 6) if h or k]
    (tmp_path / "p.json").write_text(json.dumps({"patterns": [{"name": "1", "xy_per_A": rows}]}))
    (source,) = open_snapshots([tmp_path / "p.json"])
    assert source.spots is not None
    assert np.array_equal(source.spots[0], np.array(rows)[:, :2])
