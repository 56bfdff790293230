"""The way into the safe state: every action in its order, each tried again within its limit; alarms for what failed.

A run goes this way once, whatever ended it (`Run.make_safe`). It cannot be cancelled and takes bounded time. What is
not known to be safe afterwards stands in the alarms.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from engine.clock import Clock, ns
from engine.errors import CredlineError, DeviceError
from engine.record.trace import Trace
from engine.run.contract import SafeAction
from engine.run.gate import CallGate
from engine.run.timeline import Timeline

log = structlog.get_logger()

LET_GO_S = 2.0
"""How long cancelled work may take to let go of its devices before the run goes on to safety without it."""

RETRY_S = 0.1
"""How long an action of the safe state that failed waits before it is tried again."""

ACTION_LIMIT_S = 1.5
"""How long an action of `default_safe_actions` is tried."""

STOP_LIMIT_S = 3.5
"""How long it is tried to stop the stage: told to and read four times, and that again; also where readings are slow."""

STANDS_S = 0.5
STANDS_DEG = 0.02
"""A stage stands that moves by less than this, the scatter of two readings, in `STANDS_S`."""


class Way(Protocol):
    """Who knows the actions: the experiment."""

    def safe_actions(self) -> Sequence[SafeAction]:
        """The actions that make the instrument safe, most urgent first."""
        ...


def bound_s(actions: Sequence[SafeAction]) -> float:
    """The longest that these actions can take, with cancelled work letting go before and each device after them."""
    return 2 * LET_GO_S + sum(action.limit_s + LET_GO_S for action in actions)


def _sound_alarm(alarm: str, cause: str) -> None:
    log.critical(alarm, cause=cause)


class Safety:
    """The safe state of one run: begun once, done once.

    describe: an error in words for a person. background: tasks of the run, cancelled while the first action goes.
    before: what must be over before the first action (a child that has the instrument).
    """

    def __init__(
        self,
        clock: Clock,
        trace: Trace,
        timeline: Timeline,
        describe: Callable[[Exception], str],
        background: Callable[[], Sequence["asyncio.Task[None]"]],
        before: Callable[[], Awaitable[None] | None],
        after: Callable[[], object],
    ) -> None:
        self._clock, self._trace, self._timeline = clock, trace, timeline
        self._describe, self._background, self._before, self._after = describe, background, before, after
        self._sequence: asyncio.Task[None] | None = None
        self.first_begun = asyncio.Event()
        """The call of the first action is under way."""
        self.alarms: list[str] = []
        self.sound_alarm: Callable[[str, str], None] = _sound_alarm
        """Told at once what is unsafe and why; a rehearsal, which has no instrument, keeps quiet."""

    @property
    def is_begun(self) -> bool:
        """Whether the run is on its way to safety, or there."""
        return self._sequence is not None

    @property
    def is_done(self) -> bool:
        """Whether it is as safe as it could be made: the run calls no device any more."""
        return self._sequence is not None and self._sequence.done()

    def begin(self, way: Way) -> "asyncio.Task[None]":
        """Begin, if nobody has yet; the task that ends when the instrument is as safe as it could be made."""
        if self._sequence is None:
            self._sequence = asyncio.get_running_loop().create_task(self._go(way), name="safe state")
        return self._sequence

    async def make(self, way: Way) -> None:
        """The same, and wait for its end; cannot be cancelled. Whoever else calls meanwhile waits for the same end."""
        sequence = self.begin(way)
        cancelled: asyncio.CancelledError | None = None
        while not sequence.done():
            try:
                await asyncio.shield(sequence)
            except asyncio.CancelledError as error:
                cancelled = error  # told again once the instrument is safe
        sequence.result()
        if cancelled is not None:
            raise cancelled

    async def _go(self, way: Way) -> None:
        """The most urgent action at once, the others when everything in the background has let go."""
        if (waiting := self._before()) is not None:
            await waiting
        first, *others = way.safe_actions()
        urgent = asyncio.get_running_loop().create_task(self._make_safe(first), name="safe state, first action")
        # Whoever is cancelled may take an event with him: always after the call has begun, in a replay as well.
        await self.first_begun.wait()
        background = sorted(self._background(), key=lambda task: task.get_name())
        for task in background:
            task.cancel()
        await urgent
        await let_go(self._trace, *background)
        for action in others:
            await self._make_safe(action)
        self._trace.record("note", "safe state", alarms=len(self.alarms))
        self._after()  # whoever recovers this run is to know that it was safe

    async def _make_safe(self, action: SafeAction) -> None:
        """One action; if its device does not even let go of the call, the next is done without waiting for that."""
        task = asyncio.get_running_loop().create_task(self._act(action), name=action.name)
        await asyncio.wait({task}, timeout=action.limit_s + LET_GO_S)
        if not task.done():
            task.cancel()
            self._not_done(action, "its device does not let go of the call")
        elif not task.cancelled():
            task.result()

    async def _act(self, action: SafeAction) -> None:
        """One action, tried again until its limit; its failure is recorded and told."""
        limit_ns = self._clock.now_ns() + ns(action.limit_s)
        cause = "no answer"
        try:
            async with self._clock.timeout_at(limit_ns):
                while True:
                    try:
                        self.first_begun.set()
                        await action.call()
                        return
                    except Exception as error:  # also a foreign one: nothing may keep the next try from being made
                        known = isinstance(error, CredlineError)
                        told = str(error) if known or cause.startswith("internal") else self._describe(error)
                        if cause != told:
                            cause = told
                            self._trace.record("fault", action.name, reason=cause)
                        if self._clock.now_ns() >= limit_ns:
                            break
                    await self._timeline.wait("again", self._timeline.now_ns + ns(RETRY_S))
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) is not None and this.cancelling():
                raise  # the program itself is being ended
            cause = "cancelled by its device"
        self._not_done(action, cause)

    def _not_done(self, action: SafeAction, cause: str) -> None:
        self._trace.record("fault", action.name, reason=cause, alarm=action.alarm)
        if action.alarm:
            self.alarms.append(f"{action.alarm} ({action.name} failed: {cause})")
            self.sound_alarm(action.alarm, cause)


async def let_go(trace: Trace | None, *tasks: "asyncio.Task[object]") -> None:
    """Cancel work and wait, but not for ever, until it has let go; its own errors while doing so do not matter.

    trace: where it stands that something did not let go; None for a child, whose report says it.
    """
    under_way = [task for task in tasks if not task.done()]
    for task in under_way:
        if not task.cancelling():  # a second cancellation would break into its cleaning up
            task.cancel()
    if under_way:
        _, clinging = await asyncio.wait(under_way, timeout=LET_GO_S)
        if trace is not None:
            for name in sorted(task.get_name() for task in clinging):
                trace.record("fault", name, reason=f"did not let go within {LET_GO_S:g} s; not waited for")
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()


class Blanker(Protocol):
    """What the default way asks of a beam."""

    async def blank(self) -> None:
        """Take the beam off."""
        ...

    async def is_blanked(self) -> bool:
        """Whether it is off."""
        ...


class Angle(Protocol):
    """A reading of a stage."""

    @property
    def value(self) -> float:
        """The tilt, in degrees."""
        ...

    @property
    def t_after_ns(self) -> int:
        """When the call returned."""
        ...


class Mover(Protocol):
    """What it asks of a stage."""

    async def stop(self) -> None:
        """Stand still."""
        ...

    async def angle(self) -> Angle:
        """Where it is."""
        ...


class Camera(Protocol):
    """What it asks of a detector."""

    async def disarm(self) -> None:
        """End the series."""
        ...


class HasParts(Protocol):
    """A microscope, as far as its safety goes; None for a part that it does not have."""

    @property
    def beam(self) -> Blanker | None:
        """The blanker."""
        ...

    @property
    def stage(self) -> Mover | None:
        """What moves the specimen."""
        ...

    @property
    def detector(self) -> Camera | None:
        """The camera."""
        ...


@dataclass(frozen=True, slots=True)
class SomeParts:
    """Some parts of a microscope; None for those that are left alone."""

    beam: Blanker | None = None
    stage: Mover | None = None
    detector: Camera | None = None


def default_safe_actions(microscope: HasParts, gate: CallGate, timeline: Timeline) -> tuple[SafeAction, ...]:
    """The way for a microscope of these parts, each called through the run's gate.

    Blank the beam, stop the stage and look whether it stands, disarm the detector, at last make sure of the beam. A
    protocol adds actions of its own before the last one, or brings others.
    """
    actions: list[SafeAction] = []
    beam = None if microscope.beam is None else gate.wrap("beam", microscope.beam)
    if beam is not None:
        actions.append(SafeAction("blank the beam", beam.blank, ACTION_LIMIT_S, ""))
    if microscope.stage is not None:
        actions.append(standing(gate.wrap("stage", microscope.stage), timeline))
    if microscope.detector is not None:
        detector = gate.wrap("detector", microscope.detector)
        alarm = "the detector may still be armed: stop it in its own software"
        actions.append(SafeAction("disarm the detector", detector.disarm, ACTION_LIMIT_S, alarm))
    if beam is not None:
        actions.append(sure_of(beam))
    return tuple(actions)


def standing(stage: Mover, timeline: Timeline) -> SafeAction:
    """Stop, and ask the stage itself: an accepted call is no standing stage."""

    async def stop() -> None:
        await stage.stop()
        if await moved_deg(stage, timeline, STANDS_S) > STANDS_DEG:
            raise DeviceError("stage: told to stop, it turns on. Stop it at the microscope.")

    alarm = "THE STAGE MAY STILL BE MOVING: stop it at the microscope now"
    return SafeAction("stop the stage", stop, STOP_LIMIT_S, alarm)


async def moved_deg(stage: Mover, timeline: Timeline, looked_s: float) -> float:
    """How far a stage moved in `looked_s`: the more of two pairs of readings, read one after the other.

    A single reading that is wrong could hide what it moved; one that repeats the answer before it hides it exactly.
    """
    first, second = await stage.angle(), await stage.angle()
    await timeline.wait("stands", first.t_after_ns + ns(looked_s))
    later = [(await stage.angle()).value - before.value for before in (first, second)]
    return max(abs(moved) for moved in later)


def sure_of(
    beam: Blanker, alarm: str = "THE BEAM MAY STILL BE ON THE SPECIMEN: blank it at the microscope now"
) -> SafeAction:
    """Blank once more and ask the blanker itself, twice: an accepted call is no closed blanker, and one answer may be
    wrong. The last of the engine's own actions; three calls. alarm: what an experiment calls its specimen.
    """

    async def make_sure() -> None:
        await beam.blank()
        for _ in range(2):
            if not await beam.is_blanked():
                raise DeviceError("beam: told to blank, the blanker does not close. Close it at the microscope.")

    return SafeAction("make sure of the beam", make_sure, ACTION_LIMIT_S, alarm)
