"""frames.h5 holds what was measured, compressed, for every reader of HDF5; or it is not there at all."""

import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engine.errors import DataError, StorageError
from engine.record import frametable as framesfile
from engine.record.framekinds import Column, FrameKind
from engine.record.frametable import FramesFile, write_frames

KIND = FrameKind("diffraction", (Column("slot", "<i4", "slot"),), (Column("kept", "u1", "kept"),))

SHAPE = (32, 48)


def pictures(count: int) -> list[NDArray[np.uint16]]:
    rng = np.random.default_rng(1)
    return [rng.poisson(20 + k, SHAPE).astype(np.uint16) for k in range(count)]


def table(count: int) -> NDArray[np.void]:
    rows = np.zeros(count, KIND.row)
    rows["slot"] = 1 + np.arange(count)
    rows["kept"] = 1
    rows["start_ns"] = 512_000_000 * np.arange(count)
    rows["end_ns"] = rows["start_ns"] + 500_000_000
    return rows


def write(path: Path, frames: Any, rows: NDArray[np.void], flatfield: Any = None) -> None:
    extra = {} if flatfield is None else {"flatfield": framesfile.Extra(flatfield, 7)}
    write_frames(path, {"diffraction": rows}, lambda kind: frames, extra)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_what_was_written_is_read_back(tmp_path: Path, count: int) -> None:
    flatfield = np.linspace(0.9, 1.1, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    write(tmp_path / "frames.h5", iter(pictures(count)), table(count), flatfield)
    with h5py.File(tmp_path / "frames.h5") as file:
        assert file.attrs["schema"] == framesfile.SCHEMA
        assert file["diffraction/data"].shape == (count, *SHAPE)
        assert file["diffraction/data"].dtype == np.uint16
        for got, expected in zip(file["diffraction/data"], pictures(count), strict=True):
            assert np.array_equal(got, expected)
        assert np.array_equal(file["diffraction/frames"][()], table(count))
        assert np.array_equal(file["flatfield"][()], flatfield)
    with FramesFile(tmp_path / "frames.h5") as read:
        extra = read.extra_at(7)
        assert extra is not None
        assert np.array_equal(extra, flatfield)
        assert read.extra_at(0) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["frames.h5"]


@given(picture=arrays(np.uint16, (4, 6), elements=st.integers(0, 65535)))
def test_every_count_survives(tmp_path_factory: pytest.TempPathFactory, picture: NDArray[np.uint16]) -> None:
    path = tmp_path_factory.mktemp("frames") / "frames.h5"
    write(path, [picture], table(1), None)
    with h5py.File(path) as file:
        assert np.array_equal(file["diffraction/data"][0], picture)


def test_pictures_are_compressed_one_chunk_each_by_filters_every_hdf5_has(tmp_path: Path) -> None:
    write(tmp_path / "frames.h5", pictures(20), table(20), None)
    with h5py.File(tmp_path / "frames.h5") as file:
        data = file["diffraction/data"]
        assert data.chunks == (1, *SHAPE)
        assert (data.compression, data.shuffle) == ("gzip", True)
        assert data.id.get_storage_size() < 0.7 * data.nbytes
        assert "flatfield" not in file


@pytest.mark.parametrize("layout", ["transposed", "strided", "read only", "big-endian"])
def test_the_layout_in_memory_does_not_matter(tmp_path: Path, layout: str) -> None:
    whole = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16)
    picture: Any = {
        "transposed": whole.reshape(SHAPE[::-1]).T,
        "strided": np.repeat(whole.reshape(SHAPE), 2, axis=1)[:, ::2],
        "read only": np.frombuffer(whole.tobytes(), np.uint16).reshape(SHAPE),
        "big-endian": whole.reshape(SHAPE).astype(">u2"),
    }[layout]
    write(tmp_path / "frames.h5", [picture], table(1), None)
    with h5py.File(tmp_path / "frames.h5") as file:
        assert np.array_equal(file["diffraction/data"][0], picture)


@pytest.mark.parametrize("count", [0, 2, 4, 40])
def test_another_number_of_pictures_than_of_rows_leaves_nothing(tmp_path: Path, count: int) -> None:
    with pytest.raises(StorageError, match=r"pictures (for 3|than) frames.*; the spool is kept as it is"):
        write(tmp_path / "frames.h5", pictures(count), table(3), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "odd",
    [
        np.zeros((32, 47), np.uint16),
        np.zeros((48, 32), np.uint16),
        np.zeros(SHAPE, np.int32),
        np.zeros(SHAPE, np.uint8),
    ],
    ids=["other columns", "other way round", "32 bits", "8 bits"],
)
def test_a_picture_of_another_shape_or_kind_is_refused_and_leaves_nothing(tmp_path: Path, odd: NDArray[Any]) -> None:
    with pytest.raises(StorageError, match="spool"):
        write(tmp_path / "frames.h5", [pictures(1)[0], odd], table(2), None)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    write(tmp_path / "frames.h5", pictures(1), table(1), None)
    before = (tmp_path / "frames.h5").read_bytes()
    with pytest.raises(StorageError):
        write(tmp_path / "frames.h5", pictures(1), table(2), None)
    assert (tmp_path / "frames.h5").read_bytes() == before


def test_an_error_of_the_source_of_pictures_leaves_nothing(tmp_path: Path) -> None:
    def source() -> Iterator[NDArray[np.uint16]]:
        yield from pictures(2)
        raise KeyError("spool damaged")

    with pytest.raises(KeyError):
        write(tmp_path / "frames.h5", source(), table(5), None)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_a_storage_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"could not be written .*spool beside it holds every frame.*recover"):
        write(tmp_path / "missing" / "frames.h5", pictures(1), table(1), None)


