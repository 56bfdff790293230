"""The newest frame of a run that keeps none: one file of constant size."""

import asyncio

import numpy as np
import pytest

from engine.console.tail import FrameTail
from engine.frame import Frame
from engine.record.disk import Disk
from engine.record.shownframe import SHOWN_FILE, ShownFrame, read_shown
from engine.record.writer import Writer


def frame(number: int) -> Frame:
    return Frame(np.full((4, 6), number, "<u2"), number, number * 1000, number * 1000 + 500)


def _shown_index(folder) -> int:
    shown = read_shown(folder)
    assert shown is not None
    return shown[0].index


@pytest.mark.asyncio
async def test_the_newest_frame_takes_the_place_of_the_one_before(tmp_path):
    writer, sizes = Writer(), set()
    shown, tail = ShownFrame(tmp_path, writer), FrameTail(tmp_path)
    assert read_shown(tmp_path) is None
    for number in range(5):
        shown.show("live", frame(number), {"exposure_s": 0.5})
        await writer.drain()
        await asyncio.to_thread(lambda: None)
        info, counts = read_shown(tmp_path) or pytest.fail("nothing is shown")
        assert (info.index, info.start_ns, info.columns) == (number, number * 1000, {"exposure_s": 0.5})
        assert (counts == number).all()
        assert tail.look() == {"live": number + 1}
        newest = tail.newest("live")
        assert newest is not None
        assert (newest.counts == number).all()
        sizes.add((tmp_path / SHOWN_FILE).stat().st_size)
    assert max(sizes) - min(sizes) < 64  # the figures of its head have more or fewer digits
    shown.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []
    assert tail.look() == {}
    assert tail.newest("live") is None


@pytest.mark.asyncio
async def test_frames_that_come_while_the_disk_is_behind_are_not_shown_and_wait_nowhere(tmp_path):
    import threading

    go = threading.Event()

    class Slow(Disk):
        def write(self, file, data):
            go.wait(10)
            super().write(file, data)

    writer = Writer(disk=Slow())
    shown = ShownFrame(tmp_path, writer)
    for number in range(50):
        shown.show("live", frame(number), {})
    assert writer.most_pending_bytes == frame(0).counts.nbytes
    go.set()
    await writer.drain()
    assert _shown_index(tmp_path) == 0
    shown.show("live", frame(50), {})
    await writer.drain()
    assert _shown_index(tmp_path) == 50
    writer.close()


@pytest.mark.asyncio
async def test_a_full_disk_costs_the_picture_and_not_the_run(tmp_path):
    class Full(Disk):
        def write(self, file, data):
            raise OSError(28, "No space left on device")

    writer = Writer(disk=Full())
    shown = ShownFrame(tmp_path, writer)
    shown.show("live", frame(0), {})
    await writer.drain()
    assert writer.error is None
    assert read_shown(tmp_path) is None
    shown.close()
    writer.close()


def test_a_file_that_is_no_frame_shows_nothing(tmp_path):
    (tmp_path / SHOWN_FILE).write_bytes(b"x" * 500)
    assert read_shown(tmp_path) is None
    assert FrameTail(tmp_path).look() == {}


@pytest.mark.asyncio
async def test_a_frame_is_read_once_however_often_it_is_looked_for(tmp_path, monkeypatch):
    writer, read = Writer(), []
    shown, tail = ShownFrame(tmp_path, writer), FrameTail(tmp_path)
    monkeypatch.setattr("engine.console.tail.read_shown", lambda folder: read.append(folder) or read_shown(folder))
    for number in range(2):
        shown.show("live", frame(number), {})
        await writer.drain()
        for _ in range(3):
            assert tail.look() == {"live": number + 1}
    assert len(read) == 2
    shown.close()
    assert tail.look() == {}
