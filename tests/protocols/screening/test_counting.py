"""Poisson counts from a table are Poisson counts."""

import numpy as np
import pytest
from scipy.stats import poisson

from protocols.screening.generation.counting import poisson_counts


@pytest.mark.parametrize("mean", [0.003, 0.01, 0.05, 0.3, 1.0, 4.7, 20.0, 31.9, 32.0, 60.0, 2000.0])
def test_counts_have_the_distribution_of_their_mean(mean):
    rng = np.random.Generator(np.random.SFC64(round(1000 * mean)))
    counts = poisson_counts(np.full((1000, 1000), mean, dtype=np.float32), rng)
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / 1e6) + 3e-4 * mean)
    assert counts.var() == pytest.approx(mean, rel=0.01 + 4 * np.sqrt(2 / 1e6) + 4 / np.sqrt(mean * 1e6))
    at = np.unique(poisson.ppf([0.05, 0.5, 0.95], mean))
    shares = np.array([(counts <= k).mean() for k in at])
    np.testing.assert_allclose(shares, poisson.cdf(at, mean), atol=0.004)


def test_what_is_below_zero_gives_nothing_and_the_shape_is_kept():
    made = poisson_counts(np.full((3, 5), -1.0, dtype=np.float32), np.random.Generator(np.random.SFC64(1)))
    assert made.shape == (3, 5)
    assert not made.any()
