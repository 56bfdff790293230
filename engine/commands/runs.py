"""Look over run folders: what was measured, how it ended, where its report is.

The group of commands `credline runs`, loaded when one of them is used.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engine.commands.options import Json

runs_app = typer.Typer(
    help="Look over run folders: what was measured, how it ended, where its report is.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@runs_app.callback()
def _group() -> None:
    """Look over run folders: what was measured, how it ended, where its report is."""


@runs_app.command("list", epilog="Example: credline runs list runs")
def list_runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the run folders lie.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs in a folder and the runs within them, oldest first. Reads only.

    A folder that is no run is passed over; of one that cannot be read it is said why, and the list goes on.
    """
    from engine.run.runlist import read_runs

    runs, others = read_runs(folder)
    if as_json:
        typer.echo(json.dumps([run.as_json() for run in runs]))
        return
    if runs:
        for line in table([run.row() for run in runs], last="report, or folder"):
            typer.echo(line)
    else:
        typer.echo(f"{folder}: no runs in it.")
    for run in runs:
        if run.problem:
            typer.echo(run.problem, err=True)
    if others:
        typer.echo(f"{folder}: {others} more folder{'s' if others > 1 else ''} in it, not of runs.", err=True)


def table(rows: Sequence[dict[str, str]], last: str) -> list[str]:
    """Rows as aligned text, numbers to the right. A column is left out where no row has it.

    last: the column that comes last and is never cut or folded, for it is to be copied.
    """
    names = list(dict.fromkeys(name for row in rows for name in row if name != last))
    columns = [[name, *(row.get(name, "-") or "-" for row in rows)] for name in names]
    aligned = []
    for cells in columns:
        width = max(map(len, cells))
        to_right = all(cell == "-" or _is_number(cell) for cell in cells[1:])
        aligned.append([cell.rjust(width) if to_right else cell.ljust(width) for cell in cells])
    ends = [last, *(row.get(last, "-") for row in rows)]
    return ["  ".join(line).rstrip() for line in zip(*aligned, ends, strict=True)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
