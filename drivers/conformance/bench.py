"""The bench on which a driver is tested: it connects an instrument, runs a test's coroutine on it and lets go."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from functools import partial, update_wrapper
from typing import Any

from drivers.conformance.responsive import LONGEST_TURN_MS
from drivers.contract import Microscope, Parts
from drivers.parts import OPTIONAL_PARTS
from engine.clock import Clock, RealClock, ns
from engine.frame import Frame

Body = Callable[[Clock, Microscope], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bench:
    """An instrument to test. run: connects it, awaits the body with its clock and disconnects.

    scatter_deg, scatter_nm: how far apart two readings of a stage at rest may be. longest_turn_ms: for how long a call
    to the camera may hold up the event loop; more than the contract's 2 ms only for a simulation that waits precisely.
    The other values are used for the tests: short ones make a suite on the real clock quick.
    """

    run: Callable[[Body], None]
    exposure_s: float = 0.1
    snapshot_exposure_s: float = 0.01
    speed_deg_s: float = 1.0
    travel_deg: float = 2.0
    scatter_deg: float = 0.02
    defocus: int = 1500
    distance_nm: float = 20_000.0
    scatter_nm: float = 100.0
    deflection: float = 100
    patience_s: float = 60.0
    longest_turn_ms: float = LONGEST_TURN_MS


def bench_for(instrument: Callable[[Clock], AbstractAsyncContextManager[Parts]], **settings: Any) -> Bench:
    """A bench on the real clock for what `async with instrument(clock)` connects.

    Parts and geometry that it does not have are those of the simulated microscope, so that a camera can be tested
    alone. settings: fields of `Bench`.
    """

    async def connected(body: Body) -> None:
        from drivers.simulated.microscope import SIMULATED_TIMING

        clock = RealClock()
        async with instrument(clock) as parts, SIMULATED_TIMING.connect(clock, 1, {}) as rest:
            names = ("stage", "beam", "optics", "detector", *OPTIONAL_PARTS)
            others = {name: parts for name in names if getattr(parts, name) is not None}
            timing = {} if parts.timing is None else asdict(parts.timing)
            await body(clock, rest.assembled(others, dict(parts.geometry), timing))

    def run(body: Body) -> None:
        asyncio.run(connected(body))

    return Bench(run, **settings)


def on_bench(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn `async test(self, bench, clock, microscope, ...)` into a test that takes the fixture `bench`."""

    def run(self: object, bench: Bench, **arguments: Any) -> None:
        bench.run(partial(_patiently, test, self, bench, arguments))

    update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]
    signature = inspect.signature(test)
    kept = [each for name, each in signature.parameters.items() if name not in ("clock", "microscope")]
    run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return run


async def _patiently(
    test: Callable[..., Coroutine[Any, Any, None]],
    self: object,
    bench: Bench,
    arguments: dict[str, Any],
    clock: Clock,
    microscope: Microscope,
) -> None:
    async with clock.timeout_at(clock.now_ns() + ns(bench.patience_s)):
        await test(self, bench, clock, microscope, **arguments)


async def cancelled_soon(call: Coroutine[Any, Any, object]) -> None:
    """Begin a call and cancel it after a few turns of the loop."""
    task = asyncio.create_task(call)
    for _ in range(3):
        await asyncio.sleep(0)  # noqa: TID251 a turn of the loop, no time
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def after_cycle(bench: Bench, clock: Clock, microscope: Microscope, began_ns: int) -> None:
    """Wait until the camera must be ready again, with a few turns of the loop for a driver on a busy machine."""
    await clock.sleep_until(began_ns + ns(microscope.detector.facts.cycle_s(bench.exposure_s)))
    for _ in range(5):
        await asyncio.sleep(0)  # noqa: TID251 a turn of the loop, no time


async def numbers_left(frames: AsyncIterator[Frame]) -> list[int]:
    """The numbers of the frames still to come; returns when the series has ended."""
    return [frame.number async for frame in frames]
