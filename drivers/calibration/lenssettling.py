"""How long a pattern takes to stand still after a lens was changed, from the one figure that a devices file gives."""

from drivers.facts import OpticsFacts

SETTLES_FROM = 1500.0
"""The defocus in steps for which the figure holds."""

TIME_CONSTANT_S = 0.168
"""Of the slow part of a lens (drivers/simulated/column.py)."""


def lens_settling(settling_s: float) -> OpticsFacts:
    """How such a lens settles; settling_s: for 1500 steps."""
    return OpticsFacts(settling_s, TIME_CONSTANT_S, SETTLES_FROM)
