"""How wide in angle the reflections are, from how strong ones are spread over their frames.

Live analysis tells one number, as if all width came of the blocks' directions. Two tell more: what the blocks' size
adds makes reflections near the beam wider in angle. Both are found from the frames' shares of the strong reflections.
"""

import numpy as np
from numpy.typing import NDArray

from protocols.integration.prediction import Passages, Widths, fractions

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]

FEWEST = 25
"""Strong reflections that tell widths; with fewer those that were told hold."""
MOST = 1500
LEAST_DEG, LEAST_PER_A = 0.003, 1e-5
KNOWN_TO = 0.03
"""No share of a frame is known better: the middle of a passage is off by a little."""
ROBUST = 3.0
"""Standard deviations beyond which a share counts less: it is not of this reflection alone."""


def fitted_widths(
    passages: Passages,
    strong: Numbers,
    row: Numbers,
    share: Array,
    sigma: Array,
    start_deg: Array,
    end_deg: Array,
    told: Widths,
) -> Widths:
    """From (m,) observations of strong reflections in frames.

    strong: of which passages (k,). row: (m,) in `strong` of each observation; share: of the counts of all its frames
    that there are, and its sigma; start_deg, end_deg: of its frame. Those that were told where too few tell it.
    """
    from scipy.optimize import least_squares

    if len(strong) < FEWEST:
        return told
    angle, d_star, speed = (getattr(passages, name)[strong] for name in ("angle_deg", "d_star", "speed_per_A"))
    if len(strong) > MOST:
        few = row < MOST
        row, share, sigma, start_deg, end_deg = row[few], share[few], sigma[few], start_deg[few], end_deg[few]
    weight = 1 / np.hypot(sigma, KNOWN_TO)

    def off(logarithms: Array) -> Array:
        width = Widths(*np.exp(logarithms).tolist()).deg(d_star, speed)[row]
        expected = fractions(angle[row], width, start_deg, end_deg)
        whole = np.bincount(row, expected, len(angle))
        return np.asarray(weight * (expected / np.maximum(whole[row], 1e-3) - share))

    begin = np.log([max(told.mosaicity_deg, LEAST_DEG), max(told.size_per_A, LEAST_PER_A)])
    bounds = np.log([LEAST_DEG / 2, LEAST_PER_A / 2]), np.log([3.0, 0.02])
    found = least_squares(off, begin, bounds=bounds, loss="soft_l1", f_scale=ROBUST)
    return Widths(*(float(x) for x in np.exp(found.x)))
