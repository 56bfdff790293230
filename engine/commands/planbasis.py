"""What a plan was prepared from, for a person: each fact with its origin, what nobody knows so far, what differs."""

import typer
from rich.table import Table

from engine.commands.tables import print_whole
from engine.run.planbasis import PlanBasis


def print_basis(basis: PlanBasis) -> None:
    """Print it on standard output, below the plan."""
    if basis.rows:
        table = Table("part", "facts", "from", title="prepared from", title_justify="left")
        for row in basis.rows:
            table.add_row(*row)
        print_whole(table)
    for part in basis.undeclared:
        typer.echo(f"- All facts are told by the instrument: the driver {part} declares none to compare with.")
    for name, words in basis.unknown.items():
        typer.echo(f"- Not known so far: {name} ({words}).")
    for line in basis.differences:
        typer.echo(f"- The instrument tells otherwise than its driver declares: {line}.")
