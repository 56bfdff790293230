"""Exposures cut out of a running series: when they begin, what they hold, and what a lost or strange part does."""

import queue
import threading
from collections.abc import Callable

import numpy as np
import pytest

from drivers.selfpaced.exposure import DELIVERY_S
from drivers.selfpaced.series import Part, PartTiming, SelfPaced
from engine.clock import NS_PER_MS, RealClock, ns
from engine.errors import DeviceError, DeviceLost
from tests.engine.virtually import really

pytestmark = pytest.mark.realtime

PERIOD_S = 0.01


class PacedReceiver:
    """Parts at their time, each later by what `delay_s` says of its number; then, or instead, what is put in."""

    def __init__(self, clock: RealClock, delay_s: Callable[[int], float], numbers: Callable[[int], int]) -> None:
        self.begin_ns = clock.now_ns()
        self.instead: queue.SimpleQueue[Exception] = queue.SimpleQueue()
        self.closed = threading.Event()
        self._clock = clock
        self._delay_s = delay_s
        self._numbers = numbers
        self._count = 0

    def receive(self) -> Part:
        number = self._count
        self._count += 1
        due_ns = self.begin_ns + ns((number + 1) * PERIOD_S + self._delay_s(number))
        self.closed.wait(max(0, due_ns - self._clock.now_ns()) / 1e9)
        if self.closed.is_set():
            raise DeviceLost("it was closed")
        if not self.instead.empty():
            raise self.instead.get()
        return Part(self._numbers(number), lambda: np.full((2, 3), number, np.uint16))

    def close(self) -> None:
        self.closed.set()


class PacedCamera:
    name = "paced"
    shape = (2, 3)
    cadence = PartTiming(PERIOD_S, PERIOD_S, 65_535)

    def __init__(
        self,
        clock: RealClock,
        delay_s: Callable[[int], float] = lambda number: 0.0,
        numbers: Callable[[int], int] = lambda number: number,
    ) -> None:
        self.receivers: list[PacedReceiver] = []
        self.ended = 0
        self._make = lambda: PacedReceiver(clock, delay_s, numbers)

    async def begin(self) -> PacedReceiver:
        self.receivers.append(self._make())
        return self.receivers[-1]

    async def end(self) -> None:
        self.ended += 1


def detector_of(clock: RealClock, camera: PacedCamera) -> SelfPaced:
    return SelfPaced(clock, camera, (PERIOD_S, 10.0), 2.0, wide_cross=False)


@really
async def test_a_part_that_came_late_does_not_move_what_follows(clock: RealClock) -> None:
    camera = PacedCamera(clock, lambda number: 0.15 if number in (2, 17) else 0.0)
    detector = detector_of(clock, camera)
    await detector.arm((0.03, 0.01))
    frames = detector.frames()
    for _ in range(5):
        await detector.start(0.03)
        frame = await anext(frames)
        first = int(frame.counts[0, 0]) // 3 - 1  # three numbers that follow one another
        off_ns = frame.start_ns - camera.receivers[0].begin_ns - first * ns(PERIOD_S)
        assert -NS_PER_MS < off_ns < 100 * NS_PER_MS
    await detector.disarm()


@really
async def test_an_exposure_takes_the_first_part_that_begins_after_it_was_asked_for(clock: RealClock) -> None:
    camera = PacedCamera(clock)
    detector = detector_of(clock, camera)
    await detector.arm((0.01, 0.01))
    frames = detector.frames()
    for _ in range(10):
        asked_ns = clock.now_ns()
        begins_ns = await detector.start(0.01)
        answered_ns = clock.now_ns()
        frame = await anext(frames)
        truly_ns = camera.receivers[0].begin_ns + int(frame.counts[0, 0]) * ns(PERIOD_S)
        assert asked_ns <= begins_ns < answered_ns + ns(1.001 * PERIOD_S)
        assert truly_ns >= asked_ns - 5 * NS_PER_MS  # what was guessed of its beginning may be late, by the travel time
        assert frame.end_ns <= clock.now_ns()
    await detector.disarm()


@really
async def test_parts_that_come_late_now_and_then_do_not_move_the_instants(clock: RealClock) -> None:
    camera = PacedCamera(clock, lambda number: 0.006 * (number % 2))
    detector = detector_of(clock, camera)
    await detector.arm((0.01, 0.01))
    frames = detector.frames()
    places = []
    for turn in range(12):
        await clock.sleep_s(0.004 * (turn % 5))  # now after an early part, now after a late one
        places.append((await detector.start(0.01) - camera.receivers[0].begin_ns) % ns(PERIOD_S))
        await anext(frames)
    assert max(places[2:]) - min(places[2:]) < 4 * NS_PER_MS  # the true one is 0
    await detector.disarm()


@really
async def test_a_frame_has_never_ended_after_it_arrived(clock: RealClock) -> None:
    camera = PacedCamera(clock, lambda number: 0.0 if number > 40 else 0.009)
    detector = detector_of(clock, camera)
    await detector.arm((0.02, 0.01))
    frames = detector.frames()
    for _ in range(15):
        await detector.start(0.02)
        frame = await anext(frames)
        assert frame.end_ns <= clock.now_ns()
        assert frame.end_ns - frame.start_ns == ns(0.02)
    await detector.disarm()


