"""The paper's preprocessing, step by step, and what becomes of frames that the paper does not speak of."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from protocols.screening import preprocessing
from protocols.screening.preprocessing import (
    INPUT_PX,
    REACH_PER_A,
    brightest_centre,
    input_of,
    numbers,
    paper_input,
    robust_centre,
)
from tests.gaussians import gaussians

PER_PX = 0.00488


def pattern(shape=(516, 516), beam=None, spots=True, saturation=11810, background=2.0, seed=3, scale=1.0):
    """A beam, its halo and some spots, as uint16 counts. beam: (fast, slow); scale: pixels for one of a Timepix."""
    rng = np.random.default_rng(seed)
    beam = (shape[1] / 2 + 3, shape[0] / 2 - 5) if beam is None else beam
    slow, fast = (np.indices(shape, sparse=True)[k] + 0.5 for k in (0, 1))
    away = np.hypot(fast - beam[0], slow - beam[1]) / scale
    light = background + 3e4 * np.exp(-0.5 * (away / 2.5) ** 2) + 80 * np.exp(-away / 25)
    if spots:
        h, k = np.mgrid[-4:5, -4:5].reshape(2, -1)
        places = beam + scale * np.stack([31 * h + 6 * k, 37 * k - 5 * h], axis=1)
        light += gaussians(shape, places, 1.4 * scale, 60)
    return np.minimum(rng.poisson(light), saturation).astype(np.uint16)


def literally(frame):
    """The paper's words in plain numpy, for a frame whose brightest 5 % are no matter of ties."""
    flat = np.sort(frame, axis=None)[::-1]
    slow, fast = np.nonzero(frame >= flat[round(0.05 * frame.size) - 1])
    left, top = round(fast.mean() + 0.5 - 200), round(slow.mean() + 0.5 - 200)
    z = frame[top : top + 400, left : left + 400].astype(float)
    z = np.minimum(z, z.mean() + 4 * z.std())
    z = (z - z.min()) / (z.max() - z.min())
    factor = 400 / 150
    place = (np.arange(150) + 0.5) * factor - 0.5
    smooth = gaussian_filter(z, (factor - 1) / 2, mode="nearest")
    return map_coordinates(smooth, np.meshgrid(place, place, indexing="ij"), order=1, mode="nearest")


def test_it_is_the_papers_step_by_step():
    frame = pattern().astype(np.float64) + np.random.default_rng(1).uniform(0, 0.9, (516, 516))
    np.testing.assert_allclose(paper_input(frame[None])[0, 4:-4, 4:-4], literally(frame)[4:-4, 4:-4], atol=2e-4)


@pytest.mark.parametrize("width_px", [2, 150, 151, 400, 799])
def test_what_shrinks_leaves_equal_pixels_equal_to_the_edges(width_px):
    shrunk = preprocessing._shrinking(width_px) @ np.ones(width_px, dtype=np.float32)
    np.testing.assert_allclose(shrunk, np.ones(INPUT_PX), atol=1e-6)


def test_a_constant_frame_gives_zeros():
    for value in (0, 7, 65535):
        assert not paper_input(np.full((1, 516, 516), value, dtype=np.uint16)).any()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_frames_stay_as_they_are(dtype):
    frames = pattern((400, 400))[None].astype(dtype)
    before = frames.copy()
    paper_input(frames)
    input_of(frames, PER_PX)
    np.testing.assert_array_equal(frames, before)


def test_a_batch_is_its_frames_one_by_one():
    frames = np.stack([pattern(seed=seed) for seed in range(3)])
    both = paper_input(frames)
    for frame, alone in zip(frames, both, strict=True):
        np.testing.assert_array_equal(paper_input(frame[None])[0], alone)


