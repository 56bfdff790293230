"""Simulated pictures: counts, the wide cross, response, saturation, determinism; and truth.h5."""

import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from drivers.facts import Geometry
from drivers.simulated.crystal import load_crystal
from drivers.simulated.pattern import spots
from drivers.simulated.pictures import PictureMaker, pixel_edges_px
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.truthfile import write_truth

GEOMETRY = Geometry(0.02508, 250.0, 0.055, -38.5, 261.3, 255.1)
SETTINGS = PictureSettings()
CRYSTAL = load_crystal(None, orientation_seed=3, d_min_A=1.0)
MAKER = PictureMaker(CRYSTAL, GEOMETRY, SETTINGS)
DARK = replace(SETTINGS, halo=(), constant_s=0.0, flux_s=1e7)


def spot_counts(maker: PictureMaker, start_deg: float, end_deg: float, exposure_s: float) -> np.ndarray:
    """What the spots alone add to the expected electrons."""
    lit = maker.expected(start_deg, end_deg, exposure_s)
    return lit - maker.expected(start_deg, end_deg, exposure_s, scale=0.0)


def test_raw_pixels_of_the_cross_cover_three_physical_ones() -> None:
    edges = pixel_edges_px(512, wide_cross=True)
    assert edges[-1] == 516
    assert edges[[254, 255, 256, 257]].tolist() == [254, 255, 258, 261]
    assert pixel_edges_px(512, wide_cross=False).tolist() == list(range(513))


def test_the_wide_cross_loses_no_counts() -> None:
    # The same physical detector: 512 raw pixels with a wide cross, and 516 equal pixels.
    plain = PictureMaker(CRYSTAL, GEOMETRY, replace(SETTINGS, shape=(516, 516), wide_cross=False))
    raw, physical = MAKER.expected(3.0, 3.2, 0.5), plain.expected(3.0, 3.2, 0.5)
    assert raw.sum() == pytest.approx(physical.sum())
    assert raw[0, 0] == pytest.approx(physical[0, 0])
    assert raw[400, 400] == pytest.approx(physical[404, 404])
    assert raw[255, 255] == pytest.approx(physical[255:258, 255:258].sum())
    assert raw[256, 400] == pytest.approx(physical[258:261, 404].sum())


def test_a_spot_lands_on_its_pixel_with_its_counts() -> None:
    plain = PictureMaker(CRYSTAL, GEOMETRY, replace(SETTINGS, shape=(516, 516), wide_cross=False))
    for first_deg in (-10.0, 0.0, 7.0):
        excited = spots(CRYSTAL, GEOMETRY, first_deg, first_deg + 0.2, 2e-4, 1.0, 0.08)
        picture = spot_counts(plain, first_deg, first_deg + 0.2, 0.5)
        strongest = int(np.argmax(excited.rate))
        fast, slow = excited.fast_px[strongest], excited.slow_px[strongest]
        window = picture[int(slow) - 4 : int(slow) + 5, int(fast) - 4 : int(fast) + 5]
        rows, columns = np.indices(window.shape) + 0.5
        assert (rows * window).sum() / window.sum() + int(slow) - 4 == pytest.approx(slow, abs=0.02)
        assert (columns * window).sum() / window.sum() + int(fast) - 4 == pytest.approx(fast, abs=0.02)
        share = excited.rate[strongest] / excited.rate.sum()
        assert window.sum() / picture.sum() == pytest.approx(share, rel=0.03)


def test_strong_spots_of_a_frame_collect_thousands_and_the_beam_saturates() -> None:
    brightest = [spot_counts(MAKER, a, a + 0.2314, 0.5).sum() for a in np.arange(-20.0, 20.0, 0.5)]
    assert 2000 < np.percentile(brightest, 90) < 50_000
    assert MAKER.diffraction(0.0, 0.2314, 0.5, noise_seed=1).max() == SETTINGS.saturation
    corner = MAKER.expected(0.0, 0.2314, 0.5)[:50, :50]
    assert 0.05 < corner.mean() < 2.0


def test_expected_counts_are_linear_in_exposure() -> None:
    assert np.allclose(MAKER.expected(0.0, 0.2, 1.0), 4.0 * MAKER.expected(0.0, 0.2, 0.25))


