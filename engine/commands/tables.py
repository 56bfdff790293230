"""Tables on terminals of any width: words are folded where the room is short, and no figure is ever cut."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

WIDEST = 10_000
WORD_LETTERS = 12
"""Longer words of a column of text are folded where there is no room for them."""


def print_whole(*tables: "Table", to_stderr: bool = False) -> None:
    """Print tables, each as wide as its figures (to the right, or not to be wrapped) and its words need, even where the
    terminal is narrower.

    The terminal folds such lines itself; a figure without its last digits would be another figure.
    """
    from rich.console import Console
    from rich.measure import Measurement

    for table in tables:
        console = Console(stderr=to_stderr)
        options = console.options.update(max_width=WIDEST)
        for column in table.columns:
            sizes = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
            column.min_width = max(size.maximum if column.no_wrap else size.minimum for size in sizes)
            if column.justify != "right" and not column.no_wrap:
                column.min_width, column.overflow = min(column.min_width, WORD_LETTERS), "fold"
        console.width = max(console.width, Measurement.get(console, options, table).minimum)
        console.print(table, crop=False)
