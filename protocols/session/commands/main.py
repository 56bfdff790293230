"""What is done with the data sets of a session beside the session itself (`credline run session`)."""

import typer

from protocols.session.commands.merge import merge
from protocols.session.commands.report import report

session_app = typer.Typer(
    name="session",
    help="What is done with the data sets of a session beside the session itself (`credline run session`).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@session_app.callback()
def _group() -> None:
    """What is done with the data sets of a session beside the session itself (`credline run session`)."""


session_app.command(epilog="Example: credline session merge runs/session_001 --dials")(merge)
session_app.command(epilog="Example: credline session report runs/session_001")(report)
