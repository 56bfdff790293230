"""What a diffraction pattern is called, for training and for judging: what is in it, and whether it is worth a run."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Whether the crystal is worth a cRED run. Borderline is what lies between the two rules; it is scored apart."""

    GOOD = "good"
    BAD = "bad"
    BORDERLINE = "borderline"


class Kind(StrEnum):
    """What the beam met."""

    ONE_LATTICE = "one lattice"
    SEVERAL_CRYSTALS = "several crystals"
    SPOTTY_RINGS = "spotty rings"
    POWDER_RINGS = "powder rings"
    AMORPHOUS = "amorphous"
    EMPTY_FILM = "empty film"
    VACUUM = "vacuum"
    BLANK = "blank"
    TOO_FEW = "too few spots"
    GRID_BAR = "grid bar"
    ICE_RINGS = "ice rings"
    STREAKS = "streaks"
    BENT = "bent crystal"


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one pattern.

    d_min_A: 1 / the third-largest |g| of the visible spots (`generation.rules`), over all lattices; None where fewer
        than three are visible, and where spots are no points (streaks, bent crystals, rings).
    lattices: crystals with a visible spot; of spotty rings the grains. 0 where there is none.
    crystal: patterns with one number are of one specimen; it divides training from test.
    """

    kind: Kind
    verdict: Verdict
    d_min_A: float | None
    lattices: int
    crystal: int
