"""Spots are found where they were drawn, touching ones too; what is no pattern is named, whatever it is."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from protocols.spots.diskpeaks import disk_peaks
from protocols.spots.framepeaks import frame_peaks
from protocols.spots.peaks import find_peaks
from protocols.zones.patterns.noise import with_random_intensities
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.render import ImageGeometry, render
from protocols.zones.patterns.simulation import simulate
from tests.gaussians import gaussians

PER_PX = ImageGeometry().per_px
SIZE = 254


def drawn(
    where: np.ndarray, size: int = SIZE, beam: tuple[float, float] = (127.0, 127.0), parts: int = 8
) -> np.ndarray:
    """Disks (n, 2) drawn by counting sub-pixels: not the way of `render`."""
    fine = np.zeros((size * parts, size * parts), dtype=bool)
    for (x, y), radius in [(beam, 1.76), *((spot, 1.0) for spot in where)]:
        left, top = int((x - 3) * parts), int((y - 3) * parts)
        patch = fine[top : top + 6 * parts, left : left + 6 * parts]
        row, column = np.indices(patch.shape) + 0.5
        patch |= np.hypot((column + left) / parts - x, (row + top) / parts - y) < radius
    return np.asarray(np.rint(255 * fine.reshape(size, parts, size, parts).mean(axis=(1, 3))), dtype=np.uint8)


def nearest_to(places: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance of each place to the nearest of what was found, and which that is."""
    distance, which = KDTree(found).query(places)
    return np.asarray(distance), np.asarray(which)


