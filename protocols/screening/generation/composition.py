"""What the labelled patterns are made of, and what is drawn for each of them.

Of all patterns 8 % are borderline and scored apart: too few spots to be good and too many to be bad (7 to 14), spots
enough but none farther out than 1.5 A, or a second lattice that is weak, has few spots or is turned by less than 2
deg. Of the others 57 % are good, as in Cichocka and co-workers (2018), and 43 % bad. Of the bad 32 % are of several
crystals or spotty rings, which the network published with Instamatic lets through.
"""

import numpy as np

from protocols.screening.labels import Kind, Verdict

BORDERLINE = 0.08
GOOD = 0.57
"""Of those that are not borderline."""
BAD = {
    Kind.SEVERAL_CRYSTALS: 0.20,
    Kind.SPOTTY_RINGS: 0.12,
    Kind.TOO_FEW: 0.14,
    Kind.POWDER_RINGS: 0.09,
    Kind.EMPTY_FILM: 0.08,
    Kind.AMORPHOUS: 0.07,
    Kind.VACUUM: 0.06,
    Kind.BLANK: 0.05,
    Kind.GRID_BAR: 0.05,
    Kind.ICE_RINGS: 0.05,
    Kind.STREAKS: 0.045,
    Kind.BENT: 0.045,
}
"""Kinds of bad patterns and their shares of them."""
BORDERLINE_KINDS = {Kind.ONE_LATTICE: 0.6, Kind.SEVERAL_CRYSTALS: 0.4}


def drawn(rng: np.random.Generator) -> tuple[Kind, Verdict]:
    """What the next pattern is to be."""
    if rng.random() < BORDERLINE:
        return _one_of(BORDERLINE_KINDS, rng), Verdict.BORDERLINE
    if rng.random() < GOOD:
        return Kind.ONE_LATTICE, Verdict.GOOD
    return _one_of(BAD, rng), Verdict.BAD


def _one_of(shares: dict[Kind, float], rng: np.random.Generator) -> Kind:
    below = np.cumsum(list(shares.values()))
    return list(shares)[min(int(np.searchsorted(below, rng.random() * below[-1], side="right")), len(shares) - 1)]
