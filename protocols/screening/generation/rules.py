"""When a pattern is good, bad or borderline: counted from the true spots, before any noise is drawn.

True signal to noise of a spot: the counts expected of it within two sigma of its middle (86 % of it), over the square
root of all counts expected there (its own, the background's, the camera's own) plus the variance of the readout of
these pixels. A spot is visible where this is 5 or more and the pixel of its middle is neither hidden nor dead. On a
background of a tenth of a count a pixel, a spot of sigma 1.3 px needs some 31 counts to be visible.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

VISIBLE = 5.0
"""Signal to noise."""
WITHIN_TWO_SIGMA = 1 - np.exp(-2.0)
GOOD_SPOTS = 15
GOOD_D_MIN_A = 1.5
FEW_SPOTS = 6
"""A pattern of one crystal with this many visible spots, or fewer, is bad."""
SECOND_SPOTS, SECOND_SHARE, SECOND_DEG = 8, 0.1, 2.0
"""A second lattice makes a pattern bad that is turned by SECOND_DEG and more, has so many visible spots that lie
on none of the first, and so large a share of the intensity of all spots in the frame."""
APART_SIGMA = 3.0
"""Spots nearer than this to one of the first lattice are no spots of the second's own."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueSpots:
    """What is expected of the (n,) spots of single crystals. Those out of the frame, hidden or dead are not among them.

    share: of the electrons of the primary beam. below: background a pixel under it, as a share likewise. d_star: |g| in
    1/A. lattice: number of its crystal, 0 for the strongest. own: it lies apart from all spots of crystal 0.
    sigma_px: width of every spot.
    """

    share: Array
    below: Array
    d_star_per_A: Array
    lattice: NDArray[np.int64]
    own: NDArray[np.bool_]
    sigma_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Of the (e,) exposures: visible spots, 1 / the third-largest |g| (inf: fewer than three), lattices with a visible
    spot, and the most visible spots of its own that a further lattice of SECOND_SHARE has.
    """

    visible: NDArray[np.int64]
    d_min_A: Array
    lattices: NDArray[np.int64]
    second: NDArray[np.int64]

    @property
    def good(self) -> NDArray[np.bool_]:
        """One lattice, with spots enough and far enough out."""
        enough = (self.visible >= GOOD_SPOTS) & (self.d_min_A <= GOOD_D_MIN_A)
        return np.asarray((self.lattices == 1) & enough)

    @property
    def few(self) -> NDArray[np.bool_]:
        """Bad for its few spots."""
        return self.visible <= FEW_SPOTS

    @property
    def several(self) -> NDArray[np.bool_]:
        """Bad for a second lattice (that it is turned by SECOND_DEG, who draws it sees to)."""
        return self.second >= SECOND_SPOTS

    @property
    def between(self) -> NDArray[np.bool_]:
        """Neither good nor bad."""
        return ~(self.good | self.few | self.several)


def signal_to_noise(spots: TrueSpots, electrons: Array, dark: float, readout: float) -> Array:
    """(n, e) true signal to noise at each of the (e,) exposures, in electrons of the primary beam.

    dark, readout: the camera's own counts a pixel, and the standard deviation of its readout, in electrons.
    """
    pixels = 4 * np.pi * spots.sigma_px**2
    signal = WITHIN_TWO_SIGMA * np.multiply.outer(spots.share, electrons)
    noise2 = signal + pixels * (np.multiply.outer(spots.below, electrons) + dark + readout**2)
    return np.asarray(signal / np.sqrt(np.maximum(noise2, 1e-12)))


def counted(spots: TrueSpots, electrons: Array, dark: float, readout: float) -> Counted:
    """What the rules ask for, at each of the (e,) exposures; arguments as for `signal_to_noise`."""
    seen = signal_to_noise(spots, electrons, dark, readout) >= VISIBLE
    count = int(spots.lattice.max(initial=-1)) + 1
    total = float(spots.share.sum())
    lattices = np.zeros(len(electrons), dtype=np.int64)
    second = np.zeros(len(electrons), dtype=np.int64)
    for number in range(count):
        of = spots.lattice == number
        lattices += seen[of].any(axis=0)
        if number and total > 0 and float(spots.share[of].sum()) >= SECOND_SHARE * total:
            second = np.maximum(second, seen[of & spots.own].sum(axis=0))
    outer = np.where(seen, spots.d_star_per_A[:, None], 0.0)
    third = -np.sort(-outer, axis=0)[2] if len(outer) > 2 else np.zeros(len(electrons))
    with np.errstate(divide="ignore"):
        return Counted(seen.sum(axis=0), 1.0 / third, lattices, second)