def off(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances of the true spots to the found ones; fails where not all, or more than all are found."""
    assert len(found) == len(true)
    distance, which = nearest_to(true, found)
    assert len(set(which.tolist())) == len(true)
    return distance


def lattice(spacing_px: float, angle: float, rng: np.random.Generator, across_px: float = 31.0) -> np.ndarray:
    """Spots of a net with one short vector, some missing, without those in the beam."""
    p = spacing_px * np.array([np.cos(angle), np.sin(angle)])
    q = across_px * np.array([-np.sin(angle), np.cos(angle)]) + rng.uniform(-0.5, 0.5) * p
    index = np.stack(np.meshgrid(np.arange(-15, 16), np.arange(-2, 3)), axis=-1).reshape(-1, 2)
    where = 127.0 + index @ np.array([p, q])
    where = where[(np.abs(where - 127.0) < 120).all(axis=1) & (np.hypot(*(where - 127.0).T) > 2.2)]
    return np.asarray(where[rng.random(len(where)) > 0.15])


@pytest.mark.parametrize(("volume_A3", "anisotropy"), [(500, 1.5), (1000, 6.0)])
def test_all_spots_of_simulated_patterns(volume_A3: float, anisotropy: float) -> None:
    rng = np.random.default_rng(8)
    patterns = simulate(random_cell(rng, volume_A3=volume_A3, anisotropy=anisotropy), 120, rng)
    for number, picture in enumerate(render(patterns)):
        peaks = find_peaks(picture)
        assert peaks.reason == ""
        np.testing.assert_allclose(peaks.centre_px, 127.0, atol=0.005)
        assert off(peaks.xy(PER_PX), patterns.spots(number)).max() < 0.03 * PER_PX


@pytest.mark.parametrize("spacing_px", [2.7, 3.0, 3.5, 4.0])
@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 4, 1.4])
def test_disks_that_touch_are_told_apart(spacing_px: float, angle: float) -> None:
    where = lattice(spacing_px, angle, np.random.default_rng(3))
    peaks = find_peaks(drawn(where))
    distance = off(peaks.xy_px, where)
    # Drawn with exact areas, fitted as if edges fell linearly: not 0.001 px as for pictures of `render`.
    assert np.sqrt(np.mean(distance**2) / 2) < 0.03
    beside_beam = np.hypot(*(where - 127.0).T) < 3.2
    assert distance[~beside_beam].max() < 0.12
    assert distance.max() < 0.3


@pytest.mark.parametrize("distance_px", [1.2, 1.5, 1.9, 2.3])
def test_a_disk_half_hidden_by_another_is_found(distance_px: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        first = rng.uniform(60, 100, 2)
        angle = rng.uniform(0, 2 * np.pi)
        pair = np.array([first, first + distance_px * np.array([np.cos(angle), np.sin(angle)]), [180.0, 90.0]])
        assert off(find_peaks(drawn(pair)).xy_px, pair).max() < 0.3


def test_spots_that_touch_the_primary_beam_do_not_move_it() -> None:
    spots = 127.0 + np.array([[2.7, 0.4], [-2.7, -0.4], [5.4, 0.8], [-1.1, 2.6], [30.0, 10.0]])
    peaks = find_peaks(drawn(spots))
    assert off(peaks.xy_px, spots).max() < 0.1
    np.testing.assert_allclose(peaks.centre_px, 127.0, atol=0.05)


def test_a_pattern_off_the_middle() -> None:
    beam = (121.3, 135.8)
    spots = np.array([[40.2, 60.7], [180.5, 77.1], [100.0, 200.0]])
    peaks = find_peaks(drawn(spots, beam=beam))
    np.testing.assert_allclose(peaks.centre_px, beam, atol=0.04)
    assert off(peaks.xy_px, spots).max() < 0.04


def test_spots_at_the_edge_do_no_harm() -> None:
    rng = np.random.default_rng(2)
    patterns = simulate(random_cell(rng), 3, rng)
    picture = render(patterns, ImageGeometry(per_px=1.2 / 254))[0]
    assert find_peaks(picture).reason == ""


def test_disks_of_different_brightness() -> None:
    rng = np.random.default_rng(5)
    patterns = with_random_intensities(simulate(random_cell(rng, volume_A3=700), 40, rng), rng)
    for number, picture in enumerate(render(patterns, intensities=True)):
        peaks = find_peaks(picture)
        bright = np.sqrt(patterns.intensity[patterns.start[number] : patterns.start[number + 1]])
        where = patterns.spots(number)
        distance, which = nearest_to(where[bright > 0.15], peaks.xy(PER_PX))
        assert distance.max() < 0.05 * PER_PX
        np.testing.assert_allclose(peaks.intensity[which], bright[bright > 0.15], atol=0.03)
        assert nearest_to(peaks.xy(PER_PX), where)[0].max() < 0.1 * PER_PX


def test_other_sizes_of_picture_and_disks() -> None:
    rng = np.random.default_rng(6)
    patterns = simulate(random_cell(rng, volume_A3=500), 10, rng)
    image = ImageGeometry(508, 2.1 / 508, 2.0, 3.52)
    for number, picture in enumerate(render(patterns, image)):
        assert off(find_peaks(picture).xy(image.per_px), patterns.spots(number)).max() < 0.05 * image.per_px
    picture = render(patterns, ImageGeometry(254, PER_PX, 1.3, 2.0))[0]
    assert off(disk_peaks(picture, 1.3, 2.0).xy(PER_PX), patterns.spots(0)).max() < 0.03 * PER_PX


def frame(
    spots: np.ndarray, counts: float | np.ndarray, rng: np.random.Generator, size: int = 512, background: float = 0.3
) -> np.ndarray:
    """Counts of a frame: saturated beam at (250.3, 261.8), inelastic tail, Gaussian spots, Poisson noise."""
    row, column = np.indices((size, size)) + 0.5
    radius = np.hypot(column - 250.3, row - 261.8)
    expected = (
        4e4 * np.exp(-(radius**2) / 8) + 300 * np.exp(-(radius**2) / 200) + 30 * np.exp(-radius / 50) + background
    )
    expected += gaussians((size, size), spots, 1.2, counts / (2 * np.pi * 1.2**2))
    return np.asarray(np.minimum(rng.poisson(expected), 11810), dtype=np.uint16)


def test_a_diffraction_frame_of_counts() -> None:
    rng = np.random.default_rng(4)
    index = np.stack(np.meshgrid(np.arange(-6, 7), np.arange(-6, 7)), axis=-1).reshape(-1, 2)
    spots = np.array([250.3, 261.8]) + index @ np.array([[27.3, 4.1], [-6.2, 33.7]])
    spots = spots[(np.hypot(*(spots - [250.3, 261.8]).T) > 20) & ((spots > 8) & (spots < 504)).all(axis=1)]
    peaks = find_peaks(frame(spots, 400.0, rng))
    assert peaks.reason == ""
    np.testing.assert_allclose(peaks.centre_px, [250.3, 261.8], atol=0.05)
    distance = off(peaks.xy_px, spots)
    assert np.sqrt(np.mean(distance**2) / 2) < 0.1
    # 5 x 5 pixels hold 93 % of a spot of sigma 1.2.
    assert np.median(peaks.intensity) == pytest.approx(372, rel=0.05)


@pytest.mark.parametrize("background", [0.02, 0.3, 20.0])
def test_noise_makes_no_spots(background: float) -> None:
    for seed in range(3):
        picture = frame(np.empty((0, 2)), 0.0, np.random.default_rng(seed), background=background)
        assert find_peaks(picture).reason.startswith("no spots")


def test_faint_spots_are_marked_and_are_those_that_are_badly_placed() -> None:
    rng = np.random.default_rng(4)
    index = np.stack(np.meshgrid(np.arange(-8, 9), np.arange(-8, 9)), axis=-1).reshape(-1, 2)
    spots = np.array([250.3, 261.8]) + index @ np.array([[27.3, 4.1], [-6.2, 25.7]])
    spots = spots[(np.hypot(*(spots - [250.3, 261.8]).T) > 60) & ((spots > 8) & (spots < 504)).all(axis=1)]
    half = len(spots) // 2
    counts = np.where(np.arange(len(spots)) < half, 90.0, 1000.0)
    peaks = find_peaks(frame(spots, counts, rng))
    assert peaks.faint is not None
    distance, nearest = nearest_to(spots, peaks.xy_px)
    found, faint = distance < 3, peaks.faint[nearest]
    assert found[half:].all()
    assert not faint[half:].any()
    assert faint[:half].mean() > 0.8
    assert np.quantile(distance[found & ~faint], 0.99) < 0.3 < 0.4 < distance[found & faint].max()


def test_a_hot_pixel_is_no_spot() -> None:
    picture = frame(np.array([[100.0, 100.0]]), 500.0, np.random.default_rng(4))
    picture[300, 400] = 2000
    assert len(find_peaks(picture).xy_px) == 1


def picture_of(kind: str) -> np.ndarray:
    rng = np.random.default_rng(9)
    row, column = np.indices((SIZE, SIZE))
    waves = 128 + 60 * np.sin(column / 30) + 50 * np.cos(row / 17)
    noisy = waves + rng.normal(0, 8, (SIZE, SIZE))
    glyphs = np.kron(rng.random((32, 32)) < 0.25, np.ones((7, 5))).astype(bool)
    text = np.zeros((SIZE, SIZE), dtype=np.uint8)
    text[: glyphs.shape[0], : glyphs.shape[1]][glyphs & (rng.random(glyphs.shape) < 0.7)] = 255
    lamp = 20 + 200 * np.exp(-((column - 80) ** 2 + (row - 100) ** 2) / 800) + rng.normal(0, 4, (SIZE, SIZE))
    beam_alone = drawn(np.empty((0, 2)))
    pictures: dict[str, np.ndarray] = {
        "photograph": np.clip(noisy, 0, 255).astype(np.uint8),
        "photograph, 16 bits": (np.clip(noisy, 0, 255) * 100).astype(np.uint16),
        "lamp in the dark": np.clip(lamp, 0, 255).astype(np.uint8),
        "colour": np.zeros((SIZE, SIZE, 3), dtype=np.uint8),
        "text": text,
        "black text": 255 - text,
        "black": np.zeros((SIZE, SIZE), dtype=np.uint8),
        "grey": np.full((SIZE, SIZE), 7, dtype=np.uint16),
        "noise": rng.integers(0, 256, (SIZE, SIZE)).astype(np.uint8),
        "counts without a beam": rng.poisson(3, (512, 512)).astype(np.uint16),
        "dust": ((rng.random((SIZE, SIZE)) < 0.01) * 255).astype(np.uint8),
        "one pixel": np.eye(1, SIZE * SIZE, 30000, dtype=np.uint8).reshape(SIZE, SIZE) * 255,
        "a line": np.eye(SIZE, dtype=np.uint8) * 255,
        "a slope": column.astype(np.uint8),
        "not numbers": np.array([["a"] * 40] * 40),
        "nan": np.full((SIZE, SIZE), np.nan),
        "infinite": np.where(row > 3, np.inf, 1.0),
        "complex": noisy.astype(complex),
        "negative": -noisy,
        "tiny": np.zeros((3, 3)),
        "empty": np.zeros((0, 0)),
        "beam alone": beam_alone,
        "a large disk": np.where(np.hypot(row - 127, column - 127) < 30, 255, 0).astype(np.uint8),
    }
    return pictures[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("photograph", "no diffraction pattern"),
        ("photograph, 16 bits", "no diffraction pattern"),
        ("lamp in the dark", "no spots"),
        ("colour", "3 dimensions"),
        ("text", "no "),
        ("black text", "no diffraction pattern"),
        ("black", "constant"),
        ("grey", "constant"),
        ("noise", "no diffraction pattern"),
        ("counts without a beam", "no diffraction pattern"),
        ("dust", "no primary beam"),
        ("one pixel", "no primary beam"),
        ("a line", "no primary beam"),
        ("a slope", "no "),
        ("not numbers", "not a picture of numbers"),
        ("nan", "no numbers"),
        ("infinite", "no numbers"),
        ("complex", "not a picture of numbers"),
        ("negative", "no diffraction pattern"),
        ("tiny", "too small"),
        ("empty", "too small"),
        ("beam alone", "no spots"),
        ("a large disk", "no "),
    ],
)
def test_what_is_no_pattern_gets_a_reason(kind: str, said: str) -> None:
    peaks = find_peaks(picture_of(kind))
    assert said in peaks.reason
    assert peaks.xy_px.shape == (0, 2)
    assert peaks.intensity.shape == (0,)


def test_the_simplest_frame_has_a_position() -> None:
    peaks = frame_peaks(frame(np.array([[350.25, 170.75]]), 3000.0, np.random.default_rng(1)).astype(np.float64))
    np.testing.assert_allclose(peaks.xy_px, [[350.25, 170.75]], atol=0.08)
