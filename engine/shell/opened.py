"""An opened instrument for code that is typed: a loop in a thread of its own, and calls that are awaited elsewhere."""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from engine.clock import RealClock
from engine.errors import DeviceError
from engine.frame import Picture
from engine.run.children import ChildReport
from engine.run.commands import Command, Source, Wish
from engine.run.conduct import Outcome, Watch
from engine.run.contract import AnyExperiment
from engine.run.instrument import Instrument
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.run.series import Series
from engine.shell.experiment import Hands, Shell, ShellPlan
from engine.shell.parts import TypedPart

T = TypeVar("T")

PARTS = ("stage", "beam", "optics", "detector", "stagexyz", "deflectors", "mode", "illumination")
CLOSE_LIMIT_S = 120.0
"""So long a run that is stopped may take over its data when the instrument is let go."""
NOT_KEPT = "taken by a person who typed"


def open_instrument(
    devices: str = "simulated",
    out: Path | str = "runs",
    seed: int = 0,
    *,
    accept_timing: bool = False,
    accept_gaps: bool = False,
) -> "OpenInstrument":
    """Connect and lock an instrument for this program or notebook; let it go with `close`, or at the program's end.

    devices: a driver or a devices file. out: where the log of this shell is made, `shell_001`; runs are made in there.
    accept_timing, accept_gaps: as of `Instrument.perform`, for all runs. Raises Refused, nothing moved, as
    `Instrument.open`.
    """
    return OpenInstrument(devices, Path(out), seed, accept_timing=accept_timing, accept_gaps=accept_gaps)


