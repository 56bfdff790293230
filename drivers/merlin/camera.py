"""Quantum Detectors MerlinEM through the two TCP ports of its software: commands on 6341, frames on 6342.

Found through the entry point `merlin`; docs/drivers/merlin.md says how to set up both sides. The detector runs one long
series of short frames at its own cadence, started by one soft trigger; frames and snapshots are sums of consecutive
ones (`drivers.selfpaced.series`), so neither is it armed anew nor does its exposure change while a run goes on.

Names of parameters: as the public clients of the interface use them (LiberTEM-live, Instamatic, ADMerlin of EPICS).
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from drivers.contract import Parts
from drivers.declared import Declared
from drivers.merlin.frames import DEPTHS
from drivers.merlin.link import Commands, Frames
from drivers.options import Options
from drivers.selfpaced import framesocket
from drivers.selfpaced.framesocket import Silent
from drivers.selfpaced.series import PartTiming, SelfPaced, facts_of_sums
from engine.clock import Clock
from engine.errors import DeviceBusy, DeviceError, DeviceLost, Refused

# At 24 bits both counters of a pixel are one, so it cannot count while it is read: 1.64 ms (instamatic issue 84).
READOUT_24_BITS_S = 0.002
LONGEST_EXPOSURE_S = 100.0
FRAMES_ASKED = 4_000_000
"""Frames of a series, more than a day of 10 ms: the detector ends a series at this number, credline before."""
TRIGGERS = {"soft": "5", "internal": "0"}
"""Values of TRIGGERSTART: on a soft trigger, or at once."""
BUSY = "1"
STARTS = 3
RESTORED = (
    "CONTINUOUSRW",
    "COUNTERDEPTH",
    "ACQUISITIONTIME",
    "ACQUISITIONPERIOD",
    "NUMFRAMESTOACQUIRE",
    "NUMFRAMESPERTRIGGER",
    "TRIGGERSTART",
    "FILEENABLE",
)


@dataclasses.dataclass(frozen=True, slots=True)
class MerlinSettings:
    """The options of the devices file."""

    host: str
    port: int
    data_port: int
    trigger: str
    depth: int
    subframe_s: float
    timeout_s: float
    pixel_size_mm: float
    wide_cross: bool

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "MerlinSettings":
        """Raises Refused for what is not known or cannot be."""
        options = Options("merlin", given)
        host, port = options.server(6341)
        settings = cls(
            host=host,
            port=port,
            data_port=options.whole("data_port", 6342, 1, 65535),
            trigger=options.text("trigger", "soft", list(TRIGGERS)),
            depth=options.whole("depth", 12, min(DEPTHS), max(DEPTHS)),
            subframe_s=options.number("subframe_s", 0.01, 0.001, 0.1),
            timeout_s=options.number("timeout_s", 5.0, 0.5, 60.0),
            pixel_size_mm=options.number("pixel_size_mm", 0.055, 0.001, 1.0),
            wide_cross=options.flag("wide_cross", False),
        )
        options.finish()
        if settings.depth not in DEPTHS:
            raise Refused(
                f"devices: merlin: depth = {settings.depth} is none of {', '.join(map(str, DEPTHS))}; "
                "nothing was started."
            )
        return settings

    @property
    def cadence(self) -> PartTiming:
        """How its short frames follow one another."""
        readout_s = READOUT_24_BITS_S if self.depth == 24 else 0.0
        return PartTiming(live_s=self.subframe_s, period_s=self.subframe_s + readout_s, top=2**self.depth - 1)

    @property
    def exposure_limits_s(self) -> tuple[float, float]:
        """Shortest and longest exposure."""
        return self.subframe_s, LONGEST_EXPOSURE_S


class Merlin:
    """Implements `drivers.selfpaced.series.Camera`."""

    name = "merlin"

    def __init__(self, clock: Clock, settings: MerlinSettings) -> None:
        self.shape = (0, 0)
        self.cadence = settings.cadence
        self._clock = clock
        self._settings = settings
        self._commands = Commands(clock, settings.host, settings.port, settings.timeout_s)
        self._found: dict[str, str] = {}
        self._changed = False

    async def open(self) -> None:
        """Ask the detector how it is, and keep its settings for `close`. Raises DeviceError."""
        if await self._commands.get("DETECTORSTATUS") == BUSY:
            raise DeviceBusy(
                "merlin: it is acquiring for another program; nothing was changed. Stop that acquisition first."
            )
        self.shape = await self._read_shape()
        self._found = {name: await self._commands.get(name) for name in RESTORED}

    async def _read_shape(self) -> tuple[int, int]:
        said = [await self._commands.get(name) for name in ("IMAGEY", "IMAGEX")]
        try:
            rows, columns = (int(float(value)) for value in said)
        except ValueError as error:
            raise DeviceError(
                f"merlin: says that its picture has {said[0]} rows and {said[1]} columns; nothing was started. Restart "
                "the Merlin software."
            ) from error
        if not (0 < rows <= 1 << 13 and 0 < columns <= 1 << 13):
            raise DeviceError(f"merlin: says that its picture is {rows} x {columns}; nothing was started.")
        return rows, columns

    async def begin(self) -> Frames:
        """See `Camera.begin`."""
        shape = await self._read_shape()
        if shape != self.shape:
            raise DeviceError(
                f"merlin: its picture is {shape} now and was {self.shape} when it was connected; not armed. Start the "
                "run again."
            )
        await self._set_up()
        connection = await framesocket.connect(
            self.name, self._clock, self._settings.host, self._settings.data_port, self._settings.timeout_s
        )
        frames = Frames(connection, shape, self.cadence.live_s, self._settings.timeout_s)
        try:
            await self._start(frames)
            if self._settings.trigger == "soft":
                await self._commands.do("SOFTTRIGGER")
        except BaseException:
            connection.close()
            raise
        return frames

    async def _start(self, frames: Frames) -> None:
        """Start a series and wait for its header, which goes to the connection of an earlier one if that is still
        open at the other end; so it is tried again.
        """
        for _ in range(STARTS):
            await self._commands.do("STARTACQUISITION")
            try:
                await asyncio.to_thread(frames.wait_for_header, self._settings.timeout_s / STARTS)
            except Silent:
                await self.end()
            else:
                return
        raise DeviceLost(
            f"merlin: no acquisition header on its data port after {STARTS} starts; not armed. Check that no other "
            "program receives its frames, and that sending of headers is enabled in the Merlin software."
        )

    async def _set_up(self) -> None:
        self._changed = True
        milliseconds = {"ACQUISITIONTIME": self.cadence.live_s * 1e3, "ACQUISITIONPERIOD": self.cadence.period_s * 1e3}
        wanted = {
            "CONTINUOUSRW": "0" if self._settings.depth == 24 else "1",
            "COUNTERDEPTH": str(self._settings.depth),
            **{name: f"{value:.6f}" for name, value in milliseconds.items()},
            "NUMFRAMESTOACQUIRE": str(FRAMES_ASKED),
            "NUMFRAMESPERTRIGGER": str(FRAMES_ASKED if self._settings.trigger == "soft" else 1),
            "TRIGGERSTART": TRIGGERS[self._settings.trigger],
            "FILEENABLE": "0",
        }
        await self._set_all(wanted)
        for name in (*milliseconds, "COUNTERDEPTH"):  # on these depends what the frames mean
            taken = await self._commands.get(name)
            try:
                differs = abs(float(taken) - float(wanted[name])) > 0.001 * float(wanted[name])
            except ValueError:
                differs = True
            if differs:
                raise DeviceError(
                    f"merlin: {name} is {taken} after it was set to {wanted[name]}; not armed. Choose another "
                    "subframe_s or depth in the devices file."
                )

    async def _set_all(self, wanted: Mapping[str, str]) -> None:
        """Set parameters; one that is refused once more after the others (no exposure fits a shorter period)."""
        refused = {}
        for name, value in wanted.items():
            try:
                await self._commands.set(name, value)
            except DeviceLost:
                raise
            except DeviceError:
                refused[name] = value
        for name, value in refused.items():
            await self._commands.set(name, value)

    async def end(self) -> None:
        """See `Camera.end`. A refusal only means that there is nothing to stop."""
        try:
            await self._commands.do("STOPACQUISITION")
        except DeviceLost:
            raise
        except DeviceError:
            pass

    async def close(self) -> None:
        """Put its settings back as they were found, if any was set, and close the connection. Raises DeviceError."""
        try:
            if self._changed:
                await self._set_all({name: value for name, value in self._found.items() if _is_number(value)})
        finally:
            self._commands.close()

    def abandon(self) -> None:
        """Close the connection only."""
        self._commands.close()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class MerlinDriver:
    """The entry in the register of drivers."""

    name = "merlin"

    def address(self, options: Mapping[str, Any]) -> str:
        """Which detector these options mean, for the lock against a second program."""
        settings = MerlinSettings.read(options)
        return f"merlin {settings.host}:{settings.port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the detector without asking it. Raises Refused for an option it does not know."""
        settings = MerlinSettings.read(options)
        return Declared(
            detector=facts_of_sums(None, settings.cadence, settings.exposure_limits_s, settings.wide_cross),
            geometry={"pixel_size_mm": settings.pixel_size_mm},
            unknown={"detector.shape": "the Merlin software tells how many chips there are"},
        )

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Connect to the Merlin software; its settings are put back at the end.

        Raises Refused for an option it does not know, DeviceError when the detector cannot be reached or is in use.
        """
        settings = MerlinSettings.read(options)
        merlin = Merlin(clock, settings)
        detector = SelfPaced(
            clock,
            merlin,
            settings.exposure_limits_s,
            settings.timeout_s,
            wide_cross=settings.wide_cross,
        )
        try:
            await merlin.open()
            yield Parts(detector=detector, geometry={"pixel_size_mm": settings.pixel_size_mm})
        except BaseException:
            # What happened is told; that the detector cannot be put back either would only hide it.
            with suppress(DeviceError):
                await detector.disarm()
                await merlin.close()
            raise
        else:
            try:
                await detector.disarm()
            finally:
                await merlin.close()
        finally:
            merlin.abandon()


MERLIN = MerlinDriver()
