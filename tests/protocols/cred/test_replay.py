"""A recorded cRED run replays to the same bytes, whatever happened in it; a changed program shows where it differs."""

import asyncio
import errno
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from drivers.simulated.column import Blanker, Lens
from drivers.simulated.detector import Timepix
from drivers.simulated.goniometer import Goniometer
from engine.clock.virtual import VirtualLoop
from engine.errors import DeviceError, DeviceLost
from engine.record.trace import Record, ends_early, read_trace
from engine.replay.replay import Divergence, first_divergence, load_run, only_cut_off, replay
from engine.run.conduct import Watch
from engine.run.contract import SafeAction
from engine.run.perform import Report, Request, execute
from engine.run.run import Run
from engine.testing.plugin import RecordedRun, RecordRun
from protocols.cred import CRED
from protocols.cred.machine import WORKING, State
from protocols.cred.plan import CredPlan
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.cred.sequence import CredSequence

PLAN: dict[str, Any] = {"range_deg": 5.0, "relax_cycles": 1, "snapshot_interval": 5, "formats": ()}  # 22 slots
FAST: dict[str, Any] = {"speed_deg_s": 2.0, "snapshot_interval": 10, "rotation": "commanded"}


def line_of(record: Record) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"


def assert_replays(run: RecordedRun) -> None:
    """Replayed, the run writes the bytes it wrote."""
    records = load_run(run.folder)
    again = replay(records)
    divergence = first_divergence(records, again)
    assert divergence is None
    assert "".join(map(line_of, again)).encode() == (run.folder / "trace.jsonl").read_bytes()


def simulated(**options: Any) -> dict[str, Any]:
    return {"microscope": {"driver": "simulated-timing", **options}}


OPTIONS = {
    "pedal": ({}, {}, "done"),
    "pedal, backwards": ({"range_deg": -5.0}, {}, "done"),
    "commanded": ({"rotation": "commanded"}, {}, "done"),
    "commanded, backwards": ({"rotation": "commanded", "start_deg": 20.0, "range_deg": -5.0}, {}, "done"),
    "no snapshots": ({"snapshot_interval": 0}, {}, "done"),
    "every second slot": ({"snapshot_interval": 2}, {}, "done"),
    "every tenth slot": ({"snapshot_interval": 10}, {}, "done"),
    "every twentieth slot": ({"snapshot_interval": 20, "range_deg": 10.0}, {}, "done"),
    "beam left to the operator": ({"unblank": False}, {}, "done"),
    "no relaxing": ({"relax_cycles": 0}, {}, "done"),
    "snapshots of several slots": ({"exposure_s": 0.05, "range_deg": 2.0, "snapshot_interval": 20}, {}, "done"),
    "other defocus": ({"defocus": -900, "snapshot_exposure_s": 0.05}, {}, "done"),
    "truth": ({"truth": True}, {}, "done"),
    "slow calls": ({}, {"api_call_s": 0.09}, "done"),
    "slow stage readings": ({}, {"stage": {"stage_read_s": 0.277}}, "done"),
    "slow first frames": ({}, {"detector": {"slow_first_s": [1.2, 1.0]}}, "done"),
    "slow camera": ({"snapshot_interval": 0}, {"detector": {"slow_first_s": [0.01] * 100}}, "done"),
    "stage stops": ({"range_deg": 8.0}, {"stage": {"stops_at_deg": -27.0}}, "stopped"),
    "no rotation": ({"rotation_timeout_s": 10.0}, {"stage": {"pedal_wait_s": [500.0, 600.0]}}, "failed"),
    "wrong pedal": ({}, {"start_deg": 20.0}, "failed"),
    "beam blanked": ({"unblank": False}, {"beam_on": False}, "failed"),
}


@pytest.mark.parametrize(("plan", "options", "status"), OPTIONS.values(), ids=OPTIONS)
def test_a_run_with_any_option_replays(
    record_run: RecordRun, plan: dict[str, Any], options: dict[str, Any], status: str
) -> None:
    run = record_run("cred", devices=simulated(**options), **{**PLAN, **plan})
    assert run.document["status"] == status
    assert_replays(run)


@pytest.mark.parametrize("seed", range(2, 12))
def test_any_seed_replays(record_run: RecordRun, seed: int) -> None:
    assert_replays(record_run("cred", seed=seed, **PLAN))


