"""Faults around any driver: what hardware, host and disk do to a run on a bad day, each named, seeded and repeatable.

A fault is written in four words, `WHAT WHEN KIND VALUE`: what it befalls, at which call (or, for motion and host, at
which second of the run), what happens, and how much of it:

    beam.blank 1 hang              the first call never returns
    stage.angle 3 slow 0.4         the third takes 0.4 s longer
    stage.angle 3 error            ... is answered with an error; nothing happened
    stage.angle 3 wrong 2.5        ... is off by 2.5 (a truth value is the other one)
    beam.blank 1 ignored           ... is accepted, and nothing happens
    optics.set_focus 2 away 1.5    from this call on the device is gone for 1.5 s, then it is back
    detector.start 3 lost 20       ... is gone until it is connected anew, which fails for 20 s
    stagexyz.move_xy 1 error       the parts that an instrument may have are befallen by their names, as the others
    detector.frames 4 drop         the fourth frame never comes; also double, torn, late 0.8
    stage.motion 3.5 jump 0.4      at 3.5 s the stage jumps by 0.4 deg; also stop, reverse, slip 0.5 (stands for 0.5 s)
    host 2.0 starve 0.3            at 2 s nothing of the program runs for 0.3 s
    host 2.0 leap 5                ... the clock leaps by 5 s while the stage does not move
    disk.write 40 full             the 40th write finds the disk full, half done; also error
    disk.sync 12 slow 3            the 12th forcing to the disk takes 3 s
    compute.score 2 late           the second computation `score` ends after its limit; also dead, never
    stage.angle finalize+2 hang    the second since the run entered the state finalize (host, motion: so long after)

Every fault that comes about is written to the trace as `injected` (those of the disk, which happen in another thread,
at the beginning). A replay leaves these records out: it shows what the run made of the faults.
"""

import asyncio
import dataclasses
import errno
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from functools import wraps
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np

from drivers.contract import OPTIONAL_PARTS, Detector, Microscope, Reading
from drivers.parts import OpticalMode, PositionReading
from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost, Refused
from engine.frame import Frame
from engine.record.disk import Disk
from engine.record.trace import Record, Trace

COMPUTE = "compute"
DISK = "disk"
DEVICES = ("stage", "beam", "optics", "detector", *OPTIONAL_PARTS)
CALLS = {"slow": True, "hang": False, "error": False, "wrong": True, "ignored": False, "away": True, "lost": True}
ANSWERED = (
    *("angle", "is_blanked", "focus", "start"),
    *("position", "is_moving", "read", "mode", "magnification", "camera_length_mm", "spot_size", "brightness"),
)
COMPUTATIONS = {"late": False, "dead": False, "never": False}
Device = TypeVar("Device")
FRAMES = {"drop": False, "double": False, "torn": False, "late": True}
KINDS: dict[str, dict[str, bool]] = {
    "detector.frames": FRAMES,
    "stage.motion": {"stop": False, "reverse": False, "jump": True, "slip": True},
    "host": {"starve": True, "leap": True},
    "disk.write": {"full": False, "error": False, "slow": True},
    "disk.sync": {"error": False, "slow": True},
}
"""What can befall what, and whether it has a value. What is not here is a call of a device."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One fault. when: number of the call from 1; seconds since the run began for `stage.motion` and `host`.

    state: counted from the run's entering this state; empty for since it began.
    """

    what: str
    when: float
    kind: str
    value: float = 0.0
    state: str = ""

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """A fault from its words. Raises Refused saying what there is."""
        what, since, kind, *value = [*text.split(), "", "", ""][: max(3, len(text.split()))]
        state, _, when = since.rpartition("+")
        device, _, method = what.partition(".")
        kinds = KINDS.get(what, _kinds_of(device) if method else None)
        if kinds is None or kind not in kinds:
            known = ", ".join(kinds or ["DEVICE.METHOD", "compute.NAME", *KINDS])
            raise Refused(
                f"fault {text!r}: {kind if kinds else what!r} is not known; use {known}. Nothing was started."
            )
        try:
            number, amount = float(when), float(value[0]) if value else 0.0
        except ValueError:
            number, amount = -1.0, 0.0
        timed = what in ("host", "stage.motion")
        when_good = 0 <= number < 1e6 and (timed or (number >= 1 and number == int(number)))
        when_good &= not since.startswith("+") and not (state and device in (DISK, COMPUTE))
        value_good = abs(amount) < 1e6 and (amount >= 0 or kind in ("wrong", "jump"))
        if not when_good or not value_good or len(value) != kinds[kind]:
            usage = f"{what} WHEN {kind}" + (" VALUE" if kinds[kind] else "")
            when_is = "" if device in (DISK, COMPUTE) else ", WHEN also as STATE+NUMBER"
            raise Refused(f"fault {text!r}: write {usage}, with plain numbers{when_is}. Nothing was started.")
        if kind == "ignored" and method in ANSWERED:
            raise Refused(
                f"fault {text!r}: {what} is asked for an answer, so it cannot be ignored. Nothing was started."
            )
        return cls(what, number, kind, amount, state)

    def __str__(self) -> str:
        kinds = KINDS.get(self.what) or _kinds_of(self.what.partition(".")[0]) or {}
        value = [f"{self.value:g}"] if kinds[self.kind] else []
        when = f"{self.state}+{self.when:g}" if self.state else f"{self.when:g}"
        return " ".join([self.what, when, self.kind, *value])


