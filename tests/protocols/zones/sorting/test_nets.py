"""The net through spots: the coarsest that carries them, at any shape, with spots missing, misplaced and foreign."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.zones.sorting.nets import centre_shift, find_nets, fit_net, flat_to_sphere, reduced

WAVELENGTH_A = 0.0251


def spots_of(
    basis: np.ndarray, reach: float = 0.9, tilt: tuple[float, float] = (0.0, 0.0), band: float = 0.02
) -> np.ndarray:
    """(n, 2) nodes of a net that a tilt excites; not the beam."""
    index = np.stack(np.meshgrid(np.arange(-60, 61), np.arange(-60, 61)), axis=-1).reshape(-1, 2)
    xy = index[index.any(axis=1)] @ basis
    length2 = np.square(xy).sum(axis=1)
    return np.asarray(xy[(length2 < reach**2) & (np.abs(xy @ tilt + WAVELENGTH_A * length2 / 2) < band)])


def same_net(found: np.ndarray, true: np.ndarray, tolerance: float = 1e-6) -> bool:
    change = found @ np.linalg.inv(true)
    whole = np.rint(change)
    return bool(abs(abs(np.linalg.det(whole)) - 1) < 1e-9 and np.abs((change - whole) @ true).max() < tolerance)


BASES = {
    "square": [[0.1, 0.0], [0.0, 0.1]],
    "hexagonal": [[0.12, 0.0], [-0.06, 0.1039]],
    "oblique": [[0.08, 0.02], [0.03, 0.17]],
    "rows 2.7 px apart, 40 px across": [[0.0187, 0.0123], [-0.18, 0.27]],
    "three rows": [[0.03, 0.01], [-0.21, 0.62]],
    "fine": [[0.05, 0.0], [0.01, 0.06]],
}


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES.keys())
@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.02, -0.03)])
def test_the_net_of_perfect_spots(basis: list[list[float]], tilt: tuple[float, float]) -> None:
    xy = spots_of(np.array(basis), tilt=tilt)
    (net, *_) = find_nets(xy)
    assert same_net(net.basis, np.array(basis))
    assert net.on.all()
    np.testing.assert_allclose(net.index @ net.basis, xy, atol=1e-9)


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES.keys())
def test_noise_missing_and_foreign_spots(basis: list[list[float]]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        true = spots_of(np.array(basis), tilt=(0.015, 0.01))
        seen = true[rng.random(len(true)) > 0.3]
        xy = np.vstack([seen + rng.normal(0, 0.0012, seen.shape), rng.uniform(-0.6, 0.6, (3, 2))])
        nets = find_nets(xy, most_off=5)
        assert nets
        assert same_net(nets[0].basis, np.array(basis), 0.002)
        assert nets[0].on[:-3].mean() > 0.98
        assert nets[0].sigma_per_A == pytest.approx(0.0012, rel=0.5)


def test_large_misplacements_need_a_wider_tolerance() -> None:
    rng = np.random.default_rng(6)
    true = spots_of(np.array(BASES["oblique"]))
    xy = true + rng.normal(0, 0.003, true.shape)
    (net, *_) = find_nets(xy, tolerance_per_A=0.016)
    assert net.on.all()
    assert same_net(net.basis, np.array(BASES["oblique"]), 0.002)
    assert not find_nets(xy, tolerance_per_A=0.003, most_off=3)


def test_the_covariance_is_that_of_many_fits() -> None:
    rng = np.random.default_rng(7)
    basis = np.array(BASES["oblique"])
    true = spots_of(basis, tilt=(0.02, 0.02))
    fits = [fit_net(true + rng.normal(0, 0.001, true.shape), basis) for _ in range(400)]
    found = np.array([net.basis.reshape(-1) for net in fits if net is not None])
    assert len(found) == 400
    promised = np.mean([net.covariance for net in fits if net is not None], axis=0)
    scatter = np.cov(found.T)
    np.testing.assert_allclose(np.diag(promised), np.diag(scatter), rtol=0.25)
    np.testing.assert_allclose(promised, scatter, atol=0.25 * np.diag(scatter).max())


def test_a_second_row_with_two_spots_makes_a_net() -> None:
    row = np.outer(np.delete(np.arange(-13, 10), 13), [0.0046, 0.0763])
    xy = np.vstack([row, np.array([[-0.47, 0.86], [-0.4746, 0.7837]])])
    (net, *_) = find_nets(xy)
    assert net.on.all()


def test_a_finer_net_is_not_preferred() -> None:
    """Halves and thirds of a net carry its spots just as well."""
    xy = spots_of(np.array(BASES["square"]))
    assert find_nets(xy)[0].area == pytest.approx(0.01)


def test_spots_on_no_net() -> None:
    rng = np.random.default_rng(8)
    for count in (6, 20, 150):
        assert not find_nets(rng.uniform(-0.9, 0.9, (count, 2)), most_off=3 if count > 6 else 0)


@pytest.mark.parametrize(
    "xy", [np.empty((0, 2)), np.array([[0.1, 0.0]]), np.outer(np.arange(1, 20), [0.05, 0.01]), np.zeros((9, 2))]
)
def test_too_few_spots_or_a_single_row(xy: np.ndarray) -> None:
    assert find_nets(xy) == []


def test_more_spots_than_are_searched() -> None:
    xy = spots_of(np.array([[0.04, 0.0], [0.013, 0.043]]), band=1.0)
    assert len(xy) > 1000
    assert same_net(find_nets(xy)[0].basis, np.array([[0.04, 0.0], [0.013, 0.043]]))


vector = st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))


@given(vector, vector)
@settings(max_examples=300)
def test_reduction_keeps_the_net_and_shortens_it(p: tuple[float, float], q: tuple[float, float]) -> None:
    basis = np.array([p, q])
    area = abs(np.linalg.det(basis))
    if area < 1e-4:
        return
    short = reduced(basis)
    assert abs(np.linalg.det(short)) == pytest.approx(area)
    pp, qq, pq = short[0] @ short[0], short[1] @ short[1], short[0] @ short[1]
    assert pp <= qq * (1 + 1e-9)
    assert -1e-12 <= pq <= pp / 2 * (1 + 1e-9)
    change = short @ np.linalg.inv(basis)
    np.testing.assert_allclose(change, np.rint(change), atol=1e-6)


def test_reduction_of_many_at_once() -> None:
    bases = np.random.default_rng(1).normal(0, 0.1, (50, 2, 2))
    np.testing.assert_allclose(reduced(bases), [reduced(basis) for basis in bases])


def test_a_flat_detector_sees_the_tangent() -> None:
    two_theta = np.array([0.001, 0.01, 0.03])
    flat = np.stack([np.tan(two_theta) / WAVELENGTH_A, np.zeros(3)], axis=1)
    np.testing.assert_allclose(flat_to_sphere(flat, WAVELENGTH_A)[:, 0], np.sin(two_theta) / WAVELENGTH_A)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.0012, -0.0008), (-0.006, 0.005)])
def test_a_net_tells_where_the_primary_beam_is(shift: tuple[float, float]) -> None:
    basis, moved = np.array([[0.08, 0.01], [0.02, 0.11]]), np.array(shift)
    index = np.array([(h, k) for h in range(-5, 6) for k in range(-4, 3) if (h, k) != (0, 0)])
    spots = index @ basis + np.random.default_rng(1).normal(0, 2e-4, (len(index), 2)) + moved
    assert centre_shift(spots, 0.01) == pytest.approx(moved, abs=2e-4)


def test_a_beam_farther_off_than_the_limit_is_not_looked_for() -> None:
    basis = np.array([[0.08, 0.01], [0.02, 0.11]])
    index = np.array([(h, k) for h in range(-5, 6) for k in range(-4, 3) if (h, k) != (0, 0)])
    assert centre_shift(index @ basis + 0.012, 0.01).tolist() == [0.0, 0.0]