def test_of_equal_pixels_at_the_border_all_count_alike():
    frame = np.zeros((100, 100), dtype=np.float32)
    frame[10, 20] = 5.0
    # 500 pixels are wanted: the one that is bright, and of the 9999 others, which are equal, 499 in all.
    assert brightest_centre(frame) == pytest.approx(((20.5 + 499 * 50) / 500, (10.5 + 499 * 50) / 500), abs=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_the_type_of_the_numbers_does_not_matter(dtype):
    frame = pattern(saturation=120)
    np.testing.assert_allclose(paper_input(frame[None].astype(dtype)), paper_input(frame[None]), atol=1e-5)


def spoilt(frame, value, where=np.s_[60:62, 100:104], dtype=np.float32):
    frame = frame.astype(dtype)
    frame[where] = value
    return frame


UNSPOKEN = {
    "NaN is no count": (lambda f: spoilt(f, np.nan), 0.02),
    "an infinity is none": (lambda f: spoilt(f, np.inf), 0.02),
    "nor is the highest number of 32 bits": (lambda f: spoilt(f, 2**32 - 1, dtype=np.uint32), 0.02),
    "negative counts are counts": (lambda f: f.astype(np.int32) - 100, 1e-5),
    "a frame times something is the same": (lambda f: f * 0.37, 1e-5),
    "a frame with an offset is the same": (lambda f: f + np.float32(30_000), 1e-5),
    "electrons that are dark are turned over": (lambda f: 65535 - f, 1e-5),
    "also where the numbers are negative": (lambda f: -f.astype(np.float32), 1e-5),
    "dead pixels make no frame inverted": (lambda f: spoilt(f, 0, np.s_[::9, 7:9], np.uint16), 0.5),
}


@pytest.mark.parametrize("case", UNSPOKEN)
@pytest.mark.parametrize("preprocessing", [paper_input, lambda frames: input_of(frames, PER_PX)])
def test_what_the_paper_does_not_speak_of(case, preprocessing):
    change, tolerance = UNSPOKEN[case]
    frame = pattern(background=30.0)
    off = np.abs(preprocessing(change(frame)[None]) - preprocessing(frame[None]))
    assert off.max() <= tolerance or np.quantile(off, 0.98) <= 0.01


def test_a_frame_without_a_number_gives_zeros():
    assert not input_of(np.full((1, 300, 300), np.nan), PER_PX).any()


def test_dark_gaps_and_a_blank_frame_are_not_taken_for_an_inverted_pattern():
    blank = np.random.default_rng(2).normal(100, 3, (516, 516)).astype(np.float32)
    blank[250:262] = blank[:, 250:262] = 0.0
    np.testing.assert_array_equal(numbers(blank), blank)


@pytest.mark.parametrize(
    "shape", [(256, 256), (300, 516), (400, 400), (512, 512), (1024, 1024), (2048, 1800), (4096, 512)]
)
def test_frames_of_any_size_give_the_same_size(shape):
    made = paper_input(pattern(shape, spots=False)[None])
    assert made.shape == (1, INPUT_PX, INPUT_PX)
    assert made.dtype == np.float32
    assert 0.0 <= made.min() <= made.max() <= 1.0


@pytest.mark.parametrize("together", [1, 5000, 10**7])
def test_it_does_not_matter_how_many_pixels_are_averaged_at_a_time(together, monkeypatch):
    frame = pattern((700, 603), seed=8).astype(np.float32)
    expected = robust_centre(frame), input_of(frame[None], PER_PX / 3)
    monkeypatch.setattr(preprocessing, "CACHED", together)
    assert robust_centre(frame) == expected[0]
    np.testing.assert_array_equal(input_of(frame[None], PER_PX / 3), expected[1])


@pytest.mark.parametrize("beam", [60, 900])
@pytest.mark.parametrize("width", [1200, 1201, 1202, 1204])
def test_a_crop_larger_than_the_frame_whose_squares_do_not_come_out_even(width, beam):
    for size in (1000, 1001, 1002):
        frame = pattern((size, size), beam=(beam, beam), spots=False)
        made = input_of(frame[None], 2 * REACH_PER_A / width)[0]
        assert made.shape == (INPUT_PX, INPUT_PX)
        slow, fast = np.unravel_index(int(made.argmax()), made.shape)
        first = min(max(beam - width / 2, size - width), 0)
        assert (fast, slow) == pytest.approx(((beam - first) * 150 / width,) * 2, abs=2)


def test_where_the_frame_is_smaller_than_the_crop_the_rest_is_zero():
    made = paper_input(pattern((256, 256), beam=(128, 128))[None])[0]
    assert not made[:22].any()
    assert made[75, 75] > 0.9
    assert made[30:120, 30:120].mean() > 0.004


@pytest.mark.parametrize("beam", [(108, 258), (408, 258), (258, 408), (110, 400)])
def test_the_crop_stays_inside_the_frame_when_the_beam_is_150_px_off(beam):
    made = input_of(pattern(beam=beam)[None], PER_PX)[0]
    slow, fast = np.unravel_index(int(made.argmax()), made.shape)
    # 400 of 516 pixels: the crop can follow the beam by 58.
    expected = [(c - min(max(c - 200, 0), 116)) * 150 / 400 for c in beam]
    assert (fast, slow) == pytest.approx(expected, abs=2.0)
    assert made[:, 0].any()
    assert made[-1].any()


@pytest.mark.parametrize("size", [258, 1032, pytest.param(2064, marks=pytest.mark.long)])
def test_another_camera_sees_the_same_part_of_reciprocal_space(size):
    scale = size / 516
    timepix = input_of(pattern(background=20.0)[None], PER_PX)[0]
    beam = ((258 + 3) * scale, (258 - 5) * scale)
    frame = pattern((size, size), beam=beam, background=20.0, scale=scale)
    other = input_of(frame[None], PER_PX / scale)[0]
    assert np.corrcoef(timepix.ravel(), other.ravel())[0, 1] > 0.9


def test_the_robust_centre_is_not_drawn_away_by_a_saturated_halo_or_bright_spots():
    frame = pattern(beam=(300.0, 200.0)).astype(np.float32)
    frame[290:330, 60:100] = 9000.0  # a bright reflection, large and far out
    assert np.hypot(*np.subtract(robust_centre(np.minimum(frame, 40.0)), (300, 200))) < 60
    frame[290:330, 60:100] = 2.0
    assert robust_centre(np.minimum(frame, 40.0)) == pytest.approx((300, 200), abs=1.0)


@pytest.mark.parametrize("turn", [lambda f: np.rot90(f), lambda f: f[:, ::-1], lambda f: f.T])
def test_turning_and_mirroring_the_frame_turns_and_mirrors_the_input(turn):
    frame = pattern(background=20.0)
    made = input_of(np.ascontiguousarray(turn(frame))[None], PER_PX)[0]
    assert np.corrcoef(made.ravel(), turn(input_of(frame[None], PER_PX)[0]).ravel())[0, 1] > 0.97


def test_what_is_no_batch_of_frames_is_refused():
    with pytest.raises(ValueError, match="frames of numbers"):
        paper_input(np.zeros((516, 516)))
    with pytest.raises(ValueError, match="1/A per pixel"):
        input_of(pattern()[None], 0.0)
