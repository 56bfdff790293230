"""Options that several commands have in common. As light as the command line itself: every command imports it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ClockKind(StrEnum):
    """Which time a command lives in."""

    REAL = "real"
    VIRTUAL = "virtual"


Protocol = Annotated[str, typer.Argument(help="Which experiment, by its name, as in the example.")]
Config = Annotated[Path | None, typer.Option("--config", help="Plan as a TOML file; see examples/.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="One key of the plan, key=value; repeatable.")]
Devices = Annotated[str, typer.Option("--devices", help="A registered driver, or a devices file (.toml).")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**62, help="Seed of everything random in a simulation.")]
Json = Annotated[bool, typer.Option("--json", help="Result as JSON in the last line of output.")]
