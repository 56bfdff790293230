"""`credline session report`: the page of a session, made anew from its records; docs/session-results.md."""

from pathlib import Path
from typing import Annotated

import typer


def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a session.")]) -> None:
    """Make the page of a session, with what was merged since.

    Exit status: 0 made; 2 refused.
    """
    from protocols.session.report.page import write_report
    from protocols.session.report.source import open_session

    typer.echo(str(write_report(open_session(folder))))
