"""What the fields so far had, and what that says of those to come: behind bars, and whether crystals are likely."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from protocols.serialed.finding.crystals import Found
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.raster import NM_PER_UM, Field

BARREN = 0.05
"""A field with less film than this has none: a bar, or a hole as large as the field."""
RECENT = 20
MOSTLY_EMPTY = 0.15
"""Where more of the recent fields were empty, it is waited for the finder before the lenses are changed: that costs
some 0.1 s a field, and saves a change there and back where there is nothing."""
NEAR = 0.6
"""Folded onto one window of the mesh, fields nearer than this share of a step show the same."""
WITNESSES = 2


@dataclass(slots=True)
class FieldMap:
    """Fields that were looked at: whether they had film, whether they had crystals."""

    plan: SerialedPlan
    _seen: dict[int, tuple[Field, bool]] = field(default_factory=dict)
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    crystals: int = 0

    @property
    def waits(self) -> bool:
        """Whether crystals are so rare that it pays to know first."""
        return len(self._recent) >= 3 and self._recent.count(False) > MOSTLY_EMPTY * len(self._recent)

    def learn(self, seen: Iterable[tuple[int, bool]], fields: Sequence[Field]) -> None:
        """What an earlier run saw: numbers of fields, and whether they were barren."""
        self._seen |= {number: (fields[number - 1], barren) for number, barren in seen if number <= len(fields)}

    def learned(self, where: Field, found: Found | None) -> str:
        """Take note of a field; how it ends where it has no crystals."""
        if found is None:
            return "lost"
        barren = found.film < BARREN and not found.crystals
        self._seen[where.number] = where, barren
        self._recent.append(bool(found.crystals))
        self.crystals += len(found.crystals)
        return "barren" if barren else "no crystals"

    def skips(self, where: Field) -> str:
        """Why a field is not worth going to; empty where it is, or nobody can tell."""
        pitch_nm = self.plan.grid_pitch_um * NM_PER_UM
        if not pitch_nm or sum(not barren for _, barren in self._seen.values()) < WITNESSES:
            return ""  # where no film was seen yet, all may be dark for another reason
        near_nm = NEAR * self.plan.step_um * NM_PER_UM
        same = [barren for other, barren in self._seen.values() if _folded_nm(where, other, pitch_nm) <= near_nm]
        return "bar" if len(same) >= WITNESSES and all(same) else ""

    def words(self, total: int) -> str:
        """How the run ended, for its reason."""
        if not self.crystals:
            return f"all {total} fields done, and no crystal was found: is there a sample, and film, in the region?"
        return f"all {total} fields done"


def _folded_nm(one: Field, other: Field, pitch_nm: float) -> float:
    """How far two fields are apart within the window of the mesh, whose bars lie along x and y."""
    dx, dy = (abs(math.remainder(a - b, pitch_nm)) for a, b in ((one.x_nm, other.x_nm), (one.y_nm, other.y_nm)))
    return max(dx, dy)
