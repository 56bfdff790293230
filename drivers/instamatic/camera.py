"""A camera behind Instamatic's camera server: pictures through shared memory on one computer, else through its socket.

    [detector]
    driver = "instamatic-camera"
    protocol = "json"        # as tem_communication_protocol in Instamatic's settings.yaml
    # pictures = "socket"    # of a server on another computer; protocol = "pickle", cam_use_shared_memory: false

The engine connects it; docs/drivers/instamatic.md says how to set up both sides. Promises: what `drivers.contract` asks
of a Detector. The server sends no frame numbers: an exposure is one question and its answer, and numbers count the
questions, so an answer that does not come is an error of its frame and never a silent gap. Nor does it say when it
exposed: at some time between question and answer, and no earlier and no later, which is what a frame's bounds say.

Source: Instamatic 2.2.2, `server/cam_server.py` (requests name `attr_name`; the answer to `get_image` is a dictionary
of shape, dtype and the name of a shared memory segment, which the next picture of that shape overwrites) and
`camera/camera_base.py`. Its movies (`get_movie`) cannot be had through shared memory there.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.contract import Parts
from drivers.declared import Declared
from drivers.facts import DetectorFacts
from drivers.instamatic.cameratold import LARGEST_BINNING, binnings, geometry_told, one_binning, positive, told
from drivers.instamatic.codec import CODECS
from drivers.instamatic.pickledpicture import PickledPicture, PictureCodec
from drivers.instamatic.wire import ServerError, Shape, Wire
from drivers.options import Options
from drivers.selfpaced.framequeue import FrameQueue, frames_of
from drivers.turn import Turn
from engine.clock import NS_PER_S, Clock, ns
from engine.devicethread import DeviceThread
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused, shown
from engine.frame import Frame, Picture, is_picture_type, same_type

PORT = 8087  # cam_server_port in Instamatic's settings.yaml
SHARED_MEMORY = Path("/dev/shm")
# The names that Python's shared_memory gives, on Linux and on Windows: nothing else is opened.
SEGMENT = re.compile(r"(psm|wnsm)_[0-9a-f]{1,32}")
TYPE_NAME = re.compile(r"[<>|=]?([iu][1248]|f4)|u?int(8|16|32|64)|float32")
LARGEST_SIDE = 16384
SHORTEST_SHARE = 0.9
"""Of an exposure that was asked for: a camera may round it, but not by more than this."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a picture lies, and what it is like."""

    name: str
    shape: tuple[int, int]
    dtype: str


def picture_sent(value: Any) -> Picture:
    """The shape of the answer to `get_image` of a server without shared memory."""
    if not isinstance(value, PickledPicture):
        raise ValueError("not a picture; pictures = 'socket' needs cam_use_shared_memory: false in settings.yaml")
    return value.counts()


def segment(value: Any) -> Segment:
    """The shape of the answer to `get_image` of one with it."""
    if not isinstance(value, dict) or set(value) != {"shape", "dtype", "name"}:
        raise ValueError("not a picture in shared memory; cam_use_shared_memory must be true in settings.yaml")
    name, dtype = value["name"], value["dtype"]
    if not isinstance(name, str) or not SEGMENT.fullmatch(name):
        raise ValueError("not the name of shared memory")
    if not isinstance(dtype, str) or not TYPE_NAME.fullmatch(dtype) or not is_picture_type(np.dtype(dtype)):
        raise ValueError(f"not counts that can be kept (integers or float32) but {shown(repr(dtype))}")
    return Segment(name, sides(value["shape"]), dtype)


