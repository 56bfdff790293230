"""Frames to scores: the network where there is TensorFlow, the geometry of the spots where there is none.

`Scorer` is for whoever has frames in hand, in a process in which TensorFlow may be loaded: the workers of the commands
and of a run. Nothing is loaded before the first frame.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused
from protocols.learning.framework import limit_threads
from protocols.screening.geometric import geometric_score
from protocols.screening.model import Model, Prepared, load, prepared
from protocols.screening.networks import Which
from protocols.screening.preprocessing import paper_input

SEVERAL_FROM = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """Of one frame. good: probability that the crystal is worth a run; by geometry alone it only orders.

    d_min_A: how far it diffracts; None where that is not told. several: probability of more than one lattice. why: in
    words, what speaks against it, or how far it goes.
    """

    good: float
    d_min_A: float | None
    several: float
    why: str


class Scorer:
    """Scores by the network of a folder; None: by the one that comes with credline.

    threads: that TensorFlow may use, where this is the first that is asked of it in the process; None: as it likes.
    note: what a person should know: that the network could not be used and the geometry took its place. Empty before
    the first frame.
    """

    def __init__(self, path: Path | None = None, threads: int | None = None) -> None:
        self._path = path
        self._threads = threads
        self.note = ""

    def score(self, frames: NDArray[Any], inverse_A_per_px: float | NDArray[np.float64]) -> list[Score]:
        """Of (n, slow, fast) frames of any number type; 1/A a pixel of all, or (n,) of each.

        Some 4 ms each for 516 x 516.

        Refused for a wrong or damaged model, and where a model was named and TensorFlow is missing.
        """
        model = self._model
        if model is None:
            return by_geometry(frames, inverse_A_per_px)
        paper = model.which is Which.PAPER
        said = model.answers(Prepared(paper_input(frames)) if paper else prepared(frames, inverse_A_per_px))
        return [
            _score(good, d_min_A, several)
            for good, d_min_A, several in zip(
                said.good.tolist(), said.d_min_A.tolist(), said.several.tolist(), strict=True
            )
        ]

    @functools.cached_property
    def _model(self) -> Model | None:
        try:
            if self._threads:
                limit_threads(self._threads)
            return load(self._path)
        except Refused as error:
            if self._path is not None or "needs TensorFlow" not in str(error):
                raise
            self.note = f"scored by geometry alone: {error}"
            return None


def by_geometry(frames: NDArray[Any], inverse_A_per_px: float | NDArray[np.float64]) -> list[Score]:
    """Scores without a network: the share of the spots that fit one lattice. 4 ms each."""
    per_px = np.broadcast_to(inverse_A_per_px, len(frames)).tolist()
    found = [geometric_score(frame, scale) for frame, scale in zip(frames, per_px, strict=True)]
    return [Score(each.good, each.d_min_A, each.several, each.why) for each in found]


def _score(good: float, d_min_A: float, several: float) -> Score:
    d_min = d_min_A if np.isfinite(d_min_A) else None
    several = several if np.isfinite(several) else 0.0
    reach = "" if d_min is None else f"to {d_min:.2f} A"
    if good > 0.5:
        why = f"one lattice {reach}".rstrip()
    elif several > SEVERAL_FROM:
        why = f"several lattices {reach}".rstrip()
    else:
        why = "no or few spots of one lattice"
    return Score(good, d_min, several, why)
