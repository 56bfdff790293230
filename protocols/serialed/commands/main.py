"""SerialED: what is done with a grid of crystals beside the run itself (`credline run serialed`).

The group of commands `credline serialed`: bring a crystal of an earlier run back under the beam, judge the finder.
"""

import typer

from protocols.serialed.commands.evaluate import evaluate
from protocols.serialed.commands.recall import recall

serialed_app = typer.Typer(
    name="serialed",
    help="SerialED: what is done with a grid of crystals beside the run itself (`credline run serialed`).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@serialed_app.callback()
def _group() -> None:
    """SerialED: what is done with a grid of crystals beside the run itself (`credline run serialed`)."""


serialed_app.command(epilog="Example: credline serialed recall runs/grid_001/crystals.csv 17")(recall)
serialed_app.command(epilog="Example: credline serialed evaluate --seed 7")(evaluate)
