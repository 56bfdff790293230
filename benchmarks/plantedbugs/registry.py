"""Bugs by their names, and the program with one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

Swap = tuple[object, str, object]
"""Of which class or module, which attribute, and what stands there instead."""
PLANTED: dict[str, Callable[[], list[Swap]]] = {}


def bug(name: str) -> Callable[[Callable[[], list[Swap]]], Callable[[], list[Swap]]]:
    """Register a bug under its name."""

    def register(plant: Callable[[], list[Swap]]) -> Callable[[], list[Swap]]:
        PLANTED[name] = plant
        return plant

    return register


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The program with one of the bugs, for as long as this lasts."""
    patches = [patch.object(*swap) for swap in PLANTED[name]()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()
