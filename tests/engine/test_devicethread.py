"""A blocking device has one thread: its calls in order, busy while one is out, lost when it does not come back."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from engine.clock import Clock, RealClock
from engine.clock.virtual import VirtualClock
from engine.devicethread import DeviceThread
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from tests.engine.virtually import really, virtual


@asynccontextmanager
async def device(
    clock: Clock,
    hard_limit_s: float = 10.0,
    initializer: Callable[[], object] | None = None,
    patience_s: float = 0.05,
) -> AsyncIterator[DeviceThread]:
    thread = DeviceThread("blanker", clock, hard_limit_s, initializer, patience_s)
    try:
        yield thread
    finally:
        thread.close()


async def abandoned(thread: DeviceThread, gate: threading.Event) -> None:
    """Make a call that waits for the gate, and cancel it while it is out."""
    call = asyncio.create_task(thread.call(gate.wait, 30))
    while not thread.busy:  # noqa: ASYNC110 its only sign of having begun
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert thread.busy


async def until_free(thread: DeviceThread) -> None:
    while thread.busy:  # noqa: ASYNC110 its only sign of having returned
        await asyncio.sleep(0.001)


@virtual
async def test_calls_run_in_one_thread_of_their_own(clock: VirtualClock) -> None:
    async with device(clock) as thread:
        names = {await thread.call(threading.get_ident) for _ in range(10)}
        assert len(names) == 1
        assert threading.get_ident() not in names
        assert (await thread.call(threading.current_thread)).name.startswith("blanker")


@virtual
async def test_two_devices_do_not_share_a_thread(clock: VirtualClock) -> None:
    async with device(clock) as first, device(clock) as second:
        assert await first.call(threading.get_ident) != await second.call(threading.get_ident)


@virtual
async def test_the_initializer_runs_first_and_in_the_devices_thread(clock: VirtualClock) -> None:
    began_in: list[int] = []
    async with device(clock, initializer=lambda: began_in.append(threading.get_ident())) as thread:
        assert await thread.call(threading.get_ident) == began_in[0]
        await thread.call(int)
    assert len(began_in) == 1


@virtual
async def test_result_and_error_of_a_call_are_the_callers(clock: VirtualClock) -> None:
    async with device(clock) as thread:
        assert await thread.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await thread.call(divmod, 7, 0)
        assert not thread.busy
        assert await thread.call(divmod, 9, 2) == (4, 1)


@virtual
async def test_calls_made_at_once_wait_their_turn_in_order(clock: VirtualClock) -> None:
    made: list[int] = []
    async with device(clock) as thread:
        await asyncio.gather(*(thread.call(made.append, number) for number in range(20)))
    assert made == list(range(20))


@virtual
async def test_an_error_does_not_disturb_the_calls_behind_it(clock: VirtualClock) -> None:
    async with device(clock) as thread:
        outcomes = await asyncio.gather(
            *(thread.call(divmod, 6, number) for number in (0, 2, 0, 3)), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, tuple, ZeroDivisionError, tuple]


@virtual
async def test_a_failing_initializer_is_told_plainly_and_tried_again(clock: VirtualClock) -> None:
    made: list[bool] = []
    outcomes = iter([OSError("class not registered"), None])

    def initialize() -> None:
        if (error := next(outcomes)) is not None:
            raise error

    async with device(clock, initializer=initialize) as thread:
        expected = (
            r"blanker: its thread could not be prepared \(OSError: class not registered\); this call was not made"
        )
        with pytest.raises(DeviceError, match=expected):
            await thread.call(made.append, True)
        assert made == []
        await thread.call(made.append, True)
        await thread.call(made.append, True)
    assert made == [True, True]


@virtual
async def test_what_an_initializer_refuses_on_purpose_is_passed_on(clock: VirtualClock) -> None:
    def initialize() -> None:
        raise Refused("comtypes is missing")

    async with device(clock, initializer=initialize) as thread:
        with pytest.raises(Refused, match="comtypes is missing"):
            await thread.call(int)


@virtual
async def test_the_devices_own_time_out_is_not_taken_for_the_hard_limit(clock: VirtualClock) -> None:
    def give_up() -> None:
        raise TimeoutError("the device's own")

    async with device(clock) as thread:
        with pytest.raises(TimeoutError, match="the device's own"):
            await thread.call(give_up)
        assert await thread.call(int) == 0


@virtual
async def test_a_blocking_call_costs_no_virtual_time(clock: VirtualClock) -> None:
    async with device(clock, hard_limit_s=0.001) as thread:
        release = threading.Timer(0.05, int)
        release.start()
        await thread.call(release.join)
        assert clock.now_ns() == 0


@pytest.mark.realtime
@really
async def test_a_cancelled_call_keeps_the_device_busy_until_it_returns(clock: RealClock) -> None:
    gate = threading.Event()
    made: list[bool] = []
    async with device(clock) as thread:
        await abandoned(thread, gate)
        with pytest.raises(DeviceBusy, match=r"blanker: an earlier call has not returned.*this call was not made"):
            await thread.call(made.append, True)
        gate.set()
        await until_free(thread)
        assert made == []
        assert await thread.call(divmod, 7, 2) == (3, 1)


@pytest.mark.realtime
@really
async def test_a_call_waits_a_while_for_one_that_was_abandoned(clock: RealClock) -> None:
    gate = threading.Event()
    async with device(clock, patience_s=30) as thread:
        await abandoned(thread, gate)
        behind = [asyncio.create_task(thread.call(divmod, 7, divisor)) for divisor in (2, 3)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*behind) == [(3, 1), (2, 1)]


@pytest.mark.realtime
@really
async def test_a_call_waits_as_long_as_it_takes_for_one_that_somebody_waits_for(clock: RealClock) -> None:
    gate = threading.Event()
    async with device(clock, patience_s=0.01) as thread:
        first = asyncio.create_task(thread.call(gate.wait, 30))
        second = asyncio.create_task(thread.call(divmod, 7, 2))
        await clock.sleep_s(0.05)
        assert not second.done()
        gate.set()
        assert await first
        assert await second == (3, 1)


@pytest.mark.realtime
@really
async def test_a_call_cancelled_before_its_turn_is_not_made(clock: RealClock) -> None:
    gate = threading.Event()
    made: list[str] = []
    async with device(clock) as thread:
        first = asyncio.create_task(thread.call(gate.wait, 30))
        second, third = (asyncio.create_task(thread.call(made.append, name)) for name in ("second", "third"))
        await asyncio.sleep(0)
        second.cancel()
        gate.set()
        assert await first
        await third
        assert second.cancelled()
    assert made == ["third"]


@pytest.mark.realtime
@really
async def test_a_call_past_the_hard_limit_loses_the_device(clock: RealClock) -> None:
    gate = threading.Event()
    try:
        async with device(clock, hard_limit_s=0.05) as thread:
            with pytest.raises(DeviceLost, match=r"blanker: no answer for 0\.\d s; whether .* is unknown.*cable"):
                await thread.call(gate.wait, 30)
            assert thread.busy
            with pytest.raises(DeviceLost):  # still out, for longer than the limit
                await thread.call(int)
    finally:
        gate.set()


@pytest.mark.realtime
@really
async def test_the_error_of_an_abandoned_call_disturbs_nobody(clock: RealClock) -> None:
    gate = threading.Event()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))

    def fail() -> None:
        gate.wait(30)
        raise KeyError("late")

    async with device(clock) as thread:
        call = asyncio.create_task(thread.call(fail))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        del call
        gate.set()
        await until_free(thread)
        gc.collect()  # asyncio complains of an error that nobody looked at when its future goes
        assert await thread.call(int) == 0
    assert complaints == []


@pytest.mark.realtime
@really
async def test_closing_does_not_wait_for_a_call_that_is_still_out(clock: RealClock) -> None:
    gate = threading.Event()
    thread = DeviceThread("blanker", clock, hard_limit_s=0.01)
    with pytest.raises(DeviceLost):
        await thread.call(gate.wait, 30)
    thread.close()
    assert not gate.is_set()
    gate.set()


HANGING = """
import asyncio, sys, threading
from engine.clock import RealClock
from engine.errors import DeviceLost
from engine.devicethread import DeviceThread

async def main():
    thread = DeviceThread("blanker", RealClock(), hard_limit_s=0.01)
    try:
        await thread.call(threading.Event().wait)
    except DeviceLost:
        print("lost")
    thread.close()

asyncio.run(main())
"""


@pytest.mark.realtime
def test_a_device_that_hangs_for_ever_does_not_keep_the_program_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "lost\n"


@pytest.mark.realtime
@really
async def test_busy_and_lost_are_device_errors(clock: RealClock) -> None:
    assert issubclass(DeviceBusy, DeviceError)
    assert issubclass(DeviceLost, DeviceError)
