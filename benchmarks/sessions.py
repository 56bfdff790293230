"""Sessions on bad days: a parent with children, stopped, aborted, failing, killed, gone on from; what must hold of all.

`python -m benchmarks.sessions --seeds 2000 --kills 50`: virtual sessions from seeds, then real ones killed by `kill -9`
at random instants and recovered. Prints what was broken, and how each began again (`--first SEED --seeds 1`).
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import engine.replay.replay as replaying
import engine.run.continuing as continuing
import engine.run.recovery as recovering
from drivers.contract import Microscope
from drivers.simulated.register import Register
from engine.clock import RealClock
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import Refused
from engine.record.endings import Status
from engine.record.folder import children_of
from engine.record.trace import Record, read_trace
from engine.replay.replay import first_divergence, load_run, only_cut_off, replay
from engine.run.conduct import Outcome
from engine.run.continuing import earlier_run
from engine.run.instrument import Instrument
from engine.run.recovery import recover_run
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.testing.soak import quiet
from tests.engine.run.toy_session import TOY, ToyKind, ToyPlan

SESSION = ToyPlan(sample="day", children=4, light_s=0.5, cred=True, relight_s=0.3)
"""The one that is killed."""
MOST_S = 60.0
"""A session of five children ends before, left alone."""


def kind_of(name: str) -> Any:
    """The toy, which nobody registers, or a registered protocol."""
    return TOY if name == ToyKind.name else experiment_type(name)


def drawn(seed: int) -> tuple[ToyPlan, tuple[tuple[float, str], ...], tuple[str, ...]]:
    """A session, what its operator does, and its faults."""
    rng = random.Random(seed)
    plan = ToyPlan(
        sample="day",
        children=rng.randint(0, 5),
        light_s=rng.choice([0.5, 2.0]),
        cred=rng.random() < 0.7,
        mend=rng.choice(["", "detector"]),
        relight_s=rng.choice([0.0, 0.0, 1.0]),
    )
    at_s = [round(rng.uniform(0.0, MOST_S / 2), 3) for _ in range(2)]
    commands = rng.choice(
        [
            (),
            ((at_s[0], rng.choice(["stop", "abort"])),),
            ((min(at_s), "pause"), (max(at_s), rng.choice(["resume", "stop", "abort"]))),
            ((at_s[0], "stop"), (at_s[0] + 0.5, "abort")),
        ]
    )
    call = rng.choice(["beam.blank", "beam.unblank", "stage.stop", "stage.angle", "detector.start", "detector.disarm"])
    troubles = [
        f"{call} {rng.randint(1, 12)} {rng.choice(['error', 'hang', 'slow 0.7'])}",
        f"{rng.choice(['detector.start', 'detector.arm'])} {rng.randint(1, 9)} lost {rng.choice([0.2, 3.0, 1000.0])}",
        f"stage.motion {at_s[1]} stop",
        f"host {at_s[1]} starve 0.5",
    ]
    return plan, commands, tuple(rng.sample(troubles, rng.choice([0, 0, 1, 2])))


def tried(seed: int, out: Path) -> list[str]:
    """Perform the session of a seed, and go on from it where it ended early; what is wrong with what they left."""
    plan, commands, faults = drawn(seed)
    outcome, wrong = performed(seed, out, plan, commands, faults)
    replays = not any(words.startswith("host") for words in faults)
    return wrong + judged(outcome.folder, replays=replays) + gone_on(outcome.folder, plan)


def gone_on(folder: Path, plan: ToyPlan) -> list[str]:
    """Go on from a session on a good day; what is wrong with that, nothing where nothing is left to do."""
    with patch.object(recovering, "experiment_type", kind_of), patch.object(continuing, "experiment_type", kind_of):
        earlier = earlier_run(folder, ToyKind.name)
        try:
            continued = earlier.carried_over(plan)
        except Refused:
            return []
    outcome, wrong = performed(0, folder.parent, plan, (), (), continued)
    made = continued["done"]["children"] + len(children_of(outcome.folder))
    if outcome.ending.status is not Status.DONE or made != plan.children:
        wrong.append(f"gone on: {outcome.ending}, {made} of {plan.children} children")
    return wrong + judged(outcome.folder, replays=True)


def performed(
    seed: int,
    out: Path,
    plan: ToyPlan,
    commands: Sequence[tuple[float, str]],
    faults: Sequence[str],
    continued: Mapping[str, Any] | None = None,
) -> tuple[Outcome, list[str]]:
    """A session on the virtual clock; what is wrong with its end."""
    outermost: list[Run] = []
    truths: list[bool] = []

    async def perform() -> Outcome:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101 a script

        def watch(run: Run, _: object) -> None:
            if not outermost:
                outermost.append(run)
                for when_s, command in commands:
                    loop.call_at(when_s, getattr(run.commands, command), "operator")

        async with Instrument.open(
            "simulated-timing", VirtualClock(loop), seed, faults=faults, watchdog=False, signals=False, watch=watch
        ) as instrument:
            outcome = await instrument.perform(TOY, plan, out=out, continued=continued)
            assert isinstance(instrument.microscope, Microscope)  # noqa: S101 a script
            assert instrument.microscope.truth is not None  # noqa: S101 a script
            truths.append(instrument.microscope.truth.is_blanked())
            return outcome

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        outcome = runner.run(perform())
    wrong = []
    if not truths[0] and not any("BEAM" in alarm for alarm in outcome.alarms):
        wrong.append("the beam is on, and no alarm says so")
    if "internal error" in outcome.ending.reason:
        wrong.append(f"surprised: {outcome.ending.reason}")
    return outcome, wrong


def judged(folder: Path, *, replays: bool, cut_off: bool = False) -> list[str]:
    """What is wrong with the folder of a session and those of its children."""
    wrong = []
    told = [r["name"] for r in read_trace(folder) if r["kind"] == "child" and r["event"] == "begin"]
    children = children_of(folder)
    names = [child.name for child in children]
    if names != told and not (cut_off and names == told[:-1]):  # killed before the folder of the last one was made
        wrong.append(f"children: {names} on disk, {told} in the trace")
    if cut_off:  # killed between the making of its folder and its first record: nothing had begun
        children = [child for child in children if (child / "run.json").exists()]
    spans = [(r["begin_ns"], r["end_ns"]) for f in (folder, *children) for r in calls_of(f)]
    overlapping = sum(before[1] > after[0] for before, after in pairwise(sorted(spans)))
    if overlapping and replays and not cut_off and len(children) and not clings(folder, *children):
        wrong.append(f"{overlapping} calls of parent and children overlap")
    for run in (*children, folder):
        status = json.loads((run / "run.json").read_text())["status"]
        if status == "running":
            wrong.append(f"{run.name}: still running")
        if replays:
            wrong += differing(run)
    return wrong


def calls_of(folder: Path) -> list[Record]:
    """The calls of the microscope by one run; a stage may be read beside others."""
    return [r for r in read_trace(folder) if r["kind"] == "call" and r["name"].startswith("beam.")]


def clings(*folders: Path) -> bool:
    """Whether a device did not let go, or a child was not waited for: then calls may overlap."""
    return any(r["kind"] == "fault" for folder in folders for r in read_trace(folder))


def differing(folder: Path) -> list[str]:
    """What a replay of a run makes otherwise."""
    records = load_run(folder)
    with patch.object(replaying, "experiment_type", kind_of):
        found = first_divergence(records, replay(records))
    if found is None or only_cut_off(records, found):
        return []
    return [f"{folder.name}: a replay differs at record {found.seq}: {found.recorded} / {found.replayed}"]


# --- killed


def child_program(out: Path, register: Path) -> None:
    """A real session, for a process that is going to be killed."""

    async def perform() -> None:
        devices = out / "devices.toml"
        devices.write_text(f'[microscope]\ndriver = "simulated-timing"\nregister = "{register}"\n')
        async with Instrument.open(str(devices), RealClock()) as instrument:
            await instrument.perform(TOY, SESSION, out=out, accept_timing=True)

    asyncio.run(perform())


def killed(seed: int, out: Path) -> list[str]:
    """A session killed at a random instant, its beam looked at, then recovered; what is wrong."""
    rng = random.Random(seed)
    register, folder = out / "register", out / "day_001"
    names = f"Path({str(out)!r}), Path({str(register)!r})"
    program = f"from pathlib import Path; from benchmarks.sessions import child_program; child_program({names})"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, start_new_session=True)
    overdue = time.monotonic() + 60
    while not (folder / "run.json").exists() and time.monotonic() < overdue and process.poll() is None:
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 14.0))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    overdue = time.monotonic() + 10
    while not Register(register).is_blanked() and time.monotonic() < overdue:
        time.sleep(0.1)
    wrong = [] if Register(register).is_blanked() else ["the beam is on ten seconds after the kill"]
    with patch.object(recovering, "experiment_type", kind_of):
        recover_run(folder)
    return wrong + judged(folder, replays=True, cut_off=True) + gone_on(folder, SESSION)


def main() -> None:
    """The command line of this benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    asked = parser.parse_args()
    quiet()
    broken: Counter[str] = Counter()
    begun = time.monotonic()
    for what, how, count in (("seed", tried, asked.seeds), ("kill", killed, asked.kills)):
        for seed in range(asked.first, asked.first + count):
            with TemporaryDirectory(
                prefix="credline-session-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
            ) as name:
                for line in how(seed, Path(name))[:3]:
                    broken[what] += 1
                    print(f"{what} {seed}: {line[:300]}", flush=True)
    print(
        f"{asked.seeds} sessions, {asked.kills} kills: {sum(broken.values())} broken; {time.monotonic() - begun:.0f} s"
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