def test_pictures_are_taken_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    ahead: list[int] = []
    real = framesfile._deflated

    def source() -> Iterator[NDArray[np.uint16]]:
        nonlocal taken
        for picture in pictures(200):
            taken += 1
            yield picture

    def deflated(picture: NDArray[np.uint16]) -> bytes:
        ahead.append(taken)
        return real(picture)

    monkeypatch.setattr(framesfile, "_deflated", deflated)
    write(tmp_path / "frames.h5", source(), table(200), None)
    assert ahead[0] <= 32


def test_the_file_opens_without_this_program(tmp_path: Path) -> None:
    write(tmp_path / "frames.h5", pictures(2), table(2), None)
    program = "import h5py, sys; print(int(h5py.File(sys.argv[1])['diffraction/data'][1].sum()))"
    output = subprocess.run(
        [sys.executable, "-I", "-c", program, str(tmp_path / "frames.h5")], check=True, capture_output=True, text=True
    ).stdout
    assert int(output) == int(pictures(2)[1].sum())


@pytest.mark.parametrize(
    "pixel", ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", ">u8", "<f4", ">f4"]
)
def test_counts_of_any_type_keep_their_values_and_their_type(tmp_path: Path, pixel: str) -> None:
    kind = np.dtype(pixel)
    ends = [np.iinfo(kind).min, np.iinfo(kind).max] if kind.kind in "iu" else [-1.5, np.inf]
    picture = np.array([ends, [0, 1]], kind)
    write(tmp_path / "frames.h5", [picture, picture], table(2))
    with FramesFile(tmp_path / "frames.h5") as file:
        assert file.dtype("diffraction") == kind.newbyteorder("<")
        assert np.array_equal(file.picture("diffraction", 1), picture)


def test_a_file_of_schema_1_reads_as_one_kind_with_all_standard_columns(tmp_path: Path) -> None:
    old = np.array([(3, 100, 200)], [("slot", "<i4"), ("start_ns", "<i8"), ("end_ns", "<i8")])
    with h5py.File(tmp_path / "frames.h5", "w") as made:
        made.attrs["schema"] = 1
        made["data"], made["frames"] = np.ones((1, 2, 2), np.uint16), old
    with FramesFile(tmp_path / "frames.h5") as file:
        (row,) = file.table("diffraction")
        assert file.kinds == ("diffraction",)
        assert (row["slot"], row["index"], row["start_ns"], row["start_max_ns"], row["end_min_ns"]) == (
            3,
            -1,
            100,
            100,
            200,
        )
        assert file.picture("diffraction", 0).sum() == 4
        assert file.extra("flatfield") is None


# (counts' type, filters): what other programs and older versions write is read as well
STORED: list[tuple[str, dict[str, Any]]] = [
    *((pixel, {"shuffle": True, "compression": "gzip"}) for pixel in ("u1", "<u2", ">u2", "<i4", "<f4", "<f8")),
    ("<u2", {}),
    ("<u2", {"compression": "gzip"}),
    ("<u2", {"compression": "lzf", "shuffle": True}),
    ("<u2", {"shuffle": True, "compression": "gzip", "fletcher32": True}),
    ("<u2", {"shuffle": True, "compression": "gzip", "chunks": (2, 16, 24)}),
]


@pytest.mark.parametrize(("pixel", "filters"), STORED)
def test_pictures_are_read_whatever_filters_they_went_through(
    tmp_path: Path, pixel: str, filters: dict[str, Any]
) -> None:
    counts = np.random.default_rng(3).integers(0, 250, (4, *SHAPE)).astype(pixel)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file.attrs["schema"] = framesfile.SCHEMA
        file.create_dataset("diffraction/data", data=counts, **({"chunks": (1, *SHAPE)} | filters if filters else {}))
        if filters.get("shuffle") and filters.get("compression") == "gzip" and len(filters) == 2:
            plain = np.ascontiguousarray(counts[2])  # HDF5 may leave filters out of a chunk that they do not help
            file["diffraction/data"].id.write_direct_chunk((2, 0, 0), zlib.compress(plain.tobytes()), filter_mask=1)
    with FramesFile(tmp_path / "frames.h5") as read:
        for row in range(4):
            picture = read.picture("diffraction", row)
            assert picture.dtype == counts.dtype
            assert np.array_equal(picture, counts[row])


@pytest.mark.parametrize("damage", ["cut short", "another size", "no deflated bytes", "never written"])
def test_a_damaged_picture_is_told_as_hdf5_tells_it(tmp_path: Path, damage: str) -> None:
    chunk = zlib.compress(bytes(2 * SHAPE[0] * SHAPE[1]))
    bad = {
        "cut short": chunk[: len(chunk) // 2],
        "another size": zlib.compress(bytes(10)),
        "no deflated bytes": b"\xff" * 40,
        "never written": b"",
    }[damage]
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file.attrs["schema"] = framesfile.SCHEMA
        data = file.create_dataset(
            "diffraction/data", (2, *SHAPE), "<u2", chunks=(1, *SHAPE), shuffle=True, compression="gzip", fillvalue=7
        )
        if bad:
            data.id.write_direct_chunk((1, 0, 0), bad)
    with FramesFile(tmp_path / "frames.h5") as read:
        if not bad:
            assert (read.picture("diffraction", 1) == 7).all()
            return
        with pytest.raises(DataError, match=r"frames\.h5: damaged or truncated \(diffraction frame 1: "):
            read.picture("diffraction", 1)
