"""A score without a network: of the spots of a pattern, those that one lattice explains, as REyes' DQI.

The spots are found (`protocols.spots`) and a lattice is looked for in them (`protocols.lattice.still`). Then a person's
questions are asked: has it spots enough, are they of one lattice, do they reach far enough. The weakest of the three
answers is the score, and says why. It needs no training and no TensorFlow; docs/screening.md says how often it is
right. A frame of 516 px takes 0.1 s, nearly all of it to find the spots.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.still import still_lattice
from protocols.spots.peaks import find_peaks

FEW, ENOUGH = 4, 11
"""Spots found: with so few the score is 0, from ENOUGH on their number takes nothing off; halfway it is 0.5. The finder
takes what stands out by 7 standard deviations, so it finds fewer than the rules of `generation.rules` count."""
LEAST_SHARE = 0.8
"""Share of the spots on one lattice at which the score is 0.5; some of a good pattern are noise, or badly placed."""
FAR_A, NEAR_A = 1.4, 2.2
"""Resolution at which the score loses nothing, and at which it is 0; halfway, at 1.8 A, it is 0.5. The rule is 1.5 A,
but it is the farthest spots that are not found."""
USUAL_PER_FRAME_A = 516 * 0.00488
"""Width of a frame in 1/A where nobody said it: a Timepix at a camera length of 250 mm and 200 kV."""


@dataclass(frozen=True, slots=True)
class GeometricScore:
    """good: 0..1, from 0.5 on worth a run. d_min_A: 1 / the third-largest |g| of the spots of the lattice, or of all
    where there is none; None where fewer than three were found or the scale is not known. several: 0..1, from 0.5
    on more than one lattice. spots: found; on_lattice: of them, those of the lattice. why: the score in words.
    """

    good: float
    d_min_A: float | None
    several: float
    spots: int
    on_lattice: int
    why: str


def geometric_score(
    frame: NDArray[Any],
    inverse_A_per_px: float | None = None,
    *,
    bad: NDArray[np.bool_] | None = None,
    beam_px: tuple[float, float] | None = None,
    wavelength_A: float = 0.0251,
) -> GeometricScore:
    """Of a (slow, fast) frame of any camera; never an exception for what its pixels are.

    inverse_A_per_px: without it lattices are looked for as if the frame was of a Timepix at 250 mm, and the
    resolution is not asked. bad: True for pixels that tell nothing. beam_px: (fast, slow) where a beam stop hides it.
    """
    peaks = find_peaks(frame, beam_px=beam_px, bad=bad)
    count = len(peaks.xy_px)
    if not count:
        return GeometricScore(0.0, None, 0.0, 0, 0, peaks.reason)
    per_px = inverse_A_per_px or USUAL_PER_FRAME_A / min(frame.shape)
    xy = peaks.xy(per_px)
    lattice = still_lattice(xy, wavelength_A)
    on = np.zeros(count, dtype=bool) if lattice is None else lattice.on
    share = float(on.mean())
    known = inverse_A_per_px is not None
    d_min_A = _d_min(xy[on] if share >= 0.5 else xy) if known else None
    enough = _between(count, FEW, ENOUGH)
    one = min(1.0, 0.5 * share / LEAST_SHARE if share < LEAST_SHARE else 1 - 0.5 * (1 - share) / (1 - LEAST_SHARE))
    far = 1.0 if d_min_A is None else _between(-d_min_A, -NEAR_A, -FAR_A)
    answers = (
        (enough, f"{count} {'spot' if count == 1 else 'spots'}, too few"),
        (one, f"{int(on.sum())} of {count} spots on one lattice"),
        (far, f"spots reach {d_min_A:.2f} A only" if d_min_A else ""),
    )
    good, why = min(answers, key=lambda answer: answer[0])
    if good >= 0.5:
        why = f"{int(on.sum())} of {count} spots on one lattice" + (f", to {d_min_A:.2f} A" if d_min_A else "")
    return GeometricScore(good, d_min_A, (1 - one) if count > FEW else 0.0, count, int(on.sum()), why)


def _between(value: float, nothing: float, everything: float) -> float:
    """0 at `nothing`, 1 at `everything`, a straight line between."""
    return float(np.clip((value - nothing) / (everything - nothing), 0.0, 1.0))


def _d_min(xy_per_A: NDArray[np.float64]) -> float | None:
    """1 / the third-largest |g| of (n, 2) spots; that the detector is flat changes it by 0.02 % at 1 A."""
    if len(xy_per_A) < 3:
        return None
    return float(1 / np.sort(np.hypot(*xy_per_A.T))[-3])
