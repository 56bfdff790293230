"""The two networks: the one of Cichocka and co-workers (2018), and a small one that tells three things at a time.

Both are Keras models without a logistic at their end: they give logits, and who uses them knows what these mean. What
the small one looks at is made by `protocols.screening.views`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.learning import framework
from protocols.learning.modelfile import Weights
from protocols.screening import views
from protocols.screening.preprocessing import INPUT_PX

INSTEAD = "take the geometric score, which needs no network"
PAPER_PARAMETERS = 255_041
PAPER_DROPOUT = 0.15
SMALL_DROPOUT = 0.1
SPOTS = 8
"""Kinds of spots that are counted by distance from the beam."""

GOOD, D_MIN, SEVERAL = range(3)
"""What the small network gives: the logit of a good pattern, the logarithm of d_min in A, the logit of several
lattices. The paper's gives the first alone."""


class Which(StrEnum):
    """The networks that there are."""

    SMALL = "small"
    PAPER = "paper"


def tensorflow() -> Any:
    """The package tensorflow. Refused where it is missing or broken."""
    return framework.tensorflow(INSTEAD)


Numbers = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Network:
    """One of the two. architecture: raised with every change of its layers or of what it is shown.

    build: an untrained Keras model. maps: from a tensor of (n, 150, 150) pictures to (n, 150, 150, channels) maps that
    turn and mirror as these do. takes: from them to what the model takes.
    """

    which: Which
    architecture: int
    build: Callable[[], Any]
    maps: Callable[[Any], Any]
    takes: Callable[[Any], Any]

    def forward(self, weights: Mapping[str, NDArray[np.float32]]) -> Numbers:
        """A compiled function from (n, 150, 150) pictures to (n, outputs) numbers."""
        tf = tensorflow()
        model = self.build()
        give(weights, model)

        @tf.function(input_signature=[tf.TensorSpec((None, INPUT_PX, INPUT_PX), tf.float32)])  # type: ignore[untyped-decorator]
        def look(pictures: Any) -> Any:
            return model(self.takes(self.maps(pictures)), training=False)

        return lambda pictures: np.asarray(look(tf.constant(pictures, tf.float32)))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each array of numbers that it has, by name."""
        return {name_of(variable): tuple(variable.shape) for variable in self.build().variables if is_kept(variable)}


def name_of(variable: Any) -> str:
    """Under which a file keeps a variable of a Keras model: its layer and what it is there."""
    return "/".join(variable.path.split("/")[-2:])


def is_kept(variable: Any) -> bool:
    """Whether it is a number of the network, and not the state of a random generator (of dropout)."""
    return "seed_generator" not in variable.path


def weights_of(model: Any) -> Weights:
    """The numbers of a Keras model, by name."""
    return {name_of(each): np.asarray(each, dtype=np.float32) for each in model.variables if is_kept(each)}


def give(weights: Mapping[str, NDArray[np.float32]], model: Any) -> None:
    """A Keras model these numbers, by name."""
    for variable in model.variables:
        if is_kept(variable):
            variable.assign(weights[name_of(variable)])


def build_paper() -> Any:
    """Five convolutions of 64 channels, pooling after the first four, three dense layers: 255 041 numbers."""
    layers = tensorflow().keras.layers
    picture = layers.Input((INPUT_PX, INPUT_PX, 1))
    x = picture
    for number in range(5):
        x = layers.Conv2D(64, 3, activation="relu", name=f"conv{number}")(x)
        if number < 4:
            x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    for number in range(2):
        x = layers.Dense(64, activation="relu", name=f"dense{number}")(x)
        # Where the dropout is the paper does not say; after the dense layers it is where most numbers are.
        x = layers.Dropout(PAPER_DROPOUT)(x)
    return tensorflow().keras.Model(picture, layers.Dense(1, name="good")(x))


def build_small() -> Any:
    """A trunk of convolutions, and a count of spots by distance from the beam: 75 000 numbers, 20 million
    multiplications a picture.
    """
    keras = tensorflow().keras
    layers, ops = keras.layers, keras.ops
    picture = layers.Input(views.SHAPE)

    def convolved(x: Any, name: str, channels: int, pooled: bool = False) -> Any:
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=name)(x)
        x = layers.MaxPooling2D()(x) if pooled else x
        return layers.ReLU()(layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x))

    x = convolved(convolved(picture, "picture0", 16, pooled=True), "picture1", 24)
    spots = layers.Conv2D(SPOTS, 1, activation="relu", name="spots")(x)
    flat = ops.transpose(ops.reshape(spots, (-1, x.shape[1] * x.shape[2], SPOTS)), (0, 2, 1))
    by_ring = layers.Flatten()(ops.matmul(flat, views.rings(x.shape[1])))
    by_ring = layers.BatchNormalization(momentum=0.95, name="rings_norm")(by_ring)
    x = convolved(layers.MaxPooling2D()(x), "picture2", 32)
    x = convolved(convolved(x, "picture3", 48, pooled=True), "picture4", 64)
    pooled = [pool()(x) for pool in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)]
    together = layers.Dropout(SMALL_DROPOUT)(layers.Concatenate()([by_ring, *pooled]))
    hidden = layers.Dropout(SMALL_DROPOUT)(layers.Dense(96, activation="relu", name="hidden")(together))
    return keras.Model(picture, layers.Dense(3, name="answers")(hidden))


PAPER = Network(Which.PAPER, 1, build_paper, maps=lambda pictures: pictures[..., None], takes=lambda maps: maps)
SMALL = Network(
    Which.SMALL,
    3,
    build_small,
    maps=lambda pictures: views.maps(tensorflow(), pictures),
    takes=lambda maps: views.channels(tensorflow(), maps),
)
NETWORKS = {each.which: each for each in (PAPER, SMALL)}
