"""A camera on the network, as a template for your own driver: replace what `_Link` says by the words of your camera.

The camera of this template takes lines over TCP and answers each with `OK ...` or `ERROR ...`:

    ARM               ready for a series; the camera counts frames from 0
    EXPOSE <seconds>  one exposure; after its readout the camera sends `FRAME <number> <rows> <columns>` and the counts
                      (unsigned 16-bit, little-endian, row after row)
    DISARM            gives up what is under way; no frame comes after the answer
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
from drivers.contract import Parts
from drivers.declared import Declared
from drivers.facts import DetectorFacts
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused
from engine.frame import Frame

ANSWER_S = 5.0
READOUT_S = 0.005  # what the camera needs after an exposure; measure yours with `credline devices check`
EXPOSURE_LIMITS_S = (0.001, 10.0)
PIXEL_SIZE_MM = 0.055
SHAPE = (64, 64)
# What the camera is. What only the instrument can tell is asked in connect(), and named in `unknown` of Declared. Of
# readout and overhead the worst case, for plans are made with it.
FACTS = DetectorFacts(SHAPE, "<u2", 65_535, EXPOSURE_LIMITS_S, readout_s=READOUT_S, overhead_s=0.005)


class OurCamera:
    """Implements `drivers.contract.Detector`."""

    facts = FACTS
    flatfield = None

    def __init__(self, clock: Clock, link: "_Link") -> None:
        self._clock = clock
        self._link = link
        self._series: asyncio.Queue[Frame | DeviceError | None] | None = None
        self._opened: tuple[int, float] | None = None  # instant and length of the exposure that is under way
        link.on_frame = self._received
        link.on_lost = self._lost

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`."""
        self._check(exposures_s, "not armed")
        await self.disarm()
        await self._link.ask("ARM")
        self._series = asyncio.Queue()

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`."""
        if self._series is None:
            raise DeviceError("ourcamera: not armed; no exposure was made. Arm it first.")
        self._check((exposure_s,), "nothing was exposed")
        if self._opened is not None:
            raise DeviceBusy("ourcamera: an exposure is under way; no new one was begun. Wait for its frame.")
        opened_ns = self._clock.now_ns()
        self._opened = opened_ns, exposure_s  # before asking: a cancelled start may have opened the shutter
        await self._link.ask(f"EXPOSE {exposure_s:.6f}")
        return opened_ns

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        return self._of_series(self._series)

    @staticmethod
    async def _of_series(series: "asyncio.Queue[Frame | DeviceError | None] | None") -> AsyncIterator[Frame]:
        while series is not None and (item := await series.get()) is not None:
            if isinstance(item, DeviceError):
                raise item
            yield item

    async def disarm(self) -> None:
        """See `Detector.disarm`."""
        if self._series is None:
            return
        await self._link.ask("DISARM")
        self._series.put_nowait(None)
        self._series, self._opened = None, None

    def _received(self, number: int, counts: "np.ndarray[Any, np.dtype[np.uint16]]") -> None:
        """A frame is here. Its number is the camera's own: if one gets lost, that shows as a gap."""
        if self._series is not None and self._opened is not None:
            (begin_ns, exposure_s), self._opened = self._opened, None
            self._series.put_nowait(Frame(counts, number, begin_ns, begin_ns + ns(exposure_s)))

    def _check(self, exposures_s: Sequence[float], state: str) -> None:
        if why := self.facts.cannot_expose(exposures_s):
            raise DeviceError(f"ourcamera: {why}; {state}. Choose another exposure.")

    def _lost(self, error: DeviceLost) -> None:
        """The connection is gone: whoever waits for a frame is told."""
        if self._series is not None:
            self._series.put_nowait(error)


class _Link:
    """The connection: requests out, answers and frames in.

    Answers come in the order of the requests. A request whose caller has been cancelled stays in line, so its answer is
    thrown away and never taken for the answer to another.
    """

    def __init__(self, clock: Clock, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._asked: deque[asyncio.Future[str]] = deque()
        self._gone: DeviceLost | None = None
        self.on_frame: Any = None
        self.on_lost: Any = None
        self._listener = asyncio.create_task(self._listen(), name="ourcamera listener")

    async def ask(self, request: str) -> str:
        """Send a request and wait for its answer, for a while. Raises DeviceError, DeviceLost."""
        if self._gone is not None:
            raise self._gone
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._writer.write(request.encode("ascii") + b"\n")
        try:
            async with self._clock.timeout_at(self._clock.now_ns() + ns(ANSWER_S)):
                text = await answer
        except TimeoutError:
            raise self._end(f"no answer to {request!r} for {ANSWER_S:g} s") from None
        if not text.startswith("OK"):
            raise DeviceError(f"ourcamera: {request!r} was refused ({text}); it was not done.")
        return text.removeprefix("OK").strip()

    async def _listen(self) -> None:
        try:
            while line := (await self._reader.readline()).decode("ascii").strip():
                if line.startswith("FRAME"):
                    number, rows, columns = (int(word) for word in line.split()[1:])
                    if (rows, columns) != SHAPE:
                        raise ValueError(f"a frame of {rows} x {columns} pixels")
                    data = await self._reader.readexactly(rows * columns * 2)
                    # Small enough for the loop. A big picture, or a packed one, belongs into asyncio.to_thread.
                    self.on_frame(number, np.frombuffer(data, "<u2").reshape(rows, columns).copy())
                elif not self._asked:
                    raise ValueError(f"an answer that nobody asked for: {line[:40]!r}")
                elif not (answer := self._asked.popleft()).done():
                    answer.set_result(line)
            self._end("the camera closed the connection")
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self._end(f"{type(error).__name__}: {error}")

    def _end(self, cause: str) -> DeviceLost:
        """No more of this connection: after an answer that made no sense the next one would be another's."""
        self._gone = gone = DeviceLost(
            f"ourcamera: {cause}; whether the last request was done is unknown, the connection is closed. Look at the "
            "camera's own program, then connect again."
        )
        self._writer.close()
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(gone)
        self._asked.clear()
        self.on_lost(gone)
        return gone

    async def close(self) -> None:
        """Close the connection and end the listener."""
        self._listener.cancel()
        await asyncio.wait([self._listener])
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class OurCameraDriver:
    """The entry in the register of drivers."""

    name = "ourcamera"

    def address(self, options: Mapping[str, Any]) -> str | None:
        """Which instrument this is: two programs are not let at the same one."""
        host, port = _options(options)
        return f"ourcamera {host}:{port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What the camera is, without asking it: plans are made from this. Raises Refused."""
        _options(options)
        return Declared(detector=FACTS, geometry={"pixel_size_mm": PIXEL_SIZE_MM})

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """The camera at `host` (default 127.0.0.1) and `port` (7700). Raises Refused, DeviceError."""
        host, port = _options(options)
        try:
            async with clock.timeout_at(clock.now_ns() + ns(ANSWER_S)):
                reader, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            raise DeviceError(
                f"ourcamera: {host}:{port} cannot be reached ({error}); nothing was started. Is the camera's server "
                "running, and is the port right?"
            ) from error
        link = _Link(clock, reader, writer)
        camera = OurCamera(clock, link)
        try:
            yield Parts(detector=camera, geometry={"pixel_size_mm": PIXEL_SIZE_MM})
        finally:
            with suppress(DeviceError):
                await camera.disarm()
            await link.close()


def _options(options: Mapping[str, Any]) -> tuple[str, int]:
    """Host and port, checked."""
    if unknown := sorted(set(options) - {"host", "port"}):
        raise Refused(
            f"devices: ourcamera has no option {unknown[0]!r}; nothing was started. Options are host and port."
        )
    host, port = options.get("host", "127.0.0.1"), options.get("port", 7700)
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65_536:
        raise Refused(f"devices: ourcamera host = {host!r}, port = {port!r}: give a name and a number; not started.")
    return host, port


OURCAMERA = OurCameraDriver()
