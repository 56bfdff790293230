"""Every way out of a cRED run, from every state: safe state, data kept, the right status."""

from typing import Any

import h5py
import pytest

from engine.record.spool import read_spool
from engine.record.trace import Record
from engine.run.run import Run
from protocols.cred.machine import WORKING, State
from tests.protocols.cred.conftest import Finished, Perform

SAFE_CALLS = ["beam.blank", "stage.stop", "detector.disarm"]


def assert_safe(run: Finished) -> None:
    """The last word of each device is the safe one."""
    last = {record["name"].split(".")[0]: record for record in run.of("call")}
    assert (last["beam"]["name"], last["beam"]["result"]) == ("beam.is_blanked", True)
    assert last["stage"]["name"] in ("stage.stop", "stage.angle")
    assert last["detector"]["name"] == "detector.disarm"
    assert [name for name in SAFE_CALLS if run.calls(name)] == SAFE_CALLS
    focus = run.calls("optics.set_focus")
    assert not focus or focus[-1]["args"] == [31000]
    assert run.document["alarms"] == []


@pytest.mark.parametrize("state", WORKING, ids=lambda state: state.value)
@pytest.mark.parametrize(("command", "status"), [("stop", "stopped"), ("abort", "aborted")])
def test_a_command_in_any_state_ends_in_the_safe_state(
    perform: Perform, state: State, command: str, status: str
) -> None:
    seen = 0

    def at_state(record: Record, run: Run) -> None:
        nonlocal seen
        if record["kind"] == "state" and record["name"] == state.value:
            seen += 1
            if seen == (2 if state is State.EXPOSE else 1):
                getattr(run.commands, command)("test")

    run = perform(on=at_state)
    assert run.document["status"] == status
    assert run.document["reason"] == "test"
    assert run.states()[-2:] == ["finalize", status]
    assert_safe(run)
    if run.result["frames"]:
        assert len(run.frames()) == run.result["frames"]


def test_the_beam_is_off_within_two_calls_of_a_stop(perform: Perform) -> None:
    def on_frame(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["slot"] == 15:
            run.commands.stop("enough")

    run = perform(on=on_frame)
    stopped_ns = run.of("command")[0]["t_ns"]
    blank = run.calls("beam.blank")[0]
    assert blank["begin_ns"] == stopped_ns
    assert blank["end_ns"] - stopped_ns < 300_000_000


def test_a_stop_while_the_data_are_written_does_not_cost_them(perform: Perform) -> None:
    def at_finalize(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "finalize":
            run.commands.stop("too late")

    run = perform(range_deg=5.0, on=at_finalize)
    assert run.document["status"] == "done"
    assert len(run.frames()) == run.result["frames"] > 0


def test_a_device_error_in_the_middle_keeps_the_frames_so_far(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drivers.simulated.detector import Timepix
    from engine.errors import DeviceError

    start = Timepix.start

    async def failing(self: Timepix, exposure_s: float) -> int:
        if self._number == 25:
            raise DeviceError("detector: test of a failure; no exposure was made.")
        return await start(self, exposure_s)

    monkeypatch.setattr(Timepix, "start", failing)
    run = perform()
    assert run.document["status"] == "failed"
    assert "test of a failure" in run.document["reason"]
    assert_safe(run)
    assert len(run.frames()) == 23  # 25 exposures, 2 of them snapshots


def test_a_blanker_that_does_not_answer_raises_the_alarm_and_the_rest_is_made_safe(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from drivers.simulated.column import Blanker

    async def hanging(self: Blanker) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Blanker, "blank", hanging)
    run = perform(range_deg=5.0)
    assert any("THE BEAM MAY STILL BE ON" in alarm for alarm in run.document["alarms"])
    assert run.calls("stage.stop")
    assert run.calls("detector.disarm")
    asked = run.calls("beam.blank")[0]
    assert asked["end_ns"] - asked["begin_ns"] == 1_500_000_000


def test_a_detector_that_delivers_nothing_fails_the_run_in_bounded_time(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drivers.simulated.detector import Timepix

    expose = Timepix._expose

    async def silent(self: Timepix, queue: Any, number: int, *rest: Any) -> None:
        if number < 5:
            await expose(self, queue, number, *rest)

    monkeypatch.setattr(Timepix, "_expose", silent)
    run = perform()
    assert run.document["status"] == "failed"
    assert "no frame" in run.document["reason"]
    assert_safe(run)
    assert len(run.frames()) == 5


def test_a_write_error_ends_the_run_safely_and_leaves_the_spool(
    perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from engine.record.spool import Spool

    write = Spool._write
    written = 0

    def filling_up(self: Spool, head: bytes, counts: object) -> None:
        nonlocal written
        written += 1
        if written > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, head, counts)  # type: ignore[arg-type]

    monkeypatch.setattr(Spool, "_write", filling_up)
    run = perform()
    assert run.document["status"] == "failed"
    assert "No space left" in run.document["reason"]
    assert run.calls("beam.blank")
    assert len(list(read_spool(run.folder / "frames.spool"))) == 12


def test_a_run_without_frames_leaves_no_empty_data_file(perform: Perform) -> None:
    def at_start(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "relax":
            run.commands.stop("test")

    run = perform(on=at_start)
    assert run.result["frames"] == run.result["slots"] == 0
    assert not (run.folder / "frames.h5").exists()


def test_frames_of_an_aborted_run_are_on_disk(perform: Perform) -> None:
    def on_frame(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["slot"] == 5:
            run.commands.abort("test")

    run = perform(on=on_frame)
    with h5py.File(run.folder / "frames.h5") as file:
        assert list(file["diffraction/frames"]["slot"]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("shift", [1, -1], ids=["a frame lost", "a frame twice"])
def test_a_camera_that_loses_or_doubles_a_frame_ends_the_run(
    perform: Perform, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    from drivers.simulated.detector import Timepix

    expose = Timepix._expose

    async def miscounting(self: Timepix, queue: Any, number: int, *rest: Any) -> None:
        await expose(self, queue, number + (shift if number >= 7 else 0), *rest)

    monkeypatch.setattr(Timepix, "_expose", miscounting)
    run = perform()
    assert run.document["status"] == "failed"
    assert "lost or doubled" in run.document["reason"]
    assert_safe(run)
    assert len(run.frames()) == 7
