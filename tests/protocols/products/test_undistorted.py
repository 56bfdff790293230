"""Pictures without the ellipse of the lens: whole counts, at their places, with the statistics of counting."""

from pathlib import Path

import numpy as np
import pytest

from drivers.facts import Geometry
from drivers.simulated.pattern import distortion_matrix as simulated_matrix
from protocols.products.export import export_run
from protocols.products.smv import HEADER_BYTES
from protocols.products.undistorted import Undistortion
from tests.protocols.products.runs import disc, write_run

CENTRE = (130.3, 126.8)
LENS = Undistortion((256, 260), CENTRE, 2.43, 83.37)
ELLIPSE = {"distortion_amplitude_percent": 2.43, "distortion_azimuth_deg": 83.37}


def middle(counts: np.ndarray) -> np.ndarray:
    """(fast, slow) centre of mass."""
    slow, fast = np.indices(counts.shape) + 0.5
    return np.array([(counts * fast).sum(), (counts * slow).sum()]) / counts.sum()


def test_a_spot_comes_to_where_a_round_lens_would_have_put_it() -> None:
    seen = simulated_matrix(Geometry(0.02508, 250, 0.055, 0, *CENTRE, 2.43, 83.37))
    for true in ((40.4, 60.1), (200.0, 31.7), (220.5, 222.2)):
        place = seen @ (np.array(true) - CENTRE) + CENTRE
        slow, fast = np.indices(LENS.shape) + 0.5
        spot = np.rint(1e4 * np.exp(-0.5 * ((fast - place[0]) ** 2 + (slow - place[1]) ** 2) / 1.2**2))
        assert middle(LENS.apply(spot.astype(np.uint16), 1, 0)) == pytest.approx(true, abs=0.03)
        assert LENS.place(*place) == pytest.approx(true, abs=1e-9)


def test_no_count_is_lost_or_made() -> None:
    counts = np.zeros(LENS.shape, np.uint16)
    counts[20:-20, 20:-20] = np.random.default_rng(1).poisson(3.0, (216, 220))
    assert LENS.apply(counts, 1, 0).sum() == counts.sum()


def test_counts_keep_their_statistics() -> None:
    counts = np.random.default_rng(2).poisson(4.0, LENS.shape).astype(np.uint16)
    inside = LENS.apply(counts, 1, 0)[LENS.border_px : -LENS.border_px, LENS.border_px : -LENS.border_px].astype(float)
    assert inside.mean() == pytest.approx(4.0, rel=0.02)
    assert inside.var() / inside.mean() == pytest.approx(1.0, abs=0.03)
    beside = np.corrcoef(inside[:, 1:].ravel(), inside[:, :-1].ravel())[0, 1]
    assert abs(beside) < 0.02  # interpolation would give 0.2 to 0.5


def test_the_border_and_nothing_else_stays_empty() -> None:
    out = LENS.apply(np.full(LENS.shape, 50, np.uint16), 1, 0)
    m = LENS.border_px
    assert m == 2
    assert out[m:-m, m:-m].min() > 20
    assert out.min() == 0


def test_what_gets_counts_of_a_saturated_pixel_is_saturated() -> None:
    counts = np.zeros(LENS.shape, np.uint16)
    counts[50, 70] = 11810
    out = LENS.apply(counts, 1, 11810)
    assert (out == 11810).sum() == 4
    assert ((out > 0) & (out < 11810)).sum() == 0


def test_the_outline_of_what_is_not_trusted_is_whole_pixels_of_the_picture() -> None:
    outline = LENS.outline(0, 125, 260, 131)  # wide rows
    assert all(isinstance(n, int) and n >= 0 for n in outline)
    for fast in (5.0, 130.0, 255.0):
        for edge in (125.0, 131.0):
            x, y = LENS.place(fast, edge)
            part = x / 260
            upper, lower = ((1 - part) * outline[1] + part * outline[3], (1 - part) * outline[7] + part * outline[5])
            assert upper <= y <= lower


def test_the_same_slot_gives_the_same_picture_and_another_one_another() -> None:
    counts = np.random.default_rng(3).poisson(4.0, LENS.shape).astype(np.uint16)
    assert np.array_equal(LENS.apply(counts, 7, 0), LENS.apply(counts, 7, 0))
    assert not np.array_equal(LENS.apply(counts, 7, 0), LENS.apply(counts, 8, 0))


@pytest.mark.parametrize(("percent", "written"), [(2.43, True), (0.31, True), (0.29, False), (0.0, False)])
def test_dials_gets_pictures_without_the_ellipse_where_it_matters(
    tmp_path: Path, percent: float, written: bool
) -> None:
    run = write_run(
        tmp_path / "run", slots=12, interval=5, geometry={**ELLIPSE, "distortion_amplitude_percent": percent}
    )
    export_run(run, ["dials"], 1)
    script, folder = (run / "SMV" / "dials.sh").read_text(), run / "SMV" / "undistorted"
    assert ("../undistorted/#####.img" in script) == written
    assert ("border=" in script) == written
    assert folder.exists() == written
    if written:
        given = sorted(path.name for path in (run / "SMV" / "data").iterdir())
        assert sorted(path.name for path in folder.iterdir()) == given  # those of gaps too


def test_headers_of_undistorted_pictures_have_the_beam_where_it_belongs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", slots=9, interval=0, geometry=ELLIPSE, picture=disc((512, 512), 150.5, 180.5))
    export_run(run, ["dials"], 1)
    found = {}
    for folder in ("data", "undistorted"):
        header = (run / "SMV" / folder / "00002.img").read_bytes()[:HEADER_BYTES].decode()
        found[folder] = [float(header.split(f"BEAM_CENTER_{axis}=")[1].split(";")[0]) for axis in "XY"]
    lens = Undistortion((516, 516), (258.0, 258.0), 2.43, 83.37)
    assert found["undistorted"] == pytest.approx(lens.place(*found["data"]), abs=1e-3)
    assert found["undistorted"] != pytest.approx(found["data"], abs=0.5)
