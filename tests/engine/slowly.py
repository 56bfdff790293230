"""A virtual loop whose every turn takes time, and a clock on it that waits for rest as the real one does.

So what happens between two events of a real run, where a reaction takes some turns and real time passes meanwhile,
comes about the same way each time, and in milliseconds.
"""

from engine.clock.clock import RestQueue
from engine.clock.virtual import VirtualClock, VirtualLoop

TURN_NS = 100_000


class SlowLoop(VirtualLoop):
    """Each turn takes `TURN_NS`."""

    def _run_once(self) -> None:
        self.now_ns += TURN_NS
        super()._run_once()  # type: ignore[misc]


class SlowClock(VirtualClock):
    """The clock of a `SlowLoop`."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self._rests = RestQueue()

    async def at_rest(self) -> None:
        """See `Clock.at_rest`."""
        await self._rests.wait()
