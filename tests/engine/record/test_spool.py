"""The spool gives back every whole frame, after a crash at any byte, and never a wrong one."""

import asyncio
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
from engine.record.spool import HEADER, MAGIC, Spool, SpooledFrame, read_spool
from engine.record.writer import Writer
from tests.engine.virtually import virtual

COUNTS = arrays(
    dtype=st.sampled_from(["u1", "<u2", ">u2", "<i2", "<u4", "<i4", "<i8"]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FRAMES = st.lists(st.tuples(INT32, st.builds(Frame, COUNTS, number=INT32, start_ns=INT64, end_ns=INT64)), max_size=4)


async def spool_of(folder: Path, frames: Sequence[tuple[int, Frame]], *, durable: bool = False) -> Path:
    writer = Writer()
    spool = Spool(folder / "frames.spool", writer, durable=durable)
    for k, (slot, frame) in enumerate(frames):
        assert await spool.append(slot, frame) == k
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
        assert (got.slot, got.number, got.start_ns, got.end_ns) == (slot, frame.number, frame.start_ns, frame.end_ns)
        assert got.counts.dtype == frame.counts.dtype
        assert np.array_equal(got.counts, frame.counts)


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
    record = HEADER.size + 24
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
    record = HEADER.size + 24
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
    size = HEADER.size + 24
    for offset in range(size):
        damaged = bytearray(whole)
        damaged[len(MAGIC) + record * size + offset] ^= 0x10
        path.write_bytes(damaged)
        read = []
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


@pytest.mark.parametrize("content", [b"", b"CRED", b"not a spool at all", MAGIC[:-1] + b"2" + bytes(100)])
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
        await spool.append(slot, frame, kind)
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
        await spool.append(slot, frame)
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
    await spool.append(slot, frame)  # 24 bytes more: now over the limit
    third = asyncio.create_task(spool.append(slot, frame))
    await asyncio.sleep(0)
    assert not third.done()
    released.set()
    await third
    await writer.drain()
    writer.close()
    spool.close()
    assert len(list(read_spool(spool.path))) == 2
