"""Random cells have the volume asked for and stay inside the limits of real crystals."""

import numpy as np
import pytest

from protocols.zones.patterns.randomcells import LONGEST_AXIS_A, PAPER_CELLS, SHORTEST_AXIS_A, SYSTEMS, random_cell


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(("volume_A3", "anisotropy"), [(500.0, 1.5), (700.0, 6.0), (1000.0, 6.0)])
def test_volume_is_exact_and_axes_keep_their_limits(system: str, volume_A3: float, anisotropy: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        cell = random_cell(rng, system, volume_A3, anisotropy)
        axes = cell.parameters[:3]
        assert cell.volume_A3 == pytest.approx(volume_A3)
        assert min(axes) >= SHORTEST_AXIS_A
        assert max(axes) <= LONGEST_AXIS_A
        assert max(axes) / min(axes) <= anisotropy * (1 + 1e-9)


def test_the_same_seed_gives_the_same_cell() -> None:
    assert random_cell(np.random.default_rng(5)) == random_cell(np.random.default_rng(5))


@pytest.mark.parametrize(
    ("system", "volume_A3", "anisotropy", "cause"),
    [
        ("pentagonal", 500.0, 1.5, "not one of"),
        ("cubic", -1.0, 1.5, "must be positive"),
        ("cubic", 500.0, 0.5, "at least 1"),
        ("cubic", 10.0, 1.5, "no cubic cell"),
    ],
)
def test_what_cannot_be_is_said(system: str, volume_A3: float, anisotropy: float, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        random_cell(np.random.default_rng(0), system, volume_A3, anisotropy)


@pytest.mark.parametrize(
    ("name", "volume_A3"), [("triclinic, figure 1", 1001), ("monoclinic 3.8155", 501), ("monoclinic 3.7061", 510)]
)
def test_the_cells_of_the_paper_have_its_volumes(name: str, volume_A3: float) -> None:
    assert PAPER_CELLS[name][0].volume_A3 == pytest.approx(volume_A3, abs=0.5)