def test_noise_is_poisson_around_the_expected_counts() -> None:
    # The flatfield holds response times area; what is expected on a pixel holds its area already.
    widths = np.diff(pixel_edges_px(512, wide_cross=True))
    area = np.outer(widths, widths)
    expected = MAKER.expected(0.0, 0.2, 0.5) * MAKER.flatfield / (area / area.mean())
    picture = MAKER.diffraction(0.0, 0.2, 0.5, noise_seed=4).astype(float)
    usable = expected < 3000.0
    deviation = (picture - expected)[usable] / np.sqrt(expected[usable])
    assert abs(deviation.mean()) < 0.02
    assert deviation.std() == pytest.approx(1.0, abs=0.03)


def test_the_flatfield_is_what_many_evenly_lit_pictures_average_to() -> None:
    even = replace(SETTINGS, flux_s=0.0, constant_s=1000.0)
    maker = PictureMaker(CRYSTAL, GEOMETRY, even)
    mean = np.mean([maker.diffraction(0.0, 0.1, 0.5, noise_seed=n).astype(float) for n in range(6)], axis=0)
    flatfield = maker.flatfield
    assert flatfield.dtype == np.float32
    assert flatfield.shape == (512, 512)
    assert flatfield.mean() == pytest.approx(1.0, abs=1e-5)
    assert np.std(mean / mean.mean() / flatfield) < 0.022
    assert np.median(flatfield[255]) / np.median(flatfield[100]) == pytest.approx(3.0, abs=0.05)
    assert flatfield[255:257, 255:257].mean() / np.median(flatfield) == pytest.approx(9.0, abs=0.5)
    assert np.std(flatfield[:250, :250]) == pytest.approx(0.03 / 1.0157, rel=0.05)


def test_the_same_arguments_give_the_same_picture_also_after_a_journey() -> None:
    traveller = pickle.loads(pickle.dumps(MAKER))
    for one, other in (
        (MAKER.diffraction(1.0, 1.2, 0.5, (0.1, -0.2), 0.3, noise_seed=9), None),
        (MAKER.snapshot(1.0, 0.01, noise_seed=9), None),
        (MAKER.blank(noise_seed=9), None),
    ):
        assert other is None
        assert one.dtype == np.uint16
        assert one.shape == (512, 512)
    for maker in (traveller, PictureMaker(CRYSTAL, GEOMETRY, SETTINGS)):
        assert np.array_equal(
            maker.diffraction(1.0, 1.2, 0.5, noise_seed=9), MAKER.diffraction(1.0, 1.2, 0.5, noise_seed=9)
        )
        assert np.array_equal(maker.snapshot(1.0, 0.01, noise_seed=9), MAKER.snapshot(1.0, 0.01, noise_seed=9))
        assert np.array_equal(maker.blank(noise_seed=9), MAKER.blank(noise_seed=9))
    assert not np.array_equal(
        MAKER.diffraction(1.0, 1.2, 0.5, noise_seed=9), MAKER.diffraction(1.0, 1.2, 0.5, noise_seed=10)
    )


def test_a_beam_shift_moves_the_whole_pattern() -> None:
    still, moved = MAKER.expected(0.0, 0.2, 0.5), MAKER.expected(0.0, 0.2, 0.5, beam_shift_px=(3.0, -2.0))
    # Away from the cross a shift by whole pixels is a shift of the array: fast is columns, slow is rows.
    assert np.allclose(moved[50:200, 53:203], still[52:202, 50:200])
    assert np.allclose(moved[300:450, 303:453], still[302:452, 300:450])


def test_blur_widens_spots_and_beam_and_keeps_their_counts() -> None:
    maker = PictureMaker(CRYSTAL, GEOMETRY, DARK)
    sharp, blurred = maker.expected(0.0, 0.2, 0.5), maker.expected(0.0, 0.2, 0.5, blur_px=4.0)
    assert blurred.max() < 0.5 * sharp.max()
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=1e-4)


def test_a_snapshot_is_a_disc_with_the_crystals_shadow() -> None:
    exposure_s = 20.0
    picture = MAKER.snapshot(1.0, exposure_s, noise_seed=2) / (MAKER.flatfield * SETTINGS.saturation)
    rows, columns = np.indices(picture.shape)
    # Centres of raw pixels on the physical grid, then distance from the beam.
    edges = pixel_edges_px(512, True)
    centre = 0.5 * (edges[1:] + edges[:-1])
    radius = np.hypot(centre[rows] - GEOMETRY.beam_slow_px, centre[columns] - GEOMETRY.beam_fast_px)
    ring, outside = (radius > 60) & (radius < 75), radius > 90
    assert picture[outside].mean() < 0.01 * picture[ring].mean()
    shadow = picture[radius < 6].mean() / picture[ring].mean()
    assert shadow == pytest.approx(SETTINGS.transmission, abs=0.03)


