"""A legend below a figure is as wide as the figure at most, however many words its lines have."""

import pytest
from matplotlib.figure import Figure

from protocols.products.plots import legend_below


@pytest.mark.parametrize("letters", [3, 12, 30])
@pytest.mark.parametrize("width_in", [4.5, 8.0])
def test_it_lies_in_the_figure(letters: int, width_in: float) -> None:
    figure = Figure(figsize=(width_in, 4), layout="constrained")
    axes = figure.subplots()
    for number in range(6):
        axes.plot([0, 1], [0, number], label="m" * letters)
    legend_below(figure)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 < axes.get_window_extent().y0
