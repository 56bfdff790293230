"""Faults around any driver, the host and the disk, as `drivers.faultwords` writes them.

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

from drivers.contract import Detector, Microscope, Reading
from drivers.faultwords import COMPUTE, DISK, NO_CALLS, STUCK, TIMED, Fault
from drivers.parts import OpticalMode, PositionReading
from engine.clock import Clock, ns
from engine.errors import DeviceError, DeviceLost, Refused
from engine.frame import Frame, Picture, same_type
from engine.record.disk import Disk
from engine.record.trace import Record, Trace

Device = TypeVar("Device")


class Faults:
    """The faults of one run: which are due, which came about."""

    def __init__(self, clock: Clock, faults: Sequence[Fault]) -> None:
        self.clock = clock
        self.asked = tuple(faults)
        self.happened: list[Fault] = []
        self.disk: FaultyDisk | None = None
        if on_disk := [fault for fault in faults if fault.what.startswith(f"{DISK}.")]:
            self.disk = FaultyDisk(clock, on_disk)
        self._of_calls = [f for f in faults if f.what not in TIMED and f not in on_disk]
        timed = [f for f in faults if f.what in TIMED]
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
        self.hold_shutter: Callable[[float], None] | None = None
        self.leave_mode: Callable[[OpticalMode], None] | None = None
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
            self.hold_shutter = microscope.truth.hold_shutter
        self.leave_mode = getattr(microscope.mode, "leave", None)
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
            elif fault.what == "mode.changed" and self.leave_mode is not None:
                self.leave_mode(OpticalMode(fault.kind))
                self._tell(fault)
                self.happened.append(fault)
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
        if fault.kind == "shutter" and self._faults.hold_shutter is not None:
            self._faults.hold_shutter(fault.value)
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

    _stuck = ""
    _last: Picture | None = None
    """The picture that it gives again and again."""

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        return self._of_series(self._device.frames())  # type: ignore[attr-defined]

    async def _of_series(self, frames: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        async for frame in frames:
            fault = self._faults.due("detector.frames")
            kind = fault.kind if fault is not None else ""
            if kind in STUCK:
                self._stuck, self._last = kind, frame.counts
            if self._stuck and self._last is not None:
                frame = dataclasses.replace(frame, counts=_as_stuck(self._stuck, frame.counts, self._last), crc=None)
            if kind == "type":
                other = "<u4" if same_type(frame.counts.dtype, np.dtype("<i4")) else "<i4"
                frame = dataclasses.replace(frame, counts=frame.counts.astype(other), crc=None)
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


def _as_stuck(how: str, counts: Picture, last: Picture) -> Picture:
    """What a camera gives that sees nothing, too much, or nothing new."""
    if how == "same" and last.shape == counts.shape:
        return last.copy()
    kind: np.iinfo[Any] | np.finfo[Any] = np.finfo(counts.dtype) if counts.dtype.kind == "f" else np.iinfo(counts.dtype)
    return np.full_like(counts, kind.max if how == "saturated" else 0)


def inject(microscope: Microscope, clock: Clock, faults: Sequence[str]) -> Microscope:
    """The microscope with faults around its devices; they begin when its `faults` are begun.

    Raises Refused for words that are no fault.

    Faults of `stage.motion`, `mode.changed` and of a shutter need a simulated part: nothing is put between a real one
    and its motor.
    """
    parsed = [Fault.parse(text) for text in faults]
    injected = Faults(clock, parsed)
    if any(fault.what == "stage.motion" for fault in parsed) and microscope.truth is None:
        raise Refused("fault stage.motion: only a simulated stage can be disturbed. Nothing was started.")
    if any(fault.kind == "shutter" for fault in parsed) and microscope.truth is None:
        raise Refused("fault detector.start: only a simulated shutter can be held. Nothing was started.")
    if any(fault.what == "mode.changed" for fault in parsed) and not hasattr(microscope.mode, "leave"):
        raise Refused(
            "fault mode.changed: only the mode of a simulated instrument can be changed. Nothing was started."
        )
    calls = [f for f in parsed if f.what not in NO_CALLS and f.what.partition(".")[0] != COMPUTE]
    for name, method in sorted({(f.what.split(".")[0], f.what.split(".")[1]) for f in calls}):
        device: object = getattr(microscope, name)
        if device is None:
            raise Refused(f"fault {name}.{method}: this instrument has no {name}. Nothing was started.")
        if not inspect.iscoroutinefunction(getattr(device, method, None)):
            raise Refused(f"fault {name}.{method}: the {name} has no such call. Nothing was started.")
    return injected.around(microscope)