def sides(value: Any) -> tuple[int, int]:
    """The shape of a picture's shape: rows and columns."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("not rows and columns")
    rows, columns = value
    if not all(isinstance(side, int) and 0 < side <= LARGEST_SIDE for side in (rows, columns)):
        raise ValueError("not rows and columns")
    return rows, columns


def copied(picture: Segment) -> Picture:
    """A picture out of shared memory, as an array of our own. Raises OSError or ValueError. For the camera's thread."""
    rows, columns = picture.shape
    if sys.platform == "win32":
        from multiprocessing.shared_memory import SharedMemory

        memory = SharedMemory(picture.name)
        try:
            whole: Picture = np.ndarray(picture.shape, picture.dtype, memory.buf).copy()
        finally:
            memory.close()
        return whole
    # Read as the file it is: SharedMemory of Python before 3.13 removes the segment when the reader ends.
    handle = os.open(SHARED_MEMORY / picture.name, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        counts: Picture = np.fromfile(file, picture.dtype, rows * columns)
    if counts.size != rows * columns:
        raise ValueError(f"the segment holds {counts.size} pixels")
    return counts.reshape(rows, columns)


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """The options of the devices file. saturation, binning: 0 where the camera's configuration says it."""

    host: str
    port: int
    protocol: str
    timeout_s: float
    exposure_limits_s: tuple[float, float]
    readout_s: float
    change_s: float
    saturation: int
    binning: int
    turn: Turn
    through_socket: bool

    @classmethod
    def read(cls, driver: str, given: Mapping[str, Any]) -> "CameraSettings":
        """Raises Refused for an option that cannot be."""
        table = Options(driver, given)
        host, port = table.server(PORT)
        protocol = table.text("protocol", "json", tuple(CODECS))
        through_socket = table.text("pictures", "shared memory", ("shared memory", "socket")) == "socket"
        if through_socket and protocol != PictureCodec.name:
            raise Refused(
                "devices: instamatic-camera: pictures = 'socket' needs protocol = 'pickle': the server can send arrays "
                "in no other; nothing was started. Set tem_communication_protocol to pickle in its settings.yaml, too."
            )
        settings = cls(
            host=host,
            port=port,
            protocol=protocol,
            timeout_s=table.number("timeout_s", 5.0, 0.1, 60.0),
            exposure_limits_s=table.pair("exposure_limits_s", (0.001, 10.0), 0.0, 1000.0),
            readout_s=table.number("readout_s", 0.02, 0.0, 10.0),
            change_s=table.number("change_s", 0.0, 0.0, 10.0),
            saturation=table.whole("saturation", 0, 0, 2**32 - 1),
            binning=table.whole("binning", 0, 0, LARGEST_BINNING),
            turn=Turn(table.whole("rot90", 0, 0, 3), table.flag("flipud", False)),
            through_socket=through_socket,
        )
        table.finish()
        return settings

    def facts(self, shape: tuple[int, int] | None, saturation: int | None) -> DetectorFacts:
        """The facts of the camera, with what its server has told.

        Of no known type: the server does not say before its first picture. And without a wide cross: Instamatic's
        Timepix driver has already split its pixels into three.
        """
        return DetectorFacts(shape, "", saturation, self.exposure_limits_s, self.readout_s, change_s=self.change_s)


class InstamaticCamera:
    """Implements `drivers.contract.Detector`."""

    flatfield: NDArray[np.float32] | None = None
    options_measured = ("readout_s", "change_s")
    """Of the devices file, those that `credline devices check` can measure."""

    def __init__(
        self,
        clock: Clock,
        wire: Wire,
        thread: DeviceThread,
        facts: DetectorFacts,
        binning: int,
        settings: CameraSettings,
    ) -> None:
        self.facts = facts
        self._clock = clock
        self._wire = wire
        self._thread = thread
        self._binning = binning
        self._turn = settings.turn
        self._through_socket = settings.through_socket
        self._number = 0
        self._pixel: np.dtype[Any] | None = None
        self._queue: FrameQueue | None = None
        self._exposing: asyncio.Task[None] | None = None

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`. Waits for an exposure that was given up: the server cannot break one off."""
        self._check(exposures_s, "not armed")
        await self.disarm()
        await self._wire.connect()
        self._number = 0
        self._pixel = None
        rows, columns = self.facts.known_shape
        self._wire.long_reply = rows * columns  # of the smallest pixels, until the first picture is there
        self._queue = asyncio.Queue()

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`. The instant is that at which the question was sent; the camera opens a little later."""
        if self._queue is None:
            raise DeviceError("camera: not armed; no exposure was made. Arm it first.")
        self._check((exposure_s,), "nothing was exposed")
        if self._wire.busy or (self._exposing is not None and not self._exposing.done()):
            raise DeviceBusy("camera: an exposure is under way; no new one was begun. Wait for its frame.")
        if not self._wire.connected:
            raise DeviceLost("camera: the connection to its server is lost; no exposure was made. Arm it again.")
        opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exposing = asyncio.get_running_loop().create_task(
            self._expose(self._queue, self._number, exposure_s, opened), name="camera exposure"
        )
        self._number += 1
        return await asyncio.shield(opened)

    def _check(self, exposures_s: Sequence[float], state: str) -> None:
        if why := self.facts.cannot_expose(exposures_s):
            raise DeviceError(f"camera: {why}; {state}. Choose another exposure.")

    async def _expose(
        self,
        queue: FrameQueue,
        number: int,
        exposure_s: float,
        opened: asyncio.Future[int],
    ) -> None:
        async def take(wire: Wire) -> tuple[Picture, int]:
            if not opened.done():  # else it was disarmed in this very moment
                opened.set_result(self._clock.now_ns())
            asked_ns = self._clock.now_ns()
            shape: Shape[Segment | Picture] = picture_sent if self._through_socket else segment
            asked = {"exposure": exposure_s, "binsize": self._binning}
            picture = await wire.ask("get_image", shape, extra_s=exposure_s, **asked)
            answered_ns = wire.answered_ns
            counts = await self._copied(picture, number)
            if answered_ns < asked_ns + ns(SHORTEST_SHARE * exposure_s):
                raise DeviceError(
                    f"camera: frame {number} came {(answered_ns - asked_ns) / NS_PER_S:.3g} s after an exposure of "
                    f"{exposure_s:g} s was asked for; it was exposed otherwise and is lost. Does the camera keep an "
                    "exposure of its own (set it in its own software), or does another program use this server?"
                )
            return counts, answered_ns

        try:
            counts, answered_ns = await self._wire.in_turn(take)
            begin_ns = opened.result()
            end_ns = begin_ns + ns(exposure_s)
            open_ns = max(0, answered_ns - end_ns)  # for the way of both, a shutter, the readout: nobody knows
            queue.put_nowait(
                Frame(
                    counts,
                    number,
                    begin_ns,
                    end_ns,
                    start_bounds_ns=(begin_ns, begin_ns + open_ns),
                    end_bounds_ns=(end_ns, end_ns + open_ns),
                )
            )
        except Exception as error:
            if opened.done():
                queue.put_nowait(error)
            else:
                opened.set_exception(error)
                opened.exception()  # seen, should `start` have been cancelled
        finally:
            if not opened.done():
                opened.set_exception(DeviceError("camera: it was disarmed; no exposure was made. Arm it again."))
                opened.exception()

    async def _copied(self, picture: Segment | Picture, number: int) -> Picture:
        """The picture, copied before the next one can be asked for."""
        shape, known = self._turn.shape(*picture.shape), self.facts.known_shape
        if shape != known:
            raise DeviceError(
                f"camera: frame {number} has {shape[0]} x {shape[1]} pixels instead of {known[0]} x {known[1]}; it is "
                "lost. Did another program change the binning?"
            )
        pixel = np.dtype(picture.dtype)
        if self._pixel is not None and not same_type(pixel, self._pixel):
            raise DeviceError(
                f"camera: frame {number} has counts of {pixel.name}, those before it had {self._pixel.name}; it is "
                "lost. Did another program change the camera's settings?"
            )
        self._pixel = pixel
        if not isinstance(picture, Segment):
            self._wire.long_reply = picture.nbytes
            return await self._thread.call(lambda: self._turn.turned(picture.copy()))  # 20 ms for a large one
        try:
            return await self._thread.call(lambda: self._turn.turned(copied(picture)))
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"camera: the shared memory {picture.name} of frame {number} cannot be read ({error}); the frame is "
                "lost. credline must run on the computer of the camera server, or take pictures = 'socket'."
            ) from error

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        return frames_of(self._queue)

    async def disarm(self) -> None:
        """See `Detector.disarm`. An exposure under way ends by itself in the camera, its picture is thrown away."""
        if self._exposing is not None:
            self._exposing.cancel()
            await asyncio.wait([self._exposing])
            self._exposing = None
        if self._queue is not None:
            self._queue.put_nowait(None)
            self._queue = None


class InstamaticCameraDriver:
    """The entry in the register of drivers."""

    name = "instamatic-camera"
    gives = ("detector",)

    def address(self, options: Mapping[str, Any]) -> str | None:
        """The server that is driven, so that two programs do not use it at once."""
        host, port = Options(self.name, options).server(PORT)
        return f"{self.name} {host}:{port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the camera without asking its server. Raises Refused for one that cannot be."""
        settings = CameraSettings.read(self.name, options)
        unknown = {
            "detector.shape": "the camera server tells it",
            "detector.dtype": "no server tells it before the first picture",
            "geometry.pixel_size_mm": "the camera server tells it, where Instamatic's configuration has it",
        }
        if not settings.saturation:
            unknown["detector.saturation"] = "the camera server tells it"
        return Declared(detector=settings.facts(None, settings.saturation or None), unknown=unknown)

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Connect to a running camera server.

        options: see docs/drivers/instamatic.md. Raises Refused for an option that cannot be, DeviceLost when no server
        answers, DeviceError when it is not Instamatic's camera server.
        """
        settings = CameraSettings.read(self.name, options)
        codec = PictureCodec() if settings.protocol == PictureCodec.name else CODECS[settings.protocol]()

        async def no_state(_: Wire) -> None:
            """A camera has none that matters between exposures."""

        thread = DeviceThread("camera pictures", clock, settings.timeout_s)
        wire = Wire(
            clock, "camera", settings.host, settings.port, codec, settings.timeout_s, "attr_name", no_state, thread
        )
        camera = None
        try:
            await wire.connect()
            binning = await self._binning(wire, settings.binning)
            rows, columns = await wire.call("get_camera_dimensions", sides)
            saturation = settings.saturation or int(await self._told(wire, "dynamic_range", "saturation"))
            facts = settings.facts(settings.turn.shape(rows // binning, columns // binning), saturation)
            camera = InstamaticCamera(clock, wire, thread, facts, binning, settings)
            geometry = await geometry_told(wire, binning)
            yield Parts(detector=camera, geometry=geometry, turn=settings.turn, binning=binning)
        finally:
            if camera is not None:
                await camera.disarm()
            await wire.close()
            thread.close()

    @staticmethod
    async def _binning(wire: Wire, asked: int) -> int:
        """The binning to take pictures with: what the devices file asks for, or the one Instamatic is set to."""
        binning = asked or await told(wire, "get_binning", one_binning) or 1
        possible = await told(wire, "possible_binsizes", binnings) or (binning,)
        if binning not in possible:
            raise DeviceError(
                f"camera: binning = {binning} is not one of {', '.join(map(str, possible))}, which Instamatic's camera "
                "configuration has; nothing was started. Choose one of these, or leave the option out."
            )
        return binning

    @staticmethod
    async def _told(wire: Wire, name: str, option: str) -> float:
        """What the camera's configuration must say in Instamatic."""
        try:
            return await wire.call(name, positive)
        except ServerError as error:
            raise DeviceError(
                f"{error} Nothing was started. Write {name} into Instamatic's camera configuration, or {option} into "
                "the devices file."
            ) from error


INSTAMATIC_CAMERA = InstamaticCameraDriver()
