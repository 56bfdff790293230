"""What the small network is shown of a picture: the picture, and how far each pixel stands out from its surroundings.

`maps` makes both; they turn and mirror as the picture does, so that they need be made once only of a picture that is
trained on many times.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.screening.preprocessing import INPUT_PX

NEAR_PX, WIDE_PX = 11, 25
"""Over so many pixels is averaged what a pixel is compared with, and how much such differences scatter."""
SHAPE = (INPUT_PX // 2, INPUT_PX // 2, 8)
"""Of what the network takes: 2 x 2 pixels of both maps as channels, so that nothing is lost."""
RING_PX, RINGS = 1.5, 17


def maps(tf: Any, pictures: Any) -> Any:
    """(n, 150, 150, 2) of a tensor of (n, 150, 150) pictures, 0 to 1: its root, and what stands out in it."""
    off = pictures - _mean(tf, pictures, NEAR_PX)
    sigmas = off / tf.sqrt(_mean(tf, off * off, WIDE_PX) + 1e-6)
    both = tf.stack([tf.sqrt(pictures), tf.clip_by_value(sigmas, -3.0, 8.0) / 3], 1)
    return tf.transpose(both, (0, 2, 3, 1))  # half the time of stacking them pixel by pixel


def channels(tf: Any, seen: Any) -> Any:
    """What the network takes, of the maps."""
    rows, columns, maps_of_each = seen.shape[1:]
    # Pairs of rows side by side. As `space_to_depth`, which takes ten times as long.
    pairs = tf.reshape(seen, (-1, 2, columns // 2, 2 * maps_of_each))
    return tf.reshape(tf.transpose(pairs, (0, 2, 1, 3)), (-1, rows // 2, columns // 2, 4 * maps_of_each))


def rings(pixels: int) -> NDArray[np.float32]:
    """(pixels^2, 17) which pixel of a square is in which ring about its middle; as a sum over a ring over the root of
    its pixels.
    """
    away = np.arange(pixels) - (pixels - 1) / 2
    number = np.minimum(np.hypot(away[:, None], away).ravel() // RING_PX, RINGS - 1).astype(int)
    matrix = (number[:, None] == np.arange(RINGS)).astype(np.float32)
    return np.asarray(matrix / np.sqrt(matrix.sum(axis=0)), dtype=np.float32)


def turned(pictures: NDArray[Any], way: int) -> NDArray[Any]:
    """(n, rows, columns, ...) mirrored and turned by 90 deg and more in one of eight ways, 0 to 7; 0 leaves them."""
    if way & 1:
        pictures = pictures[:, ::-1]
    if way & 2:
        pictures = pictures[:, :, ::-1]
    return pictures.swapaxes(1, 2) if way & 4 else pictures


def _mean(tf: Any, x: Any, width_px: int) -> Any:
    """Over a square about each pixel, of the pixels that there are: two products of matrices, which is fastest."""
    matrix = _averaging(int(x.shape[1]), width_px)
    return tf.matmul(tf.matmul(matrix, x), matrix, transpose_b=True)


@cache
def _averaging(pixels: int, width_px: int) -> NDArray[np.float32]:
    away = np.abs(np.arange(pixels)[:, None] - np.arange(pixels))
    near = (away <= width_px // 2).astype(np.float32)
    return np.asarray(near / near.sum(axis=1, keepdims=True), dtype=np.float32)
