"""Good, bad and borderline: the rules on true spots, one by one."""

import numpy as np
import pytest

from protocols.screening.generation.rules import TrueSpots, counted, signal_to_noise

ELECTRONS = np.array([1e6])


def spots(visible, second=0, second_share=1.0, invisible=0, d_A=1.0, second_apart=True):
    """So many visible spots, each of 100 counts (or `second_share` of that), and invisible ones of one count."""
    share = np.concatenate([np.full(visible, 1e-4), np.full(second, 1e-4 * second_share), np.full(invisible, 1e-6)])
    lattice = np.concatenate([np.zeros(visible), np.ones(second), np.zeros(invisible)]).astype(np.int64)
    own = (lattice == 0) | second_apart
    return TrueSpots(share, np.full(len(share), 1e-8), np.full(len(share), 1 / d_A), lattice, own, 1.3)


CASES = {
    "fifteen spots of one lattice to 1 A are good": (spots(15), "good"),
    "fourteen are not": (spots(14), "between"),
    "what is not visible does not count": (spots(14, invisible=50), "between"),
    "spots that end at 1.5 A are good": (spots(15, d_A=1.5), "good"),
    "at 1.6 A they are not": (spots(15, d_A=1.6), "between"),
    "six are bad": (spots(6), "few"),
    "seven are not": (spots(7), "between"),
    "none are bad": (spots(0, invisible=3), "few"),
    "a second lattice with eight spots is bad": (spots(20, 8), "several"),
    "with seven it is borderline": (spots(20, 7), "between"),
    "with a tenth of the intensity it is bad": (spots(30, 15, second_share=0.3), "several"),
    "with less it is borderline": (spots(100, 10, second_share=0.5), "between"),
    "spots upon those of the first are none of its own": (spots(20, 8, second_apart=False), "between"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_rules(case):
    true, verdict = CASES[case]
    at = counted(true, ELECTRONS, dark=0.0, readout=0.0)
    told = {name: bool(getattr(at, name)[0]) for name in ("good", "few", "several", "between")}
    assert [name for name, holds in told.items() if holds] == [verdict]


def test_d_min_is_that_of_the_third_farthest_visible_spot():
    true = spots(5)
    true.d_star_per_A[:] = [0.2, 0.5, 0.8, 0.9, 1.0]
    assert counted(true, ELECTRONS, 0.0, 0.0).d_min_A == pytest.approx([1 / 0.8])
    assert counted(spots(2), ELECTRONS, 0.0, 0.0).d_min_A == [np.inf]


def test_signal_to_noise_is_what_counting_the_pixels_of_many_frames_gives():
    """A spot of 60 counts on a background of 0.5, read out with 0.8: within two sigma, over and over."""
    rng = np.random.default_rng(1)
    row, column = np.indices((21, 21)) - 10
    spot = 60 * np.exp(-0.5 * (row**2 + column**2) / 1.5**2) / (2 * np.pi * 1.5**2)
    inside = np.hypot(row, column) < 2 * 1.5
    frames = rng.poisson(spot + 0.5, (20_000, 21, 21)) + 0.8 * rng.standard_normal((20_000, 21, 21))
    sums = frames[:, inside].sum(axis=1)
    one = TrueSpots(np.array([60e-6]), np.array([0.5e-6]), np.ones(1), np.zeros(1, int), np.ones(1, bool), 1.5)
    told = signal_to_noise(one, ELECTRONS, dark=0.0, readout=0.8)[0, 0]
    assert told == pytest.approx((sums.mean() - 0.5 * inside.sum()) / sums.std(), rel=0.05)
