"""A score without a network: of the spots of a pattern, those that one lattice explains, as REyes' DQI, and more.

The spots are found (`seenspots`) and lattices are looked for in them; a judge of numpy alone weighs what that tells
(`evidence`, `judge`). It learned on made patterns, as the network did, and needs no TensorFlow. Why a pattern is bad
is said by a person's questions: has it spots enough, are they of one lattice and round, do they reach far enough. A
frame of 516 px takes some 4 ms.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import shown
from protocols.learning.modelfile import Weights, read_record, read_weights, refused_model, write_model
from protocols.screening import judge
from protocols.screening.calibration import Calibration
from protocols.screening.evidence import LIMIT, Lattices, lattices, told
from protocols.screening.inspection import inspected
from protocols.screening.seenspots import SeenSpots

Array = NDArray[np.float64]

FOLDER = "spots"
"""Of this judge, in the folder of the network beside which it learned."""
SHIPPED = Path(__file__).with_name("trained") / FOLDER
ARCHITECTURE = 2
"""Raised with every change of `evidence.NAMES` or of the judge."""
REMEDY = "install credline again."
ENOUGH, SHARE, SECOND, LONG, FAR_A = 10, 0.76, 8, 0.12, 1.8
"""What a bad pattern is asked for: spots, share of them on one lattice, spots of a second, how much they are drawn out,
and how far they reach. Only to say why it is bad."""
LOG_D_MIN = (-3.0, 4.0)
"""Logarithms of what is told, in A, whatever is made of a pattern that is like none."""
USUAL_PER_FRAME_A = 516 * 0.00488
"""Width of a frame in 1/A where nobody said it: a Timepix at a camera length of 250 mm and 200 kV."""


@dataclass(frozen=True, slots=True, eq=False)
class SpotJudge:
    """Weighs the evidence of spots by itself. record: how it was made, with its calibration."""

    weights: Weights
    record: dict[str, Any]

    def says(self, evidence: NDArray[np.float32]) -> tuple[Array, Array, Array]:
        """(n,) each: probability of a good pattern, d_min in A and probability of several lattices, by (n, len(NAMES))
        evidence.
        """
        good, log_d_min, several = judge.judged(self.weights, None, evidence).T
        return (
            Calibration(**self.record["calibration"]).probability(good),
            np.exp(np.clip(log_d_min, *LOG_D_MIN)),
            Calibration().probability(several),
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder (`protocols.learning.modelfile`)."""
        write_model(folder, ARCHITECTURE, self.weights, self.record)


@dataclass(frozen=True, slots=True)
class GeometricScore:
    """good: probability that the pattern is worth a run. d_min_A: 1 / the third-largest |g| of its visible spots; None
    where fewer than three were found or the scale is not known. several: probability of more than one lattice. spots:
    found; on_lattice: of them, those of the lattice. why: the score in words.
    """

    good: float
    d_min_A: float | None
    several: float
    spots: int
    on_lattice: int
    why: str


def read_judge(folder: Path, remedy: str) -> SpotJudge:
    """What `SpotJudge.save` wrote. Refused, with this remedy, where it is missing or damaged."""
    architecture, record = read_record(folder, remedy)
    if architecture != ARCHITECTURE:
        raise refused_model(folder, f"architecture {architecture}, this credline has {ARCHITECTURE}", remedy)
    check_calibration(folder, record, remedy)
    return SpotJudge(read_weights(folder, judge.shapes(network=False), remedy), record)


def check_calibration(folder: Path, record: dict[str, Any], remedy: str) -> None:
    """Refused where that of a model's card is not two numbers."""
    calibration: Any = record.get("calibration")
    try:
        numbers = np.array([*Calibration(**calibration).record().values()], dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise refused_model(folder, f"its calibration {shown(calibration)} is not two numbers", remedy)


def geometric_score(
    frame: NDArray[Any],
    inverse_A_per_px: float | None = None,
    *,
    bad: NDArray[np.bool_] | None = None,
) -> GeometricScore:
    """Of a (slow, fast) frame of any camera; never an exception for what its pixels are.

    inverse_A_per_px: without it the frame is taken for one of a Timepix at 250 mm, and no resolution is told. bad: True
    for pixels that tell nothing.
    """
    per_px = inverse_A_per_px or USUAL_PER_FRAME_A / min(frame.shape)
    if bad is not None:
        frame = np.where(bad, np.float32(np.nan), np.asarray(frame, dtype=np.float32))
    (one,) = inspected(frame[None], per_px)
    spots = one.spots
    count = len(spots)
    found = lattices(spots.xy_per_A)
    probability, reach_A, several = (float(each[0]) for each in by_spots(told(spots, found)[None]))
    d_min_A = reach_A if inverse_A_per_px is not None and count >= 3 else None
    on = int(found.on.sum())
    if not count:
        why = "no spots: nothing stands out of the background"
    elif probability >= 0.5:
        why = f"{on} of {count} spots on one lattice" + (f", to {d_min_A:.2f} A" if d_min_A else "")
    else:
        why = _why(spots, found, d_min_A)
    return GeometricScore(probability, d_min_A, several, count, on, why)


def by_spots(evidence: NDArray[np.float32]) -> tuple[Array, Array, Array]:
    """What the judge that comes along says of (n, len(NAMES)) evidence; see `SpotJudge.says`."""
    return _shipped().says(evidence)


def _why(spots: SeenSpots, found: Lattices, d_min_A: float | None) -> str:
    """What is farthest from what a good pattern has."""
    count, on = len(spots), int(found.on.sum())
    second = 0 if found.second is None else int(found.second.on.sum())
    failings = [
        (ENOUGH / count, f"{count} {'spot' if count == 1 else 'spots'}, too few"),
        (SHARE * count / max(on, 1), f"{on} of {count} spots on one lattice"),
        (second / SECOND, f"{on} of {count} spots on one lattice, {second} on another"),
        (_longest(spots) / LONG, "spots are drawn out"),
        (0.0 if d_min_A is None else d_min_A / FAR_A, f"spots reach {d_min_A or 0:.2f} A only"),
    ]
    return max(failings, key=lambda failing: failing[0])[1]


@cache
def _shipped() -> SpotJudge:
    return read_judge(SHIPPED, REMEDY)


def _longest(spots: SeenSpots) -> float:
    """How much the spots are drawn out along one direction, or along their radii or across these, in the mean; less
    what that is by chance.
    """
    drawn_out = np.clip(spots.drawn_out, -LIMIT, LIMIT)
    twice = 2 * np.arctan2(spots.xy_per_A[:, 1], spots.xy_per_A[:, 0])
    radially = drawn_out[:, 0] * np.cos(twice) + drawn_out[:, 1] * np.sin(twice)
    along = float(np.hypot(*drawn_out.mean(axis=0)))
    chance = 2 * float(np.sqrt(drawn_out.var(axis=0).sum() / len(spots)))
    return max(along, abs(float(radially.mean()))) - chance
