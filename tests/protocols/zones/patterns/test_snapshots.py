"""Patterns are read from wherever they lie; what cannot be read is named, with the remedy."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from engine.errors import DataError, Refused
from protocols.zones.patterns.patternfile import read_truth, write_patterns
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.render import ImageGeometry, render
from protocols.zones.patterns.simulation import simulate
from protocols.zones.patterns.snapshots import described, open_snapshots, per_px_of
from tests.protocols.products.runs import write_run

PICTURE = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)


def test_a_file_of_patterns_gives_its_pictures_and_their_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    cell = random_cell(rng)
    patterns = simulate(cell, 12, rng)
    drawn = render(patterns)
    write_patterns(tmp_path / "p.h5", patterns, [drawn[:5], drawn[5:]], ImageGeometry(), cell, 0.0197, {"seed": 1})
    (source,) = open_snapshots([tmp_path / "p.h5"])
    assert len(source) == 12
    assert source.names[3] == f"{tmp_path / 'p.h5'}#03"
    assert source.per_px == ImageGeometry().per_px
    assert source.wavelength_A == 0.0197
    assert source.picture is not None
    assert np.array_equal(source.picture(7), drawn[7])
    truth = read_truth(tmp_path / "p.h5")
    assert truth is not None
    assert truth.cell == cell
    assert np.array_equal(truth.label, patterns.label)


def test_a_folder_of_pictures_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (("b.png", 2), ("a.png", 1), ("deeper/c.png", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 50), value, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    (source,) = open_snapshots([tmp_path], per_px=0.004)
    assert source.picture is not None
    assert [(name, int(source.picture(i)[0, 0])) for i, name in enumerate(source.names)] == [
        (str(tmp_path / "a.png"), 1),
        (str(tmp_path / "b.png"), 2),
        (str(tmp_path / "deeper" / "c.png"), 3),
    ]
    assert source.per_px == 0.004


def test_a_run_gives_its_corrected_frames_their_scale_wavelength_and_distortion(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run_001", slots=5, interval=0)
    (source,) = open_snapshots([run])
    assert len(source) == 5
    assert source.picture is not None
    assert source.picture(0).shape == (516, 516)
    assert source.per_px == pytest.approx(0.055 / (250 * 0.0251), rel=0.01)
    assert source.wavelength_A == pytest.approx(0.0251, rel=0.01)
    assert source.distortion is not None


# (what a person says, what is noted)
SAID: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "the same": ({"per_px": 0.05 / 6, "wavelength_A": 0.02508}, ""),
    "another scale": ({"per_px": 0.009}, "its own scale of 0.00833333 1/A per pixel is overruled by --per-px 0.009"),
    "another voltage": (
        {"wavelength_A": 0.0197},
        "its own wavelength of 0.02510 A is overruled by --voltage: 0.0197",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_a_person_overrules_what_a_source_says_and_is_told_so(case: str, tmp_path: Path) -> None:
    said, note = SAID[case]
    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((2, 4, 4), dtype=np.uint8)
        file["images"].attrs.update({"per_px_per_A": 0.05 / 6, "wavelength_A": 0.0251})
    (source,) = open_snapshots([path], **said)
    assert source.note.startswith(note) if note else not source.note
    assert source.per_px == said.get("per_px", 0.05 / 6)
    assert source.wavelength_A == said.get("wavelength_A", 0.0251)


LISTS = {
    "p.json": json.dumps(
        {"patterns": [{"name": "x", "xy_per_A": [[0.1, 0.2], [0.3, 0.4]]}, {"name": "y", "xy_per_A": []}]}
    ),
    "p.csv": "name,x_per_A,y_per_A\nx,0.1,0.2\nx,0.3,0.4\n",
    "with intensities.json": '{"patterns": [{"name": "x", "xy_per_A": [[0.1, 0.2, 50.0], [0.3, 0.4, 60.0]]}]}',
    "with intensities.csv": "name,x_per_A,y_per_A,intensity\nx,0.1,0.2,50\nx,0.3,0.4,60\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_peak_lists(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LISTS[name])
    (source,) = open_snapshots([tmp_path / name])
    assert source.names[0] == f"{tmp_path / name}:x"
    assert source.spots is not None
    assert source.spots[0].tolist() == [[0.1, 0.2], [0.3, 0.4]]


SPOILT = {
    "nothing.h5": (None, Refused, "no such file"),
    "p.doc": (b"x", Refused, "unknown kind"),
    "p.h5": (b"not HDF5", DataError, "not readable as HDF5"),
    "p.png": (b"not a picture", DataError, "cannot be read as a picture"),
    "p.tif": (b"", DataError, "cannot be read as a picture"),
    "p.json": (b"[1, 2]", DataError, "not a peak list"),
    "q.json": (b'{"patterns": []}', Refused, "without patterns"),
    "r.json": (b'{"patterns": [{"name": "a", "xy_per_A": [[1, NaN]]}]}', DataError, "no numbers"),
    "four.json": (
        b'{"patterns": [{"name": "a", "xy_per_A": [[1, 2, 3, 4], [5, 6, 7, 8]]}]}',
        DataError,
        "x, y or of x, y, intensity",
    ),
    "flat.json": (b'{"patterns": [{"name": "a", "xy_per_A": [1, 2, 3, 4]}]}', DataError, "x, y or of x, y, intensity"),
    "ragged.json": (b'{"patterns": [{"name": "a", "xy_per_A": [[1, 2], [3]]}]}', DataError, "not a peak list"),
    "p.csv": (b"a,b\n1,2\n", DataError, "not a peak list"),
    "q.csv": (b"name,x_per_A,y_per_A\nx,one,two\n", DataError, "not a peak list"),
}


def read_all(path: Path) -> None:
    for source in open_snapshots([path]):
        for i in range(len(source)):
            if source.picture is not None:
                source.picture(i)


@pytest.mark.parametrize("name", SPOILT)
def test_what_cannot_be_read_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    content, error, cause = SPOILT[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=cause) as raised:
        read_all(tmp_path / name)
    assert "\n" not in str(raised.value)
    assert name in str(raised.value)


def test_an_empty_folder_and_a_file_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="without pictures"):
        open_snapshots([tmp_path])
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(Refused, match="no stack of pictures"):
        open_snapshots([tmp_path / "p.h5"])


def test_one_picture_in_hdf5_is_a_pattern_and_none_is_said_to_be_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["data"] = PICTURE
    (source,) = open_snapshots([tmp_path / "one.h5"])
    assert len(source) == 1
    assert source.picture is not None
    assert np.array_equal(source.picture(0), PICTURE)
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["images"] = np.zeros((0, 8, 8))
    with pytest.raises(Refused, match="is empty"):
        open_snapshots([tmp_path / "none.h5"])


def test_a_picture_without_a_scale_is_refused_unless_it_is_one_of_ours(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((254, 254), dtype=np.uint8)).save(tmp_path / "p.png")
    (source,) = open_snapshots([tmp_path])
    assert source.picture is not None
    assert per_px_of(source, source.picture(0)) == ImageGeometry().per_px
    with pytest.raises(Refused, match="--per-px"):
        per_px_of(source, PICTURE)


def test_a_folder_gives_every_picture_of_its_stacks_and_says_what_is_not_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = np.stack([PICTURE, PICTURE + 1])
    Image.fromarray(PICTURE + 2).save(tmp_path / "b.png")
    (tmp_path / "c.dm4").write_bytes(b"one")
    (tmp_path / "d.dm4").write_bytes(b"two")
    (source,) = open_snapshots([tmp_path], per_px=0.004)
    assert source.picture is not None
    assert [(Path(name).name, int(source.picture(i)[0, 0])) for i, name in enumerate(source.names)] == [
        ("a.h5#0", 0),
        ("a.h5#1", 1),
        ("b.png", 2),
    ]
    assert described(tmp_path, source).endswith("; NOT READ: 2 files of an unknown kind (.dm4)")
    kept = source.only({str(tmp_path / "a.h5#1")})
    assert kept.picture is not None
    assert int(kept.picture(0)[0, 0]) == 1