@really
async def test_one_lost_part_in_the_middle_costs_its_frame_and_no_other(clock: RealClock) -> None:
    camera = PacedCamera(clock, numbers=lambda number: number if number < 60 else number + 1)
    detector = detector_of(clock, camera)
    await detector.arm((1.0, 0.01))
    await detector.start(1.0)
    with pytest.raises(DeviceError, match=r"paced: 1 of the parts \d+ to \d+ .* frame 0 was exposed and not delivered"):
        await anext(detector.frames())
    await detector.start(0.02)
    assert (await anext(detector.frames())).number == 1
    await detector.disarm()


@really
async def test_exposures_whose_data_is_late_wait_for_it_in_order(clock: RealClock) -> None:
    camera = PacedCamera(clock, lambda number: 0.0 if number < 16 else 0.2)
    detector = detector_of(clock, camera)
    await detector.arm((0.02, 0.01))
    frames = detector.frames()
    for _ in range(3):
        await clock.sleep_until(await detector.start(0.02) + ns(detector.facts.cycle_s(0.02)))
    assert [(await anext(frames)).number for _ in range(3)] == [0, 1, 2]
    await detector.disarm()


@really
async def test_a_series_that_somebody_else_started_anew_is_over(clock: RealClock) -> None:
    camera = PacedCamera(clock, numbers=lambda number: number if number < 30 else number - 30)
    detector = detector_of(clock, camera)
    await detector.arm((0.02, 0.01))
    await detector.start(1.0)
    with pytest.raises(DeviceError, match="somebody else started another one"):
        await anext(detector.frames())
    await detector.disarm()


@really
async def test_a_camera_that_is_slower_than_it_was_set_is_found_out(clock: RealClock) -> None:
    camera = PacedCamera(clock, lambda number: 0.0005 * number)
    detector = detector_of(clock, camera)
    await detector.arm((10.0, 0.01))
    await detector.start(10.0)
    with pytest.raises(DeviceError, match=r"a frame every 10\.[2-9]\d\d ms or more, 10 ms were set"):
        await anext(detector.frames())
    await detector.disarm()


@really
async def test_an_error_of_the_receiver_never_leaves_a_waiter_behind(clock: RealClock) -> None:
    camera = PacedCamera(clock)
    detector = detector_of(clock, camera)
    await detector.arm((0.02, 0.01))
    frames = detector.frames()
    await detector.start(0.02)
    camera.receivers[0].instead.put(ValueError("seven bytes are no picture"))
    with pytest.raises(DeviceError, match="paced: seven bytes are no picture; the series is over"):
        await anext(frames)
    assert [frame async for frame in detector.frames()] == []  # whoever asks again is told that it ended
    await detector.disarm()


@really
async def test_whatever_happened_the_camera_is_told_to_stop(clock: RealClock) -> None:
    camera = PacedCamera(clock)
    detector = detector_of(clock, camera)
    await detector.disarm()
    assert camera.ended == 0
    for _ in range(2):
        await detector.arm((0.02, 0.01))
    await detector.disarm()
    assert camera.ended == 2
    assert all(receiver.closed.is_set() for receiver in camera.receivers)


@pytest.mark.parametrize(("exposure_s", "parts"), [(0.01, 1), (0.0100001, 2), (0.05, 5), (0.3, 30), (0.5, 50)])
def test_an_exposure_takes_as_many_parts_as_it_needs_and_its_cycle_is_whole(exposure_s: float, parts: int) -> None:
    clock = RealClock()
    detector = detector_of(clock, PacedCamera(clock))
    # One for the wait until the next part begins, one for the delivery.
    assert detector.facts.cycle_s(exposure_s) == pytest.approx((parts + 2) * PERIOD_S)


@really
async def test_an_exposure_begins_with_the_part_of_which_it_is_told_when_it_begins(clock: RealClock) -> None:
    detector = detector_of(clock, PacedCamera(clock))
    with pytest.raises(DeviceError, match="not armed; nobody knows when its parts begin"):
        await detector.part_begin_ns(clock.now_ns())
    await detector.arm((0.02,))
    frames = aiter(detector.frames())
    assert detector.facts.paced is not None
    lead_ns = ns(detector.facts.paced.lead_s)
    assert lead_ns == ns(PERIOD_S / 2)
    first_ns = await detector.part_begin_ns(clock.now_ns() + 5 * NS_PER_MS)
    for slot in range(5):
        begin_ns = first_ns + slot * ns(0.05)
        told_ns = await detector.part_begin_ns(begin_ns - lead_ns)
        later = round((told_ns - begin_ns) / ns(PERIOD_S))
        assert abs(told_ns - begin_ns - later * ns(PERIOD_S)) < lead_ns
        assert later == 0 or clock.now_ns() > begin_ns - lead_ns  # on a slow machine that part has been
        await clock.sleep_until(begin_ns - lead_ns, precise=True)
        asked_ns = clock.now_ns()
        opened_ns = await detector.start(0.02)
        frame = await anext(frames)
        assert asked_ns <= opened_ns <= clock.now_ns()
        assert frame.start_ns <= opened_ns  # what arrives may show that it began earlier
    await detector.disarm()


@really
async def test_a_frame_says_between_which_instants_it_began_and_ended(clock: RealClock) -> None:
    """It began no later than its parts tell, and earlier by no more than data take to travel."""
    detector = detector_of(clock, PacedCamera(clock, lambda number: 0.003))
    await detector.arm((0.02,))
    await detector.start(0.02)
    frame = await anext(aiter(detector.frames()))
    for told_ns, (earliest_ns, latest_ns) in (
        (frame.start_ns, frame.start_bounds_ns),
        (frame.end_ns, frame.end_bounds_ns),
    ):
        assert (earliest_ns, latest_ns) == (told_ns - ns(DELIVERY_S), told_ns)
    await detector.disarm()
