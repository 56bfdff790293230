"""Thousands of virtual experiments on bad days: random plans, random faults, and what must hold whatever happens.

After FoundationDB and TigerBeetle: the real code in a simulated world, every failure reproduced from its seed. A
protocol that can be soaked draws the cases and judges what its runs did; what holds for every protocol is judged here.
"""

import asyncio
import random
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NoReturn

import structlog

from engine.clock.virtual import VirtualLoop
from engine.errors import CredlineError, Refused
from engine.record.trace import Record
from engine.replay.replay import Divergence, first_divergence, load_run, replay
from engine.run.conduct import Outcome
from engine.run.contract import AnyExperiment, Prepared
from engine.run.perform import Request, carry_out
from engine.run.planfile import build_plan_from
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.run.trial import OPERATOR, Case, SoakedRun, Trial, command_of

if TYPE_CHECKING:
    from engine.run.microscope import Microscope

HANG_S = 60
"""A run that has not ended after so long on the wall hangs: they take milliseconds."""


PLAIN = "simulated-timing"

DISK_LIMIT_BYTES = 10_000
"""So little may wait for the disk in a soak: five small pictures, so that slow disks are felt."""


class Hang(KeyboardInterrupt):
    """The run does not end; no Exception, and let through by asyncio, so that the run cannot take it for its own."""


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


def draw(kind: AnyExperiment, seed: int, *, hard: bool = False) -> Case:
    """The case of a seed, the same wherever it is drawn. hard: drawn so that troubles come where they hurt most."""
    trial, rng = kind.trial(), random.Random(seed)
    plan, troubles = trial.draw_hard(rng) if hard else trial.draw(rng)
    return Case(seed, plan, tuple(troubles))


def quiet() -> None:
    """Log nothing: thousands of alarms are what a soak is for."""

    def drop(*_: object) -> NoReturn:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


def try_case(kind: AnyExperiment, case: Case) -> Verdict:
    """Run one case in a folder of its own and judge it. Never raises for what the run does."""
    trial = kind.trial()
    with (
        TemporaryDirectory(prefix="credline-soak-", dir=fast_folder()) as name,
        TemporaryDirectory(prefix="credline-soak-", dir=fast_folder()) as files,
    ):
        before = _held()
        try:
            with _alarm_clock():
                soaked, loose = _run(kind, trial, case, Path(name), _devices_file(trial, case, Path(files)))
                verdicts = [
                    *_judge(soaked, trial),
                    ("no task is left", not loose, "; ".join(loose)),
                    *trial.judge(soaked),
                    *_replayed(soaked),
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
        (*soaked.steps[:3], *rules),
        soaked.ending.status.value,
        len(soaked.came_about),
        len(verdicts) + len(soaked.trace),
        never_came=tuple(map(str, soaked.never_came)),
    )


def _devices_file(trial: Trial, case: Case, folder: Path) -> str:
    """The instrument of a case: the plain one, or a devices file for it."""
    options = trial.instrument(case)
    if not options:
        return PLAIN
    import tomlkit  # 0.1 s: not for cases on the plain one

    path = folder / "devices.toml"
    path.write_text(tomlkit.dumps({"microscope": {"driver": PLAIN, **options}}), encoding="utf-8")
    return str(path)