def test_the_disc_grows_with_the_defocus_at_constant_flux() -> None:
    free = PictureMaker(replace(CRYSTAL, size_nm=1e-3), GEOMETRY, replace(SETTINGS, pixel_response_sigma=0.0))
    small, large = (free.snapshot(f, 1e-2, noise_seed=3).astype(float) for f in (0.5, 1.0))
    assert small.sum() == pytest.approx(large.sum(), rel=0.02)
    assert (small > 4).sum() < 0.5 * (large > 4).sum()
    focused = free.snapshot(0.0, 1e-4, noise_seed=3).astype(float)
    assert focused.sum() == pytest.approx(1e7 * 1e-4, rel=0.15)
    assert focused[focused > 5].size < 100


@pytest.mark.parametrize("beam", [(-40.0, 10.0), (530.0, 255.0), (-500.0, -500.0)])
def test_a_disc_may_stick_out_of_the_picture(beam: tuple[float, float]) -> None:
    geometry = replace(GEOMETRY, beam_fast_px=beam[0], beam_slow_px=beam[1])
    maker = PictureMaker(CRYSTAL, geometry, SETTINGS)
    assert maker.snapshot(1.0, 0.01, noise_seed=1).shape == (512, 512)
    assert maker.diffraction(0.0, 0.2, 0.5, noise_seed=1).shape == (512, 512)


def test_a_blanked_beam_gives_next_to_no_counts() -> None:
    assert MAKER.blank(noise_seed=5).sum() < 30


@pytest.mark.parametrize("shape", [(512, 1024), (1024, 1024), (100, 60)])
def test_other_detectors_without_a_cross(shape: tuple[int, int]) -> None:
    geometry = replace(GEOMETRY, beam_fast_px=shape[1] / 2 + 0.3, beam_slow_px=shape[0] / 2 - 0.2)
    maker = PictureMaker(CRYSTAL, geometry, replace(SETTINGS, shape=shape, wide_cross=False))
    picture = maker.diffraction(0.0, 0.2, 0.5, noise_seed=1)
    assert picture.shape == maker.flatfield.shape == shape
    row, column = np.unravel_index(np.argmax(maker.expected(0, 0.2, 0.5)), shape)
    assert (int(row), int(column)) == (shape[0] // 2 - 1, shape[1] // 2)


def test_an_odd_number_of_pixels_cannot_have_a_wide_cross() -> None:
    with pytest.raises(ValueError, match="even numbers"):
        PictureMaker(CRYSTAL, GEOMETRY, replace(SETTINGS, shape=(511, 512)))


def test_truth_is_written_as_the_contract_says(tmp_path: Path) -> None:
    path = tmp_path / "truth.h5"
    angles = np.array([[0.0, 0.2], [0.2, 0.4], [0.8, 1.0]])
    write_truth(path, CRYSTAL, [0, 1, 4], angles)
    with h5py.File(path) as file:
        assert set(file) == {"cell", "orientation", "frame_angle_deg", "slot", "hkl", "intensity"}
        assert file["cell"][()].tolist() == list(CRYSTAL.cell)
        assert np.array_equal(file["orientation"][()], CRYSTAL.orientation)
        assert np.array_equal(file["frame_angle_deg"][()], angles)
        assert file["slot"][()].tolist() == [0, 1, 4]
        assert np.array_equal(file["hkl"][()], CRYSTAL.hkl)
        assert np.array_equal(file["intensity"][()], CRYSTAL.intensity)
        assert all(file[name].attrs["units"] for name in file)
    with pytest.raises(FileExistsError):
        write_truth(path, CRYSTAL, [0, 1, 4], angles)
    with pytest.raises(ValueError, match=r"truth\.h5 not written"):
        write_truth(tmp_path / "other.h5", CRYSTAL, [0], angles)
    assert not (tmp_path / "other.h5").exists()


@pytest.mark.parametrize("start_deg", [-20.0, -9.0, 0.0, 7.0, 18.0])
def test_a_smaller_detector_sees_a_part_of_the_same_picture(start_deg: float) -> None:
    plain = replace(SETTINGS, wide_cross=False)
    small = PictureMaker(
        CRYSTAL, replace(GEOMETRY, beam_fast_px=61.3, beam_slow_px=45.1), replace(plain, shape=(90, 110))
    )
    whole = PictureMaker(CRYSTAL, GEOMETRY, plain).expected(start_deg, start_deg + 3.0, 0.5)
    assert np.allclose(small.expected(start_deg, start_deg + 3.0, 0.5), whole[210:300, 200:310], rtol=1e-6, atol=1e-3)
