"""A camera that paces itself: exposures are cut out of a series of short frames that never stops while it is armed.

Called by `drivers.merlin.camera` and `drivers.serval.camera`, which start a series and receive its frames; everything
between that and the contract of `drivers.contract.Detector` is here. The short frames ("parts") follow one another at
the camera's own cadence. An exposure is the sum of as many consecutive parts as it needs, beginning with the first one
that begins after it was asked for, so no setting changes between frames and snapshots: on a counting detector the sum
of parts is the frame, and changing the exposure instead costs 300 ms (instamatic issue 84).

When parts begin is not told by such cameras. It is worked out: part k begins at `origin + k * period`, and none can
arrive before it has ended, so the earliest of the last 200 arrivals gives the origin. An exposure's instants are
therefore late by the shortest time a frame travels (about 1 ms), and never early. A camera that is slower than it was
told to be is a fault.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.facts import DetectorFacts, PacedFacts
from drivers.selfpaced.exposure import DELIVERY_S, LARGEST_COUNT, Exposure
from drivers.selfpaced.framequeue import FrameQueue, frames_of
from engine.clock import NS_PER_MS, NS_PER_S, Clock, ns
from engine.errors import DeviceBusy, DeviceError
from engine.frame import Counts, Frame

SETTLING_PARTS = 16
ARRIVALS_KEPT = 200
# A camera whose parts take longer than was set, by more than this share, makes every instant wrong.
SLOWER_SHARE = 0.002
UNTAKEN_FRAMES = 64
LATE_DATA_S = 1.0
THREAD_ENDS_S = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One short frame of the running series. number: the camera's own, from 0. counts: decodes it; its owner is free
    to reuse the bytes after the next one was received.
    """

    number: int
    counts: Callable[[], Counts]


@dataclass(frozen=True, slots=True)
class PartTiming:
    """How parts follow one another: exposed for `live_s`, one every `period_s`. top: largest count of a part."""

    live_s: float
    period_s: float
    top: int


class Receiver(Protocol):
    """The receiving end of one series, used by one thread."""

    def receive(self) -> Part:
        """Wait for the next part. Raises DeviceError: it is lost, silent, or sends what is no frame."""
        ...

    def close(self) -> None:
        """End the series' connection; `receive` then returns or raises soon. Called from any thread, also twice."""
        ...


class Camera(Protocol):
    """What a vendor's driver has to know."""

    name: str
    shape: tuple[int, int]
    cadence: PartTiming

    async def begin(self) -> Receiver:
        """Start a series of parts. Raises DeviceError. Cancel: `end` is called before anything else."""
        ...

    async def end(self) -> None:
        """Stop whatever series there may be. Harmless when there is none."""
        ...


def paced_facts(cadence: PartTiming) -> PacedFacts:
    """Until the next exposure pass the wait for the next part and the delivery, in whole parts: a grid of such periods
    keeps its place among the parts, so one frame follows the other without a beat.
    """
    spare = 1 + math.ceil(DELIVERY_S / cadence.period_s - 1e-9)
    return PacedFacts(cadence.live_s, cadence.period_s, spare, cadence.top, tells_begin=True)


def facts_of_sums(
    shape: tuple[int, int] | None, cadence: PartTiming, exposure_limits_s: tuple[float, float], wide_cross: bool
) -> DetectorFacts:
    """The facts of a camera whose frames are sums of parts (`Exposure`). shape: None before it was asked."""
    return DetectorFacts(
        shape,
        "<u2",
        LARGEST_COUNT,
        exposure_limits_s,
        wide_cross=wide_cross,
        dark_counts=0.0,
        paced=paced_facts(cadence),
    )


