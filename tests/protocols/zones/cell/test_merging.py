"""Equal nets become one; different ones stay apart, however their bases are written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.zones.cell.merging import merged, triangle
from protocols.zones.sorting.zone import Zone


def zone(
    p: tuple[float, float], q: tuple[float, float], tilt: tuple[float, float] = (0.0, 0.0), sd: float = 1e-5
) -> Zone:
    return Zone(np.array([p, q], dtype=np.float64), np.array(tilt), sd**2 * np.eye(4), 40, 1.0, "made")


@given(
    st.floats(0.05, 0.3), st.floats(1.0, 3.0), st.floats(20, 90), st.floats(0, 360),
    st.sampled_from([(1, 0, 0, 1), (1, 1, 0, 1), (2, 1, 1, 1), (0, 1, -1, 0), (1, -3, 0, 1), (-1, 0, 0, 1)]),
)  # fmt: skip
def test_sides_do_not_depend_on_the_basis_or_the_azimuth(
    p: float, ratio: float, angle: float, turn: float, m: tuple[int, ...]
) -> None:
    t, g = np.radians(turn), np.radians(angle)
    basis = np.array([[p, 0.0], [p * ratio * np.cos(g), p * ratio * np.sin(g)]])
    rotation = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    other = np.array(m).reshape(2, 2) @ basis @ rotation.T
    one = triangle(zone(*basis.tolist())).squares
    two = triangle(zone(*other.tolist())).squares
    np.testing.assert_allclose(np.sort(two), np.sort(one), rtol=1e-9)


def test_the_third_side_is_the_first_minus_the_second_and_no_angle_is_obtuse() -> None:
    one = triangle(zone((0.1, 0.01), (-0.07, 0.12)))
    np.testing.assert_allclose(one.vectors[2], one.vectors[0] - one.vectors[1], atol=1e-15)
    a, b, c = one.squares
    assert max(a, b, c) <= a + b + c - max(a, b, c)


def test_tilt_lengthens_what_lies_along_it_and_makes_it_less_certain() -> None:
    flat, tilted = triangle(zone((0.1, 0), (0, 0.2))), triangle(zone((0.1, 0), (0, 0.2), (0.1, 0.0)))
    assert tilted.squares[0] == pytest.approx(0.01 * 1.01)
    assert tilted.squares[1] == pytest.approx(flat.squares[1])
    assert tilted.covariance[0, 0] > 2 * flat.covariance[0, 0]
    assert tilted.covariance[1, 1] == pytest.approx(flat.covariance[1, 1])


def test_equal_nets_are_merged_and_the_mean_is_weighted() -> None:
    # The second and third are the first, once turned and written in another basis.
    good, poor = 1e-5, 1e-4
    zones = [
        zone((0.1, 0), (0.02, 0.15), sd=good),
        zone((0, 0.1002), (-0.15, 0.0202), sd=poor),
        zone((0.1, 0), (0.03, 0.15)),
    ]
    nets = merged([triangle(z) for z in zones])
    assert sorted(sorted(n.members) for n in nets) == [[0, 1], [2]]
    first = next(n for n in nets if len(n.members) == 2)
    assert abs(first.sides[0] - 0.1) < 0.00005  # the good one counts
    assert first.relative_sigma.max() < triangle(zones[0]).covariance.max() ** 0.5 / 0.01


def test_a_nearly_square_net_is_merged_though_its_shortest_side_changes() -> None:
    zones = [zone((0.1, 0), (0.00001, 0.10001)), zone((0.10001, 0), (-0.00001, 0.1))]
    assert len(merged([triangle(z) for z in zones])) == 1


def test_no_zones_no_nets() -> None:
    assert merged([]) == []
