"""Tests as coroutines: `@virtual` runs one on a virtual clock of its own, `@really` on the real one.

    @virtual
    async def test_a_wait_ends_at_its_deadline(clock: VirtualClock, tmp_path: Path) -> None: ...

The clock begins at 0 and comes first; fixtures, parameters and hypothesis's arguments follow. A `@really` test may
judge order and outcome, never speed: give it the marker `realtime`.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from engine.clock import RealClock
from engine.clock.virtual import VirtualClock, VirtualLoop

TestCoroutine = Callable[..., Coroutine[Any, Any, None]]


def virtual(test: TestCoroutine) -> Callable[..., None]:
    """Run the test in a fresh VirtualLoop."""

    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, VirtualLoop)
            runner.run(test(VirtualClock(loop), *args, **kwargs))

    return _without_clock(test, run)


def really(test: TestCoroutine) -> Callable[..., None]:
    """Run the test on the real clock; it is given up after a minute instead of hanging."""

    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await test(RealClock(), *args, **kwargs)

        asyncio.run(bounded())

    return _without_clock(test, run)


def _without_clock(test: TestCoroutine, run: Callable[..., None]) -> Callable[..., None]:
    """Make `run` look like the test to pytest and hypothesis, less its first parameter."""
    functools.update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]
    signature = inspect.signature(test)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return run