def _kinds_of(device: str) -> dict[str, bool] | None:
    """What can befall a call of a device, or a computation; None where that is neither."""
    if device == COMPUTE:
        return COMPUTATIONS
    return CALLS if device in DEVICES else None


class Faults:
    """The faults of one run: which are due, which came about."""

    def __init__(self, clock: Clock, faults: Sequence[Fault]) -> None:
        self.clock = clock
        self.asked = tuple(faults)
        self.happened: list[Fault] = []
        self.disk: FaultyDisk | None = None
        if on_disk := [fault for fault in faults if fault.what.startswith(f"{DISK}.")]:
            self.disk = FaultyDisk(clock, on_disk)
        self._of_calls = [f for f in faults if f.what not in ("host", "stage.motion") and f not in on_disk]
        timed = [f for f in faults if f.what in ("host", "stage.motion")]
        self._of_time = sorted((f for f in timed if not f.state), key=lambda f: f.when)
        self._of_states = sorted((f for f in timed if f.state), key=lambda f: f.when)
        self._state = ""
        self._calls: dict[str, int] = {}
        self._calls_in_state: dict[str, int] = {}
        self._traces: list[Trace] = []
        """Of the runs under way: the last one is of the innermost, which is told."""
        self._began_ns: int | None = None
        self._later: list[asyncio.Task[None]] = []
        self.move_stage: Callable[[str, float], bool] | None = None
        self.lost_until_ns: dict[str, int] = {}
        """Devices that are gone until they are connected anew, and when that can be."""

    @property
    def came_about(self) -> list[Fault]:
        """What has happened so far."""
        return self.happened + (self.disk.happened if self.disk is not None else [])

    @property
    def never_came(self) -> list[Fault]:
        """What was asked for and has not happened: what it is to befall was not reached, or another befell it first."""
        left = list(self.asked)
        for fault in self.came_about:
            if fault in left:
                left.remove(fault)
        return left

    def begin(self, trace: Trace) -> None:
        """A run begins: from now on its trace is told, and what is due at an instant counts from the first one."""
        self._traces.append(trace)
        if self.disk is not None:
            for fault in self.disk.faults:
                self._tell(fault)
        if self._began_ns is None:
            self._began_ns = self.clock.now_ns()
        if self._of_time and not self._later:
            self._begin_timed(self._of_time, self._began_ns, "faults")
        if any(fault.state for fault in self.asked):
            trace.observe(self._follow)

    async def end(self) -> None:
        """The innermost run has ended; after the outermost nothing happens until the next begins."""
        self._traces.pop()
        if self._later and not self._traces:
            for task in self._later:
                task.cancel()
            await asyncio.wait(self._later)
            self._later = []

    def due(self, what: str) -> Fault | None:
        """Count a call of `what`; the fault that befalls it."""
        if not self._traces:  # before and after the run
            return None
        number = self._calls[what] = self._calls.get(what, 0) + 1
        in_state = self._calls_in_state[what] = self._calls_in_state.get(what, 0) + 1
        for fault in self._of_calls:
            if fault.what != what or fault.state not in ("", self._state):
                continue
            if fault.when == (in_state if fault.state else number) and not (fault.state and fault in self.happened):
                self._tell(fault)
                self.happened.append(fault)
                return fault
        return None

    def reconnect(self, devices: Sequence[str]) -> None:
        """These are about to be connected anew. Raises DeviceLost while one of them cannot be reached yet."""
        for device in devices:
            if self.clock.now_ns() < self.lost_until_ns.get(device, 0):
                raise DeviceLost(f"{device}: does not answer; nothing was done. Check its cable and its power.")
        for device in devices:
            self.lost_until_ns.pop(device, None)

    def around(self, microscope: Microscope) -> Microscope:
        """A microscope with these faults around its devices."""

        def befallen(name: str, device: Device) -> Device:
            """A part with its faults around it; None stays None."""
            return device if device is None else cast(Device, _Faulty(name, device, self))

        if microscope.truth is not None:
            self.move_stage = microscope.truth.disturb_stage
        return dataclasses.replace(
            microscope,
            faults=self,
            stage=befallen("stage", microscope.stage),
            beam=befallen("beam", microscope.beam),
            optics=befallen("optics", microscope.optics),
            detector=cast(Detector, _FaultyDetector("detector", microscope.detector, self)),
            stagexyz=befallen("stagexyz", microscope.stagexyz),
            deflectors=befallen("deflectors", microscope.deflectors),
            mode=befallen("mode", microscope.mode),
            illumination=befallen("illumination", microscope.illumination),
        )

    def of_computation(self, name: str, number: int) -> str | None:
        """What befalls the how manieth computation of a name, counted by the run."""
        for fault in self._of_calls:
            if (fault.what, fault.when) == (f"{COMPUTE}.{name}", number):
                self._tell(fault)
                self.happened.append(fault)
                return fault.kind
        return None

    def _follow(self, record: Record) -> None:
        """Another state: calls are counted anew, and what is due so long after it was entered first begins to wait."""
        if record["kind"] != "state":
            return
        self._state = record["name"]
        self._calls_in_state.clear()
        due = [fault for fault in self._of_states if fault.state == self._state]
        if due:
            self._of_states = [fault for fault in self._of_states if fault not in due]
            self._begin_timed(due, self.clock.now_ns(), f"faults since {self._state}")

    def _begin_timed(self, faults: list[Fault], since_ns: int, name: str) -> None:
        self._later.append(asyncio.get_running_loop().create_task(self._in_time(faults, since_ns), name=name))

    async def _in_time(self, faults: list[Fault], since_ns: int) -> None:
        """These faults, each so long after an instant; what has happened is taken off the list."""
        for fault in tuple(faults):
            await self.clock.sleep_until(since_ns + ns(fault.when))
            faults.remove(fault)
            if fault.what == "host":
                if fault.kind == "leap" and self.move_stage is not None:
                    self.move_stage("slip", fault.value)
                self._tell(fault)
                self.happened.append(fault)
                self.clock.block_s(fault.value)
            elif self.move_stage is not None and self.move_stage(fault.kind, fault.value):
                self._tell(fault)
                self.happened.append(fault)

    def _tell(self, fault: Fault) -> None:
        if self._traces:
            self._traces[-1].record("injected", fault.what, fault=str(fault))


