"""Which crystals are for a data collection, as the paper chooses them: isolated, with a pattern, and scored as good.

Isolated is what the finder calls so: 1.5 um and more from the next crystal, 0.5 um and more from the edge of the image
(Cichocka et al., 2018, section 4.2).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.serialed.results.crystaltable import CrystalRow


@dataclass(frozen=True, slots=True)
class Selection:
    """How many crystals are left after each step, as the paper counts them. unscored: isolated ones with a pattern that
    has no score, so that nobody knows.
    """

    found: int
    patterns: int
    isolated: int
    good: int
    unscored: int

    def words(self) -> str:
        """In one sentence."""
        more = f"; {self.unscored} isolated ones have no score" if self.unscored else ""
        return (
            f"{self.found} crystals found, {self.patterns} with a pattern, {self.isolated} of these isolated, "
            f"{self.good} of these good{more}"
        )


def selection(rows: Sequence[CrystalRow]) -> Selection:
    """Of all crystals of a run."""
    isolated = [row for row in rows if row.pattern >= 0 and row.is_isolated]
    return Selection(
        len(rows),
        sum(row.pattern >= 0 for row in rows),
        len(isolated),
        sum(row.is_good for row in isolated),
        sum(row.score_good is None for row in isolated),
    )


def selected(rows: Iterable[CrystalRow]) -> list[CrystalRow]:
    """The isolated and good ones, the best first."""
    chosen = [row for row in rows if row.is_isolated and row.is_good]
    return sorted(chosen, key=lambda row: (-(row.score_good or 0.0), row.number))


def best(rows: Iterable[CrystalRow]) -> list[CrystalRow]:
    """All with a score, the best first."""
    scored = [row for row in rows if row.score_good is not None]
    return sorted(scored, key=lambda row: (-(row.score_good or 0.0), row.number))
