"""The options of a driver, as a table of the devices file gives them: each checked when it is read.

Used by drivers in `connect`; every mistake becomes one line that names the key and the remedy, before anything was
started.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, TypeGuard

from engine.errors import Refused, shown

LARGEST = 1e300


def no_such_key(where: str, key: str, known: Iterable[str], what: str = "key") -> Refused:
    """Of a key that there is not: the nearest one, and all. where: a table in brackets, or the name of a driver."""
    near = get_close_matches(key, list(known), n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return Refused(
        f"devices: {where} has no {what} {shown(key)!r}; nothing was started. "
        f"{meant}{what.capitalize()}s are {', '.join(sorted(known))}."
    )


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether what a file or an instrument says is an ordinary number: finite, no truth value."""
    # Not math.isfinite: an integer may be too large for it.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


@dataclass(frozen=True, slots=True)
class Asked:
    """An option that a driver asks for: its key (`table.key`), its default as TOML has it ('' where it is left out),
    and what may stand there.
    """

    key: str
    default: str
    wanted: str


_asked: ContextVar[list[Asked] | None] = ContextVar("asked", default=None)


@contextmanager
def options_asked() -> Iterator[list[Asked]]:
    """The options that a driver asks for while it reads them in here, for a list of what there is."""
    found: list[Asked] = []
    token = _asked.set(found)
    try:
        yield found
    finally:
        _asked.reset(token)


def note_asked(key: str, default: object, wanted: str) -> None:
    """Note an option for `options_asked`; for readers of their own. A default of None, or an empty one, is left out."""
    found = _asked.get()
    if found is not None:
        empty = default is None or default in ((), {}, "")
        found.append(Asked(key, "" if empty else json.dumps(default, default=str), wanted))


class Options:
    """Reads the keys of one table; `finish` refuses those that were never asked for."""

    def __init__(self, driver: str, given: Mapping[str, Any], *, table: str = "") -> None:
        """table: its name within the driver's own table, for a table within that."""
        self._driver = driver
        self._given = dict(given)
        self._known: list[str] = []
        self._within = f"{table}." if table else ""

    def text(self, key: str, default: str, among: Sequence[str] = ()) -> str:
        """A word, one of `among` where that is given."""
        wanted = f"one of {', '.join(among)}" if among else f"a text in quotes, like {default!r}"
        value = self._take(key, default, wanted)
        if not isinstance(value, str) or not value or (among and value not in among):
            raise self._refused(key, value, wanted)
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        wanted = f"a number from {low:g} to {high:g}"
        value = self._take(key, default, wanted)
        if not is_number(value) or not low <= value <= high:
            raise self._refused(key, value, wanted)
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        wanted = f"a whole number from {low} to {high}"
        value = self._take(key, default, wanted)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refused(key, value, wanted)
        return value

    def server(self, port: int) -> tuple[str, int]:
        """`host` and `port` of the program that is driven; of this computer where no host is given."""
        host = self.text("host", "127.0.0.1")
        if any(mark in "/@?# " or not mark.isprintable() for mark in host) or host.count(":") == 1:
            raise self._refused("host", host, "a name or an address, with port as an option of its own")
        return host, self.whole("port", port, 1, 65535)

    def pair(self, key: str, default: tuple[float, float], low: float, high: float) -> tuple[float, float]:
        """Two rising numbers from `low` to `high`."""
        wanted = f"two rising numbers from {low:g} to {high:g}, like {list(default)}"
        values = self._take(key, default, wanted)
        if not (
            isinstance(values, list | tuple)
            and len(values) == 2
            and all(is_number(value) for value in values)
            and low <= values[0] < values[1] <= high
        ):
            raise self._refused(key, values, wanted)
        return float(values[0]), float(values[1])

    def rising(self, key: str) -> tuple[float, ...]:
        """A list of rising numbers above 0; empty where it is missing."""
        wanted = "a list of rising numbers above 0"
        values = self._take(key, (), wanted)
        if not (
            isinstance(values, list | tuple)
            and all(is_number(value) and value > 0 for value in values)
            and all(before < after for before, after in pairwise(values))
        ):
            raise self._refused(key, values, wanted)
        return tuple(float(value) for value in values)

    def part(self, key: str) -> "Options":
        """A table of options within this one; without any where it is missing."""
        given = self._taken(key, {})
        if not isinstance(given, Mapping):
            raise self._refused(key, given, f"a table; write [microscope.{key}] and its keys below")
        return Options(f"{self._driver}: [{key}]", given, table=f"{self._within}{key}")

    def flag(self, key: str, default: bool) -> bool:
        """A yes or no, written true or false."""
        value = self._take(key, default, "true or false")
        if not isinstance(value, bool):
            raise self._refused(key, value, "true or false")
        return value

    def table(self, key: str) -> Any:
        """A table, as it is, for a reader of its own; None where it is missing."""
        return self._take(key, None, "a table")

    def finish(self) -> None:
        """Raise Refused for a key that nobody asked for."""
        if self._given:
            raise no_such_key(self._driver, min(self._given), self._known, "option")

    def _take(self, key: str, default: Any, wanted: str) -> Any:
        note_asked(f"{self._within}{key}", default, wanted)
        return self._taken(key, default)

    def _taken(self, key: str, default: Any) -> Any:
        self._known.append(key)
        return self._given.pop(key, default)

    def _refused(self, key: str, value: object, wanted: str) -> Refused:
        return Refused(f"devices: {self._driver}: {key} = {shown(repr(value))} is not {wanted}; nothing was started.")
