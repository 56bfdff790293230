"""The gate through which every call to hardware passes: timed, recorded, and bounded.

`CallGate.wrap` puts a proxy around a device. Its coroutine methods become calls with a record in the trace
(device, method, arguments, result or error, both instants) and a hard limit after which the device counts as
lost; everything else of the device passes through untouched.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, TypeVarTuple, cast

from engine.clock import NS_PER_S, Clock, ns
from engine.errors import CredlineError, DeviceBusy, DeviceLost
from engine.record.jsonobject import JsonDict
from engine.record.trace import Trace, jsonable

HARD_LIMIT_S = 10.0
"""After so long without an answer a device counts as lost."""

DISK = "disk"
INSTRUMENT = "instrument"
CONNECT_LIMIT_S = 60.0
"""Cameras take long to come up."""
PATIENT_NS = 2**62
"""For the disk, whose waits enter a run as calls: data are waited for as long as the operator does."""

Device = TypeVar("Device")
Item = TypeVar("Item")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class CallGate:
    """Wraps devices for one run. hard_limit_s: after this a call that has not returned loses its device."""

    def __init__(self, clock: Clock, trace: Trace, hard_limit_s: float = HARD_LIMIT_S) -> None:
        self._clock = clock
        self._trace = trace
        self._hard_limit_ns = ns(hard_limit_s)
        self.lent_to = ""
        """Who has the instrument in the run's place (`engine.run.children`); empty while the run has it."""
        self.under_way: list[str] = []
        """Calls of devices that have not returned."""
        self.connected_anew: dict[str, object] = {}
        """Devices in the place of those that were wrapped by their names."""

    def wrap(self, name: str, device: Device) -> Device:
        """The device behind the gate, also where its part is connected anew. name: what the trace calls it, and a
        replay finds it by: of a part of the microscope the name of its field.
        """
        return cast(Device, _Gated(self, name, device))

    async def call(self, device: str, method: str, func: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Make one call, record it, and pass on its result or error.

        Raises DeviceLost when it does not return within the hard limit; whether it happened is then unknown. Raises
        DeviceBusy, nothing done and nothing recorded, while the instrument is lent.
        """
        name = f"{device}.{method}"
        if device == DISK:
            return await self._call(name, PATIENT_NS, func, *args)
        self._enter(name)
        try:
            return await self._call(name, self._hard_limit_ns, func, *args)
        finally:
            self.under_way.remove(name)

    async def long_work(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for work of the disk, and record it, as a call, where it took time: its end is an event like any other.

        Under virtual time it mostly takes none. Raises what the work raises.
        """
        await self._call(f"{DISK}.{name}", PATIENT_NS, work, only_if_long=True)

    async def connect(self, part: str, func: Callable[[str], Awaitable[list[str]]]) -> list[str]:
        """Have a part connected anew, recorded as a call of the instrument; the parts that are new.

        Raises as `call`, and what `func` does.
        """
        name = f"{INSTRUMENT}.reconnect"
        self._enter(name)
        try:
            return await self._call(name, ns(CONNECT_LIMIT_S), func, part)
        finally:
            self.under_way.remove(name)

    def _enter(self, name: str) -> None:
        if self.lent_to:
            raise DeviceBusy(
                f"{name}: {self.lent_to} has the instrument; the call was not made, the device is as it was. Wait "
                "until it has ended."
            )
        self.under_way.append(name)

    async def _call(
        self, name: str, limit_ns: int, func: Callable[[*Ts], Awaitable[T]], *args: *Ts, only_if_long: bool = False
    ) -> T:
        # Nothing before the call that can wait until after it: a frame's start is such a call.
        begin_ns = self._trace.now_ns
        limit = self._clock.timeout_at(self._clock.now_ns() + limit_ns)
        try:
            async with limit:
                result = await func(*args)
            await self._clock.at_rest()
        except BaseException as error:
            fields = _fields(args, begin_ns)
            if not limit.expired():
                await self._failed(name, fields, error, given_up=False, only_if_long=only_if_long)
                raise
            lost = DeviceLost(
                f"{name}: no answer for {limit_ns / NS_PER_S:.0f} s; whether it happened is unknown. "
                f"Check the {name.partition('.')[0]} and its connection before the next run."
            )
            await self._failed(name, fields, lost, given_up=True)
            raise lost from error
        if (end_ns := self._trace.tick()) > begin_ns or not only_if_long:
            self._trace.record("call", name, **_fields(args, begin_ns), end_ns=end_ns, result=jsonable(result))
        return result

    async def next_item(self, name: str, items: AsyncIterator[Item], limit_s: float) -> Item:
        """Wait for the next item of a device's stream; its arrival is an event that enters the run.

        What arrives is recorded by the caller; a failure is recorded here, as a call. Raises TimeoutError after
        `limit_s`, StopAsyncIteration at the end of the stream.
        """
        self._enter(name)
        begin_ns = self._trace.now_ns
        limit = self._clock.timeout_at(self._clock.now_ns() + ns(limit_s))
        try:
            async with limit:
                item = await anext(items)
            await self._clock.at_rest()
        except BaseException as error:
            await self._failed(name, _fields((), begin_ns), error, given_up=limit.expired())
            raise
        finally:
            self.under_way.remove(name)
        self._trace.tick()
        return item

    async def _failed(
        self, name: str, fields: JsonDict, error: BaseException, *, given_up: bool, only_if_long: bool = False
    ) -> None:
        """Record a call without result; who is cancelled while this waits for its turn was given up.

        given_up: nobody waited for it any more, so its own end is not known.
        """
        ended = error
        if isinstance(error, Exception | asyncio.CancelledError):
            try:
                await self._clock.at_rest()
            except asyncio.CancelledError as cancelled:
                ended = cancelled
        if (end_ns := self._trace.tick()) > fields["begin_ns"] or not only_if_long:
            self._trace.record(
                "call",
                name,
                **fields,
                end_ns=end_ns,
                error=type(ended).__name__,
                text=str(ended),
                given_up=given_up or isinstance(ended, asyncio.CancelledError),
                foreign=not isinstance(ended, CredlineError),
            )
        if ended is not error:
            raise ended


def _fields(args: tuple[object, ...], begin_ns: int) -> JsonDict:
    """What a record of a call begins with."""
    return {"args": [jsonable(arg) for arg in args], "begin_ns": begin_ns}


class _Gated:
    """The proxy: looks up once what is a call of the device, and keeps the gated ones."""

    def __init__(self, gate: CallGate, name: str, device: object) -> None:
        self._gate = gate
        self._name = name
        self._device = device

    def _present(self) -> object:
        return self._gate.connected_anew.get(self._name, self._device)

    def __getattr__(self, method: str) -> Any:  # what the device has: `CallGate.wrap` gives the proxy its type
        attribute = getattr(self._present(), method)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        @wraps(attribute)
        async def gated(*args: object) -> object:
            return await self._gate.call(self._name, method, getattr(self._present(), method), *args)

        setattr(self, method, gated)
        return gated
