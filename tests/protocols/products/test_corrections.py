"""Raw counts become corrected ones: flatfield, dead pixels, clipping; never a wrap, never a division by zero."""

import numpy as np
import pytest

from protocols.products import corrections
from protocols.products.corrections import Clipped, correction, dead_pixels, flatfield_from, to_uint16, untrusted
from protocols.products.cross import pixel_area


def test_a_flat_exposure_becomes_flat_wide_pixels_included() -> None:
    rng = np.random.default_rng(1)
    response = pixel_area((64, 64)) * rng.normal(1, 0.05, (64, 64)).astype(np.float32)
    correct = correction(response / response.mean(), wide_cross=True, saturation=0)
    counts, clipped = correct.apply(np.rint(1000 * response).astype(np.uint16))
    assert clipped == Clipped()
    assert counts.shape == (68, 68)
    assert np.ptp(counts.astype(int)) <= 3
    assert counts.mean() == pytest.approx(1000, rel=0.005)


def test_the_flatfield_conserves_intensity_on_the_whole() -> None:
    rng = np.random.default_rng(2)
    area = pixel_area((512, 512))
    response = area * rng.normal(1, 0.05, (512, 512)).astype(np.float32)
    truth = rng.uniform(100, 300, (512, 512)) * area
    raw = rng.poisson(truth * response / area).astype(np.uint16)
    counts, _ = correction(response, wide_cross=True, saturation=0).apply(raw)
    assert counts.sum() == pytest.approx(truth.sum(), rel=1e-3)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, 1e-6])
def test_a_dead_pixel_of_the_flatfield_is_replaced_by_its_neighbours(bad: float) -> None:
    response = np.ones((16, 16), dtype=np.float32)
    response[5, 6] = bad
    raw = np.full((16, 16), 40, dtype=np.uint16)
    raw[5, 6] = 9
    correct = correction(response, wide_cross=False, saturation=0)
    counts, clipped = correct.apply(raw)
    assert clipped == Clipped()
    np.testing.assert_array_equal(counts, 40)
    assert untrusted((16, 16), False, correct.dead).sum() == 1


def test_a_cluster_of_dead_pixels_and_a_picture_without_a_living_one() -> None:
    dead = np.zeros((9, 9), dtype=bool)
    dead[2:7, 2:7] = True
    counts = np.full((9, 9), 7, dtype=np.float32)
    counts[dead] = 1000
    gain = np.ones((9, 9), dtype=np.float32)
    np.testing.assert_array_equal(dead_pixels(dead).mean(counts, gain), np.full(25, 7))
    np.testing.assert_array_equal(dead_pixels(np.ones((9, 9), dtype=bool)).mean(counts, gain), np.zeros(81))


def test_a_dead_pixel_takes_the_mean_of_its_own_neighbours_wherever_it_lies() -> None:
    ramp = np.add.outer(np.arange(7), 10 * np.arange(9)).astype(np.float32)
    for y in range(1, 6):
        for x in range(1, 8):
            dead = np.zeros(ramp.shape, dtype=bool)
            dead[y, x] = True
            assert dead_pixels(dead).mean(ramp, np.ones_like(ramp)) == ramp[y, x]


def test_a_dead_pixel_is_replaced_and_not_clipped_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "STRIP_PIXELS", 32 * 4)
    response = np.ones((40, 4), dtype=np.float32)
    response[[1, 33], [2, 0]] = 0
    raw = np.full((40, 4), 40, dtype=np.int32)
    raw[[1, 33], [2, 0]] = 100_000, -7
    counts, clipped = correction(response, wide_cross=False, saturation=0).apply(raw)
    np.testing.assert_array_equal(counts, 40)
    assert clipped == Clipped()


def test_corrected_a_few_rows_at_a_time_or_pixel_by_pixel_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "STRIP_PIXELS", 32 * 70)
    rng = np.random.default_rng(5)
    raw = rng.integers(0, 65536, (100, 70), dtype=np.uint16)
    response = rng.normal(1, 0.2, raw.shape).astype(np.float32)
    response[[0, 31, 32, 99], [0, 3, 3, 69]] = 0  # dead ones where strips meet
    correct = correction(response, wide_cross=False, saturation=60000)
    assert correct.gain is not None
    assert correct.dead is not None
    counts, clipped = correct.apply(raw)
    scaled = raw * correct.gain
    scaled[correct.dead] = dead_pixels(correct.dead).mean(raw, correct.gain)
    full = raw >= 60000
    scaled[full] = np.maximum(scaled[full], 60000)
    np.testing.assert_array_equal(counts, np.minimum(np.rint(scaled), 65535))
    assert clipped == Clipped(above=int((np.rint(scaled) > 65535).sum()))


