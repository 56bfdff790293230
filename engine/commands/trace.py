"""Look at the trace of a run, draw it, export it; import logs of other programs.

The group of commands `credline trace`, loaded when one of them is used.
"""

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from engine.commands.options import Json
from engine.errors import Refused, StorageError, shown
from engine.record.folder import of_this_process, replacing

trace_app = typer.Typer(
    help="Look at the trace of a run, draw it, export it; import logs of other programs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[Path, typer.Argument(help="A run folder, or its trace.jsonl.")]
TRACE_FILE = "trace.jsonl"
PICTURES = (".png", ".svg", ".html")


class ExportFormat(StrEnum):
    """What a trace is exported as."""

    PERFETTO = "perfetto"
    BLUESKY = "bluesky"


@trace_app.command(epilog="Example: credline trace show runs/mordenite_001 --slot 10-12")
def show(
    run: Run,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only in this state; repeatable.")] = None,
    device: Annotated[list[str] | None, typer.Option("--device", help="Only of this device; repeatable.")] = None,
    slot: Annotated[str | None, typer.Option("--slot", help="Only of this slot, or of slots A-B.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only of this kind; repeatable.")] = None,
) -> None:
    """Print the records of a run, one a line: seconds since the header, state, kind, what.

    Where none is what was asked for, it is said what there is, and that is no error.
    """
    from engine.views.lines import Selection, view

    selection = Selection(tuple(state or ()), tuple(device or ()), tuple(kind or ()), _slots(slot))
    _print_lines(view(run, selection, lambda told: typer.echo(told, err=True)))


def _slots(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    try:
        slots = int(first), int(last if dash else first)
    except ValueError:
        slots = (1, 0)
    if slots[0] > slots[1] or slots[0] < 1:
        raise Refused(f"--slot {text}: neither a slot nor a range of slots. Give K or A-B, as 10 or 10-12.")
    return slots


def _print_lines(lines: Iterable[str]) -> None:
    """Print until the reader has had enough: `credline trace show RUN | head` ends without a word."""
    output = sys.stdout
    if isinstance(output, TextIOWrapper):
        output.reconfigure(errors="backslashreplace")  # a terminal may not know all letters
    for line in lines:
        try:
            output.write(f"{line}\n")
        except OSError:
            break
    else:
        with suppress(OSError):
            output.flush()
            return
    # The interpreter would complain about the closed pipe once more when it ends.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


@trace_app.command(epilog="Example: credline trace stats runs/mordenite_001 --json")
def stats(
    run: Run,
    as_json: Json = False,
) -> None:
    """Print how long calls took, how much slack steps had, how late waits ended, which slots were lost."""
    from engine.record.trace import read_trace
    from engine.views.stats import TraceStats

    document = TraceStats.read(read_trace(run)).document()
    if as_json:
        typer.echo(json.dumps(document))
        return
    from engine.commands.statstables import print_tables

    print_tables(document)


@trace_app.command(epilog="Example: credline trace plot runs/mordenite_001 -o timing.svg")
def plot(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="PNG, SVG or HTML file; default: <run>-timing.png, here.")
    ] = None,
) -> None:
    """Draw the timing strip: states, steps in their budgets, devices; what was over budget or lost in red. An HTML file
    is a page that a browser zooms.
    """
    from engine.record.trace import open_trace
    from engine.views.strip import draw_strip
    from engine.views.zoom import page

    name = _name_of(run)
    picture = out or Path(f"{name}-timing.png")
    if picture.suffix.lower() not in PICTURES:
        raise Refused(f"-o {picture}: neither .png nor .svg nor .html; nothing was drawn. Choose a name that ends so.")
    open_trace(run)  # refuse what is no trace before anything is loaded
    try:
        if picture.suffix.lower() == ".html":
            picture.write_text(page(run, name), encoding="utf-8")
        else:
            draw_strip(run, picture)
    except OSError as error:
        raise _unwritable(picture, error) from error
    typer.echo(str(picture))


def _name_of(run: Path) -> str:
    """What a trace is called: its run folder, or the file itself where it is none of a run folder, as an import is."""
    if run.is_dir() or run.name != TRACE_FILE:
        named = run.absolute().name if run.is_dir() else run.stem
    else:
        named = run.absolute().parent.name
    return named or "trace"


@trace_app.command(epilog="Example: credline trace export runs/mordenite_001 --format perfetto -o mordenite.json")
def export(
    run: Run,
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to make.")],
    format_: Annotated[ExportFormat, typer.Option("--format", help="perfetto: ui.perfetto.dev opens it.")],
) -> None:
    """Export a trace for the Perfetto viewer, or as Bluesky's event-model documents."""
    from engine.record.trace import open_trace
    from engine.views.bluesky import Documents, WallTime, bluesky_text
    from engine.views.perfetto import Perfetto, perfetto_text

    header, records = open_trace(run)
    if format_ is ExportFormat.PERFETTO:
        perfetto = Perfetto(header)
        _write_new(out, perfetto_text(perfetto, records))
        untimed = perfetto.untimed
    else:
        wall = WallTime.of_run(run, header)
        documents = Documents(header, wall)
        _write_new(out, bluesky_text(documents, records))
        untimed = documents.untimed
        if not wall.known:
            typer.echo("no run.json beside the trace: its times count from 1970-01-01", err=True)
    if untimed:
        typer.echo(f"{untimed} records without a known time were left out", err=True)
    typer.echo(str(out))


@trace_app.command("import", epilog="Example: credline trace import their.log -o run.jsonl")
def import_log(
    log: Annotated[Path, typer.Argument(help="What the program logged; docs/traces.md says in which file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The trace to make (.jsonl).")],
    second_log: Annotated[Path | None, typer.Argument(help="A second log, of a program that keeps two.")] = None,
    program: Annotated[
        str, typer.Option("--from", help="Which program logged; may be left out when one importer is installed.")
    ] = "",
) -> None:
    """Make a trace of what another program logged; what its logs do not tell stays unknown."""
    from engine.run.registry import registered

    importers = registered("importers")
    known = ", ".join(sorted(importers)) or "none"
    if not program and len(importers) != 1:
        raise Refused(f"--from: say which program logged; nothing was written. Importers are installed for: {known}.")
    point = next(iter(importers.values())) if not program else importers.get(program)
    if point is None:
        raise Refused(f"--from: {shown(program)!r} is not known; nothing was written. Installed are: {known}.")
    imported = point.load()(log, second_log)
    _write_new(out, imported.lines())
    for warning in imported.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{out}: {imported.summary}")


def _write_new(path: Path, pieces: Iterable[str]) -> None:
    """Write a file that is not there yet; an export that fails leaves nothing behind."""
    if path.exists():
        raise Refused(f"-o {path}: is there already, and was not touched. Choose another name, or move it away.")
    try:
        with replacing(path, of_this_process()) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: {error.strerror or error}; it was not written, and the run is untouched. Choose a folder with room "
        "that you may write to."
    )
