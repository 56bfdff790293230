"""The writer's order and its errors, folders that are never overwritten, files that are whole or not there."""

import asyncio
import errno
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.clock.virtual import VirtualClock
from engine.errors import Refused, StorageError
from engine.record.folder import create_run_folder, write_atomically, write_json
from engine.record.journal import Journal
from engine.record.writer import Writer
from tests.engine.virtually import really, virtual


def failing(error: Exception) -> Callable[[], None]:
    def job() -> None:
        raise error

    return job


FULL = OSError(errno.ENOSPC, "No space left on device")


@given(sizes=st.lists(st.integers(0, 100), max_size=50))
@virtual
async def test_jobs_are_done_in_order_and_off_the_loop(clock: VirtualClock, sizes: list[int]) -> None:
    writer = Writer()
    done: list[int] = []
    threads: set[int] = set()

    def job(k: int) -> None:
        done.append(k)
        threads.add(threading.get_ident())

    for k, size in enumerate(sizes):
        writer.submit(partial(job, k), size)
    await writer.drain()
    writer.close()
    assert done == list(range(len(sizes)))
    assert threading.get_ident() not in threads
    assert len(threads) <= 1


@virtual
async def test_submitting_does_not_wait(clock: VirtualClock) -> None:
    writer = Writer()
    gate = threading.Event()
    writer.submit(lambda: gate.wait(10))
    for _ in range(100):
        writer.submit(int)
    gate.set()
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("error", "remedy"), [(FULL, "Free some space"), (OSError(errno.EIO, "Input/output error"), "Check the disk")]
)
@virtual
async def test_after_an_error_nothing_is_written_and_who_waits_is_told_what_to_do(
    clock: VirtualClock, error: OSError, remedy: str
) -> None:
    writer = Writer()
    writer.submit(failing(error))
    for use in (writer.drain, writer.room, writer.drain):
        with pytest.raises(StorageError, match=rf"{error.strerror}.*{remedy}.*credline recover"):
            await use()
    done: list[bool] = []
    writer.submit(lambda: done.append(True))
    writer.close()
    assert done == []


@virtual
async def test_the_first_of_several_errors_is_the_one_told(clock: VirtualClock) -> None:
    writer = Writer()
    writer.submit(failing(FULL))
    writer.submit(failing(OSError(errno.EIO, "Input/output error")))
    for _ in range(2):
        with pytest.raises(StorageError, match="No space left"):
            await writer.drain()
    writer.close()


@virtual
async def test_an_observation_that_fails_is_logged_and_hurts_nobody(clock: VirtualClock) -> None:
    writer = Writer()
    done: list[bool] = []
    with capture_logs() as logs:
        writer.submit_observation(failing(FULL))
        writer.submit(lambda: done.append(True))
        await writer.drain()
    writer.close()
    assert done == [True]
    assert "No space left" in logs[0]["cause"]


@pytest.mark.realtime
@really
async def test_room_waits_until_less_than_the_limit_is_pending(clock: object) -> None:
    writer = Writer(limit_bytes=100)
    gates = [threading.Event() for _ in range(3)]
    for gate in gates:
        writer.submit(partial(gate.wait, 30), 60)
    waiting = asyncio.create_task(writer.room())
    gates[0].set()
    assert await asyncio.wait([waiting], timeout=0.05) == (set(), {waiting})  # 120 bytes are still out
    gates[1].set()
    await waiting
    gates[2].set()
    await writer.drain()
    writer.close()


@virtual
async def test_there_is_room_at_the_limit_itself(clock: VirtualClock) -> None:
    writer = Writer(limit_bytes=100)
    gate = threading.Event()
    writer.submit(lambda: gate.wait(10), 100)
    room = asyncio.create_task(writer.room())
    await asyncio.sleep(0)
    assert room.done()
    gate.set()
    await writer.drain()
    writer.close()


@virtual
async def test_run_waits_its_turn_and_raises_its_own_error(clock: VirtualClock) -> None:
    writer = Writer()
    done: list[int] = []
    writer.submit(lambda: done.append(1))
    await writer.run(lambda: done.append(2))
    assert done == [1, 2]
    with pytest.raises(KeyError):
        await writer.run(failing(KeyError("mine")))
    await writer.drain()  # not the writer's error
    writer.close()


