"""Gatan Orius and other cameras of DigitalMicrograph, through the socket of SerialEM's plug-in: the driver `orius`.

One request is one image: DigitalMicrograph clears the chip, opens the shutter, exposes, reads out and corrects, and the
image comes back. An exposure under way cannot be given up there; `disarm` lets it come and drops it. The plug-in tells
nothing of the camera but whether it is inserted: its size and times are options. docs/drivers/orius.md.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.contract import Parts
from drivers.declared import Declared
from drivers.facts import DetectorFacts
from drivers.gatan.socket import (
    GET_NUMBER_OF_CAMERAS,
    GET_PLUGIN_VERSION,
    IS_CAMERA_INSERTED,
    PROCESSING,
    SELECT_CAMERA,
    PlugIn,
    image_request,
)
from drivers.options import Options
from drivers.selfpaced.framequeue import FrameQueue, frames_of
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError
from engine.frame import Frame

CALL_LIMIT_S = 10.0
LATE_IMAGE_S = 10.0  # DigitalMicrograph takes a dark reference now and then


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of the devices file.

    camera: its number in DigitalMicrograph, from 0. rows, columns: of the whole chip. overhead_s: what an image takes
    beyond its exposure, worst case. open_delay_s: from the request to the opening of the shutter. saturation: largest
    count. pixel_size_mm: of one pixel of the chip, 0 where the devices file says it elsewhere.
    """

    host: str
    port: int
    camera: int
    rows: int
    columns: int
    binning: int
    processing: str
    overhead_s: float
    open_delay_s: float
    exposure_limits_s: tuple[float, float]
    saturation: int
    pixel_size_mm: float

    @property
    def facts(self) -> DetectorFacts:
        """All that there is to know: the plug-in tells nothing."""
        return DetectorFacts(
            (self.rows // self.binning, self.columns // self.binning),
            "<u2",
            self.saturation,
            self.exposure_limits_s,
            overhead_s=self.overhead_s,
        )

    @property
    def geometry(self) -> dict[str, float]:
        """The size of a pixel as it is read out, where it is given."""
        return {"pixel_size_mm": self.pixel_size_mm * self.binning} if self.pixel_size_mm else {}


class Orius:
    """Implements `drivers.contract.Detector`. Frames are numbered as they were asked for: the plug-in has no
    numbers.
    """

    flatfield: NDArray[np.float32] | None = None  # DigitalMicrograph applies its own gain reference

    def __init__(self, clock: Clock, plug_in: PlugIn, settings: Settings) -> None:
        self.facts = settings.facts
        self._clock = clock
        self._plug_in = plug_in
        self._settings = settings
        self._number = 0
        self._begun_ns = self._over_ns = 0
        self._queue: FrameQueue | None = None
        self._exposing: asyncio.Task[None] | None = None

    async def select(self) -> None:
        """Connect if need be, select the camera and see that it is there and inserted."""
        await self._plug_in.open(CALL_LIMIT_S)
        camera = self._settings.camera
        (version,) = (await self._plug_in.ask((GET_PLUGIN_VERSION,), CALL_LIMIT_S, results=1)).longs
        (cameras,) = (await self._plug_in.ask((GET_NUMBER_OF_CAMERAS,), CALL_LIMIT_S, results=1)).longs
        if not camera < cameras:
            raise DeviceError(
                f"{self._plug_in.name}: DigitalMicrograph (plug-in {version}) has {cameras} cameras, so there is no "
                f"number {camera}; not armed. Numbers begin with 0."
            )
        await self._plug_in.ask((SELECT_CAMERA, camera), CALL_LIMIT_S)
        (inserted,) = (await self._plug_in.ask((IS_CAMERA_INSERTED, camera), CALL_LIMIT_S, bools=1)).bools
        if not inserted:
            raise DeviceError(
                f"{self._plug_in.name}: camera {camera} is not inserted; not armed. Insert it in DigitalMicrograph."
            )

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`. Waits for an exposure that was given up, for as long as it may take."""
        self._check(exposures_s, "not armed")
        await self.disarm()
        if self._exposing is not None:
            await asyncio.wait([self._exposing])  # bounded: its reply is
        await self.select()
        self._number = 0
        self._queue = asyncio.Queue()

    def _check(self, exposures_s: Sequence[float], state: str) -> None:
        if why := self.facts.cannot_expose(exposures_s):
            raise DeviceError(f"{self._plug_in.name}: {why}; {state}. Choose another exposure.")

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`. The instant is that of the request plus the option `open_delay_s`."""
        queue = self._queue
        if queue is None:
            raise DeviceError(f"{self._plug_in.name}: not armed; no exposure was made. Arm it first.")
        self._check((exposure_s,), "no exposure was made")
        if self._exposing is not None and not self._exposing.done():
            if self._clock.now_ns() < self._begun_ns + self._over_ns:
                raise self._busy()
            await self._until_image(self._clock.now_ns() + ns(self._settings.overhead_s))
            if not self._exposing.done():
                raise self._busy()
        if not self._plug_in.is_open:
            raise DeviceError(
                f"{self._plug_in.name}: the connection was lost; no exposure was made. Arm it again to reconnect."
            )
        request = image_request(self.facts.known_shape, self._settings.binning, self._settings.processing, exposure_s)
        self._begun_ns, self._over_ns = self._clock.now_ns(), ns(exposure_s)
        await self._plug_in.send(request, CALL_LIMIT_S)
        open_ns = self._begun_ns + ns(self._settings.open_delay_s)
        self._exposing = asyncio.create_task(self._expose(queue, self._number, open_ns, exposure_s), name="orius image")
        self._number += 1
        return open_ns

    async def _expose(self, queue: FrameQueue, number: int, open_ns: int, exposure_s: float) -> None:
        """Read the image, wanted or not: what is left unread would be taken for the next reply."""
        try:
            limit_s = exposure_s + self._settings.overhead_s + LATE_IMAGE_S
            counts = await self._plug_in.image(limit_s, self.facts.known_shape)
        except DeviceError as error:
            queue.put_nowait(error)
            return
        end_ns = open_ns + ns(exposure_s)
        answered_ns = self._clock.now_ns()
        early_ns = max(0, end_ns - answered_ns)  # the delay was less than the devices file says
        # What took longer than a readout ever does may have been before the exposure.
        late_ns = max(0, answered_ns - end_ns - ns(self._settings.overhead_s))
        open_ns, end_ns = open_ns - early_ns, end_ns - early_ns
        queue.put_nowait(
            Frame(
                counts,
                number,
                open_ns,
                end_ns,
                start_bounds_ns=(open_ns, open_ns + late_ns),
                end_bounds_ns=(end_ns, end_ns + late_ns),
            )
        )

    def _busy(self) -> DeviceBusy:
        return DeviceBusy(f"{self._plug_in.name}: an exposure is under way; no new one was begun. Wait for its frame.")

    async def _until_image(self, deadline_ns: int) -> None:
        if self._exposing is None:
            return
        try:
            async with self._clock.timeout_at(deadline_ns):
                await asyncio.wait([self._exposing])
        except TimeoutError:
            pass

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        return frames_of(self._queue)

    async def disarm(self) -> None:
        """See `Detector.disarm`. An image that is being read out is still delivered; an exposure is not."""
        queue = self._queue
        if queue is None:
            return
        try:
            if self._clock.now_ns() >= self._begun_ns + self._over_ns:
                await self._until_image(self._clock.now_ns() + ns(self._settings.overhead_s))
        finally:
            self._queue = None
            queue.put_nowait(None)

    async def close(self) -> None:
        """Disarm and close the connection."""
        await self.disarm()
        if self._exposing is not None:
            self._exposing.cancel()
            await asyncio.wait([self._exposing])
        self._plug_in.close()


class OriusDriver:
    """The entry in the register of drivers."""

    name = "orius"
    gives = ("detector",)

    def address(self, options: Mapping[str, Any]) -> str | None:
        """Which instrument the options mean, for the lock."""
        settings = self._settings(options)
        return f"orius {settings.host}:{settings.port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the camera, which is all there is. Raises Refused for an option."""
        settings = self._settings(options)
        return Declared(detector=settings.facts, geometry=settings.geometry)

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Connect the camera. Raises Refused for an option, DeviceError when it is not reached or not inserted."""
        settings = self._settings(options)
        camera = Orius(clock, PlugIn(clock, settings.host, settings.port), settings)
        try:
            await camera.select()
            yield Parts(detector=camera, geometry=settings.geometry)
        finally:
            await camera.close()

    @staticmethod
    def _settings(given: Mapping[str, Any]) -> Settings:
        options = Options("orius", given)
        host, port = options.server(48890)
        settings = Settings(
            host=host,
            port=port,
            camera=options.whole("camera", 0, 0, 9),
            rows=options.whole("rows", 2048, 8, 16384),
            columns=options.whole("columns", 2048, 8, 16384),
            binning=options.whole("binning", 1, 1, 16),
            processing=options.text("processing", "gain normalized", tuple(PROCESSING)),
            overhead_s=options.number("overhead_s", 1.0, 0.001, 60.0),
            open_delay_s=options.number("open_delay_s", 0.0, 0.0, 10.0),
            exposure_limits_s=options.pair("exposure_limits_s", (0.001, 60.0), 1e-4, 600.0),
            saturation=options.whole("saturation", 65535, 255, 65535),
            pixel_size_mm=options.number("pixel_size_mm", 0.0, 0.0, 1.0),
        )
        options.finish()
        return settings


ORIUS = OriusDriver()
