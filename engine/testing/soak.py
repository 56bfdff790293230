"""Thousands of virtual experiments on bad days: random plans, random faults, and what must hold whatever happens.

After FoundationDB and TigerBeetle: the real code in a simulated world, every failure reproduced from its seed. A
protocol that can be soaked draws the cases and judges what its runs did; what holds for every protocol is judged here.
"""

import asyncio
import random
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import structlog

from engine.clock.virtual import VirtualLoop
from engine.errors import CredlineError, Refused
from engine.record.endings import Ending
from engine.record.trace import Record
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.contract import ExperimentType
from engine.run.perform import Request, carry_out
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type
from engine.run.run import Run

OPERATOR = "operator"
HANG_S = 60
"""A run that has not ended after so long on the wall hangs: they take milliseconds."""


DISK_LIMIT_BYTES = 10_000
"""So little may wait for the disk in a soak: five small pictures, so that slow disks are felt."""


class Hang(KeyboardInterrupt):
    """The run does not end; no Exception, and let through by asyncio, so that the run cannot take it for its own."""


@dataclass(frozen=True, slots=True)
class Case:
    """One experiment: its seed, the keys of its plan, and its troubles.

    A trouble is a fault in the words of `drivers.faults`, or `operator SECONDS stop|abort`.
    """

    seed: int
    plan: Mapping[str, Any]
    troubles: tuple[str, ...]


@dataclass(slots=True)
class Ordeal:
    """What is left of a run, for its judges. steps: lines about broken rules found while it was under way."""

    case: Case
    folder: Path
    document: dict[str, Any]
    ending: Ending
    alarms: tuple[str, ...]
    run: Run
    microscope: Any
    trace: list[Record]
    came_about: list[Any]
    never_came: list[Any]
    steps: list[str] = field(default_factory=list)

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        """The records of a kind, and of a name where one is given."""
        return [r for r in self.trace if r["kind"] == kind and name in (None, r["name"])]

    def time_of(self, kind: str, name: str) -> int | None:
        """When the first record of that kind and name was made, in ns."""
        return next((r["t_ns"] for r in self.trace if r["kind"] == kind and r["name"] == name), None)


