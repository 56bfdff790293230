"""What was asked of a running series of a DECTRIS detector, and which of its images answer it.

Used by `drivers.dectris.driver`. An exposure that is asked for becomes a `Window`: one image of a triggered series, or
several consecutive ones of a series that paces itself, added up. Images are matched by the detector's own numbers, so a
lost image makes its exposure missing and nothing else wrong.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.dectris.stream import Decompress, Pixels, StreamImage, pixels
from engine.errors import DeviceError
from engine.frame import Frame

SUM_MARKER = (1 << 32) - 1
NARROW_MARKER = (1 << 16) - 1
# The clocks of detector and computer may drift apart by this much; good quartz is ten times better.
DRIFT = 100e-6


@dataclass(slots=True)
class Window:
    """An exposure: `count` images from number `first`, which became frame `number` and began at `start_ns`."""

    number: int
    first: int
    count: int
    start_ns: int
    end_ns: int
    seen: int = 0
    counts: Pixels | None = None

    @property
    def wants_one(self) -> bool:
        """Whether the next image is the last."""
        return self.seen + 1 == self.count


class ImageTimes:
    """When the images of a self-paced series begin, learned from their arrivals. All times in ns of our clock.

    Image k begins at `origin + k * period`. Each arrival says that it began no later than one period before; the
    earliest of them all is believed, and forgotten as fast as two clocks may drift apart. What is left is the shortest
    time that readout and network ever took, about a millisecond, by which all images seem later than they were.
    """

    def __init__(self, period_ns: int) -> None:
        self.period_ns = period_ns
        self.last_ns = 0
        self.arrivals = 0
        self._origin_ns = 0.0

    def arrived(self, number: int, at_ns: int) -> None:
        """Image `number` was received at `at_ns`."""
        origin_ns = float(at_ns - (number + 1) * self.period_ns)
        if self.arrivals:
            origin_ns = min(origin_ns, self._origin_ns + DRIFT * (at_ns - self.last_ns))
        self._origin_ns = origin_ns
        self.last_ns = at_ns
        self.arrivals += 1

    def first_from(self, at_ns: int) -> int:
        """The number of the first image that begins at `at_ns` or later."""
        return max(0, -int((self._origin_ns - at_ns) // self.period_ns))

    def begin_ns(self, number: int) -> int:
        """When image `number` begins."""
        return -int(-(self._origin_ns + number * self.period_ns) // 1)


class Series:
    """One armed series: exposures asked for, frames on their way to the receiver. pace: None where triggers pace it."""

    def __init__(self, identity: int, pace: ImageTimes | None) -> None:
        self.identity = identity
        self.pace = pace
        self.closing = False
        self.fault: DeviceError | None = None
        self.changed = asyncio.Event()
        self.next_number = 0
        self.next_image = 0
        self._windows: deque[Window] = deque()
        self._queue: asyncio.Queue[Frame | DeviceError | None] = asyncio.Queue()

    @property
    def owes(self) -> bool:
        """Whether an exposure was asked for that is not delivered yet."""
        return bool(self._windows)

    def ask(self, first: int, count: int, start_ns: int, end_ns: int) -> Window:
        """Ask for the exposure of `count` images from `first`, later than all asked for before."""
        window = Window(self.next_number, first, count, start_ns, end_ns)
        self.next_number += 1
        self.next_image = first + count
        self._windows.append(window)
        return window

    def owed(self, now_ns: int) -> bool:
        """Whether an exposure is over that has not been delivered."""
        return any(window.end_ns <= now_ns for window in self._windows)

    def window_of(self, number: int) -> Window | None:
        """The exposure that image `number` belongs to. Those of which an image is missing by now are given up."""
        while self._windows:
            window = self._windows[0]
            if number < window.first:
                return None
            if number == window.first + window.seen:
                return window
            self._windows.popleft()  # a hole in its images, or all of them lost
        return None

    def taken(self, window: Window, counts: Pixels, at_ns: int) -> None:
        """One more image of the exposure, received at `at_ns`, made `counts`; delivers it when it was the last."""
        window.counts = counts
        window.seen += 1
        if window.seen == window.count:
            if self._windows and self._windows[0] is window:
                self._windows.popleft()
            early_ns = max(0, window.end_ns - at_ns)  # it cannot have ended later than it came
            begin_ns, end_ns = window.start_ns - early_ns, window.end_ns - early_ns
            # Of a trigger nobody knows when it was heard, but that it was before the image came.
            open_ns = max(0, at_ns - end_ns) if self.pace is None else 0
            self._queue.put_nowait(
                Frame(
                    counts,
                    window.number,
                    begin_ns,
                    end_ns,
                    start_bounds_ns=(begin_ns, begin_ns + open_ns),
                    end_bounds_ns=(end_ns, end_ns + open_ns),
                )
            )

    def fail(self, error: DeviceError) -> None:
        """Nothing can be had of this series any more; the first reason counts."""
        if self.fault is None and not self.closing:
            self.fault = error
            self._queue.put_nowait(error)
        self.changed.set()

    def end(self) -> None:
        """The series is over."""
        self.closing = True
        self._queue.put_nowait(None)

    async def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        while True:
            item = await self._queue.get()
            if isinstance(item, Frame):
                yield item
                continue
            self._queue.put_nowait(item)  # for whoever asks again
            if item is None:
                return
            raise DeviceError(str(item)) from item


def added(before: Pixels | None, image: StreamImage, mask: NDArray[np.bool_] | None, decompress: Decompress) -> Pixels:
    """The counts of a triggered image: masked pixels 0, overloaded ones the largest number of the type."""
    counts = pixels(image, decompress)
    if mask is not None:
        counts[mask] = 0
    return counts


def summed(before: Pixels | None, image: StreamImage, mask: NDArray[np.bool_] | None, decompress: Decompress) -> Pixels:
    """The sum of images so far, as uint32: masked pixels 0, those overloaded in any of the images 2^32 - 1.

    Counting pixels add no noise, so a sum of short images is as good as a long one.
    """
    counts = pixels(image, decompress)
    over = counts == image.marker
    if mask is not None:
        counts[mask] = 0
        over &= ~mask
    total = counts.astype(np.uint32)
    if before is not None:
        over |= before == SUM_MARKER
        total += before
    total[over] = SUM_MARKER
    return total


def narrowed(counts: Pixels) -> Pixels:
    """Counts as uint16: what is more than 65534 becomes 65535, which reads as overloaded."""
    return np.minimum(counts.astype(np.uint32), NARROW_MARKER).astype(np.uint16)
