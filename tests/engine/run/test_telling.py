"""Words of an operator come into a run from another program, by a file in its folder."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, Refused
from engine.record.document import RunDocument
from engine.record.lock import alone_in
from engine.run.telling import FILE, hearing, tell


def running(folder: Path, **said: str) -> Path:
    document = RunDocument(protocol="cred", status="running", clock="real", plan={"tracking": "correct"})
    said_too: dict[str, Any] = dict(said)
    replace(document, **said_too).write(folder)
    return folder


@pytest.mark.realtime
def test_what_another_program_tells_is_heard_in_order_and_leaves_nothing_behind(tmp_path: Path) -> None:
    asyncio.run(told_and_heard(running(tmp_path)))
    assert not (tmp_path / FILE).exists()


async def told_and_heard(tmp_path: Path) -> None:
    came: asyncio.Queue[str] = asyncio.Queue()
    with hearing(tmp_path, came.put_nowait), alone_in(tmp_path):
        for x_nm in (1, 2):
            assert tell(tmp_path, f"track offset {x_nm} 0") == f"track offset {x_nm} 0"
        with (tmp_path / FILE).open("ab") as file:
            file.write(b'no words\n"cut')  # of somebody else, and half written
        async with asyncio.timeout(20):
            assert [await came.get() for _ in range(2)] == ["track offset 1 0", "track offset 2 0"]
        with (tmp_path / FILE).open("ab") as file:
            file.write(b' off"\n')
        async with asyncio.timeout(20):
            assert await came.get() == "cut off"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"status": "done"}, "no run is under way there"),
        ({}, "no run is under way there"),  # its program was killed
        ({"parent": "runs/session_001"}, "performed within another one"),
    ],
)
def test_who_does_not_listen_is_told_nothing(tmp_path: Path, said: dict[str, str], says: str) -> None:
    with pytest.raises(Refused, match=says):
        tell(running(tmp_path, **said), "track offset 1 0")
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("said", "words", "says"),
    [
        ({"clock": "virtual"}, "track offset 1 0", "a virtual clock hears nobody"),
        ({"protocol": "stage"}, "track offset 1 0", "takes no words"),
        ({}, "track left", "is not understood"),
    ],
)
def test_what_is_not_understood_is_refused_by_who_tells(
    tmp_path: Path, said: dict[str, str], words: str, says: str
) -> None:
    running(tmp_path, **said)
    with alone_in(tmp_path), pytest.raises(Refused, match=says):
        tell(tmp_path, words)
    assert not (tmp_path / FILE).exists()


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        tell(tmp_path, "track offset 1 0")
