"""What a part of a recorded microscope says when it is asked for what was not recorded."""

import inspect
from collections.abc import Sequence
from typing import Any

import pytest

from drivers.parts import Deflector, Deflectors, StageXYZ
from drivers.replayed.player import Player
from drivers.replayed.recording import NotRecorded, Recording
from engine.clock.virtual import VirtualClock
from engine.errors import DataError, DeviceBusy
from engine.frame import Frame
from engine.record.trace import Record
from tests.drivers.replayed.test_described import recorded as recorded_microscope
from tests.drivers.replayed.test_described import told_by_the_simulated
from tests.engine.virtually import virtual

ENDED = {"seq": 9, "kind": "state", "name": "done"}
TOLD = told_by_the_simulated()
SAFE = {"seq": 8, "kind": "note", "name": "safe state"}


def call(name: str, *args: object, begin_ns: int = 0, end_ns: int = 0, **outcome: object) -> Record:
    return {
        "seq": 1,
        "kind": "call",
        "name": name,
        "args": list(args),
        "begin_ns": begin_ns,
        "end_ns": end_ns,
        **outcome,
    }


def player(clock: VirtualClock, part: type, name: str, calls: Sequence[Record], facts: object = None) -> Any:
    return Player(Recording(clock, [*calls, SAFE, ENDED]), name, part, facts)


@virtual
async def test_a_call_is_a_coroutine_function_and_ends_at_its_recorded_instant(clock: VirtualClock) -> None:
    read = call("deflectors.read", "beam_shift", end_ns=35, result=[1.5, 2])
    coils = player(clock, Deflectors, "deflectors", [read])
    assert inspect.iscoroutinefunction(coils.read)
    assert coils.read.__name__ == "read"
    assert await coils.read(Deflector.BEAM_SHIFT) == (1.5, 2)
    assert clock.now_ns() == 35


@virtual
async def test_a_recorded_error_is_raised_again_as_what_it_was(clock: VirtualClock) -> None:
    told: dict[str, Any] = {"error": "DeviceBusy", "text": "stagexyz: the stage still moves", "foreign": False}
    stage = player(clock, StageXYZ, "stagexyz", [call("stagexyz.move_z", 5.0, end_ns=10, **told)])
    with pytest.raises(DeviceBusy, match="stagexyz: the stage still moves"):
        await stage.move_z(5.0)


UNLIKE = {
    "other arguments": ([call("stagexyz.move_z", 5.0)], r"move_z\(6\.0,\).*made stagexyz.move_z\(5\.0,\)"),
    "another call": ([call("stagexyz.stop")], r"move_z\(6\.0,\).*made stagexyz.stop\(\)"),
    "another device": ([call("xyz.stop"), call("beam.blank")], "made no call of stagexyz, only of beam, xyz"),
    "no device": ([], "made no call of stagexyz, only of nothing"),
}


@pytest.mark.parametrize(("calls", "said"), UNLIKE.values(), ids=UNLIKE)
@virtual
async def test_what_was_not_recorded_is_named(clock: VirtualClock, calls: list[Record], said: str) -> None:
    stage = player(clock, StageXYZ, "stagexyz", calls)
    with pytest.raises(NotRecorded, match=said):
        await stage.move_z(6.0)


@virtual
async def test_after_the_last_call_there_is_none(clock: VirtualClock) -> None:
    stage = player(clock, StageXYZ, "stagexyz", [call("stagexyz.stop", result=None)])
    await stage.stop()
    with pytest.raises(NotRecorded, match="made no further call"):
        await stage.stop()


@virtual
async def test_what_no_such_part_has_is_no_attribute(clock: VirtualClock) -> None:
    stage = player(clock, StageXYZ, "stagexyz", [], facts=7)
    assert stage.facts == 7
    assert not hasattr(stage, "angle")


@virtual
async def test_a_damaged_answer_is_refused(clock: VirtualClock) -> None:
    stage = player(clock, StageXYZ, "stagexyz", [call("stagexyz.position", result={"x_nm": 1.0})])
    with pytest.raises(DataError, match=r"record 1, stagexyz\.position, .*y_nm is missing"):
        await stage.position()


def frame(number: int, arrived_ns: int, **more: object) -> Record:
    instants = {"start_ns": arrived_ns - 10, "end_ns": arrived_ns - 5, "arrived_ns": arrived_ns}
    return {"seq": number, "kind": "frame", "name": "still", "number": number, **instants, "crc": 1, **more}


@virtual
async def test_a_frame_has_its_recorded_bounds(clock: VirtualClock) -> None:
    records = [frame(0, 100, start_bounds_ns=[85, 92]), frame(1, 200, end_bounds_ns=[1])]
    detector = recorded_microscope(clock, TOLD, records).detector
    frames = detector.frames()
    got = await anext(frames)
    assert (got.start_bounds_ns, got.end_bounds_ns) == ((85, 92), (95, 95))
    with pytest.raises(DataError, match="holds no end_bounds_ns"):
        await anext(frames)


@virtual
async def test_a_series_ends_between_the_frames_where_it_ended_then(clock: VirtualClock) -> None:
    end = {"error": "StopAsyncIteration", "text": "", "given_up": False, "foreign": True}
    records = [frame(0, 100), call("detector.frames", begin_ns=110, end_ns=150, **end), frame(0, 300)]
    detector = recorded_microscope(clock, TOLD, records).detector
    series: list[list[Frame]] = [[each async for each in detector.frames()]]
    assert clock.now_ns() == 150
    series.append([await anext(detector.frames())])
    assert [len(frames) for frames in series] == [1, 1]
    assert clock.now_ns() == 300


@virtual
async def test_who_gives_up_waiting_for_a_frame_loses_none(clock: VirtualClock) -> None:
    detector = recorded_microscope(clock, TOLD, [frame(0, 100)]).detector
    with pytest.raises(TimeoutError):
        async with clock.timeout_at(50):
            await anext(detector.frames())
    assert (await anext(detector.frames())).number == 0
