"""ASI Serval (Timepix3 and Medipix3 cameras, CheeTah) over HTTP, its frames over TCP.

Found through the entry point `serval`; docs/drivers/serval.md says how to set up both sides. One measurement of short
frames runs while the camera is armed; frames and snapshots are sums of consecutive ones (`drivers.selfpaced.series`).
What Serval was set to, detector and destination, is put back at the end.

Paths and keys: as areaDetector's ADTimePix3 (ADServal) and Instamatic's camera_serval use them.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import ModuleType
from typing import Any

from drivers.contract import Parts
from drivers.declared import Declared
from drivers.options import Options
from drivers.selfpaced import framesocket
from drivers.selfpaced.series import PartTiming, Receiver, SelfPaced, facts_of_sums
from drivers.serval.frames import BYTE_ORDERS
from drivers.serval.http import ImageRequests, ImageStream, Refusal, Serval, load_httpx
from engine.clock import Clock
from engine.errors import DeviceBusy, DeviceError, DeviceLost

CONTINUOUS, TIMED = "CONTINUOUS", "AUTOTRIGSTART_TIMERSTOP"
# The shutter must be closed that long between two frames; ADTimePix3 keeps 3 ms.
SHUT_S = 0.003
LONGEST_EXPOSURE_S = 100.0
FRAMES_ASKED = 1_000_000_000
TOP = 2**16 - 1
RUNNING = ("DA_STARTING", "DA_RECORDING", "DA_STOPPING")
PORTS_TRIED = 8
CONNECT_AGAIN_S = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class ServalSettings:
    """The options of the devices file."""

    host: str
    port: int
    stream_port: int
    frames: str
    trigger_mode: str
    byte_order: str
    subframe_s: float
    timeout_s: float
    pixel_size_mm: float
    wide_cross: bool

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "ServalSettings":
        """Raises Refused for what is not known or cannot be."""
        options = Options("serval", given)
        host, port = options.server(8080)
        settings = cls(
            host=host,
            port=port,
            stream_port=options.whole("stream_port", 8086, 1, 65535 - PORTS_TRIED),
            frames=options.text("frames", "stream", ["stream", "tiff"]),
            trigger_mode=options.text("trigger_mode", CONTINUOUS, [CONTINUOUS, TIMED]),
            byte_order=options.text("byte_order", "big", list(BYTE_ORDERS)),
            subframe_s=options.number("subframe_s", 0.01, 0.001, 0.1),
            timeout_s=options.number("timeout_s", 5.0, 0.5, 60.0),
            pixel_size_mm=options.number("pixel_size_mm", 0.055, 0.001, 1.0),
            wide_cross=options.flag("wide_cross", True),
        )
        options.finish()
        return settings

    @property
    def url(self) -> str:
        """Where its HTTP interface is."""
        host = f"[{self.host}]" if ":" in self.host else self.host  # of IPv6
        return f"http://{host}:{self.port}"

    @property
    def cadence(self) -> PartTiming:
        """How its short frames follow one another, and how far they count as far as the options tell."""
        shut_s = SHUT_S if self.trigger_mode == TIMED else 0.0
        return PartTiming(self.subframe_s, self.subframe_s + shut_s, TOP)

    @property
    def exposure_limits_s(self) -> tuple[float, float]:
        """Shortest and longest exposure."""
        return self.subframe_s, LONGEST_EXPOSURE_S


class ServalCamera:
    """Implements `drivers.selfpaced.series.Camera`."""

    name = "serval"

    def __init__(self, clock: Clock, httpx: ModuleType, settings: ServalSettings) -> None:
        self.shape = (0, 0)
        self.cadence = settings.cadence
        self._clock = clock
        self._httpx = httpx
        self._settings = settings
        self._serval = Serval(clock, httpx, settings.url, settings.timeout_s)
        self._found: list[tuple[str, Any]] = []
        self._changed = False

    async def open(self) -> None:
        """Ask Serval how it is, and keep its settings for `close`. Raises DeviceError."""
        dashboard = await self._dashboard()
        if _status(dashboard) in RUNNING:
            raise DeviceBusy("serval: a measurement is running; nothing was changed. Stop it first.")
        self.shape = await self._read_shape()
        config = await self._config()
        depth = config.get("PixelDepth")  # of a Medipix3; a Timepix3 has none
        if isinstance(depth, int) and 1 <= depth <= 24:
            self.cadence = dataclasses.replace(self.cadence, top=2**depth - 1)
        destination = await self._serval.get("/server/destination")
        self._found = [("/server/destination", destination), ("/detector/config", config)]

    async def _dashboard(self) -> dict[str, Any]:
        dashboard = await self._serval.get("/dashboard")
        if not isinstance(dashboard, dict) or "Detector" not in dashboard:
            raise DeviceError(f"serval: {self._settings.url} is no Serval; nothing was started. Check host and port.")
        if not dashboard["Detector"]:
            raise DeviceError("serval: no detector is connected to it; nothing was started. Connect it in Serval.")
        return dashboard

    async def _config(self) -> dict[str, Any]:
        config = await self._serval.get("/detector/config")
        if not isinstance(config, dict):
            raise DeviceError("serval: its detector configuration cannot be read; nothing was changed. Restart Serval.")
        return config

    async def _read_shape(self) -> tuple[int, int]:
        try:
            info = await self._serval.get("/detector/info")
        except Refusal:  # older versions tell it with everything else
            whole = await self._serval.get("/detector")
            info = whole.get("Info") if isinstance(whole, dict) else None
        try:
            rows = int(info["NumberOfRows"])
            columns = int(info["PixCount"]) // rows
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise DeviceError("serval: does not say how large its picture is; nothing was started.") from error
        if min(rows, columns) <= 0:
            raise DeviceError(f"serval: says that its picture is {rows} x {columns}; nothing was started.")
        return rows, columns

    async def begin(self) -> Receiver:
        """See `Camera.begin`."""
        await self._dashboard()
        shape = await self._read_shape()
        if shape != self.shape:
            raise DeviceError(
                f"serval: its picture is {shape} now and was {self.shape} when it was connected; not armed. Start the "
                "run again."
            )
        await self._set_up()
        if self._settings.frames == "tiff":
            await self._serval.put("/server/destination", _destination("http://localhost", "tiff"))
            await self._serval.get("/measurement/start")
            how = (self._httpx, self._settings.url, shape, self._settings.timeout_s)
            return await asyncio.to_thread(ImageRequests, *how)  # it reads the system's certificates
        port = await self._start_stream()
        return ImageStream(await self._connected(port), shape, self._settings.byte_order)

    async def _set_up(self) -> None:
        self._changed = True
        config = await self._config()
        wanted: dict[str, Any] = {
            "TriggerMode": self._settings.trigger_mode,
            "ExposureTime": self.cadence.live_s,
            "TriggerPeriod": self.cadence.period_s,
            "nTriggers": FRAMES_ASKED,
        }
        if "BothCounters" in config:  # two pictures a frame, and not in continuous mode
            wanted["BothCounters"] = False
        await self._serval.put("/detector/config", {**config, **wanted})
        taken = await self._config()
        for key, value in wanted.items():
            same = taken.get(key) == value
            if isinstance(value, float) and isinstance(taken.get(key), int | float):
                same = abs(taken[key] - value) <= 0.001 * value
            if not same:
                raise DeviceError(
                    f"serval: {key} is {taken.get(key)!r} after it was set to {value!r}; not armed. Choose another "
                    "subframe_s or trigger_mode in the devices file."
                )

    async def _start_stream(self) -> int:
        """Start the measurement and return the port on which Serval waits for us.

        It may keep the port of an earlier measurement, and refuse to start on it (ADTimePix3): then the next is tried.
        """
        for port in range(self._settings.stream_port, self._settings.stream_port + PORTS_TRIED):
            base = f"tcp://listen@{self._settings.host}:{port}"
            await self._serval.put("/server/destination", _destination(base, "jsonimage"))
            try:
                await self._serval.get("/measurement/start")
            except Refusal as error:
                if "in use" not in error.answer:
                    raise
            else:
                return port
        raise DeviceError(
            f"serval: the ports from {self._settings.stream_port} on are in use; not armed. Choose another "
            "stream_port, or restart Serval."
        )

    async def _connected(self, port: int) -> framesocket.FrameSocket:
        """Connect to the stream; it may open its port a little after the start."""
        give_up_ns = self._clock.now_ns() + round(self._settings.timeout_s * 1e9)
        while True:
            try:
                return await framesocket.connect(
                    self.name, self._clock, self._settings.host, port, self._settings.timeout_s
                )
            except DeviceLost:
                if self._clock.now_ns() > give_up_ns:
                    raise
            await self._clock.sleep_s(CONNECT_AGAIN_S)

    async def end(self) -> None:
        """See `Camera.end`. A refusal only means that there is nothing to stop."""
        with suppress(Refusal):
            await self._serval.get("/measurement/stop")

    async def close(self) -> None:
        """Put destination and configuration back as they were found, if they were set. Raises DeviceError."""
        if self._changed:
            for path, document in self._found:
                await self._serval.put(path, document)

    async def abandon(self) -> None:
        """Close the connections only."""
        await self._serval.close()


def _destination(base: str, kind: str) -> dict[str, Any]:
    """Where Serval is to put its frames: one channel of pictures that count."""
    return {"Image": [{"Base": base, "FilePattern": "", "Format": kind, "Mode": "count", "QueueSize": 1024}]}


def _status(dashboard: Mapping[str, Any]) -> str:
    """The state of the measurement: flat in newer versions, below Info in older ones, null when idle."""
    measurement = dashboard.get("Measurement")
    if not isinstance(measurement, dict):
        return ""
    info = measurement.get("Info")
    return str((info if isinstance(info, dict) else measurement).get("Status", ""))


class ServalDriver:
    """The entry in the register of drivers."""

    name = "serval"

    def address(self, options: Mapping[str, Any]) -> str:
        """Which Serval these options mean, for the lock against a second program."""
        settings = ServalSettings.read(options)
        return f"serval {settings.host}:{settings.port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the camera without asking Serval. Raises Refused for an option it does not know."""
        settings = ServalSettings.read(options)
        unknown = {
            "detector.shape": "Serval tells how large the pictures are",
            "detector.paced.saturation": "Serval tells how far a Medipix3 counts; a Timepix3 counts to 65535",
        }
        if settings.wide_cross:
            unknown["detector.wide_cross"] = "only a picture of 512 x 512 pixels has one"
        return Declared(
            detector=facts_of_sums(None, settings.cadence, settings.exposure_limits_s, settings.wide_cross),
            geometry={"pixel_size_mm": settings.pixel_size_mm},
            unknown=unknown,
        )

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Connect to Serval; its configuration and destination are put back at the end.

        Raises Refused for an option it does not know, DeviceError when it cannot be reached, has no detector or is
        measuring.
        """
        settings = ServalSettings.read(options)
        httpx = await load_httpx()
        camera = ServalCamera(clock, httpx, settings)
        try:
            await camera.open()
            detector = SelfPaced(
                clock,
                camera,
                settings.exposure_limits_s,
                settings.timeout_s,
                wide_cross=settings.wide_cross and camera.shape == (512, 512),
            )
            try:
                yield Parts(detector=detector, geometry={"pixel_size_mm": settings.pixel_size_mm})
            except BaseException:
                # What happened is told; that the settings cannot be put back either would only hide it.
                with suppress(DeviceError):
                    await detector.disarm()
                    await camera.close()
                raise
            else:
                try:
                    await detector.disarm()
                finally:
                    await camera.close()
        finally:
            await camera.abandon()


SERVAL = ServalDriver()