@pytest.mark.parametrize("saturation", [0, 2000])
def test_faint_strips_are_corrected_as_bright_ones_are(saturation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where something may be saturated or clipped is it looked for."""
    monkeypatch.setattr(corrections, "STRIP_PIXELS", 8 * 70)
    rng = np.random.default_rng(6)
    raw = rng.poisson(np.linspace(0, 4, 100)[:, None] * np.ones(70)).astype(np.uint16)
    raw[[40, 41, 90], [3, 69, 5]] = 3_200, 2_000, 65_535
    response = rng.uniform(0.04, 1.9, raw.shape).astype(np.float32)
    correct = correction(response, wide_cross=False, saturation=saturation)
    counts, clipped = correct.apply(raw)
    as_32_bits, clipped_of_32_bits = correct.apply(raw.astype(np.int32))  # all of them the careful way
    np.testing.assert_array_equal(counts, as_32_bits)
    assert clipped == clipped_of_32_bits


def test_a_dead_pixel_on_the_cross_is_untrusted_in_all_its_parts() -> None:
    dead = np.zeros((8, 8), dtype=bool)
    dead[0, 0] = True
    mask = untrusted((8, 8), True, dead)
    assert mask.shape == (12, 12)
    assert mask[0, 0]
    assert not mask[0, 1]


def test_a_collected_flatfield_has_mean_one_and_knows_its_dead_pixels() -> None:
    exposures = [np.full((6, 6), n, dtype=np.uint16) for n in (90, 110)]
    for exposure in exposures:
        exposure[2, 2] = 0
        exposure[:3] *= 2
    flat = flatfield_from(exposures)
    assert flat[flat > 0].mean() == pytest.approx(1)
    assert flat[2, 2] == 0
    assert flat[0, 0] / flat[5, 5] == pytest.approx(2)
    with pytest.raises(ValueError, match="no flat exposure"):
        flatfield_from([])
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        flatfield_from([np.ones((3, 3), dtype=np.uint16), np.ones((2, 2), dtype=np.uint16)])


def test_a_saturated_pixel_stays_recognisable() -> None:
    response = np.array([[0.9, 1.1]], dtype=np.float32)
    correct = correction(response, wide_cross=False, saturation=11810)
    counts, _ = correct.apply(np.array([[11810, 11810]], dtype=np.uint16))
    assert counts.min() >= 11810


@pytest.mark.parametrize(
    ("value", "expected", "clipped"),
    [(70000, 65535, Clipped(above=1)), (-3, 0, Clipped(below=1)), (65535, 65535, Clipped()), (0, 0, Clipped())],
)
def test_whole_counts_are_clipped_and_never_wrap(value: int, expected: int, clipped: Clipped) -> None:
    counts, n = to_uint16(np.array([[value, 5]], dtype=np.int64))
    assert (counts[0, 0], n) == (expected, clipped)
    assert counts.dtype == np.uint16


@pytest.mark.parametrize(
    ("value", "expected", "clipped"),
    [
        (10.9, 11, Clipped()),
        (10.4, 10, Clipped()),
        (-0.4, 0, Clipped()),
        (-3.0, 0, Clipped(below=1)),
        (65535.4, 65535, Clipped()),
        (7e4, 65535, Clipped(above=1)),
        (np.inf, 65535, Clipped(above=1)),
        (-np.inf, 0, Clipped(below=1)),
        (np.nan, 0, Clipped(no_number=1)),
    ],
)
def test_fractions_are_rounded_and_not_cut(value: float, expected: int, clipped: Clipped) -> None:
    counts, n = to_uint16(np.array([[value, 5.0]]))
    assert (counts[0, 0], n) == (expected, clipped)


def test_the_raw_picture_is_left_alone() -> None:
    raw = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16)
    before = raw.copy()
    correction(np.full((16, 16), 0.5, dtype=np.float32), wide_cross=True, saturation=0).apply(raw)
    np.testing.assert_array_equal(raw, before)


@pytest.mark.parametrize("pixel", ["i1", "u1", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", "<u8", ">u8", "<f4"])
def test_counts_of_any_type_fit_into_16_bits_and_what_did_not_is_counted(pixel: str) -> None:
    kind = np.dtype(pixel)
    ends = [np.iinfo(kind).min, np.iinfo(kind).max] if kind.kind in "iu" else [-7.0, np.nan]
    counts, clipped = to_uint16(np.array([[*ends, 5]], kind))
    expected = [[min(max(int(c), 0), 65535) if c == c else 0 for c in ends] + [5]]
    assert counts.dtype == np.uint16
    assert counts.tolist() == expected
    below, above, no_number = (c < 0 for c in ends), (c > 65535 for c in ends), (c != c for c in ends)
    assert clipped == Clipped(sum(below), sum(above), sum(no_number))


def test_what_was_clipped_is_told_by_its_cause() -> None:
    both = Clipped(below=1) + Clipped(above=2, no_number=1)
    assert str(both) == "4 pixels clipped (1 below zero, 2 above 65535, 1 not a number)"
    assert str(Clipped()) == "0 pixels clipped"
