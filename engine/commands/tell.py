"""`credline tell`: words for a run that is under way, from another terminal."""

from pathlib import Path
from typing import Annotated

import typer


def tell(
    run: Annotated[Path, typer.Argument(help="The folder of a run that is under way.")],
    words: Annotated[list[str], typer.Argument(help="What the experiment understands; its page says which.")],
) -> None:
    """Tell a run that is under way something. What comes of it, it says on its own terminal and in its trace."""
    from engine.run.telling import tell as give

    typer.echo(f"told {run.name}: {give(run, ' '.join(words))}")
