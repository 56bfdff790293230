"""The grid that images show: the same place looks the same whatever was looked at before, bars where they belong."""

import numpy as np
import pytest

from drivers.simulated.specimengrid import BAR, FILM, SpecimenGrid


def grid(
    seed: int = 1, *, bar_nm: float = 25_000.0, crystals_um2: float = 0.2, unevenness: float = 0.05
) -> SpecimenGrid:
    return SpecimenGrid(seed, 62_000.0, bar_nm, crystals_um2, unevenness)


def seen(of: SpecimenGrid, u_nm: float, v_nm: float, per_px: float = 11.0, size: int = 64) -> np.ndarray:
    return of.transmission(per_px * np.eye(2), np.array([u_nm, v_nm]), (size, size))


PLACES = [(0.0, 0.0), (-7_900.0, 8_100.0), (900_000.0, -990_000.0)]


@pytest.mark.parametrize(("u", "v"), PLACES)
def test_a_place_looks_the_same_whatever_was_looked_at_before(u: float, v: float) -> None:
    travelled = grid()
    for where in ((5e3, 0.0), (1e5, 1e5), (u - 8e3, v)):
        seen(travelled, *where)
    assert np.array_equal(seen(travelled, u, v), seen(grid(), u, v))


def test_another_seed_is_another_grid() -> None:
    assert not np.allclose(seen(grid(1), 0, 0), seen(grid(2), 0, 0))


@pytest.mark.parametrize("per_px", [5.0, 11.0, 40.0, 220.0])
def test_what_is_moved_by_whole_pixels_is_the_same_picture_moved(per_px: float) -> None:
    here = seen(grid(), 3_000.0, -2_000.0, per_px)
    moved = seen(grid(), 3_000.0 + 7 * per_px, -2_000.0 + 5 * per_px, per_px)
    assert np.allclose(here[5:, 7:], moved[:-5, :-7], atol=2e-3)


def test_a_turned_and_stretched_view_shows_the_same_crystals() -> None:
    per_px = 20.0 * np.array([[0.8, -0.6], [0.6, 0.8]])
    plain = grid(unevenness=0.0, bar_nm=0.0)
    turned = plain.transmission(per_px, np.array([0.0, 0.0]), (200, 200))
    rows, columns = np.mgrid[:200, :200] + 0.5
    u, v = per_px[0, 0] * columns + per_px[0, 1] * rows, per_px[1, 0] * columns + per_px[1, 1] * rows
    straight = plain.transmission(20.0 * np.eye(2), np.array([-4000.0, -4000.0]), (500, 500))
    expected = straight[((v + 4000) / 20).astype(int), ((u + 4000) / 20).astype(int)]
    assert np.mean(np.abs(turned - expected) > 0.2) < 0.02
    assert turned.min() < 0.7, "there is a crystal in view"


def test_bars_stand_a_pitch_apart_and_let_nothing_through() -> None:
    bare = grid(crystals_um2=0.0, unevenness=0.0)
    line = bare.transmission(np.diag([500.0, 500.0]), np.array([-62_000.0, 0.0]), (1, 248))[0]
    assert line.max() == pytest.approx(FILM)
    assert line.min() == pytest.approx(FILM * BAR)
    assert np.mean(line < 0.4) == pytest.approx(25 / 62, abs=0.02)
    assert np.allclose(line[:124], line[124:], atol=1e-6)


def test_the_film_is_as_uneven_as_it_is_said_to_be() -> None:
    film = grid(crystals_um2=0.0, unevenness=0.05)
    assert np.std(seen(film, 0, 0, per_px=13.0, size=512)) == pytest.approx(0.05 * FILM, rel=0.5)
    assert np.ptp(seen(grid(crystals_um2=0.0, unevenness=0.0), 0, 0)) == 0
