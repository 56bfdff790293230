"""A module that is never imported to its end."""

from threading import Event

Event().wait()


def nothing() -> None:
    """Cannot be called."""
