"""The gate through which every call to hardware passes: timed, recorded, and bounded.

`CallGate.wrap` puts a proxy around a device. Its coroutine methods become calls with a record in the trace
(device, method, arguments, result or error, both instants) and a hard limit after which the device counts as
lost; everything else of the device passes through untouched.
"""

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

from engine.clock import NS_PER_S, Clock, ns
from engine.errors import DeviceLost
from engine.trace import Trace, jsonable

Device = TypeVar("Device")


class CallGate:
    """Wraps devices for one run. hard_limit_s: after this a call that has not returned loses its device."""

    def __init__(self, clock: Clock, trace: Trace, hard_limit_s: float = 10.0) -> None:
        self._clock = clock
        self._trace = trace
        self._hard_limit_ns = ns(hard_limit_s)

    def wrap(self, name: str, device: Device) -> Device:
        """The device behind the gate; `name` is what the trace calls it."""
        return cast(Device, _Gated(self, name, device))

    async def call(self, device: str, method: str, func: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Make one call, record it, and pass on its result or error.

        Raises DeviceLost when it does not return within the hard limit; whether it happened is then unknown.
        """
        begin_ns = self._trace.now_ns
        fields = {"args": [jsonable(arg) for arg in args], "begin_ns": begin_ns}
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + self._hard_limit_ns) as limit:
                result = await func(*args)
        except BaseException as error:
            lost = isinstance(error, TimeoutError) and limit.expired()
            fields |= {"end_ns": self._trace.tick(), "error": "DeviceLost" if lost else type(error).__name__}
            self._trace.record("call", f"{device}.{method}", **fields, text=str(error))
            if lost:
                raise DeviceLost(
                    f"{device}.{method}: no answer for {self._hard_limit_ns / NS_PER_S:.0f} s; whether it happened "
                    f"is unknown. Check the {device} and its connection before the next run."
                ) from error
            raise
        self._trace.record("call", f"{device}.{method}", **fields, end_ns=self._trace.tick(), result=jsonable(result))
        return result


class _Gated:
    """The proxy: looks up methods on the device once, and keeps the gated ones."""

    def __init__(self, gate: CallGate, name: str, device: object) -> None:
        self._gate = gate
        self._name = name
        self._device = device

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self._device, method)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        @wraps(attribute)
        async def gated(*args: Any) -> Any:
            return await self._gate.call(self._name, method, attribute, *args)

        setattr(self, method, gated)
        return gated
