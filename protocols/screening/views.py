"""What the small network is shown of a picture: how far each pixel stands out, and the differences between its spots.

Whether spots are of one lattice is hard to see in their places and easy in the differences between them: those of one
lattice lie on a net, those of two on two nets, those of a powder anywhere. The autocorrelation of what stands out is
the map of these differences. `maps` makes both; they turn and mirror as the picture does, so that they need be made
once only of a picture that is trained on many times.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.screening.preprocessing import INPUT_PX

NEAR_PX, WIDE_PX = 11, 25
"""Over so many pixels is averaged what a pixel is compared with, and how much such differences scatter."""
OUT_SIGMA, MOST_SIGMA = 1.5, 3.0
"""From so many sigma on a pixel is part of a spot; what is more than MOST_SIGMA above that counts no more."""
DIFFERENCE_PX = 47
"""Of the differences, those up to this along each axis: 0.6 1/A."""
DIFFERENCES_PX = 2 * DIFFERENCE_PX + 1
FFT_PX = 198
"""Enough that differences do not come round from the other side, and a product of small primes."""
SHAPES = ((INPUT_PX // 2, INPUT_PX // 2, 8), (DIFFERENCE_PX + 1, DIFFERENCE_PX + 1, 8))
"""Of what the network takes: 2 x 2 pixels of both maps as channels, so that nothing is lost."""
RING_PX, RINGS = 1.5, 17


def maps(tf: Any, pictures: Any) -> tuple[Any, Any]:
    """((n, 150, 150, 2), (n, 95, 95, 2)) of a tensor of (n, 150, 150) pictures, 0 to 1.

    The first: root of the picture, and what stands out in it. The second: what stands out in the differences between
    spots, and the root of these.
    """
    off = pictures - _mean(tf, pictures, NEAR_PX)
    sigmas = off / tf.sqrt(_mean(tf, off * off, WIDE_PX) + 1e-6)
    picture = tf.stack([tf.sqrt(pictures), tf.clip_by_value(sigmas, -3.0, 8.0) / 3], 3)
    waves = tf.signal.rfft2d(tf.clip_by_value(sigmas - OUT_SIGMA, 0.0, MOST_SIGMA), [FFT_PX, FFT_PX])
    power = tf.cast(tf.math.real(waves) ** 2 + tf.math.imag(waves) ** 2, tf.complex64)
    between = tf.signal.irfft2d(power, [FFT_PX, FFT_PX])
    alike = between[:, :1, :1]
    between = tf.roll(between, [DIFFERENCE_PX, DIFFERENCE_PX], [1, 2])[:, :DIFFERENCES_PX, :DIFFERENCES_PX]
    share = tf.maximum(between / (alike + 1e-3), 0.0)
    above = share - _mean(tf, share, 9)
    contrast = above / (tf.sqrt(_mean(tf, above * above, WIDE_PX)) + 1e-4) / 3
    return picture, tf.stack([contrast, tf.sqrt(share)], 3)


def channels(tf: Any, picture: Any, between: Any) -> list[Any]:
    """What the network takes, of the two maps."""
    padded = tf.pad(between, [[0, 0], [0, 1], [0, 1], [0, 0]])
    return [tf.nn.space_to_depth(picture, 2), tf.nn.space_to_depth(padded, 2)]


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
