"""A trained network of screening, and its file: what it says of pictures, as probabilities and in A.

The small one asks the spots first: a judge of their geometry alone, which needs no TensorFlow. Where that leaves it
open, in one pattern of five, a convolutional network looks at the picture, and a second judge weighs both.
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown
from protocols.learning.modelfile import Weights, read_record, read_weights, refused_model, write_model
from protocols.screening import geometric, judge
from protocols.screening.calibration import Calibration
from protocols.screening.evidence import NAMES, told
from protocols.screening.inspection import inspected
from protocols.screening.networks import D_MIN, GOOD, NETWORKS, SEVERAL, Numbers, Which
from protocols.screening.preprocessing import INPUT_PX

if TYPE_CHECKING:
    from protocols.screening.examples import Examples

SHIPPED = Path(__file__).with_name("trained")
REMEDY = (
    "train one with `credline screening train`, or leave the option out to use the network that comes with credline."
)
BATCH = 32
SURELY_BAD, SURELY_GOOD = 0.05, 0.98
"""Beyond these the probability by the spots alone is told; between them the network is asked as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a network takes. pictures: (n, 150, 150), by `input_of` for the small one, by `paper_input` for the other.

    evidence: (n, len(NAMES)) of their spots, for the small one.
    """

    pictures: NDArray[np.floating]
    evidence: NDArray[np.float32] | None = None


def prepared(frames: NDArray[Any], inverse_A_per_px: float | NDArray[np.float64]) -> Prepared:
    """For the small network, of (n, slow, fast) frames; 1/A a pixel of all, or (n,) of each."""
    pictures = np.empty((len(frames), INPUT_PX, INPUT_PX), dtype=np.float32)
    evidence = np.empty((len(frames), len(NAMES)), dtype=np.float32)
    for number, one in enumerate(inspected(frames, inverse_A_per_px)):
        pictures[number], evidence[number] = one.picture, told(one.spots)
    return Prepared(pictures, evidence)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """(n,) each: probability of a good pattern, d_min in A and probability of several lattices; NaN for the last two
    from the paper's network, which does not tell them.
    """

    good: NDArray[np.float64]
    d_min_A: NDArray[np.float64]
    several: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network. record: how it was trained and what to expect of it. spots: of the small one, the judge that
    is asked first.
    """

    which: Which
    weights: Weights
    record: dict[str, Any] = field(default_factory=dict)
    spots: geometric.SpotJudge | None = None

    @functools.cached_property
    def calibration(self) -> Calibration:
        """From the logit of the judge, or that of the paper's network, to a probability."""
        return Calibration(**self.record.get("calibration", {}))

    def outputs(self, pictures: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, outputs) numbers of the convolutional network of (n, 150, 150) pictures."""
        if pictures.ndim != 3 or pictures.shape[1:] != (INPUT_PX, INPUT_PX):
            raise Refused(
                f"pictures of shape {pictures.shape}, the network takes (n, {INPUT_PX}, {INPUT_PX}): prepare them by "
                "`protocols.screening.preprocessing`. Nothing was scored."
            )
        parts = (pictures[first : first + BATCH].astype(np.float32) for first in range(0, len(pictures), BATCH))
        return np.concatenate([self._forward(part) for part in parts]).astype(np.float64)

    def judged(self, network: NDArray[np.float64], evidence: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, 3) numbers, as those of the network, from these and the evidence of the spots."""
        return judge.judged(self.weights, network, evidence)

    def answers(self, of: "Examples | Prepared") -> Answers:
        """What it says of patterns."""
        if not isinstance(of, Prepared):
            of = Prepared(of.pictures if self.which is Which.SMALL else of.paper, of.evidence)
        if self.which is Which.PAPER:
            good = self.calibration.probability(self.outputs(of.pictures)[:, GOOD])
            nothing = np.full(len(good), np.nan)
            return Answers(good, nothing, nothing)
        assert self.spots is not None and of.evidence is not None  # noqa: S101, PT018
        good, d_min_A, several = self.spots.says(of.evidence)
        open_ = np.flatnonzero((good > SURELY_BAD) & (good < SURELY_GOOD))
        if len(open_):
            out = self.judged(self.outputs(of.pictures[open_]), of.evidence[open_])
            good[open_] = self.calibration.probability(out[:, GOOD])
            d_min_A[open_] = np.exp(np.clip(out[:, D_MIN], *geometric.LOG_D_MIN))
            several[open_] = Calibration().probability(out[:, SEVERAL])
        return Answers(good, d_min_A, several)

    def save(self, folder: Path) -> None:
        """Write it into a folder (`protocols.learning.modelfile`)."""
        write_model(
            folder, NETWORKS[self.which].architecture, self.weights, {"network": self.which.value} | self.record
        )
        if self.spots is not None:
            self.spots.save(folder / geometric.FOLDER)

    @functools.cached_property
    def _forward(self) -> Numbers:
        return NETWORKS[self.which].forward(self.weights)


def load(folder: Path | None = None) -> Model:
    """A model that `Model.save` wrote; None: the small one that comes with credline.

    Refused, with cause and remedy, for a folder without a model, a damaged one, or one of another architecture; and
    without TensorFlow, which knows what shapes its numbers must have.
    """
    place = SHIPPED if folder is None else Path(folder)
    architecture, record = read_record(place, REMEDY)
    told = architecture, record.get("network")
    network = next((each for each in NETWORKS.values() if told == (each.architecture, each.which.value)), None)
    if network is None:
        known = ", ".join(f"{each.which.value} {each.architecture}" for each in NETWORKS.values())
        cause = f"a network {shown(told[1])} of architecture {shown(told[0])}, this credline has {known}"
        raise refused_model(place, cause, REMEDY)
    geometric.check_calibration(place, record, REMEDY)
    small = network.which is Which.SMALL
    spots = geometric.read_judge(place / geometric.FOLDER, REMEDY) if small else None
    shapes = network.shapes() | (judge.shapes() if small else {})
    return Model(network.which, read_weights(place, shapes, REMEDY), record, spots)


@functools.cache
def shipped() -> Model:
    """The model that comes with credline, read once."""
    return load()
