import numpy as np
import pytest

from protocols.serialed.finding import outlines


def filled(*boxes: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, rows and owners of the squares of boxes (left, top, columns, rows)."""
    parts = [(np.indices((rows, columns)), left, top) for left, top, columns, rows in boxes]
    columns_of = np.concatenate([(index[1] + left).ravel() for index, left, _ in parts])
    rows_of = np.concatenate([(index[0] + top).ravel() for index, _, top in parts])
    return columns_of, rows_of, np.repeat(np.arange(len(boxes)), [index[0].size for index, _, _ in parts])


def test_a_rectangle_is_as_long_and_wide_as_it_is():
    reach = outlines.reaches(*filled((10, 5, 20, 8), (0, 50, 4, 12)), 2)
    sides, turned = outlines.rectangles(reach)
    assert sides == pytest.approx(np.array([[20, 8], [12, 4]]))
    assert turned.tolist() == pytest.approx([0, 90])
    assert outlines.areas(reach) == pytest.approx([160, 48], rel=0.01)


@pytest.mark.parametrize(("box", "gap"), [((36, 5, 4, 8), 6.0), ((33, 17, 4, 4), 5.0), ((28, 8, 9, 9), 0.0)])
def test_the_gap_is_from_edge_to_edge(box: tuple[int, int, int, int], gap: float):
    reach = outlines.reaches(*filled((10, 5, 20, 8), box), 2)
    assert outlines.gaps(reach) == pytest.approx([gap, gap], rel=0.01)


def test_one_thing_has_no_neighbour():
    assert outlines.gaps(outlines.reaches(*filled((1, 1, 3, 3)), 1)).tolist() == [np.inf]


def test_the_corners_go_around_a_disc():
    rows, columns = np.nonzero(np.hypot(*(np.indices((41, 41)) - 20)) < 15)
    (reach,) = outlines.reaches(columns, rows, np.zeros(len(rows), int), 1)
    corners = outlines.corners(reach)
    assert len(corners) == 16
    assert np.hypot(*(corners - 20.5).T) == pytest.approx(np.full(16, 15.2), abs=0.7)
