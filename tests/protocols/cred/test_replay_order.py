"""What comes between two events of a run whose reactions take time: its replay, where they take none, has the order.

The loop's turns take virtual time here (`tests.engine.slowly`), so each order is forced, not waited for.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from drivers.simulated.column import Blanker, Lens
from drivers.simulated.detector import Timepix
from drivers.simulated.goniometer import Goniometer
from engine.errors import DeviceLost
from engine.record.trace import Record
from engine.replay.replay import first_divergence, load_run, replay
from engine.run import perform
from engine.run.commands import Source
from engine.run.run import Run
from engine.testing.plugin import RecordedRun, RecordRun
from protocols.cred.experiment import Cred
from tests.engine.slowly import TURN_NS, SlowClock, SlowLoop

PLAN: dict[str, Any] = {"range_deg": 2.0, "relax_cycles": 0, "snapshot_interval": 4, "formats": ()}
Tell = Callable[[Run], None]


@pytest.fixture(autouse=True)
def slow_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "VirtualLoop", SlowLoop)
    monkeypatch.setattr(perform, "VirtualClock", SlowClock)


class Told:
    """Somebody who has the run in hand from its first record on, and tells it something once."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._run: Run | None = None

    def meet(self, record: Record, run: Run) -> None:
        self._run = run

    def now(self) -> None:
        assert self._run is not None
        self._tell(self._run)


def assert_replays(run: RecordedRun) -> None:
    records = load_run(run.folder)
    assert first_divergence(records, replay(records)) is None


WISHES: dict[str, Tell] = {
    "stop": lambda run: run.commands.stop("test"),
    "abort": lambda run: run.commands.abort("test"),
    "fail": lambda run: run.commands.fail("test", Source.WATCHDOG),
    "stop and abort": lambda run: (run.commands.stop("test"), run.commands.abort("test"))[0],
}
CALLS: dict[str, tuple[tuple[type, str], int]] = {
    "lens defocused, snapshot due at once": ((Lens, "set_focus"), 1),
    "lens in focus, its check due at once": ((Lens, "set_focus"), 2),
    "camera started, frame on its way": ((Timepix, "start"), 3),
    "beam on, first slot to come": ((Blanker, "is_blanked"), 1),
    "stage read beside an exposure": ((Goniometer, "angle"), 12),
}


@pytest.mark.parametrize("turns", [0, 1, 4])
@pytest.mark.parametrize("wish", ["stop", "stop and abort"])
@pytest.mark.parametrize(("method", "call"), CALLS.values(), ids=CALLS)
def test_a_command_some_turns_after_a_call_replays(
    record_run: RecordRun,
    monkeypatch: pytest.MonkeyPatch,
    method: tuple[type, str],
    call: int,
    wish: str,
    turns: int,
) -> None:
    """Of the call's end, the command, and a wait that is due at once, any may come first."""
    told, original, made = Told(WISHES[wish]), getattr(*method), 0

    def later(left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(later, left - 1)
        else:
            told.now()

    async def telling(self: object, *args: Any) -> Any:
        nonlocal made
        result = await original(self, *args)
        made += 1
        if made == call:
            later(turns)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(*method, telling)
        run = record_run("cred", on=told.meet, **PLAN)
    assert run.of("command")
    assert_replays(run)


def test_a_wait_that_was_over_when_a_command_entered_before_it_is_recorded_as_given_up(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, set_focus = Told(WISHES["stop"]), Lens.set_focus

    async def telling(self: Lens, value: int) -> None:
        await set_focus(self, value)
        told.now()

    with monkeypatch.context() as patch:
        patch.setattr(Lens, "set_focus", telling)
        run = record_run("cred", on=told.meet, **PLAN)
    at = run.trace.index(run.of("command")[0])
    assert [(record["kind"], record["name"]) for record in run.trace[at - 2 : at + 2]] == [
        ("call", "optics.set_focus"),
        ("step", "defocus"),
        ("command", "stopped"),
        ("wake", "snapshot"),
    ]
    wake = run.trace[at + 1]
    assert wake["given_up"]
    assert wake["deadline_ns"] == run.trace[at - 1]["t_ns"] < wake["t_ns"] <= wake["woke_ns"]
    assert_replays(run)


def test_a_task_that_fails_while_a_command_waits_to_enter_is_taken_first(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command was given first, but the reading that failed had entered before it."""
    told, angle = Told(WISHES["stop"]), Goniometer.angle

    async def failing(self: Goniometer) -> Any:
        reading = await angle(self)
        task = asyncio.current_task()
        if task is None or not task.get_name().startswith("stage reading"):
            return reading
        told.now()
        raise DeviceLost("stage: broken; nothing moved.")

    with monkeypatch.context() as patch:
        patch.setattr(Goniometer, "angle", failing)
        run = record_run("cred", on=told.meet, **PLAN)
    assert [record["name"] for record in run.of("command")] == ["failed", "stopped"]
    assert_replays(run)


class Writing:
    """Work in the writer's thread that lasts until a command has entered the run."""

    def __init__(self, tell: Tell) -> None:
        self._told = Told(tell)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entered = threading.Event()

    def meet(self, record: Record, run: Run) -> None:
        self._told.meet(record, run)
        self._loop = asyncio.get_running_loop()
        if record["kind"] == "command":
            self._entered.set()

    def last(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._told.now)
        assert self._entered.wait(10)


@pytest.mark.parametrize("wish", WISHES)
def test_a_command_while_frames_are_brought_into_their_final_form_replays(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    writing = Writing(WISHES[wish])

    def write_files(*_: object) -> list[Path]:
        writing.last()
        return []

    with monkeypatch.context() as patch:
        patch.setattr(Cred, "write_files", write_files)
        run = record_run("cred", on=writing.meet, **PLAN)
    assert (
        run.of("call", "disk.drain")[0]["t_ns"] < run.of("command")[0]["t_ns"] < run.of("call", "disk.write")[0]["t_ns"]
    )
    assert_replays(run)


@pytest.mark.parametrize(("wish", "status"), list(zip(WISHES, ["done", "aborted", "failed", "aborted"], strict=True)))
def test_a_command_while_products_are_made_replays(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch, wish: str, status: str
) -> None:
    """Who aborts gives them up, which is how that work ends."""
    writing = Writing(WISHES[wish])

    def export(_: Cred, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        writing.last()
        progress(1, 3)
        return ()

    with monkeypatch.context() as patch:
        patch.setattr(Cred, "export", export)
        run = record_run("cred", devices="simulated", on=writing.meet, **{**PLAN, "formats": ("xds",)})
    [exported] = run.of("call", "disk.export")
    assert exported["begin_ns"] < run.of("command")[0]["t_ns"] < exported["end_ns"]
    assert exported.get("error") == ("RunAborted" if status == "aborted" else None)
    assert run.document["status"] == status
    assert_replays(run)


def test_files_are_written_in_no_time_where_turns_take_none(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record_run("cred", **PLAN)
    assert run.of("call", "disk.write")
    assert run.of("call", "disk.write")[0]["end_ns"] >= run.of("call", "disk.write")[0]["begin_ns"] + TURN_NS
    monkeypatch.undo()
    assert not record_run("cred", **PLAN).of("call", "disk.write")