class Trial(Protocol):
    """What a protocol brings for being soaked."""

    def draw(self, rng: random.Random) -> tuple[dict[str, Any], list[str]]:
        """A random plan, short in virtual time, and random troubles for it."""
        ...

    def simpler(self, plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Plans that are simpler than this one in one respect each."""
        ...

    def watch(self, record: Record, before: Sequence[Record]) -> str | None:
        """What is wrong at this step of a run, or None; called with every record as it is made."""
        ...

    def judge(self, ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
        """Every rule of the protocol: its name, whether it holds, and what was found where it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one case went: the rules that it broke, and the counts."""

    case: Case
    broken: tuple[str, ...]
    status: str
    faults: int
    checks: int
    refusal: str = ""
    """Why it was not begun, for a case that the program refuses."""
    never_came: tuple[str, ...] = ()
    """The faults of the case that did not come about, in their words."""


def trial_of(kind: ExperimentType) -> Trial:
    """What the protocol brings. Raises Refused when it brings nothing."""
    trial = getattr(kind, "trial", None)
    if trial is None:
        raise Refused(f"soak: the protocol {kind.name!r} brings no trial (engine.testing.soak.Trial); nothing was run.")
    made: Trial = trial()
    return made


def draw(kind: ExperimentType, seed: int) -> Case:
    """The case of a seed, the same wherever it is drawn."""
    plan, troubles = trial_of(kind).draw(random.Random(seed))
    return Case(seed, plan, tuple(troubles))


def quiet() -> None:
    """Log nothing: thousands of alarms are what a soak is for."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


def try_case(kind: ExperimentType, case: Case) -> Verdict:
    """Run one case in a folder of its own and judge it. Never raises for what the run does."""
    trial = trial_of(kind)
    with TemporaryDirectory(prefix="credline-soak-", dir=_fast_folder()) as name:
        before = _held()
        try:
            with _alarm_clock():
                ordeal, loose = _run(kind, trial, case, Path(name))
                verdicts = [
                    *_judge(ordeal),
                    ("no task is left", not loose, "; ".join(loose)),
                    *trial.judge(ordeal),
                    *_replayed(ordeal),
                ]
        except Refused as error:
            left = sorted(path.name for path in Path(name).iterdir())
            broken = (f"a refused run leaves nothing: {left}",) if left else ()
            return Verdict(case, broken, "refused", 0, 1, str(error))
        except (Exception, Hang) as error:
            escaped = _first(error)
            return Verdict(case, (f"no exception escapes: {type(escaped).__name__}: {escaped}",), "escaped", 0, 1)
        after = _held()
        none_left = all(now <= then for now, then in zip(after, before, strict=True))
        verdicts.append(("no thread, no file is left", none_left, f"{before} before, {after} after"))
    rules = [f"{rule}: {found}" if found else rule for rule, holds, found in verdicts if not holds]
    return Verdict(
        case,
        (*ordeal.steps[:3], *rules),
        ordeal.ending.status.value,
        len(ordeal.came_about),
        len(verdicts) + len(ordeal.trace),
        never_came=tuple(map(str, ordeal.never_came)),
    )


def _run(kind: ExperimentType, trial: Trial, case: Case, out: Path) -> tuple[Ordeal, list[str]]:
    """Carry out the case; what is left of it, and what the loop was left with. Raises Refused."""
    seen: dict[str, Any] = {}
    steps: list[str] = []
    loose: list[str] = []
    commands = [_command(words) for words in case.troubles if words.startswith(OPERATOR)]
    faults = tuple(words for words in case.troubles if not words.startswith(OPERATOR))

    def watch(run: Run, prepared: Any) -> None:
        run.writer.limit_bytes = DISK_LIMIT_BYTES
        run.compute.inline = True
        seen.update(run=run, microscope=prepared.microscope, trace=[])
        made: list[Record] = seen["trace"]

        def step(record: Record) -> None:
            if (wrong := trial.watch(record, made)) is not None:
                steps.append(wrong)
            made.append(record)

        run.trace.observe(step)
        loop = asyncio.get_running_loop()
        for when_s, command in commands:
            loop.call_later(when_s, getattr(run.commands, command), "soak")

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: loose.append(f"unhandled: {context.get('message')}"))
        request = Request(
            kind,
            build_plan_from(kind, case.plan),
            out,
            "simulated-timing",
            virtual=True,
            seed=case.seed,
            draw=False,
            faults=faults,
            signals=False,
        )
        outcome = await carry_out(request, watch)
        for _ in range(3):  # what was cancelled at the very end gets its turns to go
            await asyncio.sleep(0)  # noqa: TID251 a turn of the loop, no time
        loose.extend(sorted(repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()))
        return outcome

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        folder, ending, alarms, document = runner.run(main())
    microscope = seen["microscope"]
    met = microscope.faults
    came_about, never_came = (met.came_about, met.never_came) if met is not None else ([], [])
    trace = seen["trace"]
    ordeal = Ordeal(
        case, folder, document, ending, alarms, seen["run"], microscope, trace, came_about, never_came, steps
    )
    return ordeal, loose


def _command(words: str) -> tuple[float, str]:
    """When the operator does what, from `operator SECONDS stop|abort`. Raises Refused."""
    match words.split():
        case [_, when, ("stop" | "abort") as command] if when.replace(".", "", 1).isdecimal():
            return float(when), command
    raise Refused(f"fault {words!r}: write {OPERATOR} SECONDS stop, or abort. Nothing was started.")