class FaultyDisk(Disk):
    """A disk that is full, breaks or is slow at the n-th write or forcing."""

    def __init__(self, clock: Clock, faults: Sequence[Fault]) -> None:
        self.faults = faults
        self.happened: list[Fault] = []
        self._clock = clock
        self._done = {"disk.write": 0, "disk.sync": 0}

    def write(self, file: BinaryIO, data: bytes | memoryview) -> None:
        """See `Disk.write`; of a write that fails half is done."""
        fault = self._due("disk.write")
        if fault is not None and fault.kind != "slow":
            super().write(file, memoryview(data)[: len(data) // 2])
            self._fail(fault)
        super().write(file, data)

    def sync(self, file: BinaryIO) -> None:
        """See `Disk.sync`."""
        fault = self._due("disk.sync")
        if fault is not None and fault.kind != "slow":
            self._fail(fault)
        if not self._clock.is_virtual:  # what a virtual run writes can be made again from its seed
            super().sync(file)

    def _due(self, what: str) -> Fault | None:
        self._done[what] += 1
        for fault in self.faults:
            if (fault.what, fault.when) == (what, self._done[what]):
                self.happened.append(fault)
                if fault.kind == "slow":
                    self._clock.block_s(fault.value)
                return fault
        return None

    @staticmethod
    def _fail(fault: Fault) -> None:
        if fault.kind == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        raise OSError(errno.EIO, "Input/output error")


class _Faulty:
    """A device whose calls meet with faults; what is no coroutine method passes through."""

    def __init__(self, name: str, device: object, faults: Faults) -> None:
        self._name = name
        self._device = device
        self._faults = faults
        self._back_ns = 0

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self._device, method)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        @wraps(attribute)
        async def call(*args: Any) -> Any:
            return await self._call(f"{self._name}.{method}", attribute, *args)

        setattr(self, method, call)
        return call

    async def _call(self, what: str, func: Callable[..., Any], *args: Any) -> Any:
        fault, clock = self._faults.due(what), self._faults.clock
        if fault is not None and fault.kind == "away":
            self._back_ns = clock.now_ns() + ns(fault.value)
        if fault is not None and fault.kind == "lost":
            self._faults.lost_until_ns[self._name] = clock.now_ns() + ns(fault.value)
        if self._name in self._faults.lost_until_ns:
            raise DeviceLost(f"{self._name}: not connected; {what} was not done. It has to be connected anew.")
        if clock.now_ns() < self._back_ns:
            raise DeviceError(f"{self._name}: not connected; {what} was not done. Check its cable and its power.")
        if fault is None:
            return await func(*args)
        if fault.kind == "hang":
            await asyncio.get_running_loop().create_future()
        if fault.kind == "error":
            raise DeviceError(
                f"{what}: the {self._name} answered with an error; nothing was done. Look at its own panel."
            )
        if fault.kind == "slow":
            await clock.sleep_s(fault.value)
        if fault.kind == "ignored":
            return None
        result = await func(*args)
        return _off(result, fault.value) if fault.kind == "wrong" else result


def _off(result: Any, by: float) -> Any:
    """A result that is not true."""
    if isinstance(result, bool):
        return not result
    if isinstance(result, Reading):
        return dataclasses.replace(result, value=result.value + by)
    if isinstance(result, PositionReading):
        return dataclasses.replace(result, x_nm=result.x_nm + by, y_nm=result.y_nm + by, z_nm=result.z_nm + by)
    if isinstance(result, OpticalMode):
        return next(mode for mode in OpticalMode if mode is not result)
    if isinstance(result, tuple):
        return tuple(_off(value, by) for value in result)
    if isinstance(result, float):
        return result + by
    return result + round(by) if isinstance(result, int) else result


class _FaultyDetector(_Faulty):
    """A detector whose frames meet with faults as well."""

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        return self._of_series(self._device.frames())  # type: ignore[attr-defined]

    async def _of_series(self, frames: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        async for frame in frames:
            fault = self._faults.due("detector.frames")
            kind = fault.kind if fault is not None else ""
            if kind == "drop":
                continue
            if kind == "late" and fault is not None:
                await self._faults.clock.sleep_s(fault.value)
            if kind == "torn":
                counts = np.ascontiguousarray(frame.counts[: frame.counts.shape[0] // 2])
                yield dataclasses.replace(frame, counts=counts, crc=None)
                continue
            yield frame
            if kind == "double":
                yield frame


def inject(microscope: Microscope, clock: Clock, faults: Sequence[str]) -> Microscope:
    """The microscope with faults around its devices; they begin when its `faults` are begun.

    Raises Refused for words that are no fault.

    Faults of `stage.motion` need a simulated stage: nothing is put between a real one and its motor.
    """
    parsed = [Fault.parse(text) for text in faults]
    injected = Faults(clock, parsed)
    if any(fault.what == "stage.motion" for fault in parsed) and microscope.truth is None:
        raise Refused("fault stage.motion: only a simulated stage can be disturbed. Nothing was started.")
    calls = [f for f in parsed if f.what not in KINDS and f.what.partition(".")[0] != COMPUTE]
    for name, method in sorted({(f.what.split(".")[0], f.what.split(".")[1]) for f in calls}):
        device: object = getattr(microscope, name)
        if device is None:
            raise Refused(f"fault {name}.{method}: this instrument has no {name}. Nothing was started.")
        if not inspect.iscoroutinefunction(getattr(device, method, None)):
            raise Refused(f"fault {name}.{method}: the {name} has no such call. Nothing was started.")
    return injected.around(microscope)
