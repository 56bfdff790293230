"""Where a crystal was not in the beam while its rotation went on: by the reflections that should have passed.

A crystal that was centred at one angle may stand beside the beam at others, with the film lit all the same. What the
lattice says should pass there is then nothing, which is no measurement: an intensity of nothing is told as exactly as
any, and equivalents that were seen do not agree with it. How many of the reflections that pass are seen differs little
from one angle to the next, so a stretch in which hardly any is seen has no crystal.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

EXPECTED = 15
"""Of the reflections of a stretch as many would be seen as usually: then none is no chance."""
LEAST_DEG = 2.0
"""A stretch is as long at least: of a slot in which a snapshot was taken instead of a frame nothing is seen, either."""
USUAL = 0.8
"""Quantile of the stretches whose share is usual: most of a rotation may be beside the beam."""
NONE, FEW = 0.1, 0.5
"""Of the usual share; a stretch with less than the first has no crystal, and what is beside it and has less than the
second is its edge.
"""
LEAST_SHARE = 0.01
"""A crystal of which fewer are seen anywhere does not tell."""


def absent(angle_deg: Array, seen: Mask) -> Mask:
    """(n,) which reflections passed, at these stage angles, while the crystal was not in the beam. seen: (n,) which
    were seen at all.
    """
    found = np.zeros(len(seen), dtype=bool)
    order = np.argsort(angle_deg, kind="stable")
    share = float(seen.mean()) if len(seen) else 0.0
    most = float(np.ptp(angle_deg)) / LEAST_DEG if len(seen) else 0.0
    for _ in range(2):  # the first time with what was beside the beam in the mean
        if share < LEAST_SHARE or len(seen) * share < 2 * EXPECTED:
            return found
        stretches = np.array_split(seen[order], max(2, int(min(most, len(seen) * share / EXPECTED))))
        shares = np.array([each.mean() for each in stretches])
        share = float(np.quantile(shares, USUAL))
    none, few = shares < NONE * share, shares < FEW * share
    gone = none.copy()
    gone[1:] |= none[:-1] & few[1:]
    gone[:-1] |= none[1:] & few[:-1]
    found[order] = np.repeat(gone, [len(each) for each in stretches])
    return found


def absences(angle_deg: Array, seen: Mask) -> list[tuple[float, float]]:
    """The parts of a rotation, ascending, from one stage angle in deg to another, in which the crystal was not in the
    beam. As `absent`.
    """
    order = np.argsort(angle_deg, kind="stable")
    angles = np.asarray(angle_deg)[order]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], absent(angle_deg, seen)[order], [False]]).astype(np.int8)))
    return [(float(angles[first]), float(angles[end - 1])) for first, end in edges.reshape(-1, 2).tolist()]
