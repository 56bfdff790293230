"""The cameras of the labelled patterns: a Timepix that counts, and one that integrates what a scintillator gives.

Both take the electrons expected on each pixel and give a frame as its driver would. The Timepix counts electrons, its
pixels differ by some percent, and those of the seams are three times as wide. The integrating camera has a gain, an
offset, readout noise and a scintillator that smears; dark counts may have been taken off, which leaves signed numbers.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.picturesettings import PictureSettings
from protocols.screening.generation.counting import poisson_counts

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

TIMEPIX = PictureSettings()
"""Saturation and response of the pixels are those of the simulated microscope."""
SEAMED = 0.85
"""Share of Timepix frames with even numbers of pixels that have seams."""
HOT = 0.1
"""Share of the dead pixels that are bright instead."""


class CameraKind(StrEnum):
    """How a camera detects electrons."""

    COUNTING = "counting"
    INTEGRATING = "integrating"


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera in one session.

    dark: its own counts a pixel and frame, in electrons; readout: standard deviation of its readout, in electrons.
    gain, offset: numbers per electron, and without any. signed: how its offset was taken off ("": it was not).
    smeared: share of a pixel's electrons that each neighbour along a row or column gets.
    """

    kind: CameraKind
    dark: float
    readout: float
    gain: float
    offset: float
    saturation: float
    signed: str
    smeared: float
    seamed: bool
    response_sigma: float
    response: int


def drawn_camera(kind: CameraKind, rng: np.random.Generator) -> Camera:
    """One of this kind."""
    response = int(rng.integers(4))
    if kind is CameraKind.COUNTING:
        dark = float(np.exp(rng.uniform(np.log(2e-5), np.log(0.3))))
        return Camera(
            kind, dark, 0.0, 1.0, 0.0, TIMEPIX.saturation, "", 0.0, bool(rng.random() < SEAMED),
            TIMEPIX.pixel_response_sigma, response,
        )  # fmt: skip
    gain = float(np.exp(rng.uniform(np.log(3.0), np.log(60.0))))
    signed = str(rng.choice(["", "", "", "int32", "float32"]))
    return Camera(
        kind,
        dark=float(np.exp(rng.uniform(np.log(0.01), np.log(3.0)))),
        readout=float(np.exp(rng.uniform(np.log(0.15), np.log(3.0)))),
        gain=gain,
        offset=0.0 if signed else float(rng.uniform(5.0, 20.0) * gain),
        saturation=float(rng.choice([16383.0, 65535.0])),
        signed=signed,
        smeared=float(rng.choice([0.0, 0.08, 0.15])),
        seamed=False,
        response_sigma=0.01,
        response=response,
    )


def detected(electrons: Picture, camera: Camera, dead: Mask | None, rng: np.random.Generator) -> NDArray[Any]:
    """The (rows, columns) frame: uint16; int32 or float32 where the offset was taken off. `electrons` is used up."""
    electrons += np.float32(camera.dark)
    electrons *= _response(electrons.shape, camera.response_sigma, camera.response)
    if camera.kind is CameraKind.COUNTING:
        if camera.seamed:
            _seams(electrons)
        counts = poisson_counts(electrons, rng)
        if camera.seamed:
            _share_seams(counts)
        np.minimum(counts, camera.saturation, out=counts)
    else:
        counts = poisson_counts(electrons, rng)
        if camera.smeared:
            counts = _smeared(counts, camera.smeared)
        counts += rng.standard_normal(counts.shape, dtype=np.float32) * np.float32(camera.readout)
        counts *= np.float32(camera.gain)
        if camera.signed:
            counts -= np.float32(camera.dark * camera.gain)
        counts += np.float32(camera.offset)
        np.clip(counts, None if camera.signed else 0.0, camera.saturation, out=counts)
    if dead is not None and dead.any():
        bright = rng.random(int(dead.sum())) < HOT
        counts[dead] = np.where(bright, camera.saturation * rng.random(len(bright)), 0.0)
    if camera.signed == "float32":
        return counts
    return np.rint(counts).astype(np.int32 if camera.signed else np.uint16)


@lru_cache(maxsize=4)
def _response(shape: tuple[int, int], sigma: float, number: int) -> Picture:
    """(rows, columns) sensitivity of each pixel, of camera so-and-so."""
    rng = np.random.Generator(np.random.SFC64([number, 3]))
    return np.asarray(np.maximum(1 + sigma * rng.standard_normal(shape, dtype=np.float32), np.float32(0.1)))


def _seam(pixels: int) -> slice:
    """The pixels of one axis on which the two wide ones stand, on a grid of equal pixels (516) or as they are (512)."""
    middle = pixels // 2
    return slice(middle - 3, middle + 3) if pixels % 512 else slice(middle - 1, middle + 1)


def _seams(electrons: Picture) -> None:
    """On the grid as it is (512 px), wide pixels collect for three."""
    for axis, pixels in enumerate(electrons.shape):
        if not pixels % 512:
            across = electrons if axis == 0 else electrons.T
            across[_seam(pixels)] *= 3


def _share_seams(counts: Picture) -> None:
    """On a grid of equal pixels, a wide pixel's counts were shared out among three."""
    for axis, pixels in enumerate(counts.shape):
        if pixels % 512 and not pixels % 2 and pixels >= 128:
            across = counts if axis == 0 else counts.T
            begin = _seam(pixels).start
            for first in (begin, begin + 3):
                across[first : first + 3] = np.rint(across[first : first + 3].mean(axis=0))


def _smeared(counts: Picture, share: float) -> Picture:
    """Each pixel with this share of each of two neighbours, along both axes."""
    for _ in range(2):
        seen = counts * np.float32(1 - 2 * share)
        seen[1:] += np.float32(share) * counts[:-1]
        seen[:-1] += np.float32(share) * counts[1:]
        counts = seen.T
    return np.ascontiguousarray(counts)
