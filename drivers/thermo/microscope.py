"""A Thermo Fisher (FEI) microscope behind temscript's server: tilt, blanker, lens, and the parts in files beside.

    [microscope]
    driver = "thermo"
    host = "192.168.0.1"     # the microscope's computer; two temscript-server processes run there
    port = 8080              # readings, and all of the column
    motion_port = 8081       # motions of the stage only: the call lasts as long as the motion

The engine connects it; docs/drivers/thermo.md says how to set up both sides. Promises: what `drivers.contract` asks of
Stage, Beam and Optics, but for one thing: TEM scripting has no stop. `stop` waits for the end of a rotation that is
near, and says so when it is not.

Source of names and units: temscript 2.1.0, `base_microscope.py` and `server.py` (angles in radians, high tension in kV,
camera length in metres; speed 1.0 is the stage's own). `defocus` there is `Projection.Focus` of TEM scripting: the
focus of the active mode, which is the diffraction lens in diffraction mode. The lens value of credline is
Focus / focus_step.
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from drivers.calibration.rotationspeed import RotationSpeeds
from drivers.contract import Parts, Reading, SecondConnection
from drivers.declared import Declared
from drivers.facts import OpticsFacts, StageFacts
from drivers.geometry import wavelength_A
from drivers.options import Options
from drivers.thermo.deflectors import ThermoDeflectors
from drivers.thermo.illumination import ThermoIllumination
from drivers.thermo.lensmode import DIFFRACTION, ThermoMode, as_indicated
from drivers.thermo.motion import Motion
from drivers.thermo.session import Session, number, strange, truth
from drivers.thermo.settings import PORT, TIMING, ThermoSettings
from drivers.thermo.stagexyz import ThermoStageXYZ, narrower
from drivers.thermo.wire import TemscriptWire
from engine.clock import Clock
from engine.errors import DeviceError

SEEN_TO_ROTATE_DEG = 0.02


def _alpha_deg(position: Any) -> float:
    if not isinstance(position, dict) or "a" not in position:
        raise strange(f"stage_position = {str(position)[:60]!r}")
    return math.degrees(number(position["a"], "the tilt"))


class ThermoStage:
    """Implements `drivers.contract.Stage`. speeds: None where they were not measured, then `rotate` refuses."""

    def __init__(self, session: Session, motion: Motion, facts: StageFacts, speeds: RotationSpeeds | None) -> None:
        self.facts = facts
        self.rotation_speeds = speeds
        self._session = session
        self._motion = motion

    async def angle(self) -> Reading:
        """See `Stage.angle`. Raises DeviceError once when a rotation under way has failed."""
        self._motion.tell_failure("stage")
        position, before_ns, after_ns = await self._session.timed("stage_position")
        return Reading(_alpha_deg(position), before_ns, after_ns)

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`: returns when the stage is seen to move, or has already arrived.

        Raises DeviceBusy while an earlier rotation or move is under way (that one goes on): nothing can stop it.
        """
        low_deg, high_deg = self.facts.limits_deg
        if not low_deg <= target_deg <= high_deg:
            raise DeviceError(
                f"stage: {target_deg:.2f} deg is outside the limits {low_deg:g}..{high_deg:g} deg of holder and "
                "devices file; nothing moved. Choose a smaller range."
            )
        if self.rotation_speeds is None:
            raise DeviceError(
                "stage: what its speed is in deg/s is not known; nothing moved. Measure it (docs/drivers/thermo.md) "
                "and write rotation.pace into the devices file, or start the rotation by hand with rotation = pedal."
            )
        level = self.rotation_speeds.choose(speed_deg_s).level
        before_deg = _alpha_deg(await self._session.get("stage_position"))
        self._motion.begin(
            "stage",
            "rotates",
            f"{target_deg:.2f} deg",
            {"a": math.radians(target_deg)},
            {"speed": f"{level:.6g}"},
            2 * abs(target_deg - before_deg) / speed_deg_s,
        )
        await self._motion.until_accepted(
            "stage", lambda position: abs(_alpha_deg(position) - before_deg) > SEEN_TO_ROTATE_DEG
        )

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.release_to_pedal`: nothing is locked, nothing is done."""

    async def stop(self) -> None:
        """See `Stage.stop`, as far as it goes: the interface has no stop.

        Returns at once when nothing moves, and when a motion under way arrives within 1.2 s. Else raises DeviceError
        with the place it goes on to.
        """
        await self._motion.until_arrived_soon("stage")


class ThermoBeam:
    """Implements `drivers.contract.Beam`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def blank(self) -> None:
        """See `Beam.blank`."""
        await self._session.blank(True)

    async def unblank(self) -> None:
        """See `Beam.unblank`."""
        await self._session.blank(False)

    async def is_blanked(self) -> bool:
        """See `Beam.is_blanked`."""
        self._session.known.blanked = truth(await self._session.get("beam_blanked"))
        return self._session.known.blanked


class ThermoOptics:
    """Implements `drivers.contract.Optics`: the focus of the diffraction lens, in steps of `focus_step`."""

    def __init__(self, session: Session, facts: OpticsFacts) -> None:
        self._session = session
        self.facts = facts

    async def focus(self) -> int:
        """See `Optics.focus`. Two calls; raises DeviceError outside diffraction mode."""
        await self._check_mode()
        step = self._session.focus_step
        self._session.known.focus = round(number(await self._session.get("defocus"), "defocus") / step)
        return self._session.known.focus

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`. The mode is looked at before the first time and after a change, and by `focus`."""
        if not self._session.known.diffraction:
            await self._check_mode()
        await self._session.focus(int(value))

    async def _check_mode(self) -> None:
        mode = await self._session.get("projection_mode")
        self._session.known.diffraction = mode == DIFFRACTION
        if mode != DIFFRACTION:
            raise DeviceError(
                f"lens: the microscope is in the mode {str(mode)[:30]}, where Focus is another lens; it is as it was. "
                "Put the microscope into diffraction mode."
            )


class ThermoDriver:
    """The entry in the register of drivers."""

    name = "thermo"
    gives = ("stage", "beam", "optics", "stagexyz", "deflectors", "mode", "illumination")

    def address(self, options: Mapping[str, Any]) -> str | None:
        """The server that is driven, so that two programs do not use it at once."""
        host, port = Options(self.name, options).server(PORT)
        return f"{self.name} {host}:{port}"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the microscope without asking it. Raises Refused for an option that cannot be."""
        return ThermoSettings.read(self.name, options).declared

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Ask the server what microscope it is, and hand out its parts.

        options: see docs/drivers/thermo.md. Raises Refused for an option that cannot be, DeviceLost when no server
        answers, DeviceError when it is no temscript-server of version 2.
        """
        settings = ThermoSettings.read(self.name, options)
        host, port, timeout_s = settings.host, settings.port, settings.timeout_s
        session = Session(clock, TemscriptWire(clock, self.name, host, port, timeout_s), settings.focus_step)
        version = await session.get("version")
        if not isinstance(version, str) or not version.startswith("2."):
            raise DeviceError(
                f"thermo: {session.wire.peer} is temscript-server {str(version)[:20]!r}, not of version 2; nothing was "
                "done. Update temscript on the microscope's computer, or correct host and port in the devices file."
            )
        motion_wire = TemscriptWire(clock, self.name, host, settings.motion_port, timeout_s)
        if settings.motion_port != port:
            await motion_wire.get("version")
        limits = await session.get("stage_limits")
        facts = settings.stage(narrower(settings.limits_deg, limits, "a", math.degrees(1)))
        motion = Motion(clock, session, motion_wire)
        try:
            yield Parts(
                stage=ThermoStage(session, motion, facts, settings.speeds),
                beam=ThermoBeam(session),
                optics=ThermoOptics(session, settings.optics),
                geometry=await self._geometry(session),
                timing=TIMING,
                second_connection=SecondConnection("drivers.thermo.blanker:blank_beam", {"host": host, "port": port}),
                stagexyz=ThermoStageXYZ(session, motion, settings.stagexyz.within(limits)),
                deflectors=ThermoDeflectors(session, settings.deflectors),
                mode=ThermoMode(session, settings.mode),
                illumination=ThermoIllumination(session, settings.illumination),
            )
        finally:
            await motion.close()

    @staticmethod
    async def _geometry(session: Session) -> dict[str, float]:
        """What the microscope knows: wavelength, and in diffraction mode the indicated camera length."""
        found = {}
        if (voltage_kv := number(await session.get("voltage"), "voltage")) > 0:
            found["wavelength_A"] = wavelength_A(1000 * voltage_kv)
        if (camera_length_m := number(await session.get("indicated_camera_length"), "indicated_camera_length")) > 0:
            found["camera_length_mm"] = as_indicated(1000 * camera_length_m)
        return found


THERMO = ThermoDriver()
