"""`credline replay`: the same run again, or the same run with other latencies."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.options import Json
from engine.errors import Refused

if TYPE_CHECKING:
    from engine.record.trace import Record

ENDS_EARLY = "The recording ends before the run's last state: the program was cut off, or could not write any more."

Changes = Annotated[list[str] | None, typer.Option("--what-if", help="key=value, for example api_latency=60ms.")]
Sweep = Annotated[str | None, typer.Option("--sweep", help="key=first:last:step, as api_latency=20ms:100ms:5ms.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw the sweep into this PNG or SVG file.")]


def replay(
    run: Annotated[Path, typer.Argument(help="A run folder, or its trace.jsonl.")],
    what_if: Changes = None,
    sweep: Sweep = None,
    plot: Plot = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute again, from its pictures, what the run computed; compare.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of resampled latencies.")] = 0,
    as_json: Json = False,
) -> None:
    """Replay a recorded run under virtual time and compare; or ask what other latencies would have done.

    Exit status 0 when every record agrees, 1 with the first divergence shown. Keys of --what-if: api_latency (all
    calls of the microscope), device.method as in the trace (optics.set_focus), settling, dead_time: a time (60ms),
    a factor (x1.5), resample, or @TRACE:call to draw from another trace; and the keys of the plan (exposure=0.3).
    """
    from engine.replay.replay import load_run

    records = load_run(run)
    if recompute:
        _recompute(records, run, as_json)
    elif sweep is not None:
        _sweep(records, sweep, what_if or [], plot, as_json)
    elif what_if:
        _what_if(records, what_if, seed, as_json)
    else:
        _compare(records, run if run.is_dir() else None, as_json)


def _compare(records: "list[Record]", folder: Path | None, as_json: bool) -> None:
    from engine.record.trace import ends_early
    from engine.replay.replay import first_divergence, only_cut_off
    from engine.replay.replay import replay as replay_records

    divergence = first_divergence(records, replay_records(records, folder))
    agreeing = divergence.seq if divergence else len(records)
    if divergence is not None and only_cut_off(records, divergence):
        divergence = None
    if as_json:
        seq = divergence.seq if divergence else None
        answer = {"records": len(records), "agrees": divergence is None, "first_divergence": seq}
        typer.echo(json.dumps({**answer, "cut_off": ends_early(records)}))
    if divergence is None:
        typer.echo(f"{agreeing} records, all agree.", err=as_json)
        if ends_early(records):
            rest = len(records) - agreeing
            left = f" What led to the last {rest} is not in it any more." if rest else ""
            typer.echo(f"{ENDS_EARLY}{left}", err=as_json)
        return
    typer.echo(f"first divergence at record {divergence.seq}, in state {divergence.state!r}", err=True)
    for record in divergence.before:
        typer.echo(f"    {json.dumps(record)}", err=True)
    typer.echo(f"  - recorded: {json.dumps(divergence.recorded)}", err=True)
    typer.echo(f"  + replayed: {json.dumps(divergence.replayed)}", err=True)
    raise typer.Exit(1)


def _recompute(records: "list[Record]", folder: Path, as_json: bool) -> None:
    from engine.replay.computations import recompute_run

    if not folder.is_dir():
        raise Refused(f"--recompute {folder}: needs the run's pictures; nothing was computed. Name the run folder.")
    done, differences = recompute_run(records, folder)
    for each in differences:
        recorded, found = json.dumps(each.recorded), json.dumps(each.found)
        typer.echo(f"{each.name}, number {each.number}: {each.where} was {recorded}, is now {found}", err=True)
    if as_json:
        typer.echo(json.dumps({"computed": done, "differ": len(differences)}))
    typer.echo(f"{done} computed again, {len(differences)} differ by more than their resolution.", err=as_json)
    if differences:
        raise typer.Exit(1)


def _say_where_it_ends(records: "list[Record]") -> None:
    from engine.record.trace import ends_early

    if ends_early(records):
        typer.echo(f"{ENDS_EARLY} What is asked is answered for the whole run.", err=True)


def _what_if(records: "list[Record]", words: list[str], seed: int, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from engine.commands.tables import print_whole
    from engine.replay.whatif import ask, original, parse_question
    from engine.run.registry import experiment_type, latencies

    _say_where_it_ends(records)
    asked = experiment_type(records[0]["protocol"]).what_if
    before, after = original(records), ask(records, parse_question(words, latencies(), asked.aliases), seed)
    if as_json:
        typer.echo(json.dumps({"original": before, "what_if": after}))
        return
    table = Table(title=escape(f"what if {' '.join(words)}"), title_justify="left")
    for heading in ("", "original", "what if"):
        table.add_column(heading, justify="right" if heading else "left")
    for figure in asked.figures:
        table.add_row(figure.name, _number(before[figure.key]), _number(after[figure.key]))
    print_whole(table)


def _sweep(records: "list[Record]", word: str, words: list[str], plot: Path | None, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from engine.commands.tables import print_whole
    from engine.replay.whatif import parse_sweep, plot_sweep
    from engine.replay.whatif import sweep as sweep_values
    from engine.run.registry import experiment_type, latencies

    _say_where_it_ends(records)
    key, values_s = parse_sweep(word, latencies())
    if plot is not None and (not plot.parent.is_dir() or plot.suffix not in (".png", ".svg")):
        raise Refused(f"--plot {plot}: give the name of a .png or .svg file in a folder that exists.")
    asked = experiment_type(records[0]["protocol"]).what_if
    points = sweep_values(records, key, values_s, words, latencies())
    if plot is not None:
        plot_sweep(key, points, asked.plotted, plot)
    if as_json:
        typer.echo(json.dumps([{key: p.value_s, "refused": p.refusal, **(p.figures or {})} for p in points]))
        return
    table = Table()
    table.add_column(escape(f"{key} / ms"), justify="right")
    rows = [figure for figure in asked.figures if figure.key in asked.swept]
    for figure in rows:
        table.add_column(figure.name, justify="right")
    for point in points:
        cells = [_number(point.figures[row.key]) for row in rows] if point.figures else ["refused"]
        table.add_row(f"{point.value_s * 1000:g}", *cells)
    print_whole(table)
    if refusal := next((point.refusal for point in points if point.refusal), ""):
        typer.echo(f"refused from the first on: {refusal}", err=True)


def _number(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
