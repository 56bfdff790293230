"""Rotation ranges of many runs: their histogram, and the shares by which Cichocka et al. (2018, Fig. 4) tell theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.cred.statistics.row import RunRow

BIN_DEG = 10.0
LEAST_BINS = 14
SHORT_DEG, LONG_DEG, LONGEST_DEG = 20.0, 80.0, 120.0
BAR = 50
"""Letters of the longest bar."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Of the runs that began. below_20: share that ended before 20 deg were covered; above_80, above_120: share that
    came further than that, of those whose holder allows it. median_deg: of all.
    """

    runs: int
    below_20: float
    above_80: float
    above_120: float
    median_deg: float


def ranges_of(runs: Sequence[RunRow]) -> Ranges:
    """The shares; all 0 without runs."""
    covered = sorted(run.range_deg for run in runs)

    def above(range_deg: float) -> float:
        can = [run for run in runs if run.holder_deg is None or run.holder_deg > range_deg]
        return sum(run.range_deg > range_deg for run in can) / len(can) if can else 0.0

    count = len(covered)
    return Ranges(
        count,
        sum(range_deg < SHORT_DEG for range_deg in covered) / count if count else 0.0,
        above(LONG_DEG),
        above(LONGEST_DEG),
        (covered[(count - 1) // 2] + covered[count // 2]) / 2 if count else 0.0,
    )


def bins_of(runs: Sequence[RunRow]) -> list[int]:
    """How many runs end in each BIN_DEG from 0 on."""
    bins = [0] * max([LEAST_BINS, *(int(run.range_deg // BIN_DEG) + 1 for run in runs)])
    for run in runs:
        bins[int(run.range_deg // BIN_DEG)] += 1
    return bins


def histogram_lines(runs: Sequence[RunRow]) -> list[str]:
    """The histogram as text, a line for each bin."""
    bins = bins_of(runs)
    most = max(bins) or 1
    lines = []
    for number, count in enumerate(bins):
        begin, bar = number * BIN_DEG, "#" * -(-count * BAR // most)
        lines.append(f"{begin:4.0f} to {begin + BIN_DEG:3.0f} deg {count:5d}  {bar}".rstrip())
    return lines


def summary_lines(runs: Sequence[RunRow]) -> list[str]:
    """The shares as sentences, beside the paper's."""
    told = ranges_of(runs)
    return [
        f"{told.runs} run{'' if told.runs == 1 else 's'}, median {told.median_deg:.1f} deg",
        f"ended before 20 deg: {told.below_20:.0%} (Cichocka et al., 2018: 24 %)",
        f"more than 80 deg: {told.above_80:.0%} (50 %); more than 120 deg: {told.above_120:.0%}",
    ]
