"""The tilt from the Laue circle, and the recognition of nets that are no plane."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from protocols.lattice.cell import Cell
from protocols.lattice.reflections import allowed_reflections
from protocols.zones.patterns.simulation import Geometry, diffract
from protocols.zones.sorting.laue import LaueCircle, excitation_error, laue_circle, least_squares_tilt
from protocols.zones.sorting.nets import find_nets, flat_to_sphere

K = 1 / 0.0251
TILTS_DEG = (0.0, 0.5, 2.0, 5.0, 12.0)


def zone(
    tilt_deg: float, azimuth_deg: float, p: float = 0.06, q: float = 0.09, angle_deg: float = 80.0
) -> tuple[np.ndarray, ...]:
    """A tilted plane: index (n, 2) and place in the picture (n, 2) of its excited nodes, basis (2, 2), slopes (2,)."""
    angle = np.deg2rad(angle_deg)
    flat = np.array([[p, 0.0, 0.0], [q * np.cos(angle), q * np.sin(angle), 0.0]])
    axis = np.deg2rad(azimuth_deg)
    turn = Rotation.from_rotvec(np.deg2rad(tilt_deg) * np.array([np.cos(axis), np.sin(axis), 0.0])).as_matrix()
    space = flat @ Rotation.from_euler("z", 20, degrees=True).as_matrix().T @ turn.T
    index = np.stack(np.meshgrid(np.arange(-20, 21), np.arange(-20, 21)), axis=-1).reshape(-1, 2)
    nodes = index @ space
    s = np.linalg.norm(nodes + np.array([0, 0, K]), axis=1) - K
    seen = index.any(axis=1) & (np.abs(s) < 0.01) & (np.square(nodes).sum(axis=1) < 1)
    normal = np.cross(space[0], space[1])
    return index[seen], nodes[seen, :2], space[:, :2], -normal[:2] / normal[2]


def length_errors(circle: LaueCircle, basis: np.ndarray, true: np.ndarray) -> np.ndarray:
    found, known = (np.column_stack([basis, basis @ tilt]) for tilt in (circle.tilt, true))
    return np.abs(np.linalg.norm(found, axis=1) / np.linalg.norm(known, axis=1) - 1)


@pytest.mark.parametrize("tilt_deg", TILTS_DEG)
@pytest.mark.parametrize("azimuth_deg", [10.0, 75.0, 140.0, 260.0])
def test_the_tilt_of_a_zone(tilt_deg: float, azimuth_deg: float) -> None:
    index, xy, basis, true = zone(tilt_deg, azimuth_deg)
    circle = laue_circle(xy, index, basis)
    assert circle.jaccard > 0.97
    assert not circle.outside.any()
    assert np.hypot(*(circle.tilt - true)) < 0.002 + 0.1 * np.hypot(*true)
    # What counts are the lengths of the net's vectors: the foreshortening is 2 % at 12 deg.
    assert length_errors(circle, basis, true).max() < (0.004 if tilt_deg > 6 else 0.0006)


def test_least_squares_alone_underestimate_a_steep_tilt() -> None:
    """Why the search goes on from there: half the slope is a quarter of the foreshortening."""
    _, xy, _, true = zone(5.0, 30.0)
    start = least_squares_tilt(xy)
    assert np.hypot(*start) < 0.6 * np.hypot(*true)
    assert start @ true / np.hypot(*start) / np.hypot(*true) > 0.99


@pytest.mark.parametrize("tilt_deg", [0.5, 2.0, 5.0])
def test_missing_spots_change_little(tilt_deg: float) -> None:
    rng = np.random.default_rng(3)
    index, xy, basis, true = zone(tilt_deg, 40.0)
    for _ in range(5):
        seen = rng.random(len(xy)) > 0.3
        circle = laue_circle(xy[seen], index[seen], basis)
        assert 0.55 < circle.jaccard < 0.85
        assert circle.agreement(missing=0.3) > 0.85
        assert not circle.outside.any()
        assert length_errors(circle, basis, true).max() < 0.002


def test_every_other_node_absent_on_a_row_through_the_beam() -> None:
    index, xy, basis, _ = zone(1.0, 60.0)
    present = (index[:, 1] != 0) | (index[:, 0] % 2 == 0)
    strict = laue_circle(xy[present], index[present], basis)
    forgiving = laue_circle(xy[present], index[present], basis, absences=True)
    assert strict.predicted - strict.both > 3
    assert forgiving.jaccard > 0.98


def test_a_spot_far_from_the_sphere_is_outside() -> None:
    index, xy, basis, _ = zone(2.0, 60.0)
    s = excitation_error(np.array([[5, 5], [5, -5], [-5, 5], [-5, -5]]) @ basis, zone(2.0, 60.0)[3])
    stray = np.array([[5, 5], [5, -5], [-5, 5], [-5, -5]])[[int(np.abs(s).argmax())]]
    assert np.abs(s).max() > 0.015
    circle = laue_circle(np.vstack([xy, stray @ basis]), np.vstack([index, stray]), basis)
    assert np.flatnonzero(circle.outside).tolist() == [len(xy)]


@pytest.mark.parametrize("along", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)])
def test_a_lattice_thrown_onto_a_net_is_no_plane(along: tuple[int, int, int]) -> None:
    """The beam along a row of the reciprocal lattice: every spot on an exact net, and yet no zone."""
    cell = Cell(7.1, 9.3, 12.7, 95.0, 101.0, 108.0)
    hkl = allowed_reflections(cell, 1.0)
    row = cell.reciprocal_basis @ np.array(along)
    turn = Rotation.align_vectors([[0, 0, 1]], [row / np.linalg.norm(row)])[0].as_matrix()
    pattern = diffract(cell, hkl, np.ones(len(hkl)), turn[None], Geometry())
    xy = flat_to_sphere(pattern.xy)
    (net, *_) = find_nets(xy, most_off=0)
    assert net.on.all()
    assert laue_circle(xy, net.index, net.basis).jaccard < 0.4


def test_the_middle_of_the_sphere_has_no_excitation_error() -> None:
    xy = np.array([[0.0, 0.0], [0.3, 0.4]])
    s = excitation_error(xy, np.zeros(2))
    assert s[0] == 0
    assert s[1] == pytest.approx(np.hypot(K, 0.5) - K)


def test_other_conditions() -> None:
    index, xy, basis, _ = zone(1.0, 60.0)
    near = np.hypot(*xy.T) < 0.6
    assert laue_circle(xy[near], index[near], basis, d_star_max_per_A=0.6).jaccard > 0.97
    assert laue_circle(xy[near], index[near], basis).jaccard < 0.9
