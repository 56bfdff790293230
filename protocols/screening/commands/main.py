"""Which crystal is worth a cRED run: diffraction patterns scored by a network.

The group of commands `credline screening`: score frames, make labelled patterns, train and judge networks.
"""

import typer

from protocols.screening.commands.learning import evaluate, train
from protocols.screening.commands.predict import predict
from protocols.screening.commands.simulate import simulate

screening_app = typer.Typer(
    name="screening",
    help="Which crystal is worth a cRED run: diffraction patterns scored by a network.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@screening_app.callback()
def _group() -> None:
    """Which crystal is worth a cRED run: diffraction patterns scored by a network."""


screening_app.command(epilog="Example: credline screening predict data/ --out scores")(predict)
screening_app.command(epilog="Example: credline screening simulate --patterns 200 --out patterns.h5")(simulate)
screening_app.command(epilog="Example: credline screening train --out mynetwork")(train)
screening_app.command(epilog="Example: credline screening evaluate --seed 7")(evaluate)
