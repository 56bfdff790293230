"""The calls and frames of a recorded run, handed out in the order and at the instants at which they entered it.

Calls of one device are answered in their order, each to who makes it with the recorded arguments; those of several
devices go side by side. A call that was not recorded at this point, or with other arguments, raises `NotRecorded`,
which names it. The parts of a replayed microscope (`drivers.replayed.player`) answer from here.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from engine.clock import Clock
from engine.errors import DeviceError, error_again
from engine.record.framekinds import TYPE_SEEN
from engine.record.trace import Record, ends_early, jsonable

NEVER_NS = 2**62
FRAMES = "detector.frames"
"""The call that stands for a wait for a frame that brought none."""


class NotRecorded(DeviceError):
    """The program asked the instrument for something that the recorded run did not ask for at this point."""


class Recording:
    """The calls and frames of a trace, handed out in order."""

    def __init__(self, clock: Clock, records: Sequence[Record]) -> None:
        self._clock = clock
        self._calls: dict[str, deque[Record]] = {}
        self.frames: deque[Record] = deque()
        self.dtype = ""
        """Of the counts, from the first frame, where the camera had not declared it."""
        for record in records:
            if record["kind"] == "call":
                self._calls.setdefault(device_of(record), deque()).append(record)
            elif record["kind"] in ("frame", "refused"):
                self.frames.append(record)
            elif record["kind"] == "note" and record["name"] == TYPE_SEEN:
                self.dtype = str(record.get("dtype", ""))
        self._ends_early = ends_early(records)
        # Each is answered to who began it: calls that overlap may end in another order.
        for name, calls in self._calls.items():
            self._calls[name] = deque(sorted(calls, key=lambda call: call["begin_ns"]))
        # A snapshot is recorded before the frame that came before it was written: order them as they arrived.
        self.frames = deque(sorted(self.frames, key=lambda frame: frame["arrived_ns"]))
        self._devices = sorted(self._calls)

    async def call(self, name: str, *args: object) -> Record:
        """The record of a call (`device.method`) at the instant at which it was answered then; or its recorded error.

        Raises NotRecorded at once for a call that was not recorded at this point. Of a recording that was cut off the
        call that was under way then is never answered. Cancel: no earlier than it was cancelled then.
        """
        call = self._take(name, [jsonable(arg) for arg in args])
        if call is None:
            device = name.split(".")[0]
            calls = self._calls.get(device)
            if self._ends_early and not calls:
                await self._clock.sleep_until(NEVER_NS)  # under way when the program was cut off
            expected = f"{calls[0]['name']}{tuple(calls[0]['args'])}" if calls else "no further call"
            if device not in self._devices:
                expected = f"no call of {device}, only of {', '.join(self._devices) or 'nothing'}"
            raise NotRecorded(f"{name}{args}: not recorded at this point; the recorded run made {expected}.")
        return await self._again(call)

    async def _again(self, call: Record) -> Record:
        """The call once more: it ends at the recorded instant, by its recorded error if it had one."""
        try:
            await self._clock.sleep_until(NEVER_NS if call.get("given_up") else call["end_ns"])
        except asyncio.CancelledError:
            # Who is cancelled goes no earlier than he was then: on a real clock time-outs come late.
            await self._clock.sleep_until(call["end_ns"])
            raise
        if "error" in call:
            raise error_again(call["error"], call["text"], foreign=call["foreign"])
        return call

    def _take(self, name: str, args: list[object]) -> Record | None:
        """The device's next call, if it is this one; of several that began at one instant, any may be the next.

        A trace holds calls in the order of their ends: which of those began first it does not say.
        """
        calls = self._calls.get(name.split(".")[0], deque())
        for call in calls:
            if call["begin_ns"] != calls[0]["begin_ns"]:
                break
            if call["name"] == name and _same(call["args"], args):
                calls.remove(call)
                return call
        return None

    async def next_frame(self) -> Record:
        """The record of the next frame, at the instant at which it arrived; who is cancelled before then loses none.

        Where an error or the end of the series (StopAsyncIteration) came before it, that is raised at its instant.
        Waits for ever when nothing more came.
        """
        ended = next((call for call in self._calls.get("detector", ()) if call["name"] == FRAMES), None)
        if self.frames and (ended is None or self.frames[0]["arrived_ns"] <= ended["end_ns"]):
            await self._clock.sleep_until(self.frames[0]["arrived_ns"])
            return self.frames.popleft()
        if (call := self._take(FRAMES, [])) is not None:
            await self._again(call)
        await self._clock.sleep_until(NEVER_NS)
        raise NotRecorded("detector.frames(): the recorded run got no further frame.")


def device_of(call: Record) -> str:
    """The device of a call's record, by the name that it had behind the gate."""
    return str(call["name"]).split(".")[0]


def _same(one: object, other: object) -> bool:
    """Whether two arguments are the same as JSON has them; one that is no number is the same as another such."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    nothing = isinstance(one, float) and isinstance(other, float) and one != one and other != other
    return nothing or one == other
