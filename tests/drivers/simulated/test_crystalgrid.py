"""The grid with thousands of crystals: the same place looks the same, what is there is drawn, and nothing else is."""

import dataclasses
import time
from typing import Any

import numpy as np
import pytest

from drivers.simulated.crystalgrid import FILM, STRAND, CrystalGrid
from drivers.simulated.gridcrystals import AMORPHOUS
from drivers.simulated.gridsettings import FILMS, GridSettings

PLAIN = GridSettings(seed=2, film="continuous", torn=0.0, unevenness=0.0, dirt_um2=0.0, vignetting=0.0, shading=0.0)
NM = 11.6


def grid(**changes: Any) -> CrystalGrid:
    return CrystalGrid(dataclasses.replace(PLAIN, **changes))


def field(of: CrystalGrid, x_nm: float, y_nm: float, per_px: float = NM, size: int = 128) -> np.ndarray:
    """A square picture around a place."""
    corner = np.array([x_nm, y_nm]) - per_px * size / 2
    return of.transmission(per_px * np.eye(2), corner, (size, size))


def around(of: CrystalGrid, half_nm: float = 15_000.0) -> Any:
    return of.crystals_in(np.full(2, -half_nm), np.full(2, half_nm))


@pytest.mark.parametrize("film", FILMS)
def test_a_place_looks_the_same_whatever_was_looked_at_before(film: str) -> None:
    settings = GridSettings(seed=4, film=film)
    travelled = CrystalGrid(settings)
    for x in (0.0, 9e4, -300.0):
        field(travelled, x, 500.0)
    assert np.array_equal(field(travelled, 8_000.0, -7_900.0), field(CrystalGrid(settings), 8_000.0, -7_900.0))


@pytest.mark.parametrize("film", FILMS)
def test_what_is_moved_by_whole_pixels_is_the_same_picture_moved(film: str) -> None:
    of = CrystalGrid(GridSettings(seed=4, film=film, vignetting=0.0, shading=0.0))
    here, moved = field(of, 3_000.0, 1_000.0), field(of, 3_000.0 + 7 * NM, 1_000.0 + 5 * NM)
    assert np.allclose(here[5:, 7:], moved[:-5, :-7], atol=1e-3)


def test_another_seed_is_another_grid() -> None:
    assert set(around(grid(seed=1)).x_nm.tolist()).isdisjoint(around(grid(seed=2)).x_nm.tolist())


def test_crystals_of_a_region_are_those_of_its_parts() -> None:
    of = CrystalGrid(GridSettings(seed=6))
    left = of.crystals_in(np.array([-9e3, -9e3]), np.array([1e3, 9e3]))
    right = of.crystals_in(np.array([1e3, -9e3]), np.array([9e3, 9e3]))
    whole = CrystalGrid(GridSettings(seed=6)).crystals_in(np.full(2, -9e3), np.full(2, 9e3))
    assert sorted([*left.number, *right.number]) == whole.number.tolist()
    assert len(set(whole.number.tolist())) == len(whole) > 20


def test_each_crystal_is_dark_in_its_middle_and_nothing_else_is() -> None:
    of = grid()
    crystals = around(of, 3_000.0)
    picture = field(of, 0.0, 0.0, size=600)
    x_px, y_px = ((place / NM + 300).astype(int) for place in (crystals.x_nm, crystals.y_nm))
    assert len(crystals) > 4
    seen = picture[y_px, x_px]
    assert np.all(seen < FILM * np.sqrt(crystals.transmission) * 1.05)
    near = of.crystals_touching(np.full(2, -3600.0), np.full(2, 3600.0))
    columns, rows = np.meshgrid(*[(np.arange(600) + 0.5 - 300) * NM] * 2)
    normals, distances = near.sides
    free = np.ones(picture.shape, bool)
    for k in range(len(near)):
        deep = [
            n[0] * (columns - near.x_nm[k]) + n[1] * (rows - near.y_nm[k]) + d
            for n, d in zip(normals[k], distances[k], strict=True)
        ]
        free &= np.min(deep, axis=0) < -0.06 * near.width_nm[k] - 20.0
    assert free.mean() > 0.3
    assert np.allclose(picture[free], FILM, rtol=1e-4)