def _judge(ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
    """What holds for every protocol."""
    states = [record["name"] for record in ordeal.of("state")]
    status, reason = ordeal.ending.status.value, ordeal.ending.reason
    # A disk that fails while the last files are closed is known to run.json alone.
    ended = bool(states) and (states[-1] == status or "disk_failed" in ordeal.document)
    yield "the machine is at an end", ended, f"{states[-1:]} and status {status}"
    yield "run.json tells the ending", ordeal.document["status"] == status, ordeal.document["status"]
    yield "an ending has a reason", bool(reason), ""
    yield "no error is a surprise", "internal error" not in reason, reason
    times = [record["t_ns"] for record in ordeal.trace]
    yield "the run's time does not go back", times == sorted(times), ""
    numbers = [record["seq"] for record in ordeal.trace]
    yield "records are numbered", numbers == list(range(numbers[0], numbers[0] + len(numbers))), ""
    asked = any(words.startswith(OPERATOR) for words in ordeal.case.troubles)
    if not ordeal.came_about and not asked:
        yield "without trouble a run is done", status == "done" and not ordeal.alarms, f"{status}: {reason}"
    memory = ordeal.run.writer.most_pending_bytes
    yield "what waits for the disk is bounded", memory < DISK_LIMIT_BYTES + 10e6, f"{memory} bytes"


def _replayed(ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
    """The run again from its trace, but where what decided did not enter through a gate (docs/reliability.md)."""
    faults = ordeal.of("fault")
    if any(record["name"] == "StorageError" for record in faults) or "trace_cut_off" in ordeal.document:
        return
    if any(f.what == "host" for f in ordeal.came_about):
        # What happened while the host stood still is known at one and the same instant then, in no certain order.
        return
    try:
        records = load_run(ordeal.folder)
        found = first_divergence(records, replay(records))
    except CredlineError as error:
        # A trace that was cut off by a failing disk has nothing to be compared with.
        cut_off = ordeal.run.writer.error is not None or any(f.what == "disk.write" for f in ordeal.came_about)
        yield "the trace can be replayed", cut_off, str(error)
        return
    text = f"record {found.seq}: {found.recorded} / {found.replayed}" if found is not None else ""
    cut_off = found is not None and found.recorded is None and any(f.what == "disk.write" for f in ordeal.came_about)
    yield "a replay makes the same trace", found is None or cut_off, text


def _first(error: BaseException) -> BaseException:
    """The hang that led to an error, if one did: a loop that was broken into complains as well."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Hang):
        cause = cause.__context__
    return cause or error


def _held() -> tuple[int, int]:
    """Threads and open files of this program; files where the system tells."""
    folder = Path("/proc/self/fd")
    return threading.active_count(), len(list(folder.iterdir())) if folder.exists() else 0


def _fast_folder() -> str | None:
    """Memory where the system offers it: a soak writes, and deletes, gigabytes of small files."""
    return "/dev/shm" if sys.platform == "linux" and Path("/dev/shm").is_dir() else None


@contextmanager
def _alarm_clock() -> Iterator[None]:
    """Turn a hang into an error, where the system has alarms and this is the main thread."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise Hang(f"the run has not ended after {HANG_S} s on the wall: it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANG_S, 1.0)  # again, should somebody swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def minimised(kind: ExperimentType, case: Case, tries: int = 200) -> Verdict:
    """The simplest case found that still breaks the rule that this one breaks first: fewer troubles, shorter plan."""
    trial = trial_of(kind)
    best = try_case(kind, case)
    rule = best.broken[0].split(":")[0] if best.broken else ""
    simpler = True
    while simpler and best.broken:
        simpler = False
        fewer = [
            replace(best.case, troubles=best.case.troubles[:k] + best.case.troubles[k + 1 :])
            for k in range(len(best.case.troubles))
        ]
        for smaller in [*fewer, *(replace(best.case, plan=plan) for plan in trial.simpler(best.case.plan))]:
            if (tries := tries - 1) < 0:
                return best
            verdict = try_case(kind, smaller)
            if any(line.split(":")[0] == rule for line in verdict.broken):
                best, simpler = verdict, True
                break
    return best


def try_seeds(protocol: str, seeds: Sequence[int]) -> tuple[int, int, dict[str, int], list[Verdict]]:
    """For a worker process: try these seeds; faults, checks, runs by status, and the verdicts that broke a rule."""
    quiet()
    kind = experiment_type(protocol)
    faults = checks = 0
    statuses: dict[str, int] = {}
    broken = []
    for seed in seeds:
        verdict = try_case(kind, draw(kind, seed))
        faults += verdict.faults
        checks += verdict.checks
        statuses[verdict.status] = statuses.get(verdict.status, 0) + 1
        if verdict.broken:
            broken.append(verdict)
    return faults, checks, statuses, broken
