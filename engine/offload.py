"""One thread per blocking device: one call at a time, never on the loop, and lost when it does not return.

For vendor interfaces that block (COM objects, socket libraries) and for writers of files. A thread cannot be
stopped: a cancelled call goes on. So the device is *busy* until it returns, and *lost* once it has been out for
longer than its hard limit.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from engine.clock import NS_PER_S, Clock, ns
from engine.errors import DeviceBusy, DeviceLost

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class DeviceThread:
    """A thread of its own for one device. `initializer` runs in it first (COM initialisation belongs there)."""

    def __init__(
        self, name: str, clock: Clock, hard_limit_s: float, initializer: Callable[[], object] | None = None
    ) -> None:
        self.name = name
        self._clock = clock
        self._hard_limit_ns = ns(hard_limit_s)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=initializer)
        self._open: asyncio.Future[object] | None = None
        self._opened_ns = 0

    @property
    def busy(self) -> bool:
        """Whether a call has been made that has not returned."""
        return self._open is not None and not self._open.done()

    async def call(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `func(*args)` in the device's thread and return its result.

        Raises DeviceBusy while an abandoned call is still out (this one is NOT made), DeviceLost when a call has
        been out longer than the hard limit (unknown whether it happened). Cancelling stops the waiting, not
        the call.
        """
        if self.busy:
            out_s = (self._clock.now_ns() - self._opened_ns) / NS_PER_S
            if out_s * NS_PER_S > self._hard_limit_ns:
                raise DeviceLost(self._lost_text(out_s))
            raise DeviceBusy(
                f"{self.name}: an earlier call has not returned for {out_s:.1f} s; this call was not made. "
                "Wait for it, or restart the device's own software."
            )
        loop = asyncio.get_running_loop()
        self._opened_ns = self._clock.now_ns()
        answer = loop.run_in_executor(self._executor, func, *args)
        self._open = answer  # type: ignore[assignment]
        try:
            async with self._clock.timeout_at(self._opened_ns + self._hard_limit_ns):
                # Shielded: the future must live on as the sign that the thread is still out there.
                return await asyncio.shield(answer)
        except TimeoutError as error:
            raise DeviceLost(self._lost_text(self._hard_limit_ns / NS_PER_S)) from error

    def _lost_text(self, out_s: float) -> str:
        return (
            f"{self.name}: no answer for {out_s:.1f} s; whether the action happened is unknown, the device counts as "
            "lost. Check its cable and its own software, then connect again."
        )

    def close(self) -> None:
        """Let the thread go; does not wait for a call that is still out."""
        self._executor.shutdown(wait=not self.busy, cancel_futures=True)
