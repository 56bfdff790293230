"""How well patterns were sorted: recall, precision, balanced accuracy and AUC, hybrids apart.

Accuracy is not among them: who calls everything three-dimensional is right in 97 of 100 patterns. Hybrids (one to
three reflections outside the plane) are between the classes: they count neither for nor against recall, specificity,
balanced accuracy and AUC; how many are called zonal is said beside these, and precision is given without and with them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.zones.sorting.labels import HYBRID, ZONE

LEVEL = 0.95
"""Of all confidence intervals."""


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `of`, with the interval of Wilson (1927), which holds for shares near 0 and 1 and small numbers too."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share itself; NaN for none of none."""
        return self.hits / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval; (0, 1) for none of none."""
        if not self.of:
            return 0.0, 1.0
        from scipy.stats import binomtest

        ends = binomtest(self.hits, self.of).proportion_ci(LEVEL, method="wilson")
        return float(ends.low), float(ends.high)

    def __str__(self) -> str:
        """Value and interval in one line."""
        low, high = self.interval
        return f"{self.value:.4f} ({low:.4f}-{high:.4f}; {self.hits}/{self.of})"

    def record(self) -> dict[str, Any]:
        """For JSON; a value that is not defined is None."""
        low, high = self.interval
        return {"value": self.value if self.of else None, "low": low, "high": high, "hits": self.hits, "of": self.of}


@dataclass(frozen=True, slots=True)
class Figures:
    """How a set of patterns was sorted.

    recall: zonal ones called zonal. specificity: three-dimensional ones, and those of several crystals or of none, not
    called zonal. precision: zonal ones among those called zonal, without hybrids; `precision_with_hybrids`: hybrids
    called zonal count as wrong. hybrids: those called zonal among the hybrids. auc: of the scores; NaN without scores
    or with one class only.
    """

    recall: Share
    specificity: Share
    precision: Share
    precision_with_hybrids: Share
    hybrids: Share
    auc: float

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall and specificity."""
        return (self.recall.value + self.specificity.value) / 2

    @property
    def balanced_accuracy_interval(self) -> tuple[float, float]:
        """95 % interval from the two Wilson intervals by Newcombe's square-and-add (Stat. Med. 17, 873, 1998)."""
        mean = self.balanced_accuracy
        below = above = 0.0
        for share in (self.recall, self.specificity):
            low, high = share.interval
            below += (share.value - low) ** 2
            above += (high - share.value) ** 2
        return float(mean - np.sqrt(below) / 2), float(mean + np.sqrt(above) / 2)

    def record(self) -> dict[str, Any]:
        """For JSON; what is not defined is None."""
        low, high = self.balanced_accuracy_interval
        balanced = {"value": self.balanced_accuracy, "low": low, "high": high}
        return {
            "recall": self.recall.record(),
            "specificity": self.specificity.record(),
            "precision": self.precision.record(),
            "precision_with_hybrids": self.precision_with_hybrids.record(),
            "hybrids_called_zonal": self.hybrids.record(),
            "balanced_accuracy": {name: value if np.isfinite(value) else None for name, value in balanced.items()},
            "auc": self.auc if np.isfinite(self.auc) else None,
        }


def figures(
    label: NDArray[np.integer], called: NDArray[np.bool_], score: NDArray[np.floating] | None = None
) -> Figures:
    """Figures of n patterns: (n,) true label (index into `labels.LABELS`), whether called zonal, and a score.

    score: larger means more likely zonal; only its order matters.
    """
    true, hybrid = label == ZONE, label == HYBRID
    other = ~(true | hybrid)
    called = np.asarray(called, dtype=bool)
    right, wrong, between = (int((called & kind).sum()) for kind in (true, other, hybrid))
    return Figures(
        recall=Share(right, int(true.sum())),
        specificity=Share(int(other.sum()) - wrong, int(other.sum())),
        precision=Share(right, right + wrong),
        precision_with_hybrids=Share(right, right + wrong + between),
        hybrids=Share(between, int(hybrid.sum())),
        auc=float("nan") if score is None else area_under_curve(score[true], score[other]),
    )


def area_under_curve(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Probability that a positive scores higher than a negative, ties counting half (Mann-Whitney); NaN without one."""
    from scipy.stats import rankdata

    if not len(positive) or not len(negative):
        return float("nan")
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    above = float(ranks.sum()) - len(positive) * (len(positive) + 1) / 2
    return above / (len(positive) * len(negative))
