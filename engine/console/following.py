"""The run under way as the instrument process knows it: its state, the blanker, and its trace brought to the disk.

An observer of the trace. What a page shows beyond that it reads from the run folder itself, in another process.
"""

import asyncio
from collections.abc import Callable

from engine.clock import NS_PER_MS, ns
from engine.errors import DeviceError
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import Prepared
from engine.run.registry import experiment_type
from engine.run.run import Run

FLUSH_NS = 2000 * NS_PER_MS
"""While somebody watches and no frames come, the trace lies no longer than about this in memory."""
AT_ONCE = ("frame", "refused", "fault", "command")
"""Kinds of records at which it is brought to the disk: a frame, kept or not, is recorded when the next exposure has
just begun. At the end of a step, a millisecond before the next one, the writer's thread would take the interpreter away
from that.
"""


class RunUnderWay:
    """One run, and the runs within it. watched: whether somebody is there to see its trace."""

    def __init__(self, run: Run, prepared: Prepared, watched: Callable[[], bool]) -> None:
        self.run = run
        self.total = prepared.total
        kind = experiment_type(run.document.protocol)
        self.pauses, self.gives_way = kind.pauses, kind.gives_way
        self.state = ""
        self.paused = False
        self.blanked: bool | None = None
        """As the last call told it; None before any."""
        self.told_off = False
        """Whether the last of these calls closed the blanker and was answered: it has not been read since."""
        self.folders = [run.folder]
        self._watched = watched
        self._flushed_ns = 0
        self._blank_ns = -1
        """When the blanker last answered to a call that closes it, and when that call was begun."""
        self._closed = asyncio.Event()
        self._observe(run)

    def within(self, run: Run) -> None:
        """A run that is performed within this one begins."""
        self.folders.append(run.folder)
        self._observe(run)

    def _observe(self, run: Run) -> None:
        def take(record: Record) -> None:
            self._take(record)
            long_ago = record["t_ns"] - self._flushed_ns > FLUSH_NS
            if self._watched() and (record["kind"] in AT_ONCE or (record["kind"] == "call" and long_ago)):
                self._flushed_ns = record["t_ns"]
                run.write_trace()

        run.trace.observe(take)

    def _take(self, record: Record) -> None:
        kind, name = record["kind"], record["name"]
        if kind == "state":
            self.state = name
        elif kind == "note" and name in ("paused", "resumed"):
            self.paused = name == "paused"
        elif kind == "call" and "error" not in record:
            if name == "beam.unblank":
                self.blanked, self.told_off = False, False
            elif name == "beam.is_blanked":
                self.blanked, self.told_off = record.get("result") is True, False
            elif name == "beam.blank":
                self.told_off = True
                self._blank_ns = record["begin_ns"]
                self._closed.set()

    async def until_blanked(self, since_ns: int, limit_ns: int) -> None:
        """Wait until a call that closes the blanker, begun after `since_ns`, has been answered. Raises DeviceError when
        that does not happen in time: then nobody knows.
        """
        try:
            async with self.run.clock.timeout_at(limit_ns):
                while self._blank_ns < since_ns and not self.run.safety.is_done:
                    self._closed.clear()
                    await self._closed.wait()
        except TimeoutError as error:
            raise DeviceError(
                f"beam: the run was told to stop, and has not blanked it within {(limit_ns - since_ns) / ns(1):g} s. "
                "THE BEAM MAY STILL BE ON: blank it at the microscope now."
            ) from error

    def told(self) -> JsonDict:
        """For the page."""
        ending = self.run.ending
        return {
            "name": self.run.folder.name,
            "within": [folder.name for folder in self.folders[1:]],
            "protocol": self.run.document.protocol,
            "state": self.state,
            "total": self.total,
            "pauses": self.pauses,
            "gives_way": self.gives_way,
            "paused": self.paused,
            "ending": None if ending is None else ending.status.value,
            "alarms": list(self.run.alarms),
        }
