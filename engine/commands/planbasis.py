"""What a plan was prepared from, for a person: each fact with its origin, what nobody knows so far, what differs."""

from collections.abc import Sequence

import typer
from rich.table import Table

from engine.commands.tables import print_whole
from engine.run.planbasis import PlanBasis

WHOLE = ("geometry", "timing", "tracking")
"""What is known of the instrument as a whole, beside its parts."""


def print_basis(basis: PlanBasis, needs: Sequence[str], full: bool) -> None:
    """Print it on standard output, below the plan. needs: the parts of the experiment; without any, all are shown.

    full: the facts themselves too, not only what is not known of them.
    """
    shown = [row for row in basis.rows if not needs or row[0] in (*WHOLE, *needs)]
    if shown and full:
        table = Table("part", "facts", "from", title="prepared from", title_justify="left")
        for row in shown:
            table.add_row(*row)
        print_whole(table)
    for part in basis.undeclared:
        typer.echo(f"- All facts are told by the instrument: the driver {part} declares none to compare with.")
    for name, words in basis.unknown.items():
        typer.echo(f"- Not known so far: {name} ({words}).")
    for line in basis.differences:
        typer.echo(f"- The instrument tells otherwise than its driver declares: {line}.")