def test_a_turned_view_shows_the_same_grid() -> None:
    of = CrystalGrid(GridSettings(seed=9, unevenness=0.0, dirt_um2=0.0, vignetting=0.0, shading=0.0))
    turned = NM * np.array([[0.8, -0.6], [0.6, 0.8]])
    seen = of.transmission(turned, np.array([100.0, -2000.0]), (200, 200))
    rows, columns = np.mgrid[:200, :200] + 0.5
    x = 100.0 + turned[0, 0] * columns + turned[0, 1] * rows
    y = -2000.0 + turned[1, 0] * columns + turned[1, 1] * rows
    straight = of.transmission(NM * np.eye(2), np.array([-2500.0, -2500.0]), (500, 500))
    expected = straight[((y + 2500) / NM).astype(int), ((x + 2500) / NM).astype(int)]
    assert np.mean(np.abs(seen - expected) > 0.1) < 0.03
    assert np.ptp(seen) > 0.3


def test_film_and_holes_let_through_what_they_should() -> None:
    empty = {"crystals_um2": 0.0}
    assert np.allclose(field(grid(**empty), 0, 0), FILM, rtol=1e-5)
    lacey = field(grid(film="lacey", **empty), 0.0, 0.0, size=512)
    assert 0.2 < np.mean(lacey < 0.5 * (1 + STRAND)) < 0.6, "share that is carbon"
    holey = field(grid(film="holey", **empty), 0.0, 0.0, size=512)
    assert 0.4 < np.mean(holey < 0.5 * (1 + FILM)) < 0.9
    assert lacey.max() == holey.max() == 1.0


@pytest.mark.parametrize("film", ["lacey", "holey"])
def test_particles_lie_on_the_film_or_cling_to_its_edge(film: str) -> None:
    of = grid(film=film)
    crystals = around(of)
    inside = of.film_inside_nm(crystals.x_nm, crystals.y_nm)
    assert np.all(inside > -0.5 * crystals.width_nm)
    assert np.mean(inside < 0) < 0.1
    assert len(crystals) == pytest.approx(len(around(grid())), rel=0.15), "as many as on a whole film"


@pytest.mark.parametrize(
    ("changes", "expected_um2"), [({}, 0.23), ({"clustering": 0.9}, 0.23), ({"film": "lacey"}, 0.23)]
)
def test_there_are_as_many_as_was_asked_for(changes: dict[str, Any], expected_um2: float) -> None:
    of = [grid(seed=seed, patchiness=0.0, bar_nm=0.0, **changes) for seed in range(4)]
    number = sum(len(around(each, 13_000.0)) for each in of)
    assert number == pytest.approx(4 * 26.0**2 * expected_um2, rel=0.2)


def test_heaps_bring_neighbours_nearer() -> None:
    def alone(clustering: float) -> float:
        crystals = around(grid(clustering=clustering, bar_nm=0.0))
        away = np.hypot(*(each[:, None] - each[None, :] for each in (crystals.x_nm, crystals.y_nm)))
        np.fill_diagonal(away, np.inf)
        return float(np.mean(away.min(axis=1) > 1000.0))

    assert alone(0.9) < 0.6 * alone(0.0)


@pytest.mark.parametrize(
    ("shape", "aspect", "thickness_nm"),
    [("plates", (0.4, 1.0), (10.0, 50.0)), ("rods", (0.1, 0.3), (5.0, 150.0)), ("blocks", (0.5, 1.0), (20.0, 350.0))],
)
def test_shapes(shape: str, aspect: tuple[float, float], thickness_nm: tuple[float, float]) -> None:
    crystals = around(grid(shape=shape, amorphous=0.0))
    share = crystals.width_nm / crystals.length_nm
    assert aspect[0] <= share.min() < share.max() <= aspect[1]
    assert thickness_nm[0] <= crystals.thickness_nm.min() < crystals.thickness_nm.max() <= thickness_nm[1]
    assert np.median(crystals.length_nm) == pytest.approx(550.0, rel=0.2)
    reach = np.abs(crystals.outline_nm @ np.array([1.0, 1j]) * np.exp(-1j * crystals.turned_rad)[:, None])
    assert np.all(reach.max(axis=1) <= 0.5 * np.hypot(crystals.length_nm, crystals.width_nm) * 1.001)
    _, distances = crystals.sides
    assert np.all(distances > 0), "the middle is inside, corners go counterclockwise"


