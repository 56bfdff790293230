"""A trained network of screening, and its file: what it says of pictures, as probabilities and in A.

The small one is two: a convolutional network that looks at every picture, and a judge that weighs what that saw
together with the geometry of the spots, where the network is not sure by itself.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown
from protocols.learning.modelfile import Weights, read_record, read_weights, refused_model, write_model
from protocols.screening import geometric, judge
from protocols.screening.calibration import Calibration
from protocols.screening.evidence import told
from protocols.screening.examples import Examples
from protocols.screening.networks import D_MIN, GOOD, NETWORKS, SEVERAL, Numbers, Which
from protocols.screening.preprocessing import INPUT_PX, cuts_of, picture_of
from protocols.screening.seenspots import seen_spots
from protocols.screening.views import upright

SHIPPED = Path(__file__).with_name("trained")
REMEDY = (
    "train one with `credline screening train`, or leave the option out to use the network that comes with credline."
)
BATCH = 32
SURELY_BAD, SURELY_GOOD = 0.02, 0.99
"""Beyond these the network's own probability is told; between them the judge's, who has seen the spots as well."""

Evidence = Callable[[NDArray[np.intp]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a network takes. pictures: (n, 150, 150), by `input_of` for the small one, by `paper_input` for the other.

    evidence: of the pictures with these numbers, (m, len(NAMES)); asked of those of which the network is not sure.
    None: the paper's network asks for none, and of the small one the network's own answer is told.
    """

    pictures: NDArray[np.floating]
    evidence: Evidence | None = None


def prepared(frames: NDArray[Any], inverse_A_per_px: float | NDArray[np.float64]) -> Prepared:
    """For the small network, of (n, slow, fast) frames; 1/A a pixel of all, or (n,) of each."""
    cuts = cuts_of(frames, inverse_A_per_px)
    pictures = np.stack([picture_of(cut) for cut in cuts])
    return Prepared(
        pictures,
        lambda which: np.stack([told(seen_spots(pictures[number], cuts[number])) for number in which.tolist()]),
    )


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
    """A trained network. record: how it was trained and what to expect of it. spots: weights and card of the score
    without a network that was made beside it; None: none was, or it was read from a folder.
    """

    which: Which
    weights: Weights
    record: dict[str, Any] = field(default_factory=dict)
    spots: tuple[Weights, dict[str, Any]] | None = None

    @functools.cached_property
    def calibration(self) -> Calibration:
        """From the logit of the judge, or that of a network without one, to a probability."""
        return Calibration(**self.record.get("calibration", {}))

    @functools.cached_property
    def network_calibration(self) -> Calibration:
        """From the logit of the convolutional network alone to a probability."""
        return Calibration(**self.record.get("network_calibration", {}))

    @property
    def has_judge(self) -> bool:
        """Whether the spots are looked at as well."""
        return f"{judge.PREFIX}hidden" in self.weights

    def outputs(self, pictures: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, outputs) numbers of the convolutional network of (n, 150, 150) pictures."""
        if pictures.ndim != 3 or pictures.shape[1:] != (INPUT_PX, INPUT_PX):
            raise Refused(
                f"pictures of shape {pictures.shape}, the network takes (n, {INPUT_PX}, {INPUT_PX}): prepare them by "
                "`protocols.screening.preprocessing`. Nothing was scored."
            )
        parts = (pictures[first : first + BATCH] for first in range(0, len(pictures), BATCH))
        if self.which is Which.SMALL:
            parts = (upright(part) for part in parts)
        return np.concatenate([self._forward(part) for part in parts]).astype(np.float64)

    def judged(self, network: NDArray[np.float64], evidence: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, 3) numbers, as those of the network, from these and the evidence of the spots."""
        return judge.judged(self.weights, network, evidence)

    def answers(self, of: "Examples | Prepared") -> Answers:
        """What it says of patterns."""
        if isinstance(of, Examples):
            own = of.pictures if self.which is Which.SMALL else of.paper
            evidence = of.evidence
            of = Prepared(own, lambda which: evidence[which])
        out = self.outputs(of.pictures)
        if self.which is Which.PAPER:
            nothing = np.full(len(out), np.nan)
            return Answers(self.calibration.probability(out[:, GOOD]), nothing, nothing)
        good = self.network_calibration.probability(out[:, GOOD])
        unsure = np.flatnonzero((good > SURELY_BAD) & (good < SURELY_GOOD))
        if len(unsure) and self.has_judge and of.evidence is not None:
            out[unsure] = self.judged(out[unsure], of.evidence(unsure))
            good[unsure] = self.calibration.probability(out[unsure, GOOD])
        d_min_A = np.exp(np.clip(out[:, D_MIN], *geometric.LOG_D_MIN))
        return Answers(good, d_min_A, Calibration().probability(out[:, SEVERAL]))

    def save(self, folder: Path) -> None:
        """Write it into a folder (`protocols.learning.modelfile`)."""
        write_model(
            folder, NETWORKS[self.which].architecture, self.weights, {"network": self.which.value} | self.record
        )
        if self.spots is not None:
            write_model(folder / geometric.SHIPPED.name, geometric.ARCHITECTURE, *self.spots)

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
    for name in ("calibration", "network_calibration"):
        calibration = record.get(name, {})
        try:
            numbers = np.array([*Calibration(**calibration).record().values()], dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if not np.isfinite(numbers).all():
            raise refused_model(place, f"its calibration {shown(calibration)} is not two numbers", REMEDY)
    shapes = network.shapes() | (judge.shapes() if network.which is Which.SMALL else {})
    return Model(network.which, read_weights(place, shapes, REMEDY), record)


@functools.cache
def shipped() -> Model:
    """The model that comes with credline, read once."""
    return load()
