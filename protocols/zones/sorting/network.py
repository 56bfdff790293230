"""The network that sorts pictures: a small convolutional one, its file, and its use on many pictures at once.

A picture of 254 x 254 pixels is binned 2 x 2, a quarter of the work. Six convolutions, then the mean and the largest
answer of each channel over the picture, then two dense layers: about 215 000 numbers. While it is trained each
convolution is followed by batch normalisation; afterwards that is a factor and an offset, which are folded into the
convolution. The folded numbers are what is kept, in half precision, in a file without pickle.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Refused, shown
from protocols.learning import framework
from protocols.learning.modelfile import Weights, read_record, read_weights, refused_model, write_model

ARCHITECTURE = 1
"""Raised with every change of LAYERS, of the input or of the file."""

SIZE_PX = 254
BIN = 2
LAYERS = (
    # kernel, stride, channels, 2 x 2 pooling after it
    (5, 2, 16, False),
    (3, 2, 32, False),
    (3, 1, 32, True),
    (3, 1, 64, True),
    (3, 1, 96, False),
    (3, 1, 128, False),
)
HIDDEN = 64
BATCH = 64
"""Pictures at a time: binned ones of one batch stay in the processor's cache, larger batches were no faster."""

LEAST_AUC = 0.99
"""On held-out patterns; the network that comes with credline has 0.9998."""

SHIPPED = Path(__file__).with_name("model")
SHIPPED_SEVERAL = Path(__file__).with_name("model_several")
"""That which tells several crystals from one (`severaltraining`): the same architecture."""
INSTEAD = "take the geometric classifier, which needs no network"
REMEDY = "train one with `credline zones train`, or leave the option out to use the model that comes with credline."

Pictures = NDArray[np.uint8]


def tensorflow() -> Any:
    """The package tensorflow. Refused where it is missing or broken."""
    return framework.tensorflow(INSTEAD)


def binned(pictures: Pictures) -> NDArray[np.float32]:
    """(n, 254, 254) bytes as the network's input: (n, 127, 127, 1), means of 2 x 2 pixels from 0 to 1."""
    if pictures.ndim != 3 or pictures.shape[1:] != (SIZE_PX, SIZE_PX) or pictures.dtype != np.uint8:
        raise Refused(
            f"pictures are {pictures.dtype} of shape {pictures.shape}, the network takes bytes of shape "
            f"(n, {SIZE_PX}, {SIZE_PX}); draw the spots anew in that size. Nothing was classified."
        )
    # Adding whole rows and columns is ten times faster than a sum over the axes of a reshaped array.
    rows = pictures[:, 0::2].astype(np.uint16) + pictures[:, 1::2]
    total = rows[:, :, 0::2] + rows[:, :, 1::2]
    return total.astype(np.float32)[..., None] / np.float32(255 * BIN**2)


