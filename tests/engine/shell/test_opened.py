"""An instrument in the hands of somebody who types: its loop in a thread, its log, and the beam off at the end."""

import asyncio
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, DeviceError, Refused
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.replay.replay import load_run
from engine.run.recovery import recover_run
from engine.shell import OpenInstrument, open_instrument

pytestmark = pytest.mark.realtime

PATIENCE_S = 60
SHORT: dict[str, Any] = {
    "rotation": "commanded",
    "start_deg": 0.0,
    "relax_cycles": 0,
    "snapshot_interval": 0,
    "formats": [],
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with open_instrument("simulated-timing", tmp_path_factory.mktemp("runs"), 3, accept_timing=True) as instrument:
        yield instrument


def _began(instrument: OpenInstrument) -> threading.Event:
    """Set when the next run begins."""
    began = threading.Event()
    instrument.watch(lambda run, _: began.set())
    return began


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]


def test_calls_are_awaited_here_and_made_on_the_instruments_own_loop(opened):
    async def cell():
        reading, blanked = await asyncio.gather(opened.stage.angle(), opened.beam.is_blanked())
        return reading.value, blanked

    angle_deg, blanked = asyncio.run(cell())
    assert abs(angle_deg) < 90
    assert isinstance(blanked, bool)
    assert opened.stage.facts.limits_deg == (-80.0, 80.0)
    assert "rotate" in dir(opened.stage)
    assert "stage" in repr(opened.stage)


def test_what_is_typed_may_block_as_long_as_it_likes_and_the_instruments_loop_goes_on(opened):
    done = threading.Event()

    async def on_its_loop():
        await asyncio.sleep(0.05)
        done.set()

    async def cell():
        going = asyncio.ensure_future(opened.submit(on_its_loop))
        await asyncio.sleep(0)
        assert done.wait(PATIENCE_S)  # a person computes something here, and lets nothing of his own loop go on
        await going

    asyncio.run(cell())


def test_an_error_of_a_device_is_the_cells_and_the_shell_goes_on(opened):
    with pytest.raises(DeviceError, match="outside the holder's limits"):
        asyncio.run(opened.stage.rotate(500.0, 1.0))
    with pytest.raises(Refused, match="picture"):
        opened.detector.frames  # noqa: B018
    with pytest.raises(AttributeError, match="no microwave"):
        opened.microwave  # noqa: B018
    assert opened.is_open


def test_a_picture_is_the_counts_of_the_camera_and_is_not_kept(opened):
    counts = asyncio.run(opened.picture(0.05))
    assert counts.shape == opened.facts.detector.shape


@pytest.mark.long
def test_a_run_is_performed_in_a_folder_within_the_log(opened):
    report = asyncio.run(opened.perform("cred", range_deg=1.5, **SHORT))
    assert (report.ending.status, report.alarms) == (Status.DONE, ())
    assert RunDocument.read(opened.folder / report.folder).parent == opened.folder.name
    assert load_run(opened.folder / report.folder / "trace.jsonl")
    with pytest.raises(Refused, match="range_deg"):
        asyncio.run(opened.perform("cred", range_deg="far"))


def test_a_second_run_waits_for_nobody(opened):
    began = _began(opened)

    async def both():
        first = asyncio.ensure_future(opened.perform("cred", range_deg=60.0, **SHORT))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        with pytest.raises(DeviceError, match="another child is under way"):
            await opened.perform("cred", range_deg=1.5, **SHORT)
        with pytest.raises(DeviceError, match="has the instrument"):
            await opened.beam.unblank()
        opened.stop("enough")
        return await first

    report = asyncio.run(both())
    assert (report.ending.status, report.ending.reason) == (Status.STOPPED, "enough")


@pytest.fixture
def ctrl_c():
    """Ctrl-C does what it does in a terminal, also where these tests were begun in the background, without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_the_run_that_is_under_way_and_the_cell_waits_for_its_end(opened):
    began = _began(opened)

    def interrupt() -> None:
        began.wait(PATIENCE_S)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), asyncio.Runner() as runner:
        runner.run(opened.perform("cred", range_deg=60.0, **SHORT))
    last = max(opened.folder.glob("*_mordenite"), key=lambda folder: int(folder.name.partition("_")[0]))
    document = RunDocument.read(last)
    assert (document.status, document.reason) == ("stopped", "interrupted at the shell")
    assert asyncio.run(opened.beam.is_blanked())


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_gives_a_call_up_and_the_shell_goes_on(opened):
    def interrupt() -> None:
        threading.Event().wait(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), asyncio.Runner() as runner:
        runner.run(opened.submit(lambda: asyncio.sleep(60)))
    assert asyncio.run(opened.stage.angle()) is not None


def test_the_beam_is_off_when_it_is_let_go_and_the_trace_says_that_it_is_a_log(tmp_path):
    with open_instrument("simulated-timing", tmp_path) as instrument:
        instrument.note("cell", "await beam.unblank()")
        asyncio.run(instrument.beam.unblank())
        assert not asyncio.run(instrument.beam.is_blanked())
    outcome = instrument.close()  # again
    assert (outcome.ending.status, outcome.alarms) == (Status.DONE, ())
    records = _records(outcome.folder)
    names = [record["name"] for record in records if record["kind"] == "call"]
    assert names[:2] == ["beam.unblank", "beam.is_blanked"]
    assert names[2] == "beam.blank"
    assert [record["text"] for record in records if record["name"] == "cell"] == ["await beam.unblank()"]
    with pytest.raises(DataError, match="cannot be replayed; nothing was replayed"):
        load_run(outcome.folder)
    with pytest.raises(DeviceError, match="let go"):
        asyncio.run(instrument.beam.unblank())


@pytest.mark.long
def test_a_run_under_way_is_stopped_when_the_instrument_is_let_go(tmp_path):
    instrument = OpenInstrument("simulated-timing", tmp_path, accept_timing=True)
    began = _began(instrument)

    async def cell():
        going = asyncio.ensure_future(instrument.perform("cred", range_deg=60.0, **SHORT))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        outcome = await asyncio.to_thread(instrument.close)
        going.cancel()
        return outcome

    outcome = asyncio.run(cell())
    (child,) = outcome.folder.glob("1_*")
    assert RunDocument.read(child).status == "stopped"
    assert outcome.alarms == ()


def test_what_cannot_be_opened_says_so_where_it_was_asked_for(tmp_path):
    with pytest.raises(Refused, match="no-such-driver"):
        open_instrument("no-such-driver", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_was_cut_off_is_recovered(tmp_path):
    with open_instrument("simulated-timing", tmp_path) as instrument:
        asyncio.run(instrument.beam.unblank())
    lines = (instrument.folder / "trace.jsonl").read_bytes().splitlines(keepends=True)
    (instrument.folder / "trace.jsonl").write_bytes(b"".join(lines[:5]))
    document = json.loads((instrument.folder / "run.json").read_text())
    (instrument.folder / "run.json").write_text(json.dumps({**document, "status": "running"}))
    assert recover_run(instrument.folder)
    after = RunDocument.read(instrument.folder)
    assert (after.status, "the program ended" in after.reason) == ("failed", True)


def test_a_shell_is_begun_by_its_own_command_and_no_other(record_run):
    with pytest.raises(Refused, match="begun by `credline shell`"):
        record_run("shell")
