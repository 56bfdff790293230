"""A microscope behind Instamatic's TEM server: stage, beam blanker, diffraction lens, and the parts in files beside.

    [microscope]
    driver = "instamatic"
    protocol = "json"        # as tem_communication_protocol in Instamatic's settings.yaml

The engine connects it; docs/drivers/instamatic.md says how to set up both sides. Promises: what `drivers.contract` asks
of Stage, Beam and Optics; a server that answers with another client's answer, restarts or falls silent is a fault that
is told, and after each new connection the state is read again and compared with what it was.

Source of functions, units and their defects: Instamatic 2.2.2, `microscope/interface/{jeol,simu}_microscope.py` and
`server/tem_server.py`. Positions are nm and degrees, lens values the instrument's own units (0..65535 on a JEOL).
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from drivers.calibration.rotationspeed import RotationSpeeds
from drivers.contract import Parts, Reading, SecondConnection
from drivers.declared import Declared
from drivers.facts import OpticsFacts, StageFacts
from drivers.geometry import wavelength_A
from drivers.instamatic.answers import (
    DIFFRACTION,
    Known,
    lens_value,
    mode_name,
    motion,
    nothing,
    plain_number,
    position,
    truth,
)
from drivers.instamatic.calibration import calibration
from drivers.instamatic.codec import CODECS
from drivers.instamatic.deflectors import InstamaticDeflectors
from drivers.instamatic.illumination import InstamaticIllumination
from drivers.instamatic.lensmode import InstamaticMode
from drivers.instamatic.settings import PORT, TIMING, InstamaticSettings
from drivers.instamatic.stagexyz import InstamaticStageXYZ
from drivers.instamatic.wire import ServerError, Wire
from drivers.options import Options
from engine.clock import Clock, ns
from engine.errors import DeviceError

log = structlog.get_logger()

STOPS_WITHIN_S = 0.4
POLL_S = 0.02


class InstamaticStage:
    """Implements `drivers.contract.Stage`. rotation_speeds: None where they were not measured, then `rotate`
    refuses. stop_by_moving: whether a stage that ignores a stop may be driven to the angle it has.
    """

    def __init__(
        self,
        clock: Clock,
        wire: Wire,
        known: Known,
        facts: StageFacts,
        speeds: RotationSpeeds | None,
        stop_by_moving: bool,
    ) -> None:
        self.facts = facts
        self._stop_by_moving = stop_by_moving
        self._clock = clock
        self._wire = wire
        self._known = known
        self.rotation_speeds = speeds

    async def angle(self) -> Reading:
        """See `Stage.angle`. The interval begins when the request goes out, not when it begins to wait its turn."""

        async def read(wire: Wire) -> Reading:
            before_ns = self._clock.now_ns()
            where = await wire.ask("getStagePosition", position)
            return Reading(where.a, before_ns, self._clock.now_ns())

        return await self._wire.in_turn(read)

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`. Two calls where the speed changes, else one."""
        low_deg, high_deg = self.facts.limits_deg
        if not low_deg <= target_deg <= high_deg:
            raise DeviceError(
                f"stage: {target_deg:.2f} deg is outside limits_deg = {low_deg:g}..{high_deg:g} of the devices file; "
                "nothing moved. Choose a smaller range."
            )
        if not (speed_deg_s > 0 and math.isfinite(speed_deg_s)):
            raise DeviceError(f"stage: cannot rotate at {speed_deg_s:g} deg/s; nothing moved. Give a positive speed.")
        if self.rotation_speeds is None:
            raise DeviceError(
                "stage: what this goniometer's speed settings are in deg/s is not known; nothing moved. Measure it "
                "(docs/drivers/instamatic.md) and write rotation.pace into the devices file, or use rotation = pedal."
            )
        setting = self.rotation_speeds.choose(speed_deg_s).setting

        async def go(wire: Wire) -> None:
            await self._set_speed(wire, setting)
            await wire.ask("setStagePosition", nothing, a=target_deg, wait=False)

        await self._wire.in_turn(go)

    async def _set_speed(self, wire: Wire, setting: float) -> None:
        if self._known.speed_setting == setting:
            return
        self._known.speed_setting = None
        try:
            await wire.ask("setRotationSpeed", nothing, value=int(setting) if setting == int(setting) else setting)
        except ServerError as error:
            raise DeviceError(
                f"{error} Nothing moved. On a JEOL Instamatic sets the speed through its goniotool server: start that, "
                "or set the speed by hand and use rotation = pedal."
            ) from error
        self._known.speed_setting = setting

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.release_to_pedal`: Instamatic locks no pedals, nothing is done."""

    async def stop(self) -> None:
        """See `Stage.stop`. One call for the stop, and readings until the stage is known to stand.

        Some servers' `stopStage` does nothing (the simulated microscope of Instamatic 2.2.2). A stage that still moves
        after 0.4 s is driven, where the devices file allows that (`stop_by_moving`), at its highest speed to the angle
        it has then, and the log says so. Raises DeviceError when it may not be driven, or moves even so.
        """
        if not await self._wire.call("isStageMoving", motion):
            return
        await self._wire.call("stopStage", nothing)
        if await self._stands():
            return
        if not self._stop_by_moving:
            raise DeviceError(
                "stage: it was told to stop and still moves; nothing else was tried, it goes on to its end. Stop it at "
                "the microscope. If it may be driven back to where it is, at its highest speed, write stop_by_moving = "
                "true into [microscope] of the devices file."
            )

        async def stay(wire: Wire) -> float:
            where = await wire.ask("getStagePosition", position)
            if self.rotation_speeds is not None:
                await self._set_speed(wire, self.rotation_speeds.nearest(math.inf).setting)
            await wire.ask("setStagePosition", nothing, a=where.a, wait=False)
            return where.a

        angle_deg = await self._wire.in_turn(stay)
        log.warning("stage: it ignored a stop and was driven instead, at its highest speed", to_deg=angle_deg)
        if not await self._stands():
            raise DeviceError(
                f"stage: it was told to stop, then driven to {angle_deg:.2f} deg at its highest speed, and still moves."
                " Stop it at the microscope."
            )

    async def _stands(self) -> bool:
        # One call at a time and none held back: blanking the beam must not wait for this.
        give_up_ns = self._clock.now_ns() + ns(STOPS_WITHIN_S)
        while await self._wire.call("isStageMoving", motion):
            if self._clock.now_ns() > give_up_ns:
                return False
            await self._clock.sleep_s(POLL_S)
        return True


class InstamaticBeam:
    """Implements `drivers.contract.Beam`."""

    def __init__(self, wire: Wire, known: Known) -> None:
        self._wire = wire
        self._known = known

    async def blank(self) -> None:
        """See `Beam.blank`. On a server that was restarted, too, whatever else has changed there: the call after it
        says so.
        """
        self._known.blanked = None  # until the answer is there
        await self._wire.at_once("setBeamBlank", nothing, True)
        self._known.blanked = True

    async def unblank(self) -> None:
        """See `Beam.unblank`."""

        async def change(wire: Wire) -> None:
            self._known.blanked = None
            await wire.ask("setBeamBlank", nothing, False)
            self._known.blanked = False

        await self._wire.in_turn(change)

    async def is_blanked(self) -> bool:
        """See `Beam.is_blanked`."""
        self._known.blanked = await self._wire.call("isBeamBlanked", truth)
        return self._known.blanked


class InstamaticOptics:
    """Implements `drivers.contract.Optics`: the diffraction focus (IL1), which exists in diffraction mode only."""

    def __init__(self, wire: Wire, known: Known, facts: OpticsFacts) -> None:
        self._wire = wire
        self._known = known
        self.facts = facts

    async def focus(self) -> int:
        """See `Optics.focus`. Raises DeviceError outside diffraction mode."""
        return await self._wire.in_turn(self._focus)

    async def _focus(self, wire: Wire) -> int:
        try:
            value = await wire.ask("getDiffFocus", lens_value)
        except ServerError as error:
            raise _explained(error) from error
        self._known.focus = value
        return value

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`. Raises DeviceError outside diffraction mode (nothing changed)."""

        async def change(wire: Wire) -> None:
            self._known.focus = None
            try:
                await wire.ask("setDiffFocus", nothing, int(value))
            except ServerError as error:
                raise _explained(error) from error
            self._known.focus = int(value)

        await self._wire.in_turn(change)


def _explained(error: ServerError) -> DeviceError:
    return DeviceError(f"{error} The lens is as it was. Put the microscope into diffraction mode.")


async def state(wire: Wire, known: Known) -> list[str]:
    """Read what the microscope is; returns what differs from what was known, in words, and remembers the new."""
    mode = await wire.ask("getFunctionMode", mode_name)
    blanked = await wire.ask("isBeamBlanked", truth)
    focus = await wire.ask("getDiffFocus", lens_value) if mode == DIFFRACTION else None
    differs = []
    if known.blanked not in (None, blanked):
        differs.append("the beam is blanked (was on)" if blanked else "the BEAM IS ON (was blanked)")
    if known.mode not in (None, mode):
        differs.append(f"the mode is {mode} (was {known.mode})")
    if focus is not None and known.focus not in (None, focus):
        differs.append(f"the lens is at {focus} (was {known.focus})")
    known.mode, known.blanked, known.focus, known.speed_setting = mode, blanked, focus, None
    return differs


class InstamaticDriver:
    """The entry in the register of drivers."""

    name = "instamatic"
    gives = ("stage", "beam", "optics", "stagexyz", "deflectors", "mode", "illumination")

    def address(self, options: Mapping[str, Any]) -> str | None:
        """The server that is driven, so that two programs do not use it at once."""
        host, port = Options(self.name, options).server(PORT)
        return f"{self.name} {host}:{port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the microscope without asking it. Raises Refused for an option that cannot be."""
        return InstamaticSettings.read(self.name, options).declared

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Connect to a running TEM server; the speed setting of the stage is put back on leaving.

        options: see docs/drivers/instamatic.md. Raises Refused for an option that cannot be, DeviceLost when no server
        answers, DeviceError when it is not Instamatic's TEM server.
        """
        settings = InstamaticSettings.read(self.name, options)
        host, port, codec = settings.host, settings.port, CODECS[settings.protocol]()
        known = Known()

        async def read_state(wire: Wire) -> None:
            if differs := await state(wire, known):
                raise DeviceError(
                    f"{self.name}: connected to {wire.peer} again, and the microscope is not as it was left: "
                    f"{'; '.join(differs)}. This call was not made. Look at the microscope before you go on."
                )

        found_setting: float | None = None
        wire = Wire(clock, self.name, host, port, codec, settings.timeout_s, "func_name", read_state)
        try:
            await wire.connect()
            high_tension_v = await _known_or_none(wire, "getHTValue")
            found_setting = await _known_or_none(wire, "getRotationSpeed")
            known.speed_setting = found_setting
            geometry = {"wavelength_A": wavelength_A(high_tension_v)} if high_tension_v else {}
            length = await _known_or_none(wire, "getMagnification") if known.mode == DIFFRACTION else None
            if length:
                geometry["camera_length_mm"] = length * settings.mode.unit_mm  # the nominal one
            calibrated = calibration(settings.calibration, length) if settings.calibration and length else None
            yield Parts(
                stage=InstamaticStage(clock, wire, known, settings.stage, settings.speeds, settings.stop_by_moving),
                beam=InstamaticBeam(wire, known),
                optics=InstamaticOptics(wire, known, settings.optics),
                geometry=geometry,
                per_px_A=calibrated.per_px_A if calibrated else None,
                turn=calibrated.turn if calibrated else None,
                timing=TIMING,
                second_connection=SecondConnection(
                    "drivers.instamatic.blanker:blank_beam", {"host": host, "port": port, "protocol": codec.name}
                ),
                stagexyz=InstamaticStageXYZ(clock, wire, settings.stagexyz),
                deflectors=InstamaticDeflectors(wire, settings.deflectors),
                mode=InstamaticMode(wire, known, settings.mode),
                illumination=InstamaticIllumination(wire, settings.illumination),
            )
        finally:
            if found_setting not in (None, known.speed_setting):
                with suppress(DeviceError):  # a lost server was told already
                    await wire.call("setRotationSpeed", nothing, value=found_setting)
            await wire.close()


async def _known_or_none(wire: Wire, function: str) -> float | None:
    """What only some microscopes tell."""
    try:
        return await wire.call(function, plain_number)
    except ServerError:
        return None


INSTAMATIC = InstamaticDriver()
