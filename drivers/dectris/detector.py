"""A DECTRIS detector as `drivers.contract.Detector`: HTTP for control, ZeroMQ for images.

Used by `drivers.dectris.driver`, which describes the three kinds of series. Commands go through `simplonrest`, messages
are read by `simplonstream` as they come from `simplonsocket`, `simplonseries` keeps what was asked for.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.dectris.asked import NARROW_MARKER, SUM_MARKER, ImageTimes, Series
from drivers.dectris.rest import Simplon
from drivers.dectris.settings import COUNT_TIME_S, MODES, Settings
from drivers.dectris.socket import StreamSocket
from drivers.dectris.stream import Message, SeriesBegin, SeriesEnd
from drivers.facts import DetectorFacts, PacedFacts
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError
from engine.frame import Frame

INITIALIZE_LIMIT_S = 300.0  # of a large detector, minutes
ARM_LIMIT_S = 60.0
REPLY_LIMIT_S = 10.0
LATE_REPLY_S = 1.0
LATE_FRAMES_S = 1.0
SILENCE_S = 2.0
LEARN_S = 0.2
MOST_TRIGGERS = 1_000_000
# In the order in which they are set and put back: a frame_time is only kept once the count_time fits into it.
OWN = (
    "trigger_mode",
    "nimages",
    "ntrigger",
    "count_time",
    "frame_time",
    "flatfield_correction_applied",
    "countrate_correction_applied",
)
STREAM = {"format": "legacy", "mode": "enabled"}


class Dectris:
    """Implements `drivers.contract.Detector`.

    `start` hands a trigger to the network (inte) or picks images of the running series, which touches no network at
    all; both take under 1 ms. Counts are uint16; with depth_bits = 32 as the detector sends them, or sums in uint32.
    """

    flatfield: NDArray[np.float32] | None = None  # the detector applies its own

    def __init__(self, clock: Clock, simplon: Simplon, settings: Settings) -> None:
        self._shape = (0, 0)
        self._saturation = 0
        self.pixel_size_mm = 0.0
        self._clock = clock
        self._simplon = simplon
        self._settings = settings
        self._paced = settings.paced
        self._count_time_s = COUNT_TIME_S
        self._mask: NDArray[np.bool_] | None = None
        self._found: dict[tuple[str, str], Any] = {}
        self._largest: dict[str, Any] = {}
        self._series: Series | None = None
        self._maybe_armed = False
        self._exposing_until_ns = 0
        self._trigger: asyncio.Task[DeviceError | None] | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._stream = StreamSocket(clock, simplon.name, settings.host, settings.stream_port)
        self._announced = -1  # the series that the stream has announced last
        self._doubtful = False  # whether the connection of the stream should be made anew

    # -- connecting ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read what the detector is and how it was found, switch its stream on and listen."""
        await self._simplon.open()
        await self._awake()
        for key in OWN:
            await self._remember("detector", key, needed=not key.endswith("_applied"))
        await self._read_facts()
        for key in STREAM:
            await self._remember("stream", key, needed=False)
        await self._configure(STREAM, "stream")
        await self._listen()

    async def _remember(self, module: str, key: str, *, needed: bool) -> None:
        """Note how a value was found, and its largest one."""
        about = await self._simplon.find(module, key)
        if about is not None and "value" in about:
            self._found[module, key] = about["value"]
            self._largest[key] = about.get("max")
        elif needed:
            raise DeviceError(
                f"{self._simplon.name}: has no {module} {key}, without which it cannot be driven; nothing was changed. "
                "Check that host and port are those of a DECTRIS detector."
            )

    def _at_most(self, key: str, number: int) -> int:
        """A number, no larger than the detector takes."""
        largest = self._largest.get(key)
        return min(number, largest) if isinstance(largest, int) and largest > 0 else number

    async def _awake(self) -> None:
        state = await self._simplon.value("detector", "status", "state")
        if state == "na" and self._settings.initialize:
            await self._simplon.command("initialize", INITIALIZE_LIMIT_S)
            state = await self._simplon.value("detector", "status", "state")
        if state in ("na", "error"):
            raise DeviceError(
                f"{self._simplon.name}: its state is {state!r}; it is not armed and nothing was changed. Initialise it "
                "on its own web page, or write initialize = true into the devices file."
            )

    async def _read_facts(self) -> None:
        columns = await self._simplon.number("detector", "x_pixels_in_detector")
        rows = await self._simplon.number("detector", "y_pixels_in_detector")
        self._shape = (int(rows), int(columns))
        if await self._simplon.find("detector", "x_pixel_size") is not None:
            self.pixel_size_mm = 1000 * await self._simplon.number("detector", "x_pixel_size")
        limits = await self._simplon.get("detector", "config", "count_time")
        shortest_s, longest_s = (limits.get(end) for end in ("min", "max"))
        if isinstance(shortest_s, int | float) and isinstance(longest_s, int | float) and 0 < shortest_s < longest_s:
            self._count_time_s = (float(shortest_s), float(longest_s))
        for key in ("pixel_mask", "threshold/1/pixel_mask"):
            if self._mask is None:
                self._mask = await self._simplon.mask(key, self._shape)
        await self._read_saturation()

    async def _read_saturation(self) -> None:
        bits = await self._simplon.number("detector", "bit_depth_image")
        most = SUM_MARKER if self._paced else (1 << int(bits)) - 1
        self._saturation = min(most, NARROW_MARKER) if self._settings.depth_bits == 16 else most

    async def _listen(self) -> None:
        """Connect to the stream, anew if it was connected before."""
        await self._stop_listening()
        await self._stream.open()
        self._receiver = asyncio.create_task(self._receive(), name="dectris stream")

    async def _stop_listening(self) -> None:
        if self._receiver is not None:
            self._receiver.cancel()
            await asyncio.wait([self._receiver])
            self._receiver = None

    async def close(self) -> None:
        """Disarm, put the configuration back as it was found, close everything. Raises what failed first."""
        failed: list[DeviceError] = []
        for step in (self.disarm, self._put_back, self._stop_listening, self._stream.close):
            try:
                await step()
            except DeviceError as error:
                failed.append(error)
        self._stream.finish()
        await self._simplon.close()
        if failed:
            raise failed[0]

    async def _put_back(self) -> None:
        for (module, key), value in self._found.items():
            await self._set(module, key, value)

    async def _configure(self, wanted: Mapping[str, object], module: str) -> None:
        """Set what the detector has of these values."""
        for key, value in wanted.items():
            if (module, key) in self._found:
                await self._set(module, key, value)

    async def _set(self, module: str, key: str, value: object) -> None:
        if await self._simplon.value(module, "config", key) != value:
            await self._simplon.set(module, key, value)

    # -- the contract -------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> DetectorFacts:
        """See `Detector.facts`; how far it counts is read anew when it is armed."""
        return self._settings.facts(self._shape, self._saturation, self._count_time_s)

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`. Configures, arms and, where the series paces itself, starts it. Cancel: not armed."""
        self._check(exposures_s, "not armed")
        await self.disarm()
        await self._awake()
        await self._configure(STREAM, "stream")  # as well: it may have been restarted
        if self._doubtful:
            await self._listen()
            self._doubtful = False
        period_s = await self._set_up(min(exposures_s))
        self._maybe_armed = True
        answer = await self._simplon.command("arm", ARM_LIMIT_S)
        identity = answer.get("sequence id")
        if not isinstance(identity, int):
            raise DeviceError(
                f"{self._simplon.name}: armed without saying which series it is; its images could not be told from "
                "others. It counts as not armed. Restart it, or update its firmware."
            )
        pace = ImageTimes(ns(period_s)) if self._paced else None
        series = Series(identity, pace)
        self._series = series
        try:
            await self._until_true(series, lambda: self._announced == identity, "its stream announced nothing")
            if pace is not None and self._settings.series == "paced":
                self._trigger = asyncio.create_task(
                    self._pull(series, self._settings.longest_series_s, None), name="dectris series"
                )
                # When its images begin, the first ones say: the fastest of some, as any may have been held up.
                enough = min(max(3, round(LEARN_S / period_s)), 20)
                await self._until_true(series, lambda: pace.arrivals >= enough, "it was started, but sent no image")
        except BaseException:
            self._series, self._doubtful = None, True
            series.end()
            raise

    async def _until_true(self, series: Series, condition: Callable[[], bool], otherwise: str) -> None:
        """Wait for something that the stream says. Raises DeviceError when it does not come."""
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(REPLY_LIMIT_S)):
                while series.fault is None and not condition():
                    series.changed.clear()
                    await series.changed.wait()
        except TimeoutError as error:
            raise DeviceError(
                f"{self._simplon.name}: {otherwise} for {REPLY_LIMIT_S:g} s; it counts as not armed. Check that no "
                "other program takes the images from its stream, then arm it again."
            ) from error
        if series.fault is not None:
            raise DeviceError(f"{series.fault} It counts as not armed.") from series.fault

    async def _set_up(self, shortest_s: float) -> float:
        """Set up the series; returns the true period of its images in s (paced) or the shortest one."""
        image_s = self._settings.subframe_s if self._paced else shortest_s
        most = self._at_most("nimages", math.ceil(self._settings.longest_series_s / image_s))
        wanted: dict[str, object] = {
            "trigger_mode": MODES[self._settings.series],
            "nimages": most if self._paced else 1,
            "ntrigger": 1 if self._paced else self._at_most("ntrigger", MOST_TRIGGERS),
            "count_time": image_s,
            "frame_time": image_s,
            "flatfield_correction_applied": self._settings.flatfield_correction,
            "countrate_correction_applied": self._settings.countrate_correction,
        }
        await self._configure(wanted, "detector")
        await self._read_saturation()
        period_s = await self._simplon.number("detector", "frame_time")
        if self._paced and not 0.98 < period_s / image_s < 1.02:
            raise DeviceError(
                f"{self._simplon.name}: makes images every {period_s:g} s instead of subframe_s = {image_s:g}; not "
                "armed. Write a subframe_s that it can do into the devices file."
            )
        return period_s

    def _check(self, exposures_s: Sequence[float], state: str) -> None:
        if why := self.facts.cannot_expose(exposures_s):
            remedy = ", or a smaller subframe_s in the devices file for a shorter one" if self._paced else ""
            raise DeviceError(f"{self._simplon.name}: {why}; {state}. Choose another exposure{remedy}.")

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`. Triggered: when the trigger was handed to the network; it opens one latency later."""
        series = self._series
        if series is None or series.closing:
            raise DeviceError(f"{self._simplon.name}: not armed; no exposure was made. Arm it first.")
        self._check((exposure_s,), "no exposure was made")
        if series.fault is not None:
            raise DeviceError(f"{series.fault} No exposure was made.") from series.fault
        if series.pace is not None and self._paced is not None:
            return self._pick(series, series.pace, self._paced, exposure_s)
        return await self._fire(series, exposure_s)

    def _pick(self, series: Series, pace: ImageTimes, paced: PacedFacts, exposure_s: float) -> int:
        """Take the images out of the running series that begin next."""
        now_ns = self._clock.now_ns()
        silence_ns = now_ns - pace.last_ns
        if pace.arrivals == 0:
            raise DeviceError(f"{self._simplon.name}: waits for its external trigger; no exposure was made.")
        if silence_ns > max(ns(SILENCE_S), 5 * pace.period_ns):
            self._doubtful = True
            series.fail(self._error(f"sent no image for {silence_ns / 1e9:.1f} s though its series runs"))
            raise DeviceError(f"{series.fault} No exposure was made.")
        first, count = pace.first_from(now_ns), paced.parts(exposure_s)
        if now_ns < self._exposing_until_ns and series.owes:
            raise self._busy()
        first = max(first, series.next_image)  # the estimate of their times moves a little
        start_ns = max(now_ns, pace.begin_ns(first))
        self._exposing_until_ns = start_ns + count * pace.period_ns
        series.ask(first, count, start_ns, self._exposing_until_ns)
        return start_ns

    async def _fire(self, series: Series, exposure_s: float) -> int:
        """Trigger one exposure."""
        now_ns = self._clock.now_ns()
        pending = self._trigger is not None and not self._trigger.done()
        if now_ns < self._exposing_until_ns and (pending or series.owes):
            raise self._busy()
        if self._trigger is not None and pending:
            await self._until(self._trigger, now_ns + ns(LATE_REPLY_S))
            if not self._trigger.done():
                raise self._busy()
        begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def sent() -> None:
            # Here and not after the reply: the image may be faster, and a cancelled start has exposed all the same.
            start_ns = self._clock.now_ns()
            self._exposing_until_ns = start_ns + ns(exposure_s)
            series.ask(series.next_image, 1, start_ns, self._exposing_until_ns)
            begun.set_result(start_ns)

        self._exposing_until_ns = now_ns + ns(exposure_s)
        self._trigger = asyncio.create_task(self._pull(series, exposure_s, sent), name="dectris trigger")
        either: list[asyncio.Future[Any]] = [begun, self._trigger]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if begun.done():
            return begun.result()
        self._exposing_until_ns = 0
        raise DeviceError(f"{self._trigger.result()} No exposure was made.")

    async def _pull(self, series: Series, exposure_s: float, sent: Any) -> DeviceError | None:
        """Give the command `trigger`, which returns when the exposure is over. Returns what went wrong."""
        argument = exposure_s if sent is not None else None
        try:
            await self._simplon.command("trigger", exposure_s + REPLY_LIMIT_S, argument, sent)
        except DeviceError as error:
            self._doubtful = True
            series.fail(error)
            return error
        return None

    def _busy(self) -> DeviceBusy:
        return DeviceBusy(f"{self._simplon.name}: an exposure is under way; no new one was begun. Wait for its frame.")

    def _error(self, what: str) -> DeviceError:
        return DeviceError(
            f"{self._simplon.name}: {what}; frames after the last one received are lost. See its own web page, "
            "then arm it again."
        )

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`. Numbers come from the detector's own: a lost image leaves out its exposure's."""
        return self._series.frames() if self._series is not None else _nothing()

    async def disarm(self) -> None:
        """See `Detector.disarm`. Exposures that are over are still delivered, if they arrive within a second."""
        series = self._series
        if series is not None:
            try:
                await self._let_arrive(series)
            finally:
                self._series = None
                series.end()
        if not self._maybe_armed:
            return
        trigger, self._exposing_until_ns = self._trigger, 0
        running = trigger is not None and not trigger.done()
        try:
            await self._simplon.command("abort" if running or self._paced else "disarm")
            self._maybe_armed = False
            if trigger is not None:
                await self._until(trigger, self._clock.now_ns() + ns(LATE_REPLY_S))
        finally:
            if trigger is not None:
                trigger.cancel()

    async def _let_arrive(self, series: Series) -> None:
        series.closing = True
        now_ns = self._clock.now_ns()
        try:
            async with self._clock.timeout_at(now_ns + ns(LATE_FRAMES_S)):
                while series.fault is None and series.owed(now_ns):
                    series.changed.clear()
                    await series.changed.wait()
        except TimeoutError:
            pass  # lost on the way: there is nothing to wait for

    async def _until(self, task: "asyncio.Task[DeviceError | None]", deadline_ns: int) -> None:
        try:
            async with self._clock.timeout_at(deadline_ns):
                await asyncio.wait([task])
        except TimeoutError:
            pass

    # -- the stream ---------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Take what comes, as long as the detector is connected, wanted or not."""
        while True:
            try:
                taken = await self._stream.next()
                if taken is not None:
                    await self._sort(*taken)
            except (DeviceError, ValueError) as error:
                self._doubtful = True
                if self._series is not None:
                    self._series.fail(self._error(f"its stream cannot be read ({error})"))
                if isinstance(error, DeviceError):
                    return  # the socket itself; a message that makes no sense may be followed by one that does

    async def _sort(self, at_ns: int, message: Message | ValueError) -> None:
        """Give an image to the exposure it belongs to; drop what belongs to another series."""
        if isinstance(message, ValueError):
            raise message
        if isinstance(message, SeriesBegin):
            self._announced = message.series
            if self._series is not None:
                self._series.changed.set()
            return
        series = self._series
        if series is None or message.series != series.identity:
            return
        if isinstance(message, SeriesEnd):
            series.fail(self._error(f"ended the series after {series.next_number} exposures"))
            return
        if message.shape != self._shape:
            raise ValueError(f"an image of {message.shape} pixels instead of {self._shape}")
        if series.pace is not None:
            series.pace.arrived(message.number, at_ns)
        window = series.window_of(message.number)
        if window is not None:
            narrow = self._settings.depth_bits == 16 and window.wants_one
            counts = await self._stream.count(
                message, window.counts, self._mask, sums=self._paced is not None, narrow=narrow
            )
            series.taken(window, counts, at_ns)
        elif series.pace is None:
            series.fail(self._error(f"sent image {message.number}, which was not asked for"))
        series.changed.set()


async def _nothing() -> AsyncIterator[Frame]:
    """The frames of a detector that is not armed."""
    none: tuple[Frame, ...] = ()
    for frame in none:
        yield frame
