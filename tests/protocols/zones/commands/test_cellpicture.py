"""The picture of a cell shows zones, votes and words, also where there is nothing to show."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protocols.zones.cell.search import find_cell
from protocols.zones.commands.cellpicture import draw_cell, report, with_uncertainty, zone_axis
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.render import render
from protocols.zones.patterns.simulation import simulate
from protocols.zones.sorting.labels import ZONE
from protocols.zones.sorting.method import Method
from protocols.zones.sorting.sorting import sort_pictures


@pytest.mark.parametrize(
    ("hkl", "axis"),
    [([(1, 0, 0), (0, 1, 0)], (0, 0, 1)), ([(0, 2, 0), (0, 0, 2)], (1, 0, 0)), ([(1, 1, 0), (0, 0, -1)], (1, -1, 0))],
)
def test_zone_axis_is_primitive_and_begins_positive(
    hkl: list[tuple[int, int, int]], axis: tuple[int, int, int]
) -> None:
    assert zone_axis(np.array(hkl)) == axis


# (value, its standard deviation, as crystallographers write it)
WRITTEN = [
    (18.1144, 0.0031, "18.114(3)"), (7.5273, 0.0012, "7.5273(12)"), (7.52731, 0.000196, "7.5273(2)"),
    (7.5, 0.0099999, "7.500(10)"), (1399.2, 0.3, "1399.2(3)"), (12345.0, 30.0, "12345(30)"), (90.0, 0.0, "90"),
    (7.5, float("inf"), "7.5"), (109.4712, 1e-9, "109.4712000000(10)"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "sigma", "text"), WRITTEN)
def test_a_number_is_written_with_its_uncertainty(value: float, sigma: float, text: str) -> None:
    assert with_uncertainty(value, sigma) == text


def test_a_cell_found_is_drawn_and_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    cell = random_cell(rng, volume_A3=400.0)
    patterns = simulate(cell, 300, rng)
    zonal = patterns.take(np.flatnonzero(patterns.label == ZONE)[:20])
    found = [one for one in sort_pictures(render(zonal), Method.GEOMETRY) if one.zone is not None]
    answer = find_cell([one.zone for one in found if one.zone is not None])
    draw_cell(tmp_path / "cell.png", answer, found)
    with Image.open(tmp_path / "cell.png") as picture:
        assert picture.size[0] > 1000
        assert np.asarray(picture.convert("L")).std() > 10
    words = "\n".join(report(answer))
    assert "cell determined" in words
    assert f"{cell.volume_A3:.1f}"[:4] in words


def test_no_zones_are_told_and_drawn_as_well(tmp_path: Path) -> None:
    answer = find_cell([])
    assert not answer.determined
    assert "not determined" in report(answer)[0]
    draw_cell(tmp_path / "cell.png", answer, [])
    assert (tmp_path / "cell.png").stat().st_size > 1000
