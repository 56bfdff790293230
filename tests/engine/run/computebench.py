"""A gate with its workers, and computations for it, for the tests of computations."""

from pathlib import Path
from typing import Any

import numpy as np

from engine.clock import NS_PER_S, Clock
from engine.frame import Frame
from engine.record.spool import SPOOL_FILE, Spool
from engine.record.trace import Record, Trace
from engine.record.writer import Writer
from engine.run.compute import Computation, ComputeGate
from engine.run.computeworkers import Workers

HERE = "tests.engine.run.computations"


def computation(function: str = "echo", **changes: Any) -> Computation:
    declared: dict[str, Any] = {"latency_s": 1.0, "limit_s": 3.0, "resolution": 0.01, **changes}
    return Computation(function, f"{HERE}:{function}", **declared)


ECHO = computation()
NEWEST = computation(queue="newest")
ALL = [ECHO, *map(computation, ("total", "third", "large", "bulky", "failing", "endless"))]
BUILT = computation("built", builds_on="bulky")


class Bench:
    """A gate with workers, a spool of four pictures, and what the trace holds."""

    def __init__(self, clock: Clock, folder: Path, *computations: Computation, inline: bool = True, **faults: str):
        self.clock = clock
        self.folder = folder
        self.records: list[Record] = []
        self.trace = Trace(clock)
        self.trace.observe(self.records.append)
        self.writer = Writer()
        self.gate = ComputeGate(
            clock, self.trace, Workers(clock, self.writer, folder, folder / SPOOL_FILE, durable=False)
        )
        self.gate.inline = inline
        self.gate.trouble = lambda name, number: faults.get(f"{name}{number}")
        self.gate.declare(*(computations or ALL))
        self.spool = Spool(folder / SPOOL_FILE, self.writer, durable=False)

    async def __aenter__(self) -> "Bench":
        for k in range(4):
            await self.spool.append(Frame(np.full((4, 4), k, np.uint16), k, 0, 1), "still", {})
        await self.gate.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.writer.drain()
        self.gate.close()
        self.writer.close()
        self.spool.close()

    @property
    def now_s(self) -> float:
        return self.clock.now_ns() / NS_PER_S

    @property
    def verdicts(self) -> list[tuple[int, str]]:
        return [(r["number"], r["verdict"]) for r in self.records if r["kind"] == "computation"]
