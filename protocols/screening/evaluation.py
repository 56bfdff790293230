"""The networks and the geometric score judged beside each other, on patterns of crystals that nothing was trained on.

The seed of a judgement is moved away from those of training, so that `evaluate --seed 1` is not what seed 1 has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Refused
from engine.executor import Executor
from protocols.screening.examples import Wanted, examples
from protocols.screening.figures import Figures, figures
from protocols.screening.geometric import by_spots
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
    wanted = Wanted(seed + JUDGING, 0, count, paper=any(network.which is Which.PAPER for network in networks))
    of = examples(executor, [wanted], progress)
    judged = []
    for network in networks:
        answers = network.answers(of)
        judged.append(Judged(f"network ({network.which.value})", figures(of, answers), answers))
    if geometry:
        answers = Answers(*by_spots(of.evidence))
        judged.append(Judged("geometry", figures(of, answers), answers))
    return judged
