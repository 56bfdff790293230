"""Which pixels of the patterns tell nothing, on the grid of equal pixels: the wide cross, and what is dead."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.products.corrections import Correction
from protocols.products.cross import cross_mask, spread
from protocols.serialed.results.source import Patterns

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """All (rows, columns). cross: pixels that share the counts of a wide one. response: relative, None where nobody
    measured it.
    """

    cross: Mask
    dead: Mask
    response: NDArray[np.float32] | None


def masks_of(patterns: Patterns, correction: Correction) -> Masks:
    """From what corrects the pictures."""
    nothing = np.zeros(patterns.shape, dtype=bool)

    def on_grid(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return spread(values) if patterns.wide_cross else values

    dead = nothing if correction.dead is None else np.asarray(on_grid(correction.dead), dtype=bool)
    gain = None if correction.gain is None else np.asarray(on_grid(1.0 / correction.gain), dtype=np.float32)
    return Masks(cross_mask(patterns.raw_shape) if patterns.wide_cross else nothing, dead, gain)
