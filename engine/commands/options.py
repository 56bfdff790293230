"""Options that several commands have in common. As light as the command line itself: every command imports it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import shown


class ClockKind(StrEnum):
    """Which time a command lives in."""

    REAL = "real"
    VIRTUAL = "virtual"


DEVICES_VARIABLE = "CREDLINE_DEVICES"


def say_where_from(context: typer.Context, option: typer.CallbackParam, value: str) -> str:
    """Say which devices are used where nobody named them in this command: a variable is set long before."""
    source = context.get_parameter_source(option.name or "")
    if source is not None and source.name == "ENVIRONMENT" and not context.resilient_parsing:
        typer.echo(f"devices: {shown(value)}, as {DEVICES_VARIABLE} says", err=True)
    return value


Protocol = Annotated[str, typer.Argument(help="Which experiment, by its name, as in the example.")]
Config = Annotated[Path | None, typer.Option("--config", help="Plan as a TOML file; see examples/.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="One key of the plan, key=value; repeatable.")]
Devices = Annotated[
    str,
    typer.Option(
        "--devices",
        envvar=DEVICES_VARIABLE,
        callback=say_where_from,
        help="A registered driver, or a devices file (.toml).",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**62, help="Seed of everything random in a simulation.")]
Json = Annotated[bool, typer.Option("--json", help="Result as JSON in the last line of output.")]
Jobs = Annotated[int, typer.Option("--jobs", min=0, help="Processes; 0 = one for each processor.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Compute on a cluster of Dask: tcp://HOST:PORT.")]
