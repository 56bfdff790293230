"""A zone's Gram numbers are those of its vectors in space."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protocols.zones.sorting.zone import Zone

number = st.floats(-0.5, 0.5)
slope = st.floats(-0.3, 0.3)


def zone(basis: list[list[float]], tilt: list[float]) -> Zone:
    return Zone(np.array(basis), np.array(tilt), np.eye(4) * 1e-8, 20, 1.0, "a")


def test_along_the_beam_nothing_is_foreshortened() -> None:
    assert zone([[0.1, 0.0], [0.03, 0.2]], [0.0, 0.0]).gram().tolist() == [0.1**2, 0.03**2 + 0.2**2, 0.1 * 0.03]


def test_a_tilted_row_is_longer_than_it_looks() -> None:
    gram = zone([[0.1, 0.0], [0.0, 0.2]], [0.5, 0.0]).gram()
    np.testing.assert_allclose(gram, [0.01 * 1.25, 0.04, 0.0], atol=1e-15)


@given(st.lists(number, min_size=4, max_size=4), st.lists(slope, min_size=2, max_size=2))
def test_it_is_the_gram_matrix_of_vectors_in_the_plane(flat: list[float], tilt: list[float]) -> None:
    p, q = (np.array([x, y, tilt[0] * x + tilt[1] * y]) for x, y in (flat[:2], flat[2:]))
    np.testing.assert_allclose(zone([flat[:2], flat[2:]], tilt).gram(), [p @ p, q @ q, p @ q], atol=1e-12)
