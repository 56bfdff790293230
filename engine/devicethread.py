"""One thread per blocking device: one call at a time, never on the loop, and lost when it does not return.

For vendor interfaces that block (COM objects, socket libraries) and for writers of files. Calls wait their turn in the
order in which they were made. A thread cannot be stopped: a cancelled call goes on. So the device is *busy* until it
returns, and *lost* once it has been out for longer than its hard limit.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Thread
from typing import Generic, ParamSpec, TypeVar, TypeVarTuple

from engine.clock import NS_PER_S, Clock, ns
from engine.errors import CredlineError, DeviceBusy, DeviceError, DeviceLost

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
P = ParamSpec("P")


class _Job(Generic[T]):
    """A call that waits for its turn, and where its outcome goes."""

    def __init__(self, call: Callable[[], T], future: Future[T]) -> None:
        self._call = call
        self._future = future

    def run(self) -> None:
        """Make the call, unless nobody wants it any more."""
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            self._future.set_result(self._call())
        except BaseException as error:
            self._future.set_exception(error)
            del self  # the error holds this frame, and would hold itself through it


class _OneThread(Executor):
    """An executor with one thread that does not keep the program from ending.

    Python waits at its end for all threads of a ThreadPoolExecutor: a device that hangs would hang the program.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`."""
        future: Future[T] = Future()
        self._jobs.put(_Job(lambda: func(*args, **kwargs), future).run)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`; calls still in the queue are made."""
        self._jobs.put(None)
        if wait:
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # what a call held on to is not kept until the next


class DeviceThread:
    """A thread of its own for one device.

    initializer: runs in the thread before the first call (COM initialisation belongs there); one that fails is tried
    again before the next. patience_s: how long a call waits for one that nobody waits for any more.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        hard_limit_s: float,
        initializer: Callable[[], object] | None = None,
        patience_s: float = 1.0,
    ) -> None:
        self.name = name
        self._clock = clock
        self._hard_limit_ns = ns(hard_limit_s)
        self._patience_ns = ns(patience_s)
        self._initializer = initializer
        self._executor = _OneThread(name)
        self._turn = asyncio.Lock()
        self._open: asyncio.Future[object] | None = None
        self._opened_ns = 0

    @property
    def busy(self) -> bool:
        """Whether a call has been made that has not returned."""
        return self._open is not None and not self._open.done()

    async def call(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `func(*args)` in the device's thread and return its result, after all calls made before.

        Raises DeviceBusy while an abandoned call is still out (this one is NOT made), DeviceLost when a call has
        been out longer than the hard limit (unknown whether it happened), DeviceError when the thread could not be
        prepared (not made). Cancelling stops the waiting, not the call; one whose turn has not come is not made.
        """
        patient_until_ns = self._clock.now_ns() + self._patience_ns
        async with self._turn:
            await self._until_returned(patient_until_ns)
            loop = asyncio.get_running_loop()
            self._opened_ns = self._clock.now_ns()
            answer = loop.run_in_executor(self._executor, self._prepared, func, *args)
            answer.add_done_callback(_noticed)
            self._open = answer  # type: ignore[assignment]
            try:
                async with self._clock.timeout_at(self._opened_ns + self._hard_limit_ns) as limit:
                    # Shielded: the future must live on as the sign that the thread is still out there.
                    return await asyncio.shield(answer)
            except TimeoutError as error:
                if not limit.expired():  # the device's own
                    raise
                raise DeviceLost(self._lost_text(self._hard_limit_ns / NS_PER_S)) from error

    async def _until_returned(self, patient_until_ns: int) -> None:
        """Wait for an abandoned call, for a while."""
        if self._open is None or self._open.done():
            return
        try:
            async with self._clock.timeout_at(patient_until_ns):
                await asyncio.wait([self._open])
        except TimeoutError:
            out_ns = self._clock.now_ns() - self._opened_ns
            if out_ns > self._hard_limit_ns:
                raise DeviceLost(self._lost_text(out_ns / NS_PER_S)) from None
            raise DeviceBusy(
                f"{self.name}: an earlier call has not returned for {out_ns / NS_PER_S:.1f} s; this call was not "
                "made. Wait for it, or restart the device's own software."
            ) from None

    def _prepared(self, func: Callable[[*Ts], T], *args: *Ts) -> T:
        """In the thread: the call, and before the first one the initializer."""
        if self._initializer is not None:
            try:
                self._initializer()
            except CredlineError:
                raise
            except Exception as error:
                raise DeviceError(
                    f"{self.name}: its thread could not be prepared ({type(error).__name__}: {error}); this call was "
                    "not made. Check that the device's own software is installed and running."
                ) from error
            self._initializer = None
        return func(*args)

    def _lost_text(self, out_s: float) -> str:
        return (
            f"{self.name}: no answer for {out_s:.1f} s; whether the action happened is unknown, the device counts as "
            "lost. Check its cable and its own software, then connect again."
        )

    def close(self) -> None:
        """Let the thread go; does not wait for a call that is still out."""
        self._executor.shutdown(wait=not self.busy)


def _noticed(answer: "asyncio.Future[T]") -> None:
    """Look at the error of a call: if nobody waits for it any more, asyncio would complain at some later time."""
    if not answer.cancelled():
        answer.exception()
