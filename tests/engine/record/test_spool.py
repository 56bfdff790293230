"""The spool gives back every whole frame, after a crash at any byte, and never a wrong one."""

import asyncio
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from engine.clock.virtual import VirtualClock
from engine.errors import DataError
from engine.frame import Frame
from engine.record.spool import Spool, SpooledFrame, SpooledPictures, read_infos, read_spool
from engine.record.spoolformat import MAGIC, OLD_HEAD, OLD_MAGIC, Columns
from engine.record.writer import Writer
from tests.engine.virtually import virtual

TYPES = ["i1", "u1", "<i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", "<u8", ">u8", "<f4", ">f4"]
COUNTS = arrays(
    dtype=st.sampled_from(TYPES),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FRAMES = st.lists(st.tuples(INT32, st.builds(Frame, COUNTS, number=INT32, start_ns=INT64, end_ns=INT64)), max_size=4)


async def spool_of(folder: Path, frames: Sequence[tuple[int, Frame]], *, durable: bool = False) -> Path:
    writer = Writer()
    spool = Spool(folder / "frames.spool", writer, durable=durable)
    for k, (slot, frame) in enumerate(frames):
        assert await spool.append(frame, "diffraction", {"slot": slot}) == k
    assert spool.frames == len(frames)
    await writer.drain()
    writer.close()
    spool.close()
    return spool.path


def three_frames(shape: tuple[int, int] = (3, 4)) -> list[tuple[int, Frame]]:
    counts = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    return [(slot, Frame(counts + slot, slot - 1, slot * 1000, slot * 1000 + 512)) for slot in (1, 2, 4)]


def assert_same(read: Sequence[SpooledFrame], written: Sequence[tuple[int, Frame]]) -> None:
    assert len(read) == len(written)
    for got, (slot, frame) in zip(read, written, strict=True):
        assert (got.columns, got.number, got.start_ns, got.end_ns) == (
            {"slot": slot},
            frame.number,
            frame.start_ns,
            frame.end_ns,
        )
        assert got.counts.dtype == frame.counts.dtype
        assert np.array_equal(got.counts, frame.counts, equal_nan=got.counts.dtype.kind == "f")


@given(frames=FRAMES)
@virtual
async def test_frames_of_any_shape_and_kind_come_back_as_they_were(
    clock: VirtualClock, frames: list[tuple[int, Frame]]
) -> None:
    with TemporaryDirectory() as folder:
        assert_same(list(read_spool(await spool_of(Path(folder), frames))), frames)


VIEWS: dict[str, Any] = {
    "transposed": lambda a: a.T,
    "every second column": lambda a: a[:, ::2],
    "upside down": lambda a: a[::-1],
    "column order": np.asfortranarray,
    "read only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("view", VIEWS)
@virtual
async def test_the_layout_in_memory_does_not_matter(clock: VirtualClock, tmp_path: Path, view: str) -> None:
    counts: NDArray[np.uint16] = VIEWS[view](np.arange(24, dtype=np.uint16).reshape(4, 6))
    frames = [(1, Frame(counts, 0, 0, 1))]
    assert_same(list(read_spool(await spool_of(tmp_path, frames))), frames)


@virtual
async def test_a_durable_spool_holds_the_same(clock: VirtualClock, tmp_path: Path) -> None:
    assert_same(list(read_spool(await spool_of(tmp_path, three_frames(), durable=True))), three_frames())


@virtual
async def test_cut_off_at_any_byte_it_gives_the_frames_before_and_no_error(clock: VirtualClock, tmp_path: Path) -> None:
    frames = three_frames()
    whole = (await spool_of(tmp_path, frames)).read_bytes()
    record = (len(whole) - len(MAGIC)) // 3
    assert len(whole) == len(MAGIC) + 3 * record
    cut = tmp_path / "cut.spool"
    for length in range(len(MAGIC), len(whole)):
        cut.write_bytes(whole[:length])
        assert_same(list(read_spool(cut)), frames[: (length - len(MAGIC)) // record])


@virtual
async def test_blocks_of_the_last_frame_that_never_reached_the_disk_cost_that_frame_only(
    clock: VirtualClock, tmp_path: Path
) -> None:
    # A file system may lengthen a file before its contents are there: the rest then reads as zeros.
    frames = three_frames()
    path = await spool_of(tmp_path, frames)
    whole = path.read_bytes()
    record = (len(whole) - len(MAGIC)) // 3
    for kept in range(1, record):
        path.write_bytes(whole[: len(whole) - record + kept].ljust(len(whole), b"\0"))
        if path.read_bytes() != whole:
            assert_same(list(read_spool(path)), frames[:2])


@pytest.mark.parametrize("record", [0, 1])
@virtual
async def test_damage_before_the_last_frame_is_named_after_the_frames_before_it(
    clock: VirtualClock, tmp_path: Path, record: int
) -> None:
    frames = three_frames()
    path = await spool_of(tmp_path, frames)
    whole = path.read_bytes()
    size = (len(whole) - len(MAGIC)) // 3
    for offset in range(size):
        damaged = bytearray(whole)
        damaged[len(MAGIC) + record * size + offset] ^= 0x10
        path.write_bytes(damaged)
        read: list[SpooledFrame] = []
        with pytest.raises(DataError, match=r"damaged.*before"):
            read.extend(read_spool(path))
        reader, read = read_spool(path), []
        for _ in range(record):
            read.append(next(reader))
        assert_same(read, frames[:record])


@virtual
async def test_a_damaged_last_frame_is_never_given_out(clock: VirtualClock, tmp_path: Path) -> None:
    frames = three_frames()
    path = await spool_of(tmp_path, frames)
    whole = path.read_bytes()
    for offset in range(1, 25):
        damaged = bytearray(whole)
        damaged[-offset] ^= 0x01
        path.write_bytes(damaged)
        assert_same(list(read_spool(path)), frames[:2])


@pytest.mark.parametrize("content", [b"", b"CRED", b"not a spool at all", MAGIC[:-1] + b"3" + bytes(100)])
def test_what_is_no_spool_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frames.spool"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a spool"):
        list(read_spool(path))
    assert path.read_bytes() == content


def test_a_missing_spool_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_spool(tmp_path / "none.spool"))


@virtual
async def test_a_spool_without_frames_is_empty(clock: VirtualClock, tmp_path: Path) -> None:
    assert list(read_spool(await spool_of(tmp_path, []))) == []


@virtual
async def test_one_kind_of_frame_can_be_read_alone(clock: VirtualClock, tmp_path: Path) -> None:
    writer = Writer()
    spool = Spool(tmp_path / "frames.spool", writer, durable=False)
    frames = three_frames()
    for (slot, frame), kind in zip(frames, ("diffraction", "snapshot", "diffraction"), strict=True):
        await spool.append(frame, kind, {"slot": slot})
    await writer.drain()
    writer.close()
    spool.close()
    assert [frame.kind for frame in read_spool(spool.path)] == ["diffraction", "snapshot", "diffraction"]
    assert_same(list(read_spool(spool.path)), frames)
    assert_same(list(read_spool(spool.path, "diffraction")), [frames[0], frames[2]])
    assert_same(list(read_spool(spool.path, "snapshot")), [frames[1]])


@virtual
async def test_a_spool_is_never_overwritten(clock: VirtualClock, tmp_path: Path) -> None:
    path = await spool_of(tmp_path, three_frames())
    writer = Writer()
    with pytest.raises(FileExistsError):
        Spool(path, writer, durable=False)
    writer.close()
    assert_same(list(read_spool(path)), three_frames())


@virtual
async def test_the_spool_can_be_read_while_it_grows(clock: VirtualClock, tmp_path: Path) -> None:
    writer = Writer()
    spool = Spool(tmp_path / "frames.spool", writer, durable=False)
    for k, (slot, frame) in enumerate(three_frames(), start=1):
        await spool.append(frame, "diffraction", {"slot": slot})
        await writer.drain()
        assert len(list(read_spool(spool.path))) == k
    writer.close()
    spool.close()


@virtual
async def test_appending_waits_while_the_disk_is_behind(clock: VirtualClock, tmp_path: Path) -> None:
    writer = Writer(limit_bytes=30)
    spool = Spool(tmp_path / "frames.spool", writer, durable=False)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()
    writer.submit(lambda: asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10), 24)
    (slot, frame), *_ = three_frames()
    await spool.append(frame, "diffraction", {"slot": slot})  # 24 bytes more: now over the limit
    third = asyncio.create_task(spool.append(frame, "diffraction", {"slot": slot}))
    await asyncio.sleep(0)
    assert not third.done()
    released.set()
    await third
    await writer.drain()
    writer.close()
    spool.close()
    assert len(list(read_spool(spool.path))) == 2


@virtual
async def test_one_picture_is_found_by_its_index_while_the_spool_grows(clock: VirtualClock, tmp_path: Path) -> None:
    writer = Writer()
    spool = Spool(tmp_path / "frames.spool", writer, durable=False)
    pictures = SpooledPictures(spool.path)
    for k, (slot, frame) in enumerate(three_frames()):
        with pytest.raises(DataError, match=f"frame {k} is not there"):
            pictures.picture(k)
        await spool.append(frame, "diffraction", {"slot": slot})
        await writer.drain()
        assert np.array_equal(pictures.picture(k), frame.counts)
        assert np.array_equal(SpooledPictures(spool.path).picture(k), frame.counts)
    with pytest.raises(DataError, match="frame -1 is not there"):
        pictures.picture(-1)
    assert np.array_equal(pictures.picture(0), three_frames()[0][1].counts)
    writer.close()
    spool.close()
    assert [info.index for info in read_infos(spool.path)] == [0, 1, 2]


@virtual
async def test_another_spool_of_the_same_name_is_read_from_its_own_begin(clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "frames.spool"
    pictures = SpooledPictures(path)
    taken = 0
    for first in (8, 5, None):  # in the last one the second frame begins where the third did before
        writer = Writer()
        spool = Spool(path, writer, durable=False)
        sizes = [5 + taken // 4 if first is None else first, 5, 5, 5]
        for k, size in enumerate(sizes):
            await spool.append(Frame(np.full((1, size), k, np.uint8), k, 0, 1), "still", {})
        await writer.drain()
        writer.close()
        spool.close()
        for k in (3, 2, 1):
            assert pictures.picture(k).tolist() == [[k] * sizes[k]]
        taken = path.stat().st_size - len(MAGIC)
        path.unlink()


@virtual
async def test_kind_columns_and_bounds_are_the_protocols_and_come_back(clock: VirtualClock, tmp_path: Path) -> None:
    writer = Writer()
    spool = Spool(tmp_path / "frames.spool", writer, durable=False)
    frame = Frame(np.zeros((2, 2), np.int32), 0, 100, 200, None, (90, 110), (190, 230))
    columns: Columns = {"field": 7, "tilt_deg": -1.5, "crystal": "a", "centred": True, "cell": None}
    await spool.append(frame, "still", columns)
    await writer.drain()
    writer.close()
    spool.close()
    (info,) = read_infos(spool.path)
    assert (info.kind, info.columns) == ("still", columns)
    assert (info.start_bounds_ns, info.end_bounds_ns) == ((90, 110), (190, 230))


@virtual
async def test_counts_that_cannot_be_kept_are_refused_before_anything_is_written(
    clock: VirtualClock, tmp_path: Path
) -> None:
    writer = Writer()
    spool = Spool(tmp_path / "frames.spool", writer, durable=False)
    refused: list[Any] = [np.zeros((2, 2)), np.zeros((2, 2), np.complex64), np.zeros((2, 2, 3), np.uint8)]
    for counts in refused:
        with pytest.raises(DataError, match="cannot be kept"):
            await spool.append(Frame(counts, 0, 0, 1), "still", {})
    writer.close()
    spool.close()
    assert spool.path.read_bytes() == MAGIC


def test_a_spool_of_format_1_is_read(tmp_path: Path) -> None:
    counts = np.arange(6, dtype="<u2").reshape(2, 3)
    content = OLD_MAGIC
    for mark, slot in ((b"FLAT", 0), (b"FRAM", 1), (b"SNAP", 2)):
        head = OLD_HEAD.pack(mark, slot, slot, 10, 20, 2, 3, b"<u2 ", zlib.crc32(counts.tobytes()), 0)[:-4]
        content += head + struct.pack("<I", zlib.crc32(head)) + counts.tobytes()
    path = tmp_path / "frames.spool"
    path.write_bytes(content)
    found = list(read_spool(path))
    assert [(f.index, f.kind, f.columns) for f in found] == [
        (0, "flatfield", {"slot": 0}),
        (1, "diffraction", {"slot": 1}),
        (2, "snapshot", {"slot": 2}),
    ]
    assert all(np.array_equal(f.counts, counts) for f in found)
    assert np.array_equal(SpooledPictures(path).picture(2), counts)
