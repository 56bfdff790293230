"""Real-clock runs stopped, aborted, paused and failed at random instants: python -m benchmarks.stops --runs 150

Runs of a second or two on one opened instrument. What is asked for comes at a random instant, or a random few
milliseconds after a random record, as a command or as a signal. `--load N` keeps N processes busy beside it, and every
second turn of the loop is held up for up to `--turn-ms`, so that events come in the middle of reactions. Each run is
then replayed, each difference printed; exit status 1 when there is one.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.clock import RealClock
from engine.record.trace import Record
from engine.replay.replay import Divergence, first_divergence, load_run, replay
from engine.run.commands import Source
from engine.run.contract import Prepared
from engine.run.instrument import Instrument
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

DEVICES = '[microscope]\ndriver = "simulated-timing"\napi_call_s = 0.01\n[microscope.lens]\nslow_s = 0.02\n'
PLAN = CredPlan(
    exposure_s=0.02,
    speed_deg_s=2.0,
    range_deg=1.6,
    snapshot_interval=5,
    rotation="commanded",
    start_deg=0.0,
    relax_cycles=0,
    formats=(),
)
LONGEST_S = 3.0
RECORDS = 200
"""About as many as a run that is left alone has."""


def _pause_and_stop(run: Run) -> None:
    loop = asyncio.get_running_loop()
    run.commands.pause("pause")
    loop.call_later(0.003, run.commands.resume, "resume")
    loop.call_later(0.05, run.commands.stop, "stop")


WISHES: dict[str, Callable[[Run], None]] = {
    "stop": lambda run: run.commands.stop("stop"),
    "abort": lambda run: run.commands.abort("abort"),
    "fail": lambda run: run.commands.fail("fail", Source.WATCHDOG),
    "pause": _pause_and_stop,
    "signal": lambda _: os.kill(os.getpid(), signal.SIGTERM),
}


class Asking:
    """Asks one thing of a run, at an instant that `rng` draws."""

    def __init__(self, rng: random.Random) -> None:
        self.wish = rng.choice(list(WISHES))
        self._at_s = rng.uniform(0, LONGEST_S) if rng.random() < 0.3 else None
        self._record, self._later_s = (
            rng.randrange(RECORDS),
            rng.choice([0.0, rng.random() * 0.002, rng.random() * 0.03]),
        )
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, run: Run, _: Prepared) -> None:
        """For `Instrument.watch`."""
        if self._at_s is not None:
            self._begin(run, self._at_s)
            return

        def observe(record: Record) -> None:
            if record["seq"] == self._record:
                self._begin(run, self._later_s)

        run.trace.observe(observe)

    def _begin(self, run: Run, later_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(later_s, WISHES[self.wish], run)

    def forget(self) -> None:
        """The run is over: ask nothing of the next."""
        if self._timer is not None:
            self._timer.cancel()


async def perform(out: Path, runs: int, first: int, told: Counter[str]) -> list[tuple[int, str, Path]]:
    devices = out / "devices.toml"
    devices.write_text(DEVICES, encoding="utf-8")
    performed = []
    async with Instrument.open(str(devices), RealClock(), first, watchdog=False) as instrument:
        for seed in range(first, first + runs):
            asking = Asking(random.Random(seed))
            instrument.watch = asking.watch
            outcome = await instrument.perform(CRED, PLAN, out=out, accept_timing=True, accept_gaps=True)
            asking.forget()
            told[outcome.ending.status.value] += 1
            performed.append((seed, asking.wish, outcome.folder))
    return performed


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Processes that keep the machine busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextmanager
def held_up(rng: random.Random, most_ms: float) -> Iterator[None]:
    """Every second turn of the loop takes up to so long."""
    base = asyncio.base_events.BaseEventLoop
    turn = base._run_once  # type: ignore[attr-defined]  # noqa: SLF001

    def slow_turn(loop: asyncio.AbstractEventLoop) -> None:
        time.sleep(rng.choice([0.0, rng.random() * most_ms / 1000]))
        turn(loop)

    base._run_once = slow_turn  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        yield
    finally:
        base._run_once = turn  # type: ignore[attr-defined]  # noqa: SLF001


def tell(seed: int, wish: str, folder: Path, divergence: Divergence) -> None:
    print(f"seed {seed} ({wish}), {folder}: differs at record {divergence.seq}, in state {divergence.state}")
    for record in divergence.before[-6:]:
        print(f"      {record}")
    print(f"  was {divergence.recorded}\n  is  {divergence.replayed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--turn-ms", type=float, default=2.0)
    parser.add_argument("--load", type=int, default=2, metavar="N")
    asked = parser.parse_args()
    told: Counter[str] = Counter()
    out = Path(tempfile.mkdtemp(prefix="credline-stops-"))
    with load(asked.load), held_up(random.Random(asked.first), asked.turn_ms):
        performed = asyncio.run(perform(out, asked.runs, asked.first, told))
    differ = 0
    for seed, wish, folder in performed:
        records = load_run(folder)
        divergence = first_divergence(records, replay(records))
        if divergence is not None:
            differ += 1
            tell(seed, wish, folder, divergence)
    endings = ", ".join(f"{count} {status}" for status, count in sorted(told.items()))
    print(f"{differ} of {len(performed)} runs differ from their replays ({endings}); they are in {out}")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