def build() -> Any:
    """An untrained Keras model: (n, 127, 127, 1) to (n, 1) logits of `2DZone`."""
    layers = tensorflow().keras.layers
    picture = layers.Input((SIZE_PX // BIN, SIZE_PX // BIN, 1))
    x = picture
    for number, (kernel, stride, channels, pool) in enumerate(LAYERS):
        x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(momentum=0.98, name=f"norm{number}")(x)
        x = layers.ReLU()(x)
        if pool:
            x = layers.MaxPooling2D(padding="same")(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    x = layers.Dense(HIDDEN, activation="relu", name="hidden")(x)
    return tensorflow().keras.Model(picture, layers.Dense(1, name="logit")(x))


def folded(trained: Any) -> Weights:
    """The numbers of a trained Keras model, each batch normalisation as part of the convolution before it."""
    weights: Weights = {}
    for number in range(len(LAYERS)):
        norm = trained.get_layer(f"norm{number}")
        scale, offset, mean, variance = (np.asarray(w, dtype=np.float64) for w in norm.get_weights())
        factor = scale / np.sqrt(variance + norm.epsilon)
        (kernel,) = trained.get_layer(f"conv{number}").get_weights()
        weights[f"conv{number}"] = (kernel * factor).astype(np.float32)
        weights[f"conv{number}_offset"] = (offset - mean * factor).astype(np.float32)
    for name in ("hidden", "logit"):
        weights[name], weights[f"{name}_offset"] = trained.get_layer(name).get_weights()
    return weights


def shapes() -> dict[str, tuple[int, ...]]:
    """What a file of weights must hold: the shape of each array by name."""
    expected: dict[str, tuple[int, ...]] = {}
    before = 1
    for number, (kernel, _, channels, _) in enumerate(LAYERS):
        expected[f"conv{number}"] = (kernel, kernel, before, channels)
        expected[f"conv{number}_offset"] = (channels,)
        before = channels
    expected |= {"hidden": (2 * before, HIDDEN), "hidden_offset": (HIDDEN,), "logit": (HIDDEN, 1), "logit_offset": (1,)}
    return expected


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network.

    record: how it was trained and what to expect of it (`protocols.zones.sorting.training`); `threshold` is the logit
    from
        which on a pattern is called zonal.
    """

    weights: Weights
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """The logit from which on a pattern is called zonal; 0 where the record names none."""
        return float(self.record.get("threshold", 0.0))

    def logits(self, pictures: Pictures) -> NDArray[np.float32]:
        """(n,) logits of `2DZone` of (n, 254, 254) bytes, spots bright on black, primary beam in the middle.

        They are those of a world in which half of the patterns are zonal; `protocols.zones.sorting.confidence` makes
        probabilities of them. Refused for pictures of another size.
        """
        if not len(pictures):
            return np.zeros(0, dtype=np.float32)
        parts = [self._forward(binned(pictures[i : i + BATCH])) for i in range(0, len(pictures), BATCH)]
        return np.concatenate([np.asarray(part, dtype=np.float32)[:, 0] for part in parts])

    @functools.cached_property
    def _forward(self) -> Callable[[NDArray[np.float32]], Any]:
        """The network as a compiled function."""
        tf = tensorflow()
        w = {name: tf.constant(array) for name, array in self.weights.items()}

        @tf.function(input_signature=[tf.TensorSpec((None, SIZE_PX // BIN, SIZE_PX // BIN, 1), tf.float32)])  # type: ignore[untyped-decorator]
        def forward(x: Any) -> Any:
            for number, (_, stride, _, pool) in enumerate(LAYERS):
                x = tf.nn.relu(tf.nn.conv2d(x, w[f"conv{number}"], stride, "SAME") + w[f"conv{number}_offset"])
                if pool:
                    x = tf.nn.max_pool2d(x, 2, 2, "SAME")
            x = tf.concat([tf.reduce_mean(x, (1, 2)), tf.reduce_max(x, (1, 2))], 1)
            x = tf.nn.relu(x @ w["hidden"] + w["hidden_offset"])
            return x @ w["logit"] + w["logit_offset"]

        return lambda x: forward(tf.constant(x))

    def save(self, folder: Path) -> None:
        """Write it into a folder (`protocols.learning.modelfile`)."""
        write_model(folder, ARCHITECTURE, self.weights, self.record)


def load(folder: Path | None = None) -> Model:
    """A model that `Model.save` wrote; None: the one that comes with credline.

    Refused, with cause and remedy, for a folder without a model, a damaged one, or one of another architecture.
    TensorFlow is not needed before `Model.logits`.
    """
    place = SHIPPED if folder is None else Path(folder)
    version, record = read_record(place, REMEDY)
    if version != ARCHITECTURE:
        raise refused_model(
            place, f"a model of architecture {shown(version)}, this credline has {ARCHITECTURE}", REMEDY
        )
    threshold = record.get("threshold", 0.0)
    if not isinstance(threshold, int | float) or not np.isfinite(threshold):
        raise refused_model(place, f"its threshold {shown(threshold)} is no number", REMEDY)
    return Model(read_weights(place, shapes(), REMEDY), record)


def warning(model: Model) -> str:
    """What a person should know before trusting a model: that it failed on its own held-out patterns. Else empty."""
    figures = model.record.get("held_out_figures") or {}
    auc = figures.get("auc")
    if isinstance(auc, int | float) and auc >= LEAST_AUC:
        return ""
    return f"this network sorted its own held-out patterns with an AUC of {auc}; train it with more steps"


@functools.cache
def shipped() -> Model:
    """The model that comes with credline, read once."""
    return load()


@functools.cache
def shipped_several() -> Model:
    """The model that comes with credline and tells several crystals from one, read once."""
    return load(SHIPPED_SEVERAL)
