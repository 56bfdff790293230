"""The runs of `credline soak`: through an executor, counted, and the simplest of those that broke a rule."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

import typer

from engine.clock import NS_PER_S, RealClock
from engine.commands.bar import bar
from engine.errors import Interrupted, Refused
from engine.executor import Executor
from engine.run.planfile import build_plan_from, parse_setting
from engine.run.registry import experiment_type
from engine.run.trial import Case
from engine.testing.soak import Verdict, draw, minimised, quiet, try_case, try_seeds

BATCH = 25
NO_FAULT = "none"


def soak_runs(
    protocol: str,
    seeds: int,
    first: int,
    executor: Callable[[], Executor],
    settings: Sequence[str],
    faults: Sequence[str],
    *,
    hard: bool = False,
) -> None:
    """Try so many seeds and print the outcome, or one run as given where there are settings or faults. executor: makes
    that of the many.

    Raises typer.Exit(1) when a rule was broken, Interrupted after Ctrl-C, Refused for what makes no run.
    """
    kind = experiment_type(protocol)
    if settings or faults:
        raise typer.Exit(_one(protocol, first, settings, faults, hard))
    computed = executor()
    batches = [range(k, min(k + BATCH, first + seeds)) for k in range(first, first + seeds, BATCH)]
    clock = RealClock()
    runs = injected = checks = 0
    interrupted = False
    statuses: dict[str, int] = {}
    broken: list[Verdict] = []
    with bar(f"soaking {protocol}") as advance:
        try:
            with closing(computed.each(partial(try_seeds, protocol, hard=hard), batches)) as tried:
                for some_faults, some_checks, some_statuses, some_broken in tried:
                    runs += sum(some_statuses.values())
                    injected += some_faults
                    checks += some_checks
                    for status, count in some_statuses.items():
                        statuses[status] = statuses.get(status, 0) + count
                    broken += some_broken
                    advance(runs, seeds, f"({len(broken)} broken)")
        except KeyboardInterrupt:
            interrupted = True
    took_s = clock.now_ns() / NS_PER_S
    for verdict in sorted(broken, key=lambda v: v.case.seed)[:10]:
        typer.echo(f"seed {verdict.case.seed}: {verdict.broken[0]}")
    if broken and not interrupted:
        quiet()
        worst = minimised(kind, min(broken, key=lambda v: v.case.seed).case)
        for line in worst.broken:
            typer.echo(f"simplest: {line}")
        typer.echo(f"again with: {command(protocol, worst.case, draw(kind, worst.case.seed))}")
    ended = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    typer.echo(
        f"{runs} runs ({ended}), {injected} faults injected, {checks} invariants checked, {len(broken)} broken "
        f"(what counts: runs are meant to fail here); {took_s:.0f} s, {runs / took_s:.0f} runs/s"
    )
    if interrupted:
        raise Interrupted(f"interrupted after {runs} of {seeds} runs")
    if broken:
        raise typer.Exit(1)


def _one(protocol: str, seed: int, settings: Sequence[str], faults: Sequence[str], hard: bool) -> int:
    """One case as given; the exit status."""
    if NO_FAULT in faults and len(faults) > 1:
        raise Refused(
            f"--fault {NO_FAULT}: says that there are none, and others are given; nothing was run. Leave out either."
        )
    kind = experiment_type(protocol)
    drawn = draw(kind, seed, hard=hard)
    changes = {keys[0]: value for keys, value in map(parse_setting, settings)}
    case = Case(
        seed,
        {**drawn.plan, **changes},
        drawn.troubles if not faults else tuple(words for words in faults if words != NO_FAULT),
    )
    build_plan_from(kind, case.plan)
    quiet()
    verdict = try_case(kind, case)
    if verdict.refusal:
        raise Refused(verdict.refusal)
    for line in verdict.broken:
        typer.echo(f"broken: {line}")
    typer.echo(
        f"1 run ({verdict.status}), {verdict.faults} faults injected, {verdict.checks} invariants checked, "
        f"{len(verdict.broken)} broken"
    )
    if missed := verdict.never_came:
        asked = verdict.faults + len(missed)
        typer.echo(f"{verdict.faults} of {asked} faults came about; not: {', '.join(missed)}", err=True)
    return 1 if verdict.broken else 0


def command(protocol: str, case: Case, drawn: Case) -> str:
    """The command that runs one case again."""
    words = ["credline", "soak", protocol, "--first", str(case.seed)]
    for key, value in case.plan.items():
        if drawn.plan.get(key) != value:
            words += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    for trouble in case.troubles or (NO_FAULT,):
        words += ["--fault", trouble]
    return shlex.join(words)
