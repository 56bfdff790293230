"""The disk of a run: all bytes are handed over, errors come through, and what is forced is forced."""

import errno
import io
import os
from pathlib import Path

import pytest

from engine.record.disk import Disk


class Stuttering(io.RawIOBase):
    """An unbuffered file that takes at most three bytes at a time, as a pipe or a full quota may."""

    def __init__(self) -> None:
        self.taken = b""
        self.calls = 0

    def write(self, data: object) -> int:
        self.calls += 1
        part = bytes(data)[:3]  # type: ignore[call-overload]
        self.taken += part
        return len(part)


@pytest.mark.parametrize("data", [b"", b"a", b"abc", b"abcd", b"a longer line\n"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_all_bytes_are_written_however_few_the_file_takes_at_a_time(data: bytes, kind: type) -> None:
    file = Stuttering()
    Disk().write(file, kind(data))  # type: ignore[arg-type]
    assert file.taken == data
    assert file.calls == -(-len(data) // 3)


def test_what_the_system_refuses_comes_through() -> None:
    class Full(io.RawIOBase):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        Disk().write(Full(), b"data")  # type: ignore[arg-type]


def test_forcing_reaches_the_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "fsync", forced.append)
    with (tmp_path / "one").open("wb", buffering=0) as one, (tmp_path / "other").open("wb", buffering=0):
        Disk().write(one, b"data")
        assert forced == []
        Disk().sync(one)
        assert forced == [one.fileno()]


def test_writes_of_an_unbuffered_file_are_on_disk_at_once(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        Disk().write(file, b"data")
        assert (tmp_path / "file").read_bytes() == b"data"
