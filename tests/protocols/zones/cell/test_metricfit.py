"""The metric comes back from the squared lengths it makes; what does not fit is left out; uncertainties are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocols.lattice.cell import Cell
from protocols.zones.cell.metricfit import Fit, cell_uncertainties, design, fit_metric, matrix, six
from tests.protocols.zones.madezones import SPREAD

V, W = (np.array([plane[n] for plane in SPREAD]) for n in (0, 1))


def squares(metric: NDArray[np.float64], v: NDArray[np.int64], w: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.stack([np.einsum("ni,ij,nj->n", x, metric, x) for x in (v, w, v - w)], axis=1)


def fitted(values: NDArray[np.float64], start: NDArray[np.float64], sd: float = 1e-4) -> Fit:
    covariance = np.stack([np.diag((2 * sd * row) ** 2) for row in values])
    return fit_metric(start, V, W, values, covariance)


@given(st.lists(st.floats(4, 20), min_size=3, max_size=3), st.lists(st.floats(75, 110), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_exact_squares_give_the_metric(lengths: list[float], angles: list[float]) -> None:
    true = Cell(*lengths, *angles).reciprocal_metric
    start = true * (1 + 0.01 * np.array([[1, -1, 0.5], [-1, 0, 1], [0.5, 1, -1]]))
    fit = fitted(squares(true, V, W), start)
    np.testing.assert_allclose(fit.metric, true, atol=2e-5 * np.abs(true).max())
    assert fit.used.all()


def test_a_net_that_does_not_belong_is_left_out() -> None:
    true = Cell(8, 9, 11, 95, 100, 105).reciprocal_metric
    values = squares(true, V, W)
    values[3] *= 1.01
    fit = fitted(values, true)
    assert np.flatnonzero(~fit.used).tolist() == [3]
    np.testing.assert_allclose(fit.metric, true, rtol=1e-3, atol=1e-6)


def test_uncertainties_are_those_of_repeated_experiments() -> None:
    cell = Cell(8, 9, 11, 95, 100, 105)
    true, rng, sd = cell.reciprocal_metric, np.random.default_rng(3), 3e-4
    exact = squares(true, V, W)
    found, said = [], []
    for _ in range(200):
        fit = fitted(exact * (1 + 2 * sd * rng.standard_normal(exact.shape)), true, sd)
        found.append(Cell.from_reciprocal_metric(fit.metric).parameters)
        said.append(cell_uncertainties(fit.metric, fit.covariance)[0])
    np.testing.assert_allclose(np.median(said, axis=0), np.std(found, axis=0), rtol=0.35)


def test_a_distortion_is_fitted_with_the_metric() -> None:
    true = Cell(8, 9, 11, 95, 100, 105).reciprocal_metric
    rng = np.random.default_rng(1)
    exact, strain = squares(true, V, W), np.array([0.008, -0.003])
    azimuth = rng.uniform(0, np.pi, exact.shape)
    slope = 2 * exact[..., None] * np.stack([np.cos(2 * azimuth), np.sin(2 * azimuth)], axis=-1)
    seen = exact + slope @ strain
    fit = fit_metric(true, V, W, seen, np.stack([np.diag((2e-4 * row) ** 2) for row in seen]), slope)
    np.testing.assert_allclose(fit.strain, strain, atol=1e-5)
    np.testing.assert_allclose(fit.metric, true, rtol=1e-3, atol=1e-6)


def test_the_six_numbers_and_the_matrix_are_one() -> None:
    metric = Cell(8, 9, 11, 95, 100, 105).reciprocal_metric
    np.testing.assert_allclose(matrix(six(metric)), metric, rtol=1e-12)
    hkl = np.array([[1, -2, 3]])
    assert (design(hkl) @ six(metric))[0] == pytest.approx(float(hkl[0] @ metric @ hkl[0]))