class OpenInstrument:
    """An instrument in the hands of a person. Its parts are attributes (`stage`, `beam`, `detector`, ...); their calls
    are coroutines, to be awaited on any loop. When it is closed, and when the program ends, the beam is off.
    """

    def __init__(
        self, devices: str, out: Path, seed: int = 0, *, accept_timing: bool = False, accept_gaps: bool = False
    ) -> None:
        self._accept_timing, self._accept_gaps = accept_timing, accept_gaps
        self._devices, self._out, self._seed = devices, out.absolute(), seed
        self._ready: Future[None] = Future()
        self._ended: Future[Outcome] = Future()
        self._thread = threading.Thread(target=self._serve, name="instrument", daemon=True)
        self._thread.start()
        self._ready.result()
        atexit.register(self.close)

    def _serve(self) -> None:
        """The thread: opens the instrument, and lends it until it is let go."""
        try:
            self._ended.set_result(asyncio.run(self._lend()))
        except BaseException as error:  # for those who wait
            for future in (self._ready, self._ended):
                if not future.done():
                    future.set_exception(error)

    async def _lend(self) -> Outcome:
        self._loop = asyncio.get_running_loop()
        self._hands = Hands(self._opened)
        async with Instrument.open(self._devices, RealClock(), self._seed, signals=False) as instrument:
            self._instrument = instrument
            return await instrument.perform(
                Shell(self._hands),
                ShellPlan(),
                out=self._out,
                accept_timing=self._accept_timing,
                accept_gaps=self._accept_gaps,
            )

    def _opened(self, run: Run, microscope: Any) -> None:
        """The run has begun: its parts are there."""
        self._run, self._microscope = run, microscope
        self.folder = run.folder
        self.parts = {
            name: TypedPart(name, run.gate.wrap(name, part), _calls(part), self.submit)
            for name in PARTS
            if (part := getattr(microscope, name)) is not None
        }
        self._ready.set_result(None)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["parts"][name]
        except KeyError:
            raise AttributeError(f"this instrument has no {name}") from None

    @property
    def facts(self) -> Any:
        """What is known of it without a call."""
        return self._microscope.facts

    async def submit(self, make: Callable[[], Awaitable[T]]) -> T:
        """Have something done on the instrument's loop, awaited on the caller's; who is cancelled (Ctrl-C) cancels it,
        stops a run that is under way, and goes when that has ended. make: makes the coroutine, there.

        Raises DeviceError, nothing done, when the instrument has been let go, or its run has ended for another reason.
        """

        async def there() -> T:
            self._refuse_if_let_go()
            self._run.trace.tick()  # what is typed comes when it comes
            try:
                return await make()
            finally:
                if not self._run.safety.is_begun:
                    self._run.write_trace()

        self._refuse_if_let_go()
        waiting = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not waiting.done():
                if self._run.children.under_way is None:
                    waiting.cancel()
                else:
                    self.stop("interrupted at the shell")
                await asyncio.wait({waiting})
            raise

    def _refuse_if_let_go(self) -> None:
        if not self.is_open:
            ending = self._run.ending
            raise DeviceError(
                f"the instrument is let go ({ending.reason if ending else 'it makes safe'}); nothing was done. Open it "
                "again."
            )

    async def perform(
        self, kind: AnyExperiment | str, plan: BaseModel | Mapping[str, object] | None = None, **keys: object
    ) -> ChildReport:
        """Perform an experiment, in a folder within the shell's; what came of it. One at a time.

        kind: an experiment or its name. plan: its plan, or keys of it (tables as dictionaries); keys: more of them.
        Raises Refused for a plan that is none. A run that is refused or fails is a report as well.
        """
        known = experiment_type(kind) if isinstance(kind, str) else kind
        if isinstance(plan, BaseModel):
            checked = plan.model_copy(update=keys) if keys else plan
        else:
            checked = build_plan_from(known, {**(plan or {}), **keys})
        return await self.submit(lambda: self._run.perform(known, checked))

    async def picture(self, exposure_s: float = 0.5) -> Picture:
        """Arm the camera, take one picture, disarm it; its counts as the camera gives them, (rows, columns).

        The beam stays as it is. The picture is yours: it is not kept. Raises DeviceError.
        """

        async def taken() -> Picture:
            detector = self._run.gate.wrap("detector", self._microscope.detector)
            await detector.arm((exposure_s,))
            series = Series(self._run, detector)
            try:
                await series.start(exposure_s)
                frame = await series.frame(exposure_s)
                series.discard(NOT_KEPT)
                return frame.counts
            finally:
                await series.close()
                await detector.disarm()

        return await self.submit(taken)

    async def reconnect(self, part: str) -> None:
        """Connect a part anew that was lost (`Run.reconnect`)."""
        await self.submit(lambda: self._run.reconnect(part))

    def stop(self, reason: str = "stopped at the shell") -> None:
        """Stop the run that is under way; returns at once. Nothing where there is none."""
        command = Command(Wish.STOP, reason, Source.OPERATOR)
        if self.is_open:
            self._loop.call_soon_threadsafe(self._run.children.tell, command)

    def note(self, what: str, text: str) -> None:
        """Words into the log."""
        if self.is_open:
            self._loop.call_soon_threadsafe(lambda: self._run.trace.record("note", what, text=text))

    def watch(self, watch: Watch | None) -> None:
        """Have every run shown that begins from now on."""
        self._instrument.watch = watch

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return not self._ended.done() and not self._run.safety.is_begun

    def let_go(self) -> None:
        """Have the instrument let go, as `close`, whatever this thread does meanwhile; returns at once."""
        if not self._ended.done():
            self._loop.call_soon_threadsafe(self._hands.over.set)

    def close(self) -> Outcome:
        """Let the instrument go: a run that is under way is stopped, the beam is off. How the shell's run ended.

        Again for one that is closed. Raises what ended it badly; DeviceError where that takes longer than two minutes.
        """
        atexit.unregister(self.close)
        self.let_go()
        try:
            return self._ended.result(CLOSE_LIMIT_S)
        except TimeoutError as error:
            raise DeviceError(
                f"the instrument is not let go after {CLOSE_LIMIT_S:g} s. CHECK THE BEAM; then end this program."
            ) from error

    def __enter__(self) -> "OpenInstrument":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _calls(part: object) -> list[str]:
    return [name for name in dir(part) if not name.startswith("_")]


def kinds() -> dict[str, AnyExperiment]:
    """The experiments that there are, by names that can be typed; those that cannot be loaded are left out."""
    from engine.run.registry import registered

    found = {}
    for name in registered("protocols"):
        try:
            found[name.replace("-", "_")] = experiment_type(name)
        except Exception:  # somebody's package
            continue
    return found
