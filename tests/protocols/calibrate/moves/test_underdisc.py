"""Discs over uneven film: where they overlap the film is known, and then their places are."""

from collections.abc import Iterator

import numpy as np

from drivers.simulated.imaging import ImageScale, LitDisc, electrons_s
from drivers.simulated.specimengrid import SpecimenGrid
from protocols.calibrate.moves.disc import find_disc
from protocols.calibrate.moves.underdisc import refined

UNEVEN = SpecimenGrid(3, 62_000.0, 25_000.0, 0.4, 0.15)
RADIUS_PX, STEP_PX = 16.0, 9.0
PLACES = STEP_PX * np.array([(x + 0.3 * y, y - 0.2 * x) for x in (-2, -1, 0, 1, 2) for y in (-2, -1, 0, 1, 2)])


def frames() -> Iterator[np.ndarray]:
    """The disc at one place after the other; the film stays."""
    rng = np.random.default_rng(7)
    for fast, slow in PLACES:
        disc = LitDisc(10.0 * RADIUS_PX, (10.0 * fast, 10.0 * slow), 1.0)
        lit = electrons_s(
            UNEVEN, ImageScale(10.0), disc, (128, 128), (4000.0, 8000.0, 0.0), 0.0, (0.0, 0.0), (0.0, 0.0)
        )
        yield rng.poisson(lit / lit.max() * 3000.0 + 0.05).astype(float)


def test_places_are_much_surer_where_the_film_under_the_edges_is_known() -> None:
    found = [find_disc(picture) for picture in frames()]
    again = refined(frames, refined(frames, found))
    off_px = []
    for discs in (found, again):
        at = np.array([(disc.fast_px, disc.slow_px) for disc in discs if disc is not None])
        assert len(at) == len(PLACES)
        away = at - PLACES
        off_px.append(float(np.sqrt(np.mean((away - away.mean(axis=0)) ** 2))))
    assert off_px[1] < off_px[0] / 2, off_px
    assert off_px[1] < 0.03


def test_where_no_disc_was_seen_there_is_still_none() -> None:
    dark = [np.zeros((64, 64)) for _ in range(3)]
    assert refined(lambda: dark, [None, None, None]) == [None, None, None]
