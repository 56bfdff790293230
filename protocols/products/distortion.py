"""Elliptical lens distortion: what the projector lens does to a picture, and the tables that undo it.

The lens turns a circle about the primary beam into an ellipse. With amplitude A percent and azimuth z, the
picture is stretched by 1 + A/200 along z and shrunk by 1 - A/200 across it. The azimuth is counted as the
rotation axis is: from fast (+x) towards up, in the picture with its rows running down.
(Capitani et al., Ultramicroscopy 106, 2006; on the original instrument 2.43 % and 83.37 deg.)

XDS adds TABLE(ix, iy)/100 to the position of a pixel to get where the beam would have hit without distortion.
"""

import math

import numpy as np
from numpy.typing import NDArray

TABLE_SCALE = 100
"""The tables of XDS hold hundredths of a pixel."""


def distortion_matrix(amplitude_percent: float, azimuth_deg: float) -> NDArray[np.float64]:
    """(2, 2) matrix that takes a true offset (fast, slow) from the beam to the offset on the distorted picture."""
    z = math.radians(azimuth_deg)
    along = np.array([math.cos(z), -math.sin(z)])  # up is towards smaller slow
    half = amplitude_percent / 200
    return (1 - half) * np.eye(2) + 2 * half * np.outer(along, along)


def shifts(
    shape: tuple[int, int], beam_px: tuple[float, float], amplitude_percent: float, azimuth_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shift in pixels along fast and along slow, (rows, columns) each, from the picture to the undistorted one.

    shape: rows, columns. beam_px: (fast, slow), pixel i covers [i, i + 1).
    """
    undo = np.linalg.inv(distortion_matrix(amplitude_percent, azimuth_deg)) - np.eye(2)
    slow, fast = np.ogrid[: shape[0], : shape[1]]
    dx, dy = fast + 0.5 - beam_px[0], slow + 0.5 - beam_px[1]
    return undo[0, 0] * dx + undo[0, 1] * dy, undo[1, 0] * dx + undo[1, 1] * dy


def tables(
    shape: tuple[int, int], beam_px: tuple[float, float], amplitude_percent: float, azimuth_deg: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The X and Y correction tables of XDS: `shifts` in hundredths of a pixel, rounded to the nearest."""
    x, y = shifts(shape, beam_px, amplitude_percent, azimuth_deg)
    return np.rint(x * TABLE_SCALE).astype(np.int32), np.rint(y * TABLE_SCALE).astype(np.int32)
