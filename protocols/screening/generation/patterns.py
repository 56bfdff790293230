"""Labelled diffraction patterns as a stream: frames of counts, with the truth about each.

The same seed and number give the same pattern, whatever else is made, in any process. Patterns are made one at a time
and not kept; one of 516 x 516 px takes some ten milliseconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.pattern import distortion_matrix
from drivers.simulated.pictures import add_gaussians
from protocols.screening.generation.cameras import CameraKind, detected, drawn_camera
from protocols.screening.generation.composition import drawn
from protocols.screening.generation.scenes import Scene, scene
from protocols.screening.labels import Label

FRAME = (516, 516)
FEWEST_COUNTS = 0.05
"""Spots of which less is expected are not drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPattern:
    """counts: (slow, fast) frame as the camera gives it. inverse_A_per_px: 1/A a pixel. beam_px: (fast, slow), pixel i
    covers [i, i + 1). mask: (slow, fast) True for pixels that tell nothing; None where all do.
    """

    counts: NDArray[Any]
    inverse_A_per_px: float
    beam_px: tuple[float, float]
    label: Label
    mask: NDArray[np.bool_] | None


def generate(
    seed: int,
    first: int = 0,
    count: int = 1,
    camera: CameraKind = CameraKind.COUNTING,
    shape: tuple[int, int] = FRAME,
) -> Iterator[LabelledPattern]:
    """Patterns number `first` to `first + count - 1` of this seed; shape: pixels along (fast, slow).

    Numbers i and i + 1 are of one specimen unless a multiple of `specimen.PATTERNS_EACH` lies between. What they are
    made of: `composition`.
    """
    for number in range(first, first + count):
        yield pattern(seed, number, camera, shape)


def pattern(
    seed: int, number: int, camera: CameraKind = CameraKind.COUNTING, shape: tuple[int, int] = FRAME
) -> LabelledPattern:
    """One of them."""
    rng = np.random.Generator(np.random.SFC64([seed, 2, number]))
    kind, verdict = drawn(rng)
    of = drawn_camera(camera, rng)
    rows_columns = shape[1], shape[0]
    seen = scene(seed, number, kind, verdict, of, rows_columns, rng)
    electrons = electrons_of(seen, rows_columns)
    counts = detected(electrons, of, seen.dead, rng)
    beam_px = seen.geometry.beam_fast_px, seen.geometry.beam_slow_px
    return LabelledPattern(counts, seen.per_px_A, beam_px, seen.label, seen.dead)


def electrons_of(of: Scene, shape: tuple[int, int]) -> NDArray[np.float32]:
    """(rows, columns) expected on each pixel, without what the camera adds."""
    if not of.electrons:
        return np.zeros(shape, dtype=np.float32)
    geometry = of.geometry
    beam_px = geometry.beam_fast_px, geometry.beam_slow_px
    electrons = of.radial.picture(shape, beam_px, distortion_matrix(geometry))
    electrons *= np.float32(of.electrons)
    counts = of.spots.share * of.electrons
    drawn = counts > FEWEST_COUNTS
    if drawn.any():
        rows, columns = (np.arange(n + 1, dtype=np.float64) for n in shape)
        spots = of.spots.only(drawn)
        add_gaussians(electrons, rows, columns, spots.slow_px, spots.fast_px, of.sigma_px, counts[drawn])
    if of.shade is not None:
        electrons *= of.shade
    return electrons
