"""A blocking device has one thread: its calls in order, busy while one is out, lost when it does not come back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from engine.clock import Clock, RealClock
from engine.errors import DeviceBusy, DeviceError, DeviceLost
from engine.offload import DeviceThread
from engine.virtual import VirtualClock
from tests.engine.virtually import really, virtual


@asynccontextmanager
async def device(
    clock: Clock, hard_limit_s: float = 10.0, initializer: Callable[[], object] | None = None
) -> AsyncIterator[DeviceThread]:
    thread = DeviceThread("blanker", clock, hard_limit_s, initializer)
    try:
        yield thread
    finally:
        thread.close()


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
        call = asyncio.create_task(thread.call(gate.wait, 30))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert thread.busy
        with pytest.raises(DeviceBusy, match=r"blanker: an earlier call has not returned.*this call was not made"):
            await thread.call(made.append, True)
        gate.set()
        await until_free(thread)
        assert made == []
        assert await thread.call(divmod, 7, 2) == (3, 1)


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

    def fail() -> None:
        gate.wait(30)
        raise KeyError("late")

    async with device(clock) as thread:
        call = asyncio.create_task(thread.call(fail))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        gate.set()
        await until_free(thread)
        assert await thread.call(int) == 0


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


@pytest.mark.realtime
@really
async def test_busy_and_lost_are_device_errors(clock: RealClock) -> None:
    assert issubclass(DeviceBusy, DeviceError)
    assert issubclass(DeviceLost, DeviceError)