class _Series:
    """One running series: a thread that takes its parts as they come, and the exposures waiting for theirs."""

    def __init__(self, clock: Clock, camera: Camera, receiver: Receiver, *, every_part: bool) -> None:
        self.items: FrameQueue = asyncio.Queue()
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fault: DeviceError | None = None
        self._clock = clock
        self._name = camera.name
        self._receiver = receiver
        self._shape = camera.shape
        self._live_ns = ns(camera.cadence.live_s)
        self._period_ns = ns(camera.cadence.period_s)
        self._top = camera.cadence.top
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._wanted: deque[Exposure] = deque()
        self._arrivals: deque[int] = deque(maxlen=ARRIVALS_KEPT)
        self._earliest_ns: int | None = None  # of the first that were kept
        self._last = -1
        self._first_free = 0
        self._busy_until_ns = 0
        self._exposures = 0
        self._closed = False
        self.parts: FrameQueue | None = asyncio.Queue() if every_part else None
        self.room = threading.Semaphore(UNTAKEN_FRAMES)
        self._thread = threading.Thread(target=self._run, name=f"{camera.name} series", daemon=True)
        self._thread.start()

    def expose(self, parts: int) -> int:
        """Take the next `parts` parts that begin from now on; return when the first begins."""
        with self._lock:
            if self.fault is not None:
                raise type(self.fault)(f"{self.fault} No exposure was made.")
            now_ns = self._clock.now_ns()
            if now_ns < self._busy_until_ns:
                raise DeviceBusy(f"{self._name}: an exposure is under way; no new one was begun. Wait for its frame.")
            first = max(self._first_from(now_ns), self._first_free)
            begin_ns = self._begin_ns(first)
            end_ns = begin_ns + (parts - 1) * self._period_ns + self._live_ns
            self._wanted.append(Exposure(self._exposures, first, parts, begin_ns, end_ns, self._top, self._shape))
            self._exposures += 1
            self._first_free = first + parts
            self._busy_until_ns = end_ns
            return begin_ns

    def part_begin_ns(self, at_ns: int) -> int:
        """When the first part begins that begins at an instant or later."""
        with self._lock:
            if self.fault is not None:
                raise type(self.fault)(f"{self.fault} Nothing was exposed.")
            return self._begin_ns(self._first_from(at_ns))

    def _begin_ns(self, part: int) -> int:
        return min(self._arrivals) - self._live_ns + part * self._period_ns

    def _first_from(self, at_ns: int) -> int:
        """The number of the first part that begins at an instant or later, and has not come yet."""
        return max(-((self._begin_ns(0) - at_ns) // self._period_ns), self._last + 1)

    def has_data_under_way(self) -> bool:
        """Whether an exposure is over whose data has not come yet."""
        with self._lock:
            return self.fault is None and bool(self._wanted) and self._wanted[0].end_ns <= self._clock.now_ns()

    def close(self) -> None:
        """Let the thread end; no part is taken any more."""
        self._closed = True
        self.room.release()
        self._receiver.close()

    async def closed(self) -> None:
        """Wait until the thread has ended and what it handed over has arrived; then the frames end."""
        await asyncio.to_thread(self._thread.join, THREAD_ENDS_S)
        self.items.put_nowait(None)
        if self.parts is not None:
            self.parts.put_nowait(None)

    def _run(self) -> None:
        try:
            while not self._closed:
                part = self._receiver.receive()
                self._take(part, self._clock.now_ns())
        except DeviceError as error:
            self._fail(error)
        except Exception as error:  # whatever it was, nobody may be left waiting for this thread
            self._fail(DeviceError(f"{self._name}: {error}; the series is over, its frames before are kept."))

    def _take(self, part: Part, arrived_ns: int) -> None:
        with self._lock:
            if part.number <= self._last:
                raise DeviceError(
                    f"{self._name}: frame {part.number} of the series came after {self._last}, so somebody else "
                    "started another one; the series is over. Arm it again."
                )
            self._last = part.number
            self._arrivals.append(arrived_ns - part.number * self._period_ns)
            self._check_cadence()
            while self._wanted and self._wanted[0].last < part.number:
                self._post(self.items, self._incomplete(self._wanted.popleft()))
            wanted = self._wanted[0] if self._wanted and self._wanted[0].first <= part.number else None
        if wanted is not None:
            wanted.add(part.counts())
            if part.number == wanted.last:
                with self._lock:
                    self._wanted.popleft()
                    if not self._wanted:  # whatever the guess of its end was, it is over
                        self._busy_until_ns = min(self._busy_until_ns, arrived_ns)
                self._post(self.items, self._incomplete(wanted) if wanted.missing else wanted.frame(arrived_ns))
        if self.parts is not None and self.room.acquire() and not self._closed:
            end_ns = min(self._arrivals) + part.number * self._period_ns
            self._post(self.parts, Frame(part.counts(), part.number, end_ns - self._live_ns, end_ns))
        if len(self._arrivals) == SETTLING_PARTS:
            self._settle()

    def _check_cadence(self) -> None:
        """Every so many parts: whether even the earliest come later and later. Raises DeviceError."""
        if len(self._arrivals) < ARRIVALS_KEPT or self._last % ARRIVALS_KEPT:
            return
        earliest_ns = min(self._arrivals)
        if self._earliest_ns is None:
            self._earliest_ns = earliest_ns
        later_ns = earliest_ns - self._earliest_ns
        if later_ns > max(self._period_ns, SLOWER_SHARE * self._last * self._period_ns):
            true_ms = (self._period_ns + later_ns / self._last) / NS_PER_MS
            raise DeviceError(
                f"{self._name}: it sends a frame every {true_ms:.3f} ms or more, {self._period_ns / NS_PER_MS:g} ms "
                "were set, so nobody would know when they were exposed; the series is over, its frames before are "
                "kept. Choose a longer subframe_s."
            )

    def _incomplete(self, wanted: Exposure) -> DeviceError:
        return DeviceError(
            f"{self._name}: {wanted.missing} of the parts {wanted.first} to {wanted.last} of the series were lost on "
            f"the way; frame {wanted.number} was exposed and not delivered, the series goes on. Look at the network "
            "and at what else this computer does."
        )

    def _fail(self, error: DeviceError) -> None:
        with self._lock:
            if self._closed:
                return
            self.fault = error
        for queue in (self.items, self.parts):
            if queue is not None:
                self._post(queue, error)
                self._post(queue, None)
        self._settle()

    def _settle(self) -> None:
        def settle() -> None:
            if not self.settled.done():
                self.settled.set_result(None)

        self._in_loop(settle)

    def _post(self, queue: FrameQueue, item: Frame | DeviceError | None) -> None:
        self._in_loop(lambda: queue.put_nowait(item))

    def _in_loop(self, call: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            self._closed = True


class SelfPaced:
    """Implements `drivers.contract.PacedDetector` on a camera that paces itself."""

    flatfield = None

    def __init__(
        self,
        clock: Clock,
        camera: Camera,
        exposure_limits_s: tuple[float, float],
        timeout_s: float,
        *,
        wide_cross: bool,
    ) -> None:
        self._wide_cross = wide_cross
        self._exposure_limits_s = exposure_limits_s
        self._clock = clock
        self._camera = camera
        self._timeout_s = timeout_s
        self._series: _Series | None = None
        self._ending: _Series | None = None  # to be waited for
        self._unknown = False  # a call was cut off or failed: the camera may run a series

    @property
    def facts(self) -> DetectorFacts:
        """See `Detector.facts`; shape and parts are known after connecting."""
        return facts_of_sums(self._camera.shape, self._camera.cadence, self._exposure_limits_s, self._wide_cross)

    async def arm(self, exposures_s: Sequence[float], *, every_part: bool = False) -> None:
        """See `Detector.arm`: starts the series and returns when its cadence is known.

        every_part: `every_part` will be asked for them, and must be, for the camera is held up otherwise.
        """
        await self.disarm()
        self._check(exposures_s, "not armed")
        self._unknown = True
        receiver = await self._camera.begin()
        series = self._ending = _Series(self._clock, self._camera, receiver, every_part=every_part)
        try:
            limit_ns = self._clock.now_ns() + ns(self._timeout_s + SETTLING_PARTS * self._camera.cadence.period_s)
            async with self._clock.timeout_at(limit_ns):
                await series.settled
            if series.fault is not None:
                raise type(series.fault)(f"{series.fault} The camera is not armed.")
        except TimeoutError as error:
            series.close()
            raise DeviceError(
                f"{self._camera.name}: no frames within {self._timeout_s:g} s of the start; not armed. Check its "
                "trigger settings in its own software."
            ) from error
        except BaseException:
            series.close()
            raise
        self._series, self._ending, self._unknown = series, None, False

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`; the instant returned lies up to one part ahead."""
        if self._series is None:
            raise DeviceError(f"{self._camera.name}: not armed; no exposure was made. Arm it first.")
        self._check((exposure_s,), "nothing was exposed")
        return self._series.expose(paced_facts(self._camera.cadence).parts(exposure_s))

    async def part_begin_ns(self, at_ns: int) -> int:
        """See `PacedDetector.part_begin_ns`."""
        if self._series is None:
            raise DeviceError(f"{self._camera.name}: not armed; nobody knows when its parts begin. Arm it first.")
        return self._series.part_begin_ns(at_ns)

    def _check(self, exposures_s: Sequence[float], state: str) -> None:
        if why := self.facts.cannot_expose(exposures_s):
            raise DeviceError(f"{self._camera.name}: {why}; {state}. Choose another exposure.")

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`. A frame of which parts were lost raises DeviceError in its place."""
        return frames_of(self._series.items if self._series is not None else None)

    def every_part(self) -> AsyncIterator[Frame]:
        """Every part of the running series from its first on, numbered as the camera does; ends after `disarm`.

        For measuring a camera's cadence and for films: `arm` with `every_part=True` before.
        """
        if self._series is None or self._series.parts is None:
            raise DeviceError(f"{self._camera.name}: not armed for a film; there is no series. Arm it first.")
        return frames_of(self._series.parts, self._series.room.release)

    async def disarm(self) -> None:
        """See `Detector.disarm`. Waits for data of exposures that are over, and at most 1 s."""
        if self._series is None and not self._unknown:
            return
        self._unknown = True
        series, self._series = self._series, None
        self._ending = series or self._ending
        try:
            give_up_ns = self._clock.now_ns() + ns(LATE_DATA_S)
            while series is not None and series.has_data_under_way() and self._clock.now_ns() < give_up_ns:
                await self._clock.sleep_s(5 * NS_PER_MS / NS_PER_S)
        finally:
            if series is not None:
                series.close()
        if self._ending is not None:
            await self._ending.closed()
            self._ending = None
        await self._camera.end()
        self._unknown = False
