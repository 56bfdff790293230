"""Options that commands of `credline screening` have in common."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Method(StrEnum):
    """By what is scored."""

    NETWORK = "network"
    GEOMETRY = "geometry"


Model = Annotated[Path | None, typer.Option("--model", help="A network of your own (`credline screening train`).")]
