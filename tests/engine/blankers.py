"""Second connections for the tests of the watchdog: what they did stands in a file, a line for each attempt."""

import threading
from pathlib import Path


def _attempt(log: str) -> int:
    path = Path(log)
    attempts = len(path.read_text().splitlines()) if path.exists() else 0
    with path.open("a") as file:
        file.write("blank\n")
    return attempts + 1


def obedient(log: str) -> bool:
    """Blanks at once."""
    _attempt(log)
    return True


def unreachable_at_first(log: str) -> bool:
    """Refuses the first connection."""
    if _attempt(log) < 2:
        raise ConnectionRefusedError("nobody there")
    return True


def stuck_at_first(log: str) -> bool:
    """Never returns from the first call."""
    if _attempt(log) < 2:
        threading.Event().wait()
    return True


def unverified_at_first(log: str) -> bool:
    """Reads back as not blanked after the first call."""
    return _attempt(log) >= 2


def unreachable(log: str) -> bool:
    """Refuses every connection."""
    _attempt(log)
    raise ConnectionRefusedError("nobody there")
