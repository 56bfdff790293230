"""A campaign: many experiments, each by hand and with automatic tracking, and what they come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.executor import Executor
from engine.record.runtable import add_row
from protocols.cred.campaign.automatic import AutomaticRun, automatically
from protocols.cred.campaign.hand import HandRun, by_hand
from protocols.cred.campaign.population import Experiment, experiment
from protocols.cred.statistics.histogram import Ranges, ranges_of
from protocols.cred.statistics.row import RunRow

SHORT_OF_DEG = 3.0
"""An automatic run that ends so far before it had to is looked at."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one experiment."""

    experiment: Experiment
    hand: HandRun
    automatic: AutomaticRun

    @property
    def hand_row(self) -> RunRow:
        """As a run by hand is counted."""
        hand = self.hand
        tracking = "by hand" if hand.tracked else "off"
        return self._row(hand.reason, hand.range_deg, hand.planned_deg, tracking)

    @property
    def automatic_row(self) -> RunRow:
        """As a run with automatic tracking is counted."""
        run = self.automatic
        return self._row(run.reason, run.range_deg, run.planned_deg, "correct")

    @property
    def is_short(self) -> bool:
        """Whether automatic tracking kept the crystal for less than it could be seen."""
        return self.automatic.range_deg < self.experiment.allowed_deg - SHORT_OF_DEG

    def _row(self, reason: str, range_deg: float, planned_deg: float, tracking: str) -> RunRow:
        of = self.experiment
        return RunRow(str(of.number), "done", reason, range_deg, planned_deg, of.allowed_deg, tracking)


def one(number: int, seed: int, worse: float) -> Outcome:
    """The number-th experiment of a campaign."""
    drawn = experiment(seed, number, worse)
    return Outcome(drawn, by_hand(seed, drawn), automatically(drawn))


def campaign(
    executor: Executor, experiments: int, seed: int, worse: float, progress: Callable[[int], None]
) -> list[Outcome]:
    """All of them, by their number. progress: told how many are there."""
    outcomes = []
    for outcome in executor.each(partial(one, seed=seed, worse=worse), range(experiments)):
        outcomes.append(outcome)
        progress(len(outcomes))
    return sorted(outcomes, key=lambda each: each.experiment.number)


def both(outcomes: Sequence[Outcome]) -> tuple[Ranges, Ranges]:
    """By hand, and automatic. Those that came farther than 80 and 120 deg are counted of the experiments in which
    holder and grid allow it.
    """
    return ranges_of([each.hand_row for each in outcomes]), ranges_of([each.automatic_row for each in outcomes])


def write_table(outcomes: Sequence[Outcome], path: Path) -> None:
    """A row for each experiment, as CSV; an older file of this name is replaced. Raises OSError."""
    path.unlink(missing_ok=True)
    for each in outcomes:
        of, hand, run = each.experiment, each.hand, each.automatic
        row = {
            "experiment": of.number,
            "crystal_seed": of.crystal_seed,
            "holder_deg": of.limit_deg,
            "start_deg": of.start_deg,
            "range_deg": of.range_deg,
            "allowed_deg": of.allowed_deg,
            "hand_tracked": int(hand.tracked),
            "hand_deg": hand.range_deg,
            "hand_reason": hand.reason,
            "auto_deg": run.range_deg,
            "auto_reason": run.reason,
            "auto_median_nm": run.median_nm,
            "auto_worst_nm": run.worst_nm,
        }
        add_row(path, row)