def test_phases_and_amorphous_particles_have_their_shares() -> None:
    crystals = around(grid(second_phase="random", second_share=0.3, amorphous=0.2, crystals_um2=2.0))
    assert np.mean(crystals.phase == AMORPHOUS) == pytest.approx(0.2, abs=0.05)
    assert np.mean(crystals.phase[crystals.phase >= 0] == 1) == pytest.approx(0.3, abs=0.05)


def test_a_rare_third_phase_takes_its_share_from_the_first() -> None:
    kinds = {"second_phase": "random", "second_share": 0.3, "amorphous": 0.0, "crystals_um2": 2.0}
    two, three = around(grid(**kinds)), around(grid(**kinds, third_phase="random", third_share=0.1))
    assert np.mean(three.phase == 2) == pytest.approx(0.1, abs=0.04)
    assert np.array_equal(two.phase == 1, three.phase == 1), "the others are what they were"
    assert grid(**kinds, third_phase="chabazite", third_share=0.1).settings.phases == ("", "random", "chabazite")


def test_flat_crystals_lie_flat_with_their_edges_along_a() -> None:
    crystals = around(grid(lying="flat", spread_deg=3.0))
    off = np.rad2deg(np.arccos(np.abs(crystals.orientation[:, 2, 2])))
    assert 2.0 < np.sqrt(np.mean(off**2)) < 6.5
    along_a = np.arctan2(crystals.orientation[:, 1, 0], crystals.orientation[:, 0, 0])
    assert np.all(np.abs(np.sin(along_a - crystals.turned_rad)) < 0.3)
    assert np.mean(np.abs(around(grid()).orientation[:, 2, 2])) == pytest.approx(0.5, abs=0.08), "else any way"


def test_bars_and_torn_windows_show_no_crystals() -> None:
    bars = grid(crystals_um2=1.0)
    crystals = bars.crystals_in(np.array([-31_000.0, -31_000.0]), np.array([93_000.0, 31_000.0]))
    window_nm = 21_000.0
    for place in (crystals.x_nm, crystals.y_nm):
        away = np.abs(place - 62_000.0 * np.rint(place / 62_000.0))
        assert np.all(away < window_nm + crystals.length_nm / 2)
    assert field(bars, 31_000.0, 0.0).max() < 2e-3
    torn = grid(torn=1.0)
    crystals = around(torn, 21_000.0)
    assert np.all(torn.film_inside_nm(crystals.x_nm, crystals.y_nm) > -0.5 * crystals.width_nm)
    assert 0.05 < len(crystals) / len(around(grid(), 21_000.0)) < 0.95


def test_the_shading_stays_with_the_picture() -> None:
    of = grid(crystals_um2=0.0, vignetting=0.3)
    here, there = field(of, 0.0, 0.0), field(of, 4_000.0, 1_000.0)
    assert np.allclose(here, there)
    assert here[0, 0] / here[64, 64] == pytest.approx(0.7, abs=0.02)


def test_ten_thousand_crystals_are_no_burden() -> None:
    of = grid(crystals_um2=6.0, patchiness=0.0, bar_nm=0.0)
    began = time.process_time()
    crystals = around(of, 21_000.0)
    assert time.process_time() - began < 5.0
    assert len(crystals) > 9_000
    assert sum(getattr(crystals, each.name).nbytes for each in dataclasses.fields(crystals)) < 4e6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"film": "glass"}, "film = 'glass' is not one of continuous, holey, lacey"),
        ({"clustering": 1.5}, "clustering = 1.5 is no share"),
        ({"probe_nm": 0.0}, "probe_nm = 0 is not above 0"),
        ({"bar_nm": 70_000.0}, "bar_nm = 70000 is not from 0"),
        ({"thickness_nm": (50.0, 10.0)}, "is no range of thicknesses"),
        ({"dirt_um2": -1.0}, "dirt_um2 = -1 is below 0"),
        ({"seed": -1}, "seed = -1 is no whole number"),
        ({"seed": 1.5}, "seed = 1.5 is no whole number"),
        ({"size_nm": 9e3}, "size_nm = 9000 is more than 8000"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        grid(**changes)
