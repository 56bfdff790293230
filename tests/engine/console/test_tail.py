"""The tail of a spool while it grows."""

import json
import zlib

import numpy as np
import pytest

from engine.console.picture import LARGEST_PX, packed_picture
from engine.console.tail import FrameTail, SeenFrame
from engine.frame import Frame
from engine.record.framekinds import Column, FrameKind
from engine.record.frametable import DATA_FILE, write_frames
from engine.record.spool import SPOOL_FILE
from engine.record.spoolformat import MAGIC, FrameInfo, packed


def _add(folder, data: bytes, name: str = "trace.jsonl") -> None:
    with (folder / name).open("ab") as file:
        file.write(data)


def _frame(index: int, kind: str = "diffraction", value: int = 0) -> bytes:
    counts = np.full((4, 6), value or index, "<u2")
    frame = Frame(counts, index, 1000 * index, 1000 * index + 500)
    return packed(index, frame, kind, {"slot": index}, zlib.crc32(counts.data)) + counts.tobytes()


def test_the_newest_whole_frame_of_each_kind_is_found_as_the_spool_grows(tmp_path):
    tail = FrameTail(tmp_path)
    assert tail.look() == {}
    _add(tmp_path, MAGIC + _frame(0, value=7), SPOOL_FILE)
    assert tail.look() == {"diffraction": 1}
    whole = _frame(1, "snapshot", 9)
    _add(tmp_path, whole[:-3], SPOOL_FILE)
    assert tail.look() == {"diffraction": 1}
    _add(tmp_path, whole[-3:] + _frame(2, value=8), SPOOL_FILE)
    assert tail.look() == {"diffraction": 2, "snapshot": 1}
    newest = tail.newest("diffraction")
    assert newest is not None
    assert (newest.columns["slot"], newest.row, newest.of, newest.counts[0, 0]) == (2, 1, 2, 8)
    assert tail.newest("prescan") is None


def test_damage_in_a_spool_ends_the_looking_and_nothing_else(tmp_path):
    _add(tmp_path, MAGIC + _frame(0) + b"\0" * 200, SPOOL_FILE)
    tail = FrameTail(tmp_path)
    assert tail.look() == {"diffraction": 1}
    assert tail.look() == {"diffraction": 1}


def test_frames_of_a_run_that_is_over_come_from_its_table(tmp_path):
    kind = FrameKind("light", (Column("slot", "<i4", "from 1"),))
    infos = [
        FrameInfo(k, "light", {"slot": k + 1}, k, 10 * k, 10 * k + 5, (10 * k,) * 2, (10 * k + 5,) * 2)
        for k in range(3)
    ]
    table = kind.table(infos)
    pictures = [np.full((8, 8), k + 1, "<u2") for k in range(3)]
    write_frames(tmp_path / DATA_FILE, {"light": table}, lambda _: iter(pictures), {})
    tail = FrameTail(tmp_path)
    assert tail.look() == {}
    assert tail.stored_kinds() == {"light": 3}
    found = [tail.stored("light", 0), tail.newest("light"), tail.stored("light", 99), tail.stored("light", -4)]
    assert [each and (each.row, each.columns["slot"], int(each.counts[0, 0])) for each in found] == [
        (0, 1, 1),
        (2, 3, 3),
        (2, 3, 3),
        (0, 1, 1),
    ]
    assert tail.stored("dark", 0) is None


def _unpacked(message: bytes):
    length = int.from_bytes(message[:4], "little")
    head = json.loads(message[4 : 4 + length])
    assert (4 + length) % 4 == 0
    return head, np.frombuffer(message[4 + length :], "<u2").reshape(head["shape"])


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        (np.array([[0, 70000], [-3, 5]], "<i4"), [[0, 65535], [0, 5]]),
        (np.array([[1.4, np.nan], [2.6, np.inf]], "<f4"), [[1, 0], [2, 65535]]),
        (np.array([[1, 2], [3, 65535]], ">u2"), [[1, 2], [3, 65535]]),
    ],
)
def test_counts_of_any_type_become_those_of_a_page(counts, shown):
    head, got = _unpacked(
        packed_picture(SeenFrame("light", 0, 1, {"angle_deg": float("nan"), "slot": 3}, 10**9, counts))
    )
    assert got.tolist() == shown
    assert head["columns"] == {"slot": 3}
    assert head["start_s"] == 1.0


def test_a_large_picture_is_added_up_and_says_so():
    counts = np.ones((2 * LARGEST_PX, 2 * LARGEST_PX), "<u2")
    head, got = _unpacked(packed_picture(SeenFrame("light", 0, 1, {}, 0, counts)))
    assert head["binned"] == 2
    assert got.shape == (LARGEST_PX, LARGEST_PX)
    assert set(got.ravel()) == {4}
