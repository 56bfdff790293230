"""How well patterns were scored: good and bad, by kind; how far they diffract; one lattice or several.

Borderline patterns count in none of these figures. Which are taken for good is asked twice: at a probability of 0.5,
and at that which calls RECALL of the good ones good, so that methods are compared that are more or less strict.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.screening.calibration import calibration_error
from protocols.screening.examples import KINDS, Examples
from protocols.screening.labels import Kind
from protocols.screening.model import Answers
from protocols.zones.sorting.metrics import area_under_curve

RECALL = 0.95


@dataclass(frozen=True, slots=True)
class Figures:
    """auc: of good against bad. ece: expected calibration error. recall: of the good ones, those called good at 0.5.

    false_good: by kind of bad, the share called good at a recall of RECALL; false_good_at_half: at 0.5. count: how many
    there are of each kind. d_min_error: median |d - d_true| / d_true; several_auc: of one lattice against several.
    """

    accuracy: float
    auc: float
    ece: float
    recall: float
    false_good: dict[Kind, float]
    false_good_at_half: dict[Kind, float]
    count: dict[Kind, int]
    d_min_error: float
    several_auc: float

    def record(self) -> dict[str, Any]:
        """For JSON, rounded; None for what is not defined."""
        told = {name: _rounded(getattr(self, name)) for name in ("accuracy", "auc", "ece", "recall")}
        return {
            **told,
            "false_good": {kind.value: _rounded(share) for kind, share in self.false_good.items()},
            "d_min_error": _rounded(self.d_min_error),
            "several_auc": _rounded(self.several_auc),
        }


def figures(of: Examples, answers: Answers) -> Figures:
    """Of answers about these patterns."""
    judged, good = of.judged, of.good
    sure = answers.good
    bad = judged & ~good
    several = judged & (of.lattices > 1)
    one = judged & (of.lattices == 1)
    enough = float(np.quantile(sure[good], 1 - RECALL)) if good.any() else 0.5
    kinds = {kind: bad & (of.kind == number) for number, kind in enumerate(KINDS)}
    known = np.isfinite(of.d_min_A) & np.isfinite(answers.d_min_A) & judged
    off = np.abs(answers.d_min_A[known] / of.d_min_A[known] - 1)
    return Figures(
        accuracy=_mean((sure > 0.5)[judged] == good[judged]),
        auc=area_under_curve(sure[good], sure[bad]),
        ece=calibration_error(sure[judged], good[judged]),
        recall=_mean(sure[good] > 0.5),
        false_good={kind: _mean(sure[own] >= enough) for kind, own in kinds.items() if own.any()},
        false_good_at_half={kind: _mean(sure[own] > 0.5) for kind, own in kinds.items() if own.any()},
        count={kind: int(own.sum()) for kind, own in kinds.items() if own.any()},
        d_min_error=float(np.median(off)) if len(off) else float("nan"),
        several_auc=area_under_curve(*(answers.several[own] for own in (several, one)))
        if np.isfinite(answers.several).all()
        else float("nan"),
    )


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _rounded(value: float) -> float | None:
    return round(value, 5) if np.isfinite(value) else None