def _run(kind: AnyExperiment, trial: Trial, case: Case, out: Path, devices: str) -> tuple[SoakedRun, list[str]]:
    """Carry out the case; what is left of it, and what the loop was left with. Raises Refused."""
    seen: list[tuple[Run, Microscope | None, list[Record]]] = []
    """Of each run."""
    steps: list[str] = []
    loose: list[str] = []
    commands = [command_of(words) for words in case.troubles if words.startswith(OPERATOR)]
    faults = tuple(words for words in case.troubles if not words.startswith(OPERATOR))

    def watch(run: Run, prepared: Prepared) -> None:
        run.writer.limit_bytes = DISK_LIMIT_BYTES
        run.compute.inline = True
        made: list[Record] = []
        seen.append((run, run.microscope, made))
        if len(seen) > 1:  # a child: it is its parent that is tried
            return

        def step(record: Record) -> None:
            if (wrong := trial.watch(record, made)) is not None:
                steps.append(wrong)
            made.append(record)

        run.trace.observe(step)
        loop = asyncio.get_running_loop()
        for command in commands:
            if not command.state:
                loop.call_later(command.when_s, command.give, run)

        def at_state(record: Record) -> None:
            if record["kind"] != "state":
                return
            for command in [command for command in commands if command.state == record["name"]]:
                commands.remove(command)
                loop.call_later(command.when_s, command.give, run)

        run.trace.observe(at_state)

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: loose.append(f"unhandled: {context.get('message')}"))
        request = Request(
            kind,
            build_plan_from(kind, case.plan),
            out,
            devices,
            virtual=True,
            seed=case.seed,
            accept_gaps=True,
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
        folder, ending, alarms, document, _ = runner.run(main())
    run, microscope, trace = seen[0]
    met = None if microscope is None else microscope.faults
    came_about, never_came = (met.came_about, met.never_came) if met is not None else ([], [])
    soaked = SoakedRun(case, folder, document, ending, alarms, run, microscope, trace, came_about, never_came, steps)
    return soaked, loose


def _judge(soaked: SoakedRun, trial: Trial) -> Iterator[tuple[str, bool, str]]:
    """What holds for every protocol."""
    states = [record["name"] for record in soaked.of("state")]
    status, reason = soaked.ending.status.value, soaked.ending.reason
    # A disk that fails while the last files are closed is known to run.json alone.
    ended = bool(states) and (states[-1] == status or "disk_failed" in soaked.document)
    yield "the machine is at an end", ended, f"{states[-1:]} and status {status}"
    yield "run.json tells the ending", soaked.document["status"] == status, soaked.document["status"]
    yield "an ending has a reason", bool(reason), ""
    yield "no error is a surprise", "internal error" not in reason, reason
    times = [record["t_ns"] for record in soaked.trace]
    yield "the run's time does not go back", times == sorted(times), ""
    numbers = [record["seq"] for record in soaked.trace]
    yield "records are numbered", numbers == list(range(numbers[0], numbers[0] + len(numbers))), ""
    asked = any(command_of(words).status for words in soaked.case.troubles if words.startswith(OPERATOR))
    if not soaked.came_about and not asked:
        as_planned = status == "done" or (status == "stopped" and trial.ended_itself(soaked))
        yield "without trouble a run is done", as_planned and not soaked.alarms, f"{status}: {reason}"
    memory = soaked.run.writer.most_pending_bytes
    yield "what waits for the disk is bounded", memory < DISK_LIMIT_BYTES + 10e6, f"{memory} bytes"


def _replayed(soaked: SoakedRun) -> Iterator[tuple[str, bool, str]]:
    """The run again from its trace, but where what decided did not enter through a gate (docs/reliability.md)."""
    faults = soaked.of("fault")
    if any(record["name"] == "StorageError" for record in faults) or "trace_cut_off" in soaked.document:
        return
    if any(f.what == "host" for f in soaked.came_about):
        # What happened while the host stood still is known at one and the same instant then, in no certain order.
        return
    try:
        records = load_run(soaked.folder)
        found = first_divergence(records, replay(records))
    except CredlineError as error:
        # A trace that was cut off by a failing disk has nothing to be compared with.
        cut_off = soaked.run.writer.error is not None or any(f.what == "disk.write" for f in soaked.came_about)
        yield "the trace can be replayed", cut_off, str(error)
        return
    if found is not None and any(
        r["t_ns"] == _instant(found) for r in soaked.of("command") if r.get("source") == "disk"
    ):
        return  # a disk that fails under virtual time at the very instant at which the run goes on has no certain place
    text = f"record {found.seq}: {found.recorded} / {found.replayed}" if found is not None else ""
    cut_off = found is not None and found.recorded is None and any(f.what == "disk.write" for f in soaked.came_about)
    yield "a replay makes the same trace", found is None or cut_off, text


def _instant(found: Divergence) -> int | None:
    """When two traces part."""
    record = found.recorded or found.replayed
    return None if record is None else record["t_ns"]


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


def fast_folder() -> str | None:
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


def minimised(kind: AnyExperiment, case: Case, tries: int = 200) -> Verdict:
    """The simplest case found that still breaks the rule that this one breaks first: fewer troubles, shorter plan."""
    trial = kind.trial()
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


def try_seeds(
    protocol: str, seeds: Sequence[int], hard: bool = False
) -> tuple[int, int, dict[str, int], list[Verdict]]:
    """For a worker process: try these seeds; faults, checks, runs by status, and the verdicts that broke a rule."""
    quiet()
    kind = experiment_type(protocol)
    faults = checks = 0
    statuses: dict[str, int] = {}
    broken = []
    for seed in seeds:
        verdict = try_case(kind, draw(kind, seed, hard=hard))
        faults += verdict.faults
        checks += verdict.checks
        statuses[verdict.status] = statuses.get(verdict.status, 0) + 1
        if verdict.broken:
            broken.append(verdict)
    return faults, checks, statuses, broken
