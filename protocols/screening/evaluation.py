"""The networks and the geometric score judged beside each other, on patterns of crystals that nothing was trained on.

The seed of a judgement is moved away from those of training, so that `evaluate --seed 1` is not what seed 1 has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused
from engine.executor import Executor
from protocols.screening.examples import Wanted, camera_of, examples, pieces
from protocols.screening.figures import Figures, figures
from protocols.screening.generation import generate
from protocols.screening.geometric import geometric_score
from protocols.screening.model import Answers, load
from protocols.screening.networks import Which

JUDGING = 1 << 40
"""Added to the seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One method. name: of it, for a person."""

    name: str
    figures: Figures
    answers: Answers


def evaluate(
    seed: int,
    count: int,
    executor: Executor,
    model: Path | None = None,
    paper: Path | None = None,
    *,
    geometry: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Judged]:
    """The network of a folder (None: the one that comes along) first, then the paper's and the geometric score.

    Refused for a folder without a network, or without the paper's one in `paper`.
    """
    networks = [load(model)]
    if paper is not None:
        networks.append(load(paper))
        if networks[-1].which is not Which.PAPER:
            raise Refused(f"--paper {paper}: is the {networks[-1].which.value} network. Nothing was judged.")
    wanted = Wanted(seed + JUDGING, 0, count)
    of = examples(executor, [wanted], progress)
    judged = []
    for network in networks:
        answers = network.answers(of)
        judged.append(Judged(f"network ({network.which.value})", figures(of, answers), answers))
    if geometry:
        answers = geometric_answers(wanted, executor)
        judged.append(Judged("geometry", figures(of, answers), answers))
    return judged


def geometric_answers(wanted: Wanted, executor: Executor) -> Answers:
    """What the geometry of the spots says of these patterns: 0.1 s of a processor each."""
    parts = dict(executor.each(_geometric, list(enumerate(pieces(wanted)))))
    good, d_min_A, several = np.concatenate([parts[number] for number in sorted(parts)]).T
    return Answers(good, d_min_A, several)


def _geometric(numbered: tuple[int, Wanted]) -> tuple[int, NDArray[np.float64]]:
    place, wanted = numbered
    rows = []
    for number in range(wanted.first, wanted.first + wanted.count):
        (one,) = generate(wanted.seed, number, 1, camera_of(wanted, number), wanted.shape)
        score = geometric_score(one.counts, one.inverse_A_per_px, bad=one.mask)
        rows.append((score.good, np.nan if score.d_min_A is None else score.d_min_A, score.several))
    return place, np.array(rows)
