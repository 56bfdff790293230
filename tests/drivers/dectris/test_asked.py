"""Images of a running series are given to the exposures they belong to, and nothing is made up for lost ones."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.dectris.asked import SUM_MARKER, ImageTimes, Series, added, narrowed, summed
from drivers.dectris.stream import StreamImage
from engine.clock import NS_PER_MS
from engine.errors import DeviceError
from engine.frame import Frame

PERIOD_NS = 10 * NS_PER_MS


def plain(counts: list[int], dtype: str = "uint16") -> StreamImage:
    return StreamImage(1, 0, (1, len(counts)), dtype, "<", np.array(counts, dtype).tobytes())


def received(series: Series) -> list[tuple[int, int]]:
    """Number and sum of counts of the frames delivered so far."""

    async def take() -> list[Frame]:
        series.end()
        return [frame async for frame in series.frames()]

    return [(frame.number, int(frame.counts.sum())) for frame in asyncio.run(take())]


def feed(series: Series, numbers: list[int]) -> None:
    """Images of one count each; an image of `number` is received at its end."""
    for number in numbers:
        window = series.window_of(number)
        if window is not None:
            before = 0 if window.counts is None else window.counts
            series.taken(window, np.array([before + 1], np.uint32), (number + 1) * PERIOD_NS)


def asked(*windows: tuple[int, int]) -> Series:
    series = Series(1, ImageTimes(PERIOD_NS))
    for first, count in windows:
        series.ask(first, count, first * PERIOD_NS, (first + count) * PERIOD_NS)
    return series


@pytest.mark.parametrize(
    ("windows", "images", "frames"),
    [
        ([(2, 3)], [0, 1, 2, 3, 4, 5], [(0, 3)]),
        ([(0, 2), (2, 2)], [0, 1, 2, 3], [(0, 2), (1, 2)]),
        ([(0, 1), (3, 2)], [0, 1, 2, 3, 4], [(0, 1), (1, 2)]),
        ([(0, 2), (2, 2)], [0, 2, 3], [(1, 2)]),  # image 1 was lost, so frame 0 is missing
        ([(0, 2), (2, 2)], [1, 2, 3], [(1, 2)]),
        ([(0, 3), (3, 1)], [0, 2, 3], [(1, 1)]),  # a hole
        ([(0, 2), (2, 2), (4, 1)], [0, 1, 4], [(0, 2), (2, 1)]),
        ([(0, 1)], [1, 2], []),
        ([], [0, 1], []),
    ],
)
def test_an_exposure_is_the_sum_of_its_images_or_missing(
    windows: list[tuple[int, int]], images: list[int], frames: list[tuple[int, int]]
) -> None:
    series = asked(*windows)
    feed(series, images)
    assert received(series) == frames


@pytest.mark.parametrize("late_ns", [0, 3 * NS_PER_MS, 400 * NS_PER_MS])
@pytest.mark.parametrize("paced", [False, True])
def test_of_a_trigger_it_is_open_when_it_was_heard_until_the_image_comes(late_ns: int, paced: bool) -> None:
    series = Series(1, ImageTimes(PERIOD_NS) if paced else None)
    window = series.ask(0, 1, 7, 7 + PERIOD_NS)
    series.taken(window, np.array([1], np.uint32), 7 + PERIOD_NS + late_ns)

    async def take() -> Frame:
        return await anext(series.frames())

    frame = asyncio.run(take())
    open_ns = 0 if paced else late_ns
    assert (frame.start_ns, frame.end_ns) == (7, 7 + PERIOD_NS)
    assert frame.start_bounds_ns == (7, 7 + open_ns)
    assert frame.end_bounds_ns == (7 + PERIOD_NS, 7 + PERIOD_NS + open_ns)


def test_a_fault_comes_after_the_frames_before_it_and_stays() -> None:
    series = asked((0, 1))
    feed(series, [0])
    series.fail(DeviceError("it broke"))
    series.fail(DeviceError("and again"))

    async def take() -> None:
        frames = series.frames()
        assert (await anext(frames)).number == 0
        for _ in range(2):
            with pytest.raises(DeviceError, match="it broke"):
                await anext(series.frames())

    asyncio.run(take())


def test_masked_pixels_are_zero_and_overloaded_ones_the_largest_number() -> None:
    mask = np.array([[True, False, False]])
    image = plain([0xFFFF, 0xFFFF, 3])
    assert added(None, image, mask, bytes).tolist() == [[0, 0xFFFF, 3]]
    assert summed(None, image, mask, bytes).tolist() == [[0, SUM_MARKER, 3]]


def test_a_pixel_overloaded_in_one_image_is_overloaded_in_the_sum() -> None:
    total = None
    for counts in ([1, 1, 0xFFFE], [0xFFFF, 2, 0xFFFE], [1, 3, 0xFFFE]):
        total = summed(total, plain(counts), None, bytes)
    assert total is not None
    assert total.dtype == np.uint32
    assert total.tolist() == [[SUM_MARKER, 6, 3 * 0xFFFE]]


@pytest.mark.parametrize(
    ("counts", "dtype", "expected"),
    [
        ([0, 65534, 65535, 70000, SUM_MARKER], "uint32", [0, 65534, 65535, 65535, 65535]),
        ([0, 65535], "uint16", [0, 65535]),
        ([0, 255], "uint8", [0, 255]),
    ],
)
def test_what_does_not_fit_into_16_bits_reads_as_overloaded(counts: list[int], dtype: str, expected: list[int]) -> None:
    narrow = narrowed(np.array(counts, dtype))
    assert narrow.dtype == np.uint16
    assert narrow.tolist() == expected


# -- when images begin ------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 300 * NS_PER_MS), min_size=2, max_size=200),
    st.integers(0, 100_000 * NS_PER_MS),
)
def test_an_image_never_seems_earlier_than_it_was_nor_later_than_the_best_delay(
    delays_ns: list[int], origin_ns: int
) -> None:
    pace = ImageTimes(PERIOD_NS)
    for number, delay_ns in enumerate(delays_ns):
        pace.arrived(number, origin_ns + (number + 1) * PERIOD_NS + delay_ns)
    late_ns = pace.begin_ns(1000) - (origin_ns + 1000 * PERIOD_NS)
    # While nothing newer is as fast, what is believed moves by the drift that two clocks may have.
    lasted_ns = len(delays_ns) * PERIOD_NS + max(delays_ns)
    assert min(delays_ns) <= late_ns <= min(delays_ns) + 2e-4 * lasted_ns + 1


@given(st.integers(-50 * NS_PER_MS, 5000 * NS_PER_MS))
def test_the_first_image_from_an_instant_begins_then_or_at_most_a_period_later(after_ns: int) -> None:
    pace = ImageTimes(PERIOD_NS)
    pace.arrived(3, 7 * NS_PER_MS + 4 * PERIOD_NS)
    at_ns = 7 * NS_PER_MS + after_ns
    first = pace.first_from(at_ns)
    assert pace.begin_ns(first) >= at_ns
    assert pace.begin_ns(first) - at_ns < PERIOD_NS or first == 0


@pytest.mark.parametrize("drift", [-80e-6, 80e-6])
def test_a_detector_whose_clock_drifts_is_followed(drift: float) -> None:
    pace = ImageTimes(PERIOD_NS)
    true_ns = PERIOD_NS * (1 + drift)
    for number in range(100_000):  # 17 minutes
        pace.arrived(number, round((number + 1) * true_ns) + NS_PER_MS)
    assert abs(pace.begin_ns(100_000) - 100_000 * true_ns - NS_PER_MS) < NS_PER_MS
