"""The fields of a region of the grid, numbered in the order in which they are visited, and the queue of those to come.

Pure. Rows along x of the stage, there and back, so that the way from one field to the next is one step.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import field as having

from engine.errors import Refused
from protocols.serialed.plan import SerialedPlan

NM_PER_UM = 1000.0
WORDS = re.compile(r"(next|skip|last)\s+(\d+(?:\s+\d+)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its number from 1, and the place of the stage that brings its middle into the picture's."""

    number: int
    x_nm: float
    y_nm: float


def fields_along(length_um: float, step_um: float) -> int:
    """How many fields lie side by side: each stands for one step of the region."""
    return max(1, round(length_um / step_um))


def total_fields(plan: SerialedPlan) -> int:
    """How many fields the region has."""
    return fields_along(plan.width_um, plan.step_um) * fields_along(plan.height_um, plan.step_um)


def raster(plan: SerialedPlan, centre_nm: tuple[float, float]) -> tuple[Field, ...]:
    """The fields of the region around a place, in their order."""
    columns, rows = (fields_along(length, plan.step_um) for length in (plan.width_um, plan.height_um))
    step_nm = plan.step_um * NM_PER_UM
    fields: list[Field] = []
    for row in range(rows):
        along = range(columns) if row % 2 == 0 else reversed(range(columns))
        for column in along:
            x_nm = centre_nm[0] + (column - (columns - 1) / 2) * step_nm
            y_nm = centre_nm[1] + (row - (rows - 1) / 2) * step_nm
            fields.append(Field(len(fields) + 1, x_nm, y_nm))
    return tuple(fields)


@dataclass(slots=True)
class Queue:
    """The numbers of the fields to come, in order; an operator may change it at any time."""

    numbers: list[int] = having(default_factory=list)

    @classmethod
    def of(cls, total: int, done: Iterable[int] = (), order: Sequence[int] = ()) -> "Queue":
        """All fields but those that are done. order: those that come first, in this order."""
        left = dict.fromkeys(number for number in (*order, *range(1, total + 1)) if 1 <= number <= total)
        gone = set(done)
        return cls([number for number in left if number not in gone])

    def take(self) -> int | None:
        """The next one, which is no longer in the queue; None at its end."""
        return self.numbers.pop(0) if self.numbers else None

    def told(self, words: str, total: int) -> str:
        """Change it as the operator says; what was done, in words. Raises Refused, nothing changed."""
        verb, named = parsed(words, total)
        there = [number for number in named if number in self.numbers]
        gone = [number for number in named if number not in self.numbers]
        if verb == "next":  # a field that was visited or skipped may be asked for again
            there, gone = list(named), []
        rest = [number for number in self.numbers if number not in named]
        if not there:
            raise Refused(f"{words!r}: none of these fields is still to come; nothing was changed.")
        self.numbers = {"next": [*there, *rest], "skip": rest, "last": [*rest, *there]}[verb]
        done = {"next": "come next", "skip": "are skipped", "last": "come last"}[verb]
        also = f"; not in the queue any more: {_listed(gone)}" if gone else ""
        return f"fields {_listed(there)} {done}; {len(self.numbers)} are to come{also}."


def parsed(words: str, total: int) -> tuple[str, tuple[int, ...]]:
    """`next`, `skip` or `last`, and the numbers of fields. Raises Refused for what is neither."""
    found = WORDS.fullmatch(" ".join(words.split()).lower())
    if found is None:
        raise Refused(
            f"{words!r} is not understood; nothing was changed. Say next, skip or last, and numbers of fields: "
            "next 17, skip 30 31 32, last 5."
        )
    numbers = tuple(dict.fromkeys(int(number) for number in found[2].split()))
    if outside := [number for number in numbers if not 1 <= number <= total]:
        raise Refused(f"field {outside[0]}: this run has fields 1 to {total}; nothing was changed.")
    return found[1], numbers


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