def test_a_run_with_pictures_replays_by_their_checksums(record_run: RecordRun) -> None:
    run = record_run("cred", devices="simulated", **{**PLAN, "range_deg": 1.5, "snapshot_interval": 3})
    assert len({record["crc"] for record in run.of("frame")}) == len(run.of("frame"))
    assert_replays(run)
    assert first_divergence(run.trace, replay(run.trace, run.folder)) is None
    with h5py.File(run.folder / "frames.h5", "r+") as file:
        file["diffraction/data"][3, 100, 100] += 1
        slot = int(file["diffraction/frames"]["slot"][3])
    divergence = first_divergence(run.trace, replay(run.trace, run.folder))
    assert divergence is not None
    assert divergence.recorded is not None
    assert (divergence.recorded["kind"], divergence.recorded["slot"]) == ("frame", slot)


@pytest.mark.parametrize("command", ["stop", "abort"])
@pytest.mark.parametrize("state", [*WORKING, State.FINALIZE], ids=lambda state: state.value)
def test_a_command_on_entering_a_state_replays(record_run: RecordRun, state: State, command: str) -> None:
    def at_state(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == state.value:
            getattr(run.commands, command)("test")

    run = record_run("cred", on=at_state, **PLAN)
    assert run.of("command")
    assert_replays(run)


@pytest.mark.parametrize("command", ["stop", "abort"])
@pytest.mark.parametrize("at_s", [0.011, 0.7, 2.3, 4.1, 6.789, 7.2, 8.03, 9.9])
def test_a_command_at_any_instant_replays(record_run: RecordRun, at_s: float, command: str) -> None:
    def at_once(record: Record, run: Run) -> None:
        if record["seq"] == 1:
            asyncio.get_running_loop().call_later(at_s, getattr(run.commands, command), "test")

    run = record_run("cred", on=at_once, **PLAN)
    assert run.of("command")[0]["t_ns"] - run.trace[0]["t_ns"] == round(at_s * 1e9)
    assert_replays(run)


@pytest.mark.parametrize("first", ["stop", "abort"])
def test_commands_while_the_run_ends_replay(record_run: RecordRun, first: str) -> None:
    def impatient(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["slot"] == 7:
            getattr(run.commands, first)("enough")
            asyncio.get_running_loop().call_later(0.05, run.commands.abort, "now")

    run = record_run("cred", on=impatient, **PLAN)
    assert run.of("command")
    assert_replays(run)


Method = tuple[type, str]


def break_after(monkeypatch: pytest.MonkeyPatch, method: Method, calls: int, fault: Callable[[], Any]) -> None:
    """After so many calls of a device's method, `fault` is awaited in its place."""
    original, made = getattr(*method), 0

    async def breaking(self: object, *args: Any) -> Any:
        nonlocal made
        made += 1
        return await (original(self, *args) if made <= calls else fault())

    monkeypatch.setattr(*method, breaking)


async def refuse() -> None:
    raise DeviceError("device: test of a failure; nothing was done.")


async def lose() -> None:
    raise DeviceLost("device: test of a lost connection; it may have been done.")


async def drop() -> None:
    raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("fault", [refuse, lose, drop, hang])
@pytest.mark.parametrize(
    ("method", "calls"),
    [
        ((Goniometer, "angle"), 20),
        ((Goniometer, "stop"), 0),
        ((Blanker, "unblank"), 0),
        ((Blanker, "blank"), 0),
        ((Lens, "focus"), 0),
        ((Lens, "set_focus"), 5),
        ((Timepix, "arm"), 0),
        ((Timepix, "start"), 11),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else str(value),
)
def test_a_failing_device_replays(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch, method: Method, calls: int, fault: Callable[[], Any]
) -> None:
    with monkeypatch.context() as patch:
        break_after(patch, method, calls, fault)
        run = record_run("cred", **PLAN)
    assert run.of("fault") or run.of("command", "failed")
    assert_replays(run)


def test_a_camera_that_goes_silent_replays(record_run: RecordRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_after(patch, (Timepix, "_expose"), 9, hang)
        run = record_run("cred", **PLAN)
    assert "no frame" in run.document["reason"]
    assert_replays(run)


def test_a_camera_whose_series_breaks_replays(record_run: RecordRun, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Timepix, queue: Any, number: int, begin_ns: int, *_: Any) -> None:
        await self._clock.sleep_until(begin_ns + 123_456_789)
        queue.put_nowait(Broken("detector: the series broke; frame lost."))

    class Broken(DeviceError):
        """A driver's own kind of error."""

    with monkeypatch.context() as patch:
        expose = Timepix._expose

        async def breaking(self: Timepix, queue: Any, number: int, *rest: Any) -> None:
            await (broken if number == 9 else expose)(self, queue, number, *rest)

        patch.setattr(Timepix, "_expose", breaking)
        run = record_run("cred", **PLAN)
    assert run.document["status"] == "failed"
    assert_replays(run)


@pytest.mark.long
def test_a_recording_that_was_cut_off_anywhere_replays_as_far_as_it_goes(
    record_run: RecordRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = record_run("cred", **PLAN)
    whole = len(run.trace)
    for kept in range(1, whole):
        recorded = run.trace[:kept]
        divergence = first_divergence(recorded, replay(recorded))
        assert divergence is None or only_cut_off(recorded, divergence)
        assert divergence is None or divergence.seq > kept - 6
        assert ends_early(recorded)
    assert not ends_early(run.trace)
    assert "BEAM" not in "".join(capsys.readouterr())  # nothing is unsafe where there is no instrument


def test_a_changed_program_diverges_from_a_recording_that_was_cut_off_later(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The additional call is answered by nobody, for the recording has no call of its device after it."""
    run = record_run("cred", **PLAN)
    unchanged = CredSequence.defocus_snapshot

    async def defocus_snapshot(self: CredSequence) -> str:
        await self._beam.is_blanked()
        return await unchanged(self)

    monkeypatch.setattr(CredSequence, "defocus_snapshot", defocus_snapshot)
    began = next(r["seq"] for r in run.trace if (r["kind"], r["name"]) == ("state", "defocus-snapshot"))
    for kept in (began + 12, began + 30):
        recorded = run.trace[:kept]
        divergence = first_divergence(recorded, replay(recorded))
        assert divergence is not None
        assert divergence.seq == began + 1
        assert not only_cut_off(recorded, divergence)


@pytest.mark.realtime
def test_a_run_on_the_real_clock_that_a_background_task_ends_replays(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchanged = CredSequence._read_stage

    async def read_stage(self: CredSequence) -> None:
        await unchanged(self)
        if self.slot > 2:
            raise DeviceError("stage: broken; nothing moved.")

    monkeypatch.setattr(CredSequence, "_read_stage", read_stage)
    plan = {**FAST, "exposure_s": 0.03, "range_deg": 2.5}
    devices = simulated(api_call_s=0.01, lens={"slow_s": 0.02})
    run = record_run("cred", clock="real", devices=devices, start_deg=0.0, relax_cycles=0, formats=(), **plan)
    assert run.document["status"] == "failed"
    assert run.of("command", "failed")
    assert_replays(run)


@pytest.mark.realtime
@pytest.mark.parametrize("ending", ["done", "stopped"])
def test_a_run_on_the_real_clock_replays(record_run: RecordRun, ending: str) -> None:
    told: list[int] = []

    def stop(record: Record, run: Run) -> None:
        # Any slot may be lost on a machine that is late.
        if ending == "stopped" and record["kind"] == "frame" and record["slot"] >= 9 and not told:
            told.append(record["slot"])
            asyncio.get_running_loop().call_later(0.013, run.commands.stop, "test")

    plan = {**FAST, "exposure_s": 0.03, "range_deg": 2.5}
    devices = simulated(api_call_s=0.01, lens={"slow_s": 0.02})
    run = record_run("cred", clock="real", devices=devices, on=stop, start_deg=0.0, relax_cycles=0, formats=(), **plan)
    assert run.document["status"] == ending
    assert run.of("wake")
    assert_replays(run)


def _hold_up_every_turn(patch: pytest.MonkeyPatch, rng: random.Random) -> None:
    turn = asyncio.base_events.BaseEventLoop._run_once  # type: ignore[attr-defined]

    def slow_turn(loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop, VirtualLoop):
            time.sleep(rng.choice([0.0, rng.random() * 0.002]))
        turn(loop)

    patch.setattr(asyncio.base_events.BaseEventLoop, "_run_once", slow_turn)


@pytest.mark.realtime
@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_slots_on_the_real_clock_replay_twenty_times_out_of_twenty(
    record_run: RecordRun, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # on a machine where every turn of the loop may take long, events come in the middle of reactions
        _hold_up_every_turn(monkeypatch, random.Random(seed))
    plan = {**FAST, "exposure_s": 0.02, "range_deg": 6.4}
    devices = simulated(api_call_s=0.01, lens={"slow_s": 0.02})
    run = record_run(
        "cred", clock="real", devices=devices, seed=seed, start_deg=0.0, relax_cycles=0, formats=(), **plan
    )
    assert run.result["slots"] >= 50  # 100 where the machine keeps up; a slow one may lengthen the period
    assert_replays(run)


def replayed_with_a_change(record_run: RecordRun, change: Callable[[], None]) -> Divergence:
    run = record_run("cred", **PLAN)
    change()
    divergence = first_divergence(run.trace, replay(run.trace))
    assert divergence is not None
    assert divergence.before == run.trace[max(0, divergence.seq - 20) : divergence.seq]
    return divergence


def test_an_additional_call_is_the_first_divergence(record_run: RecordRun, monkeypatch: pytest.MonkeyPatch) -> None:
    unchanged = CredSequence.delay

    async def delay(self: CredSequence) -> str:
        trigger = await unchanged(self)
        await self._beam.is_blanked()
        return trigger

    found = replayed_with_a_change(record_run, lambda: monkeypatch.setattr(CredSequence, "delay", delay))
    assert found.state == "delay"
    assert found.recorded is not None
    assert (found.recorded["kind"], found.recorded["name"]) == ("state", "expose")
    assert found.replayed is not None
    assert (found.replayed["name"], found.replayed["error"]) == ("beam.is_blanked", "NotRecorded")


def test_a_swapped_order_is_the_first_divergence(record_run: RecordRun, monkeypatch: pytest.MonkeyPatch) -> None:
    unchanged = CredSequence.safe_actions

    def safe_actions(self: CredSequence) -> tuple[SafeAction, ...]:
        blank, stop, disarm, focus, check = unchanged(self)
        return blank, stop, focus, disarm, check

    found = replayed_with_a_change(record_run, lambda: monkeypatch.setattr(CredSequence, "safe_actions", safe_actions))
    assert found.state == "finalize"
    assert found.recorded is not None
    assert found.recorded["name"] == "detector.disarm"
    assert found.replayed is not None
    assert found.replayed["name"] == "optics.set_focus"


def test_another_settling_time_is_the_first_divergence(record_run: RecordRun, monkeypatch: pytest.MonkeyPatch) -> None:
    unchanged = CredSequence.refocus

    async def refocus(self: CredSequence) -> str:
        monkeypatch.setattr(self.slots, "settling_s", self.slots.settling_s + 0.001)
        return await unchanged(self)

    found = replayed_with_a_change(record_run, lambda: monkeypatch.setattr(CredSequence, "refocus", refocus))
    assert found.state == "refocus"
    assert found.recorded is not None
    assert found.replayed is not None
    assert found.recorded["name"] == found.replayed["name"] == "expose"
    assert found.replayed["t_ns"] == found.recorded["t_ns"] + 1_000_000


def test_a_call_with_another_argument_is_the_first_divergence(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchanged = CredSequence.defocus_snapshot

    async def defocus_snapshot(self: CredSequence) -> str:
        monkeypatch.setattr(self, "_focus", 30990)
        return await unchanged(self)

    found = replayed_with_a_change(
        record_run, lambda: monkeypatch.setattr(CredSequence, "defocus_snapshot", defocus_snapshot)
    )
    assert found.state == "defocus-snapshot"
    assert found.recorded is not None
    assert found.recorded["args"] == [32500]
    assert found.replayed is not None
    assert found.replayed["args"] == [32490]
    assert "not recorded at this point" in found.replayed["text"]


def test_a_dropped_call_is_the_first_divergence(record_run: RecordRun, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_reading(self: StageWatch) -> None:
        await self._stage.stop()

    found = replayed_with_a_change(record_run, lambda: monkeypatch.setattr(StageWatch, "stop", no_reading))
    assert found.state == "finalize"
    assert found.recorded is not None
    assert found.recorded["name"] == "stage.angle"


# --- bad days: what was injected is left out, what the run made of it comes again


BAD_DAYS = [
    "beam.blank 1 hang",
    "beam.blank 1 away 1.2",
    "beam.is_blanked 2 wrong 1",
    "stage.angle 9 wrong 5",
    "stage.angle 12 error",
    "stage.angle 9 hang",
    "stage.stop 1 slow 2",
    "optics.set_focus 5 error",
    "optics.set_focus 5 away 1.2",
    "detector.frames 4 drop",
    "detector.frames 4 double",
    "detector.frames 4 torn",
    "detector.frames 4 late 0.3",
    "stage.motion 9 stop",
    "stage.motion 9 reverse",
    "stage.motion 9 slip 0.7",
    "host 8 starve 0.3",
    "disk.write 30 full",
    "disk.write 33 error",
    "disk.sync 14 error",
    "disk.sync 12 slow 3",
]


def on_a_bad_day(out: Path, *faults: str, watch: Watch | None = None) -> tuple[Report, list[Record]]:
    plan = CredPlan(**PLAN)
    report = execute(Request(CRED, plan, out, "simulated-timing", True, 1, draw=False, faults=faults), watch)
    return report, list(read_trace(report.folder))


def assert_bad_day_replays(report: Report, written: list[Record]) -> None:
    records = load_run(report.folder)
    assert len(records) == sum(record["kind"] != "injected" for record in written)
    assert first_divergence(records, replay(records)) is None


@pytest.mark.parametrize("words", BAD_DAYS)
def test_a_run_that_met_with_a_fault_replays(tmp_path: Path, words: str) -> None:
    report, written = on_a_bad_day(tmp_path, words)
    assert [record["fault"] for record in written if record["kind"] == "injected"] == [words]
    if "trace_cut_off" not in report.document:
        assert_bad_day_replays(report, written)


def test_a_run_that_met_with_several_faults_replays(tmp_path: Path) -> None:
    report, written = on_a_bad_day(
        tmp_path, "stage.angle 9 wrong 5", "detector.frames 4 late 0.3", "beam.blank 1 error", "stage.stop 1 slow 1"
    )
    assert sum(record["kind"] == "injected" for record in written) == 4
    assert_bad_day_replays(report, written)


@pytest.mark.parametrize("command", ["stop", "abort"])
def test_a_command_at_the_instant_of_a_failure_replays(tmp_path: Path, command: str) -> None:
    def watch(run: Run, _: object) -> None:
        def at_the_failure(record: Record) -> None:
            if record["kind"] == "call" and "error" in record:
                getattr(run.commands, command)("test")

        run.trace.observe(at_the_failure)

    report, written = on_a_bad_day(tmp_path, "detector.start 4 error", watch=watch)
    assert report.document["status"] == {"stop": "failed", "abort": "aborted"}[command]
    assert [record["kind"] for record in written if "reason" in record][:2] == ["command", "fault"]
    assert_bad_day_replays(report, written)


@pytest.mark.parametrize(("write", "state"), [(3, "relax"), (5, "wait-for-rotation"), (8, "delay"), (10, "expose")])
def test_a_disk_that_refuses_the_line_of_a_state_replays(tmp_path: Path, write: int, state: str) -> None:
    """What the state begins with has begun when the beam is blanked: two calls at one instant, `delay` to one device.

    That the blanker fails as well makes the later of the two end first.
    """
    report, written = on_a_bad_day(tmp_path, f"disk.write {write} full", "beam.blank 1 error")
    assert [record["name"] for record in written if record["kind"] == "state"][-3:] == [state, "finalize", "failed"]
    assert_bad_day_replays(report, written)


@pytest.mark.parametrize("ending", ["done", "stopped", "aborted"])
def test_a_run_that_waited_for_a_slow_disk_replays(tmp_path: Path, ending: str) -> None:
    """There is room for one picture; from the tenth write on each takes longer than a slot."""

    def narrow(run: Run, _: object) -> None:
        run.writer.limit_bytes = 2500

        commands = {"stopped": run.commands.stop, "aborted": run.commands.abort}

        def command(record: Record) -> None:
            if ending in commands and record["name"] == "disk.room":
                asyncio.get_running_loop().call_later(0.8, commands[ending], "test")

        run.trace.observe(command)

    faults = [f"disk.write {number} slow 1.2" for number in range(18, 40, 2)]
    report, written = on_a_bad_day(tmp_path, *faults, watch=narrow)
    assert report.ending.status.value == ending
    assert any(record["name"] == "disk.room" for record in written)
    assert ending != "done" or report.document["result"]["lost_slots"] > 0
    assert_bad_day_replays(report, written)
