"""`credline session merge`: phases, and their data sets merged; docs/session-results.md."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands.options import Jobs, Json, Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from engine.record.jsonobject import JsonDict


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="A session, a folder of cRED runs, or several of them.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the files; else `merged` in the first DIR.")
    ] = None,
    d_min: Annotated[float, typer.Option("--d-min", min=0.3, max=20.0, help="Merge down to so many A.")] = 0.8,
    dials: Annotated[
        bool, typer.Option("--dials", help="Also process and scale with DIALS, at low priority; minutes a data set.")
    ] = False,
    jobs: Jobs = 0,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Tell the phases of data sets apart by their cells, and merge the intensities of each.

    Exit status: 0 something was merged; 1 nothing could be; 2 refused.
    """
    from engine.commands.bar import bars
    from engine.commands.tables import print_whole
    from engine.errors import Refused
    from engine.executor import executor_of
    from engine.interrupts import remember_interrupts
    from protocols.session.judging.dialsjobs import is_installed
    from protocols.session.judging.gathered import gathered
    from protocols.session.judging.mergedfiles import FOLDER
    from protocols.session.judging.mergejob import merge_all

    if dials and scheduler is None and not is_installed():
        raise Refused(
            "--dials: the programs of DIALS are not on the PATH; nothing was done. Install DIALS, or leave it out."
        )
    remember_interrupts()
    runs = gathered(folders)
    with bars() as tell:
        place = out or folders[0] / FOLDER
        sees = [*folders, place.parent]
        told = merge_all(runs, place, d_min, lambda: executor_of(jobs, scheduler, sees), tell, dials)
    if out is None:
        _report(folders[0])
    print_whole(_table(told["phases"]), to_stderr=as_json)
    for line in _words(told):
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(told))
    raise typer.Exit(0 if any(phase["merged"] for phase in told["phases"]) else 1)


def _report(folder: Path) -> None:
    """A session's page with what was merged."""
    from engine.errors import CredlineError
    from protocols.session.report.page import write_report
    from protocols.session.report.source import open_session

    try:
        write_report(open_session(folder))
    except CredlineError:
        pass  # a folder of runs, or a session whose records are lost: what was merged stands in merged.json


def _table(phases: "Sequence[JsonDict]") -> "Table":
    from rich.table import Table

    table = Table("phase")
    for head in ("lattice, cell (A, deg)", "group"):
        table.add_column(head, no_wrap=True)
    for head in ("sets", "merged", "d_min A", "complete", "attainable", "times", "R_meas", "CC1/2", "observations"):
        table.add_column(head, justify="right")
    for phase in phases:
        table.add_row(
            str(phase["number"]),
            f"{phase['lattice']} {' '.join(f'{value:.2f}' for value in phase['cell'])}",
            phase["group"],
            str(len(phase["data_sets"])),
            str(len(phase["merged"])),
            f"{phase['d_min_A']:.2f}",
            _share(phase.get("completeness")),
            _share(phase["attainable"]),
            _figure(phase.get("multiplicity"), 1),
            _figure(phase.get("r_meas"), 3),
            _figure(phase.get("cc_half"), 4),
            str(phase.get("observations", 0)),
        )
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _words(told: "JsonDict") -> "list[str]":
    lines = []
    for phase in told["phases"]:
        name = f"phase {phase['number']}"
        lines.append(f"{name}: {phase['attainable_words']}")
        lines += [f"{name}: {doubt}" for doubt in phase["doubts"]]
        lines += [f"{name}: data set {each['number']} left out: {each['why']}" for each in phase["left_out"]]
        if (by_dials := phase.get("dials")) is not None:
            lines.append(f"{name}: {_dials_words(by_dials)}")
    lines += [f"data set {each['number']}: of no phase: {each['why']}" for each in told["unplaced"]]
    if not told["phases"]:
        lines.append("no phase: no data set has a cell")
    return [*lines, f"written: {told['folder']}"]


def _dials_words(told: "JsonDict") -> str:
    if told["why_not"]:
        return f"DIALS: {told['why_not']}"
    return (
        f"dials.scale: {_share(told['completeness'])} complete, {_figure(told['multiplicity'], 1)} times, R_meas "
        f"{_figure(told['r_meas'], 3)}, CC1/2 {_figure(told['cc_half'], 3)}"
    )
