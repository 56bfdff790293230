"""A specimen in the light is told from counting, from a camera's response, and from a beam that drifts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.calibrate.flatfield.specimen import seen, specimen

PX, COUNTS = 96, 100.0
X, Y = np.meshgrid(np.linspace(-1, 1, PX), np.linspace(-1, 1, PX))
Through = Callable[[NDArray[np.float64], NDArray[np.float64]], Any]


def even(x: NDArray[np.float64], y: NDArray[np.float64]) -> Any:
    return 1.0


# What lets how much of the light through: with the stage here, and there; whether that is a specimen.
LIGHT: dict[str, tuple[Through, Through, bool]] = {
    "nothing in it": (even, even, False),
    "a beam that has drifted and faded": (even, lambda x, y: 0.9 + 0.1 * x - 0.05 * x * y, False),
    "an even film": (lambda x, y: 0.8, lambda x, y: 0.8, False),
    "a crack": (lambda x, y: np.where(np.abs(x - y) < 0.1, 1.0, 0.9), lambda x, y: np.where(x > 0.7, 1.0, 0.9), True),
    "a bar that comes in": (even, lambda x, y: np.where(x > 0.6, 0.0, 1.0), True),
    "a bar that was there": (lambda x, y: np.where(x > 0.6, 0.0, 1.0), even, True),
}


@pytest.mark.parametrize(("here", "there", "is_specimen"), LIGHT.values(), ids=LIGHT)
@pytest.mark.parametrize("seed", range(3))
def test_what_moves_with_the_stage_is_a_specimen(seed: int, here: Through, there: Through, is_specimen: bool) -> None:
    rng = np.random.default_rng(seed)
    response = 1 + 0.05 * rng.standard_normal((PX, PX))
    lit = [rng.poisson(COUNTS * response * light(X, Y)) for light in (here, here, there, there)]
    pictures = [*lit, np.zeros((PX, PX))]
    found = specimen({"here": [0, 1], "there": [2, 3], "dark": 4, "gain": 1.0}, pictures.__getitem__)
    assert bool(seen(found, 1.0)) is is_specimen, found