@pytest.mark.realtime
@really
async def test_closing_finishes_what_is_queued(clock: object) -> None:
    writer = Writer()
    done: list[int] = []
    for k in range(50):
        writer.submit(partial(done.append, k))
    writer.close()
    assert done == list(range(50))


@pytest.mark.parametrize("durable", [False, True])
@virtual
async def test_the_journal_is_written_after_what_it_speaks_of(
    clock: VirtualClock, tmp_path: Path, durable: bool
) -> None:
    writer = Writer()
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, writer, durable=durable)
    seen: list[int] = []
    journal.note(t_ns=1, state="expose")
    writer.submit(lambda: seen.append(len(path.read_text().splitlines())))
    journal.note(t_ns=2, state="finalize")
    await writer.drain()
    journal.close()
    writer.close()
    assert seen == [1]
    assert path.read_text() == '{"t_ns":1,"state":"expose"}\n{"t_ns":2,"state":"finalize"}\n'


@virtual
async def test_a_durable_journal_is_forced_to_the_disk_line_by_line(
    clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda _: forced.append(len((tmp_path / "j").read_text().splitlines())))
    writer = Writer()
    journal = Journal(tmp_path / "j", writer, durable=True)
    for k in range(3):
        journal.note(k=k)
    await writer.drain()
    journal.close()
    writer.close()
    assert forced == [1, 2, 3]


@virtual
async def test_a_journal_that_cannot_be_written_is_an_error(
    clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: failing(FULL)())
    writer = Writer()
    journal = Journal(tmp_path / "j", writer, durable=True)
    journal.note(state="expose")
    with pytest.raises(StorageError):
        await writer.drain()
    journal.note(state="finalize")
    writer.close()
    journal.close()
    assert "finalize" not in (tmp_path / "j").read_text()


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], "grain_001"),
        (["grain_001"], "grain_002"),
        (["grain_001", "grain_009"], "grain_010"),  # a gap is not filled: it was a run
        (["grain_999"], "grain_1000"),
        (["other_005"], "grain_001"),
        (["grain_big_007"], "grain_001"),
        (["grain_notes", "grain_"], "grain_001"),
        (["20261105"], "grain_001"),  # a folder named after a day is not a run
        (["007"], "grain_001"),
    ],
)
def test_a_run_takes_the_next_free_number(tmp_path: Path, present: list[str], expected: str) -> None:
    for name in present:
        (tmp_path / name).mkdir()
    folder = create_run_folder(tmp_path, "grain")
    assert folder == tmp_path / expected
    assert folder.is_dir()


def test_a_file_in_the_way_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "grain_001").write_text("mine")
    assert create_run_folder(tmp_path, "grain").name == "grain_002"
    assert (tmp_path / "grain_001").read_text() == "mine"


def test_the_folder_of_all_runs_is_made_when_it_is_missing(tmp_path: Path) -> None:
    assert create_run_folder(tmp_path / "a" / "b", "grain") == tmp_path / "a" / "b" / "grain_001"


def test_of_two_who_see_the_same_free_number_one_gets_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.mkdir

    def mkdir(self: Path, *args: object, **kwargs: object) -> None:
        if self.name == "grain_001":  # the other was quicker
            real(self)
        real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert create_run_folder(tmp_path, "grain").name == "grain_002"


def test_many_at_once_get_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: create_run_folder(tmp_path, "grain"), range(40)))
    assert sorted(folder.name for folder in folders) == [f"grain_{k:03d}" for k in range(1, 41)]


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, remedy in (
        (tmp_path / "file", "Name a folder"),
        (tmp_path / "file" / "below", "Choose a folder"),
        (Path("/proc/credline"), "Choose a folder"),
    ):
        with pytest.raises(Refused, match=rf"--out .*nothing was started\. {remedy}") as refused:
            create_run_folder(out, "grain")
        assert "\n" not in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Refused, match="Permission denied"):
        create_run_folder(tmp_path, "grain")


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_as_a_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "run.json"
    for content in (b"old", b"new and longer", b""):
        write_atomically(path, content, durable=durable)
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: failing(FULL)())
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_document_is_json_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"status": "done", "slots": [1, 2]})
    text = (tmp_path / "run.json").read_text()
    assert json.loads(text) == {"status": "done", "slots": [1, 2]}
    assert text.startswith('{\n  "status": "done"')
    assert text.endswith("}\n")
