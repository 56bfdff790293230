"""The bar of a command that goes through many things, on a terminal alone; what is printed stands above it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """To be called with how many are done, of how many where that is known, and a note that stands beside the words."""

    def __call__(self, done: int, total: int | None, note: str = "") -> None:
        """What is shown from now on."""
        ...


class Tell(Protocol):
    """The same for work of several parts: `what` is a part, which has a bar of its own from the first time on."""

    def __call__(self, what: str, done: int, total: int | None, note: str = "") -> None:
        """What is shown of this part from now on."""
        ...


@contextmanager
def bars() -> Iterator[Tell]:
    """For work of several parts. Nothing where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int | None, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total, description=f"{what} {note}".rstrip())

        yield tell


@contextmanager
def bar(what: str) -> Iterator[Advance]:
    """For work of one part; shown from the beginning."""
    with bars() as tell:

        def advance(done: int, total: int | None, note: str = "") -> None:
            tell(what, done, total, note)

        advance(0, None)
        yield advance
