"""The gate: every call to hardware is recorded with its outcome, and lost when it does not return."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from drivers.contract import Reading
from engine.clock import RealClock, ns
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, DeviceLost
from engine.record.trace import Record, Trace
from engine.run.commands import Commands
from engine.run.gate import CallGate
from engine.run.timeline import Timeline
from tests.engine.virtually import really, virtual


class Stage:
    """A device with every kind of attribute."""

    limits_deg = (-70.0, 70.0)

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.backlash_deg = 0.1

    async def angle(self) -> Reading:
        """Read."""
        await self._clock.sleep_until(self._clock.now_ns() + 35)
        return Reading(1.5, 0, self._clock.now_ns())

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        await self._clock.sleep_until(self._clock.now_ns() + 35)
        if target_deg > 70:
            raise DeviceError("stage: past the limit; nothing moved.")

    async def stop(self) -> None:
        await asyncio.Event().wait()

    async def slow(self) -> None:
        await self._clock.sleep_until(self._clock.now_ns() + 1)
        raise TimeoutError("the device's own")

    def settling_s(self, defocus: int) -> float:
        return defocus / 1000

    async def frames(self) -> AsyncIterator[int]:
        for k in range(3):
            yield k


def gated(clock: VirtualClock, hard_limit_s: float = 10.0) -> tuple[Stage, list[Record]]:
    trace = Trace(clock)
    records: list[Record] = []
    trace.observe(records.append)
    return CallGate(clock, trace, hard_limit_s).wrap("stage", Stage(clock)), records


@virtual
async def test_a_call_is_recorded_with_arguments_result_and_both_instants(clock: VirtualClock) -> None:
    stage, records = gated(clock)
    assert await stage.angle() == Reading(1.5, 0, 35)
    await stage.rotate(10.0, 0.5)
    result = {"value": 1.5, "t_before_ns": 0, "t_after_ns": 35}
    common = {"kind": "call"}
    assert records == [
        {
            "seq": 0,
            "t_ns": 35,
            **common,
            "name": "stage.angle",
            "args": [],
            "begin_ns": 0,
            "end_ns": 35,
            "result": result,
        },
        {
            "seq": 1,
            "t_ns": 70,
            **common,
            "name": "stage.rotate",
            "args": [10.0, 0.5],
            "begin_ns": 35,
            "end_ns": 70,
            "result": None,
        },
    ]


@virtual
async def test_an_error_is_recorded_and_passed_on(clock: VirtualClock) -> None:
    stage, records = gated(clock)
    with pytest.raises(DeviceError, match="nothing moved"):
        await stage.rotate(71.0, 0.5)
    (record,) = records
    assert (record["error"], record["text"]) == ("DeviceError", "stage: past the limit; nothing moved.")
    assert (record["begin_ns"], record["end_ns"]) == (0, 35)
    assert "result" not in record


@virtual
async def test_a_call_that_does_not_return_loses_its_device_at_the_hard_limit(clock: VirtualClock) -> None:
    stage, records = gated(clock, hard_limit_s=10.0)
    with pytest.raises(DeviceLost, match=r"stage\.stop: no answer for 10 s; whether it happened is unknown"):
        await stage.stop()
    assert clock.now_ns() == ns(10)
    assert records[0]["error"] == "DeviceLost"
    assert records[0]["end_ns"] == ns(10)


@virtual
async def test_the_devices_own_timeout_is_not_the_hard_limit(clock: VirtualClock) -> None:
    stage, records = gated(clock)
    with pytest.raises(TimeoutError, match="the device's own"):
        await stage.slow()
    assert records[0]["error"] == "TimeoutError"


@virtual
async def test_a_timeout_of_the_caller_is_the_callers(clock: VirtualClock) -> None:
    stage, records = gated(clock)
    with pytest.raises(TimeoutError):
        async with clock.timeout_at(ns(1)):
            await stage.stop()
    assert clock.now_ns() == ns(1)
    assert records[0]["error"] == "CancelledError"


@virtual
async def test_a_cancelled_call_is_recorded_as_such(clock: VirtualClock) -> None:
    stage, records = gated(clock)
    task = asyncio.create_task(stage.angle())
    await clock.sleep_until(7)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (records[0]["error"], records[0]["end_ns"]) == ("CancelledError", 7)


@virtual
async def test_what_is_no_coroutine_passes_through_unrecorded(clock: VirtualClock) -> None:
    stage, records = gated(clock)
    assert stage.limits_deg == (-70.0, 70.0)
    assert stage.settling_s(1500) == 1.5
    assert [k async for k in stage.frames()] == [0, 1, 2]
    assert records == []


@virtual
async def test_attributes_are_those_of_the_device_at_any_time(clock: VirtualClock) -> None:
    device: Any = Stage(clock)
    stage = CallGate(clock, Trace(clock)).wrap("stage", device)
    assert stage.backlash_deg == 0.1
    device.backlash_deg = 0.2
    assert stage.backlash_deg == 0.2
    with pytest.raises(AttributeError):
        stage.tilt  # noqa: B018


@virtual
async def test_a_gated_method_keeps_its_name_and_words(clock: VirtualClock) -> None:
    stage, _ = gated(clock)
    assert (stage.angle.__name__, stage.angle.__doc__) == ("angle", "Read.")
    assert stage.angle is stage.angle


# --- one event after another: on the real clock the reaction to one takes time, in which the next may come

Opening = Callable[[asyncio.Event, CallGate, Timeline, Commands], Coroutine[Any, Any, object]]


async def answer(came: asyncio.Event) -> None:
    await came.wait()


async def refuse(came: asyncio.Event) -> None:
    await came.wait()
    raise DeviceError("stage: no; nothing moved.")


async def items(came: asyncio.Event) -> AsyncIterator[int]:
    await came.wait()
    yield 1


async def wake(came: asyncio.Event, timeline: Timeline, *, precise: bool) -> None:
    await came.wait()
    await timeline.wait("over already", 0, precise=precise)


GATES: dict[str, Opening] = {
    "an answer": lambda came, gate, _, __: gate.call("stage", "angle", answer, came),
    "an error": lambda came, gate, _, __: gate.call("stage", "angle", refuse, came),
    "an item": lambda came, gate, _, __: gate.next_item("detector.frames", items(came), 10.0),
    "a wake": lambda came, _, timeline, __: wake(came, timeline, precise=False),
    "a precise wake": lambda came, _, timeline, __: wake(came, timeline, precise=True),
    "a command": lambda _, __, ___, commands: commands.next(),
}


@pytest.mark.parametrize("opening", GATES.values(), ids=GATES)
@really
async def test_an_event_enters_when_the_reaction_to_the_one_before_is_over(clock: RealClock, opening: Opening) -> None:
    trace, came, commands = Trace(clock), asyncio.Event(), Commands(clock)
    seen: list[object] = []

    async def enter() -> None:
        with suppress(DeviceError):
            await opening(came, CallGate(clock, trace), Timeline(clock, trace), commands)
        seen.append("the next")

    entering = asyncio.create_task(enter())
    await asyncio.sleep(0.001)
    came.set()  # while this task still has to do, the next event comes
    commands.stop("operator")
    for k in range(9):
        seen.append(k)
        await asyncio.sleep(0)
    await entering
    assert seen == [*range(9), "the next"]


@really
async def test_a_call_given_up_while_its_answer_waits_for_its_turn_is_recorded_as_given_up(clock: RealClock) -> None:
    trace, came = Trace(clock), asyncio.Event()
    records: list[Record] = []
    trace.observe(records.append)
    call = asyncio.create_task(CallGate(clock, trace).call("stage", "angle", refuse, came))
    await asyncio.sleep(0.001)
    came.set()
    for _ in range(4):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [(r["error"], r["given_up"]) for r in records] == [("CancelledError", True)]


@really
async def test_a_command_is_not_lost_to_who_is_cancelled_while_it_waits_for_its_turn(clock: RealClock) -> None:
    commands = Commands(clock)
    commands.stop("operator")
    asked = asyncio.create_task(commands.next())
    for _ in range(3):
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    assert asked.cancelled()
    ending = (await commands.next()).ending
    assert ending is not None
    assert ending.reason == "operator"
