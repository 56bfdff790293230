"""How long a pattern takes to stand still after a lens was changed, from the one figure that a devices file gives."""

import math

SETTLES_FROM = 1500
"""The defocus in steps for which the figure holds."""

TIME_CONSTANT_S = 0.168
"""Of the slow part of a lens (drivers/simulated/column.py)."""


def lens_settling_s(settling_s: float, defocus: int) -> float:
    """The settling for a defocus; settling_s: that for 1500 steps.

    An exponential approach, so twice the defocus takes a constant time more.
    """
    if defocus == 0:
        return 0.0
    return max(0.0, settling_s + TIME_CONSTANT_S * math.log(abs(defocus) / SETTLES_FROM))
