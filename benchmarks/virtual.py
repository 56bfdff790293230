"""How fast virtual time goes: sleeps per second beside looptime, transitions per second, whole runs, a replay.

.venv/bin/python -m pip install looptime     # for the comparison only
.venv/bin/python benchmarks/virtual.py
"""

import asyncio
import importlib.util
import tempfile
import time
from enum import Enum
from pathlib import Path

from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.machine import StrictMachine, Transition
from engine.run.perform import Request, execute
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

SLEEPS = 20_000


def own_sleeps() -> float:
    """Sleeps per second through our clock."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101
        clock = VirtualClock(loop)
        begin = time.perf_counter()
        for _ in range(SLEEPS):
            await clock.sleep_s(0.001)
        return SLEEPS / (time.perf_counter() - begin)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def asyncio_sleeps() -> float:
    """Sleeps per second through asyncio.sleep on our loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_plain_sleeps(SLEEPS))


async def _plain_sleeps(count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        await asyncio.sleep(0.001)
    return count / (time.perf_counter() - begin)


def looptime_sleeps() -> float | None:
    """The same sleeps on looptime; None where it is not installed."""
    if importlib.util.find_spec("looptime") is None:
        return None
    import looptime

    loop = looptime.patch_event_loop(asyncio.new_event_loop(), start=0)
    try:
        return loop.run_until_complete(_plain_sleeps(SLEEPS // 10))
    finally:
        loop.close()


def transitions() -> float:
    """Transitions per second of a strict machine."""

    class Lamp(Enum):
        ON = "on"
        OFF = "off"
        BROKEN = "broken"

    async def main() -> float:
        lamp = StrictMachine(
            Lamp,
            (
                Transition("press", (Lamp.OFF,), Lamp.ON),
                Transition("release", (Lamp.ON,), Lamp.OFF),
                Transition("drop", tuple(Lamp)[:2], Lamp.BROKEN),
            ),
            Lamp.OFF,
            (Lamp.BROKEN,),
        )
        begin = time.perf_counter()
        for _ in range(2000):
            await lamp.fire("press")
            await lamp.fire("release")
        return 4000 / (time.perf_counter() - begin)

    return asyncio.run(main())


def main() -> None:
    """Measure and print."""
    own, plain, other = own_sleeps(), asyncio_sleeps(), looptime_sleeps()
    print(f"sleeps per second: own clock {own:,.0f}, asyncio.sleep on VirtualLoop {plain:,.0f}", end="")
    print(
        f", looptime {other:,.0f} (own clock {own / other:.0f} times as many)" if other else "; looptime not installed"
    )
    print(f"transitions per second: {transitions():,.0f}")
    with tempfile.TemporaryDirectory() as folder:
        plan = CredPlan(start_deg=-64.06, range_deg=127.97, speed_deg_s=0.45195)
        report = execute(Request(CRED, plan, Path(folder), "simulated-timing", True, 1, draw=False))
        elapsed_s = report.document["result"]["elapsed_s"]
        slots = report.document["result"]["slots"]
        print(
            f"{slots} slots: {elapsed_s:.0f} s in {report.wall_s:.2f} s, {elapsed_s / report.wall_s:,.0f} x real time"
        )
        records = load_run(report.folder)
        begin = time.perf_counter()
        same = first_divergence(records, replay(records)) is None
        took_s = time.perf_counter() - begin
        print(f"replay of {slots} slots: {took_s:.2f} s, {'all records agree' if same else 'DIVERGES'}")


if __name__ == "__main__":
    main()
