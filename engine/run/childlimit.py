"""How long a child may take to end; then its parent takes the instrument from it (`engine.run.instrument`).

A child that goes on is not limited: who asked for it may stop it. One that is to end, told or by itself, must be safe
within what its safe actions may take.
"""

import asyncio

from engine.record.trace import Record
from engine.run.contract import Experiment
from engine.run.run import Run
from engine.run.safety import bound_s

FINISH_LIMIT_S = 600.0
"""So long a child may take for its data once it is safe; then its parent goes on without it."""

GO_ON = ("paused", "resumed", "told", "marked")
"""Commands that end no run."""


class ChildLimit:
    """How long a child may take to end: to be safe within the bound of its actions, then for its data."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.expired: asyncio.Future[None] = self._loop.create_future()
        self.is_safe = False
        self.what = "has not begun"
        self._timer: asyncio.TimerHandle | None = None
        self._run: Run | None = None
        self._bound_s = 0.0
        self._finalizing = ""

    def watch(self, run: Run, experiment: Experiment) -> None:
        """Watch this run by its records."""
        self._run = run
        self._bound_s = bound_s(experiment.safe_actions())
        self._finalizing = str(experiment.machine.finalizing.value)
        run.trace.observe(self._observe)

    def _observe(self, record: Record) -> None:
        kind, name = record["kind"], record["name"]
        if kind == "note" and name == "safe state":
            self.is_safe = True
            self._begin(FINISH_LIMIT_S, f"was safe, and did not end within {FINISH_LIMIT_S:g} s")
        elif self._timer is None and (
            (kind == "state" and name == self._finalizing) or (kind == "command" and name not in GO_ON)
        ):
            self._begin(self._bound_s, f"was to end, and did not make safe within {self._bound_s:g} s")

    def _begin(self, seconds: float, what: str) -> None:
        self.close()
        self.what = what
        self._timer = self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if not self.expired.done():
            self.expired.set_result(None)

    def take_instrument(self) -> None:
        """The child calls no device any more."""
        if self._run is not None:
            self._run.gate.lent_to = "its parent, which does not wait for it any more,"

    def close(self) -> None:
        """Let the timer go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
