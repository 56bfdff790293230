"""A trained network of screening, and its file: what it says of pictures, as probabilities and in A."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown
from protocols.learning.modelfile import Weights, read_record, read_weights, refused_model, write_model
from protocols.screening.calibration import Calibration
from protocols.screening.examples import Examples
from protocols.screening.networks import D_MIN, GOOD, NETWORKS, SEVERAL, Which
from protocols.screening.preprocessing import INPUT_PX
from protocols.screening.views import turned

SHIPPED = Path(__file__).with_name("trained")
REMEDY = (
    "train one with `credline screening train`, or leave the option out to use the network that comes with credline."
)
BATCH = 32
D_MIN_LIMITS = (-3.0, 4.0)
"""Logarithms of what is told, in A, whatever the network makes of a picture that it does not know."""
UNSURE = 0.01
"""A probability farther than this from 0 and 1 is that of the picture turned and mirrored in all eight ways."""


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
    """A trained network. record: how it was trained and what to expect of it."""

    which: Which
    weights: Weights
    record: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def calibration(self) -> Calibration:
        """From its logit to a probability."""
        return Calibration(**self.record.get("calibration", {}))

    def outputs(self, of: "Examples | NDArray[np.floating]") -> NDArray[np.float64]:
        """(n, outputs) numbers of the network as it is, one look at each picture. of: as for `answers`."""
        pictures = self._pictures(of)
        parts = [
            self._forward(np.asarray(pictures[i : i + BATCH], dtype=np.float32)) for i in range(0, len(pictures), BATCH)
        ]
        return np.concatenate(parts).astype(np.float64)

    def mean_logits(self, of: "Examples | NDArray[np.floating]") -> NDArray[np.float64]:
        """(n,) the logit of a good pattern as `answers` takes it, where it is not sure before."""
        pictures = self._pictures(of)
        if self.which is Which.PAPER:
            return self.outputs(pictures)[:, GOOD]
        return np.asarray(np.mean([self.outputs(turned(pictures, way))[:, GOOD] for way in range(8)], axis=0))

    def answers(self, of: "Examples | NDArray[np.floating]") -> Answers:
        """What it says of pictures. of: examples, or (n, 150, 150) by `input_of` (the small one) or `paper_input`."""
        pictures = self._pictures(of)
        out = self.outputs(pictures)
        good = self.calibration.probability(out[:, GOOD])
        if self.which is Which.PAPER:
            nothing = np.full(len(out), np.nan)
            return Answers(good, nothing, nothing)
        unsure = np.flatnonzero((good > UNSURE) & (good < 1 - UNSURE))
        if len(unsure):
            others = [self.outputs(turned(pictures[unsure], way)) for way in range(1, 8)]
            out[unsure] = np.mean([out[unsure], *others], axis=0)
        return Answers(
            self.calibration.probability(out[:, GOOD]),
            np.exp(np.clip(out[:, D_MIN], *D_MIN_LIMITS)),
            Calibration().probability(out[:, SEVERAL]),
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder (`protocols.learning.modelfile`)."""
        write_model(
            folder, NETWORKS[self.which].architecture, self.weights, {"network": self.which.value} | self.record
        )

    def _pictures(self, of: "Examples | NDArray[np.floating]") -> NDArray[np.floating]:
        pictures: NDArray[np.floating]
        if isinstance(of, Examples):
            pictures = of.pictures if self.which is Which.SMALL else of.paper
        else:
            pictures = of
        if pictures.ndim != 3 or pictures.shape[1:] != (INPUT_PX, INPUT_PX):
            raise Refused(
                f"pictures of shape {pictures.shape}, the network takes (n, {INPUT_PX}, {INPUT_PX}): prepare them by "
                "`protocols.screening.preprocessing`. Nothing was scored."
            )
        return pictures

    @functools.cached_property
    def _forward(self) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
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
    calibration = record.get("calibration", {})
    try:
        numbers = np.array([*Calibration(**calibration).record().values()], dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise refused_model(place, f"its calibration {shown(calibration)} is not two numbers", REMEDY)
    return Model(network.which, read_weights(place, network.shapes(), REMEDY), record)


@functools.cache
def shipped() -> Model:
    """The model that comes with credline, read once."""
    return load()
