"""A trained network of screening, and its file: what it says of pictures, as probabilities and in A."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown
from protocols.learning.modelfile import Weights, read_record, read_weights, refused_model, write_model
from protocols.screening.calibration import Calibration
from protocols.screening.examples import Examples
from protocols.screening.networks import D_MIN, GOOD, NETWORKS, SEVERAL, Look, Maps, Which
from protocols.screening.preprocessing import INPUT_PX
from protocols.screening.views import turned

SHIPPED = Path(__file__).with_name("trained")
REMEDY = (
    "train one with `credline screening train`, or leave the option out to use the network that comes with credline."
)
BATCH = 32
D_MIN_LIMITS = (-3.0, 4.0)
"""Logarithms of what is told, in A, whatever the network makes of a picture that it does not know."""
ALL_WAYS = tuple(range(8))
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

    def outputs(self, of: "Examples | NDArray[np.floating]", ways: Sequence[int] = (0,)) -> NDArray[np.float64]:
        """(n, outputs) numbers of the network as it is: the mean over so many ways in which a picture can lie.

        of: as for `answers`.
        """
        maps, look = self._forward
        return np.concatenate([_mean_look(look, maps(part), ways) for part in self._parts(of)])

    def mean_logits(self, of: "Examples | NDArray[np.floating]") -> NDArray[np.float64]:
        """(n,) the logit of a good pattern as `answers` takes it, where it is not sure before."""
        return self.outputs(of, ALL_WAYS if self.which is Which.SMALL else (0,))[:, GOOD]

    def answers(self, of: "Examples | NDArray[np.floating]") -> Answers:
        """What it says of pictures. of: examples, or (n, 150, 150) by `input_of` (the small one) or `paper_input`."""
        if self.which is Which.PAPER:
            good = self.calibration.probability(self.outputs(of)[:, GOOD])
            nothing = np.full(len(good), np.nan)
            return Answers(good, nothing, nothing)
        out = np.concatenate([self._sure(part) for part in self._parts(of)])
        return Answers(
            self.calibration.probability(out[:, GOOD]),
            np.exp(np.clip(out[:, D_MIN], *D_MIN_LIMITS)),
            Calibration().probability(out[:, SEVERAL]),
        )

    def _sure(self, pictures: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, 3) numbers of one look, or of all eight where the first one is not sure."""
        maps, look = self._forward
        seen = maps(pictures)
        out = _mean_look(look, seen, (0,))
        good = self.calibration.probability(out[:, GOOD])
        unsure = np.flatnonzero((good > UNSURE) & (good < 1 - UNSURE))
        if len(unsure):
            others = _mean_look(look, [each[unsure] for each in seen], ALL_WAYS[1:])
            out[unsure] = (out[unsure] + (len(ALL_WAYS) - 1) * others) / len(ALL_WAYS)
        return out

    def save(self, folder: Path) -> None:
        """Write it into a folder (`protocols.learning.modelfile`)."""
        write_model(
            folder, NETWORKS[self.which].architecture, self.weights, {"network": self.which.value} | self.record
        )

    def _parts(self, of: "Examples | NDArray[np.floating]") -> Iterator[NDArray[np.float32]]:
        """BATCH pictures at a time."""
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
        for first in range(0, len(pictures), BATCH):
            yield np.asarray(pictures[first : first + BATCH], dtype=np.float32)

    @functools.cached_property
    def _forward(self) -> tuple[Maps, Look]:
        return NETWORKS[self.which].forward(self.weights)


def _mean_look(look: Look, seen: Sequence[NDArray[np.float32]], ways: Sequence[int]) -> NDArray[np.float64]:
    looks = [look([turned(each, way) for each in seen]) for way in ways]
    return np.mean(looks, axis=0, dtype=np.float64)  # type: ignore[no-any-return]


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
