"""Patterns of a serial run are read from frames.h5, and from the spool while the run goes on: the same ones."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.geometry import per_px_A
from engine.errors import DataError, Refused
from engine.frame import Frame
from engine.record.document import RUNNING, RunDocument
from engine.record.framekinds import STANDARD
from engine.record.frametable import DATA_FILE, Extra, write_frames
from engine.record.spool import SPOOL_FILE, Spool
from engine.record.writer import Writer
from protocols.zones.patterns.serialrun import is_serial_run
from protocols.zones.patterns.snapshots import described, open_snapshots
from tests.engine.virtually import virtual

GEOMETRY = {"wavelength_A": 0.02508, "camera_length_mm": 250.0, "pixel_size_mm": 0.055}
DETECTOR = {"shape": [40, 50], "wide_cross": False, "saturation": 11810}
PATTERNS = [(1, 1), (1, 2), (3, 1)]
"""Field and crystal of each."""


def picture(n: int) -> NDArray[np.uint16]:
    counts = np.full((40, 50), 3, dtype=np.uint16)
    counts[n, n] = 100 + n
    return counts


async def append_all(spool: Spool, writer: Writer) -> None:
    """An image of a field before its patterns, as a run takes them."""
    for n, (field, crystal) in enumerate(PATTERNS):
        frame = Frame(picture(n), n, n * 1000, n * 1000 + 100)
        if crystal == 1:
            await spool.append(replace(frame, counts=np.zeros((20, 20), np.uint16)), "image", {"field": field})
        await spool.append(frame, "pattern", {"field": field, "crystal": crystal})
    await writer.drain()


def write_spool(folder: Path) -> Path:
    writer = Writer()
    spool = Spool(folder / SPOOL_FILE, writer, durable=False)
    virtual(lambda clock: append_all(spool, writer))()
    writer.close()
    spool.close()
    return spool.path


def write_data(folder: Path, flatfield: NDArray[np.float32] | None = None) -> None:
    columns = [(c.name, c.dtype) for c in STANDARD] + [("field", "<i4"), ("crystal", "<i4")]
    table = np.zeros(len(PATTERNS), dtype=columns)
    table["field"], table["crystal"] = np.array(PATTERNS).T
    image = np.zeros(0, dtype=columns)

    def pictures(kind: str) -> Iterator[NDArray[np.uint16]]:
        return iter([picture(n) for n in range(len(PATTERNS))] if kind == "pattern" else [])

    extra = {} if flatfield is None else {"flatfield": Extra(flatfield)}
    write_frames(folder / DATA_FILE, {"pattern": table, "image": image}, pictures, extra)


def run_folder(folder: Path, status: str, geometry: dict[str, float] | None = None) -> Path:
    folder.mkdir()
    told = GEOMETRY if geometry is None else geometry
    RunDocument(protocol="serialed", status=status, instrument={"geometry": told, "detector": DETECTOR}).write(
        folder, durable=False
    )
    return folder


def test_a_run_that_has_ended_gives_its_patterns(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run_001", "completed")
    write_data(run)
    (source,) = open_snapshots([run])
    assert source.names == [f"{run}:1/1", f"{run}:1/2", f"{run}:3/1"]
    assert source.per_px == pytest.approx(per_px_A(0.055, 250.0, 0.02508))
    assert (source.wavelength_A, source.distortion, source.any_thickness) == (0.02508, None, True)
    assert source.picture is not None
    assert [int(source.picture(n).max()) for n in range(3)] == [100, 101, 102]
    assert "goes on" not in described(run, source)


def test_a_run_that_goes_on_gives_what_is_whole_on_the_disk(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run_001", RUNNING)
    spool = write_spool(run)
    spool.write_bytes(spool.read_bytes()[:-7])  # the last one is being written
    (source,) = open_snapshots([run])
    assert source.names == [f"{run}:1/1", f"{run}:1/2"]
    assert source.picture is not None
    assert np.array_equal(source.picture(1), picture(1))
    assert "the run goes on, and these are its first 2" in described(run, source)


def test_the_flatfield_of_the_run_is_divided_out(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run_001", "completed")
    flat = np.ones((40, 50), dtype=np.float32)
    flat[10:20] = 0.5
    write_data(run, flat)
    (source,) = open_snapshots([run])
    assert source.picture is not None
    counts = source.picture(0)
    assert counts[15, 30] == pytest.approx(2 * counts[30, 30], abs=1)


def test_a_serial_run_without_patterns_is_none(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run_001", "completed")
    assert not is_serial_run(run)
    write_data(run)
    assert is_serial_run(run)


def test_an_incomplete_geometry_is_told_with_the_remedy(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run_001", "completed", {"wavelength_A": 0.025})
    write_data(run)
    with pytest.raises(DataError, match=r"geometry is not complete .*--per-px"):
        open_snapshots([run])


def test_a_run_that_has_no_pattern_yet_says_so(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run_001", "completed")
    write_frames(
        run / DATA_FILE, {"pattern": np.zeros(0, [(c.name, c.dtype) for c in STANDARD])}, lambda _: iter(()), {}
    )
    with pytest.raises(Refused, match="a run without patterns"):
        open_snapshots([run])
