"""Patterns of what the probe lights: a crystal, two, an amorphous particle, film alone, a hole, a bar."""

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest

from drivers.simulated.gridcrystals import AMORPHOUS
from drivers.simulated.gridpictures import GridMaker
from drivers.simulated.gridprobe import lit_by, polygon_nm2
from drivers.simulated.gridsettings import GridSettings
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY

PICTURES = PictureSettings(wide_cross=False)
PLAIN = GridSettings(seed=2, film="continuous", torn=0.0, dirt_um2=0.0, amorphous=0.3, probe_nm=400.0)
SIZE = 512
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE] + 0.5
AWAY = np.hypot(COLUMNS - GEOMETRY.beam_fast_px, ROWS - GEOMETRY.beam_slow_px)


@cache
def maker(**changes: Any) -> GridMaker:
    return GridMaker(dataclasses.replace(PLAIN, **changes), GEOMETRY, PICTURES)


def expected(of: GridMaker, x_nm: float, y_nm: float) -> np.ndarray:
    return of.lit_s(lit_by(of.grid, (x_nm, y_nm), of.grid.settings.probe_nm / 2), 0.0, 0.0)


def spots(picture: np.ndarray) -> int:
    """Pixels that stand out of what is around them, away from the beam."""
    ring = AWAY.astype(int)
    mean = np.bincount(ring.ravel(), np.minimum(picture, 3000.0).ravel()) / np.bincount(ring.ravel())
    return int(np.sum((picture > 2.0 * mean[ring] + 100.0) & (AWAY > 30) & (AWAY < 200)))


def particles(of: GridMaker, amorphous: bool) -> list[tuple[float, float]]:
    """Middles of particles of one kind with no other near."""
    all_of_them = of.grid.crystals_in(np.full(2, -15_000.0), np.full(2, 15_000.0))
    found = []
    for x, y, phase in zip(all_of_them.x_nm, all_of_them.y_nm, all_of_them.phase, strict=True):
        if (phase == AMORPHOUS) == amorphous and len(lit_by(of.grid, (x, y), 250.0).of_probe) == 1:
            found.append((float(x), float(y)))
    return found


def test_a_crystal_has_spots_and_what_is_amorphous_has_rings() -> None:
    of = maker()
    crystalline = [spots(expected(of, x, y)) for x, y in particles(of, False)[:12]]
    assert np.median(crystalline) > 30
    assert max(spots(expected(of, x, y)) for x, y in particles(of, True)[:5]) == 0


def test_each_crystal_has_a_pattern_of_its_own_and_the_same_again() -> None:
    of = maker()
    (x, y), (u, v) = particles(of, False)[:2]
    one, other = expected(of, x, y), expected(of, u, v)
    assert np.array_equal(one, expected(GridMaker(of.grid.settings, GEOMETRY, PICTURES), x, y))
    far = AWAY > 20
    assert np.corrcoef(one[far], other[far])[0, 1] < 0.9


def test_overlapping_crystals_add_their_patterns() -> None:
    of = maker(crystals_um2=3.0, amorphous=0.0)
    crystals = of.grid.crystals_in(np.full(2, -5_000.0), np.full(2, 5_000.0))
    lit = next(
        found
        for x, y in zip(crystals.x_nm, crystals.y_nm, strict=True)
        if len((found := lit_by(of.grid, (x, y), 200.0)).of_probe) == 2
    )
    whole = of.lit_s(lit, 0.0, 0.0)
    parts = [
        of.lit_s(
            dataclasses.replace(
                lit,
                crystals=lit.crystals.chosen(np.array([k])),
                of_probe=lit.of_probe[k : k + 1],
                of_crystal=lit.of_crystal[k : k + 1],
            ),
            *(0.0, 0.0),
        )
        for k in range(2)
    ]
    nothing = of.lit_s(
        dataclasses.replace(
            lit, crystals=lit.crystals.chosen(np.empty(0, int)), of_probe=np.empty(0), of_crystal=np.empty(0)
        ),
        *(0.0, 0.0),
    )
    assert np.allclose(whole, parts[0] + parts[1] - nothing)


def test_film_has_a_halo_a_hole_has_none_and_a_bar_is_dark() -> None:
    of = maker(film="lacey", crystals_um2=0.0)
    x, y = (each.ravel() for each in np.meshgrid(np.linspace(-4e3, 4e3, 80), np.linspace(-4e3, 4e3, 80)))
    inside = of.grid.film_inside_nm(x, y)
    on_film, in_hole = (expected(of, x[k], y[k]) for k in (np.argmax(inside), np.argmin(inside)))
    halo = (AWAY > 45) & (AWAY < 65)  # carbon: 0.48 1/A
    assert inside.max() > 200 > -200 > inside.min()
    assert on_film[halo].mean() > 3 * in_hole[halo].mean()
    bar = expected(of, 31_000.0, 0.0)
    assert bar.max() < 0.01 * in_hole.max()
    assert np.isclose(in_hole.sum(), PICTURES.flux_s, rtol=0.1)


def test_shares_are_of_the_probe_and_of_the_crystal() -> None:
    of = maker()
    x, y = particles(of, False)[0]
    small, large = lit_by(of.grid, (x, y), 30.0), lit_by(of.grid, (x, y), 1000.0)
    which = int(np.argmin(np.hypot(large.crystals.x_nm - x, large.crystals.y_nm - y)))
    assert small.of_probe.tolist() == [1.0]
    area = polygon_nm2(large.crystals.outline_nm)[which]
    assert large.of_probe[which] == pytest.approx(area / (np.pi * 1000.0**2), rel=0.1)
    assert large.of_crystal[which] == pytest.approx(1.0, abs=0.1)
    assert small.of_crystal[0] == pytest.approx(np.pi * 900.0 / area, rel=0.01)


def test_a_beam_that_is_moved_moves_the_pattern_and_a_longer_camera_length_stretches_it() -> None:
    of = maker()
    x, y = particles(of, False)[0]
    lit = lit_by(of.grid, (x, y), 200.0)
    here, moved = of.lit_s(lit, 0.0, 0.0), of.lit_s(lit, 0.0, 0.0, (6.0, -4.0))
    assert np.allclose(here[8:-8, 8:-8], moved[4:-12, 14:-2], rtol=0.02, atol=1.0)
    longer = of.lit_s(lit, 0.0, 0.0, length_mm=2 * GEOMETRY.camera_length_mm)
    halo = [float(np.average(AWAY[AWAY > 12], weights=picture[AWAY > 12])) for picture in (here, longer)]
    assert halo[1] > 1.2 * halo[0]


def test_the_same_noise_seed_gives_the_same_counts() -> None:
    of = maker()
    one, again, other = (of.diffraction(0.0, 0.0, 0.1, noise_seed=n, on_grid_nm=(0.0, 0.0)) for n in (4, 4, 5))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_defocused_pattern_is_the_shadow_of_what_the_probe_lights() -> None:
    of = maker(probe_nm=1500.0)
    x, y = particles(of, False)[0]
    on, off = (of.snapshot(1.0, 0.1, noise_seed=1, on_grid_nm=where) for where in ((x, y), (31_000.0, 0.0)))
    disc = AWAY < 70
    assert off[disc].mean() < 0.01 * on[disc].mean()
    assert on[AWAY < 5].mean() < 0.8 * on[disc].max(), "the crystal is in the middle, and dark"
