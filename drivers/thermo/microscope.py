"""A Thermo Fisher (FEI) microscope behind temscript's server: stage, beam blanker and diffraction lens.

    [microscope]
    driver = "thermo"
    host = "192.168.0.1"     # the microscope's computer; two temscript-server processes run there
    port = 8080              # readings, blanker, lens
    motion_port = 8081       # rotations only: the call lasts as long as the motion

The engine connects it; docs/drivers/thermo.md says how to set up both sides. Promises: what `drivers.contract` asks of
Stage, Beam and Optics, but for one thing: TEM scripting has no stop. `stop` waits for the end of a rotation that is
near, and says so when it is not.

Source of names and units: temscript 2.1.0, `base_microscope.py` and `server.py` (angles in radians, high tension in kV,
camera length in metres; speed 1.0 is the stage's own). `defocus` there is `Projection.Focus` of TEM scripting: the
focus of the active mode, which is the diffraction lens in diffraction mode. The lens value of credline is
Focus / focus_step.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from drivers.calibration.rotationspeed import RotationSpeeds
from drivers.contract import Parts, Reading, SecondConnection
from drivers.declared import Declared
from drivers.facts import OpticsFacts, StageFacts
from drivers.geometry import wavelength_A
from drivers.options import Options, is_number
from drivers.thermo.settings import PORT, TIMING, ThermoSettings
from drivers.thermo.wire import TemscriptWire
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError, DeviceLost

MOVING = ("GOING", "MOVING")
ACCEPTED_WITHIN_S = 2.0
ARRIVES_WITHIN_S = 1.2
POLL_S = 0.02


@dataclass(slots=True)
class Known:
    """What the microscope was last known to be; compared when it was lost in between. None = not known."""

    blanked: bool | None = None
    focus: int | None = None
    lost: bool = False


class Session:
    """One call after the other; after a lost one the state is read again before the next."""

    def __init__(self, clock: Clock, wire: TemscriptWire, focus_step: float) -> None:
        self.wire = wire
        self.known = Known()
        self.focus_step = focus_step
        self._clock = clock
        self._turn = asyncio.Lock()

    async def get(self, what: str) -> Any:
        """Read a property, in turn."""
        return (await self.timed(what))[0]

    async def timed(self, what: str) -> tuple[Any, int, int]:
        """Read a property, in turn: its value, and the instants of question and answer."""
        async with self._turn:
            await self._compare()
            before_ns = self._clock.now_ns()
            value = await self._noting_loss(self.wire.get(what))
            return value, before_ns, self._clock.now_ns()

    async def blank(self, blanked: bool) -> None:
        """Set the blanker, in turn. To take the beam off waits for no comparison: the next call makes that."""
        async with self._turn:
            if not blanked:
                await self._compare()
            self.known.blanked = None  # until the answer is there
            await self._noting_loss(self.wire.put("beam_blanked", blanked))
            self.known.blanked = blanked

    async def focus(self, value: int) -> None:
        """Set the lens, in turn."""
        async with self._turn:
            await self._compare()
            self.known.focus = None
            await self._noting_loss(self.wire.put("defocus", value * self.focus_step))
            self.known.focus = value

    async def _noting_loss(self, call: Any) -> Any:
        try:
            return await call
        except DeviceLost:
            self.known.lost = True
            raise

    async def _compare(self) -> None:
        """Read the state again after a loss. Raises DeviceError, once, when it is not what it was."""
        if not self.known.lost:
            return
        blanked = _truth(await self.wire.get("beam_blanked"))
        focus = round(_number(await self.wire.get("defocus"), "defocus") / self.focus_step)
        differs = []
        if self.known.blanked not in (None, blanked):
            differs.append("the beam is blanked (was on)" if blanked else "the BEAM IS ON (was blanked)")
        if self.known.focus not in (None, focus):
            differs.append(f"the lens is at {focus} (was {self.known.focus})")
        self.known.lost, self.known.blanked, self.known.focus = False, blanked, focus
        if differs:
            raise DeviceError(
                f"thermo: {self.wire.peer} answers again, and the microscope is not as it was left: "
                f"{'; '.join(differs)}. This call was not made. Look at the microscope before you go on."
            )


def _strange(said: str) -> DeviceError:
    """For an answer that no temscript-server gives."""
    return DeviceError(
        f"thermo: the server says {said}. Nothing changed. Check that temscript-server 2 runs at host and port of the "
        "devices file."
    )


def _number(value: Any, what: str) -> float:
    if not is_number(value):
        raise _strange(f"{what} = {str(value)[:40]!r}, which is no number")
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool | int):
        raise _strange(f"beam_blanked = {str(value)[:40]!r}")
    return bool(value)


def _alpha_deg(position: Any) -> float:
    if not isinstance(position, dict) or "a" not in position:
        raise _strange(f"stage_position = {str(position)[:60]!r}")
    return math.degrees(_number(position["a"], "the tilt"))


class ThermoStage:
    """Implements `drivers.contract.Stage`. rotation_speeds: None where they were not measured, then `rotate` refuses.

    motion: the server that carries out rotations; its calls last as long as they do.
    """

    def __init__(
        self,
        clock: Clock,
        session: Session,
        motion: TemscriptWire,
        facts: StageFacts,
        speeds: RotationSpeeds | None,
    ) -> None:
        self.facts = facts
        self.rotation_speeds = speeds
        self._clock = clock
        self._session = session
        self._motion = motion
        self._moving: asyncio.Task[None] | None = None
        self._target_deg = 0.0

    async def angle(self) -> Reading:
        """See `Stage.angle`. Raises DeviceError once when a rotation under way has failed."""
        self._tell_a_failed_motion()
        position, before_ns, after_ns = await self._session.timed("stage_position")
        return Reading(_alpha_deg(position), before_ns, after_ns)

    def _tell_a_failed_motion(self) -> None:
        motion = self._moving
        if motion is not None and motion.done():
            self._moving = None
            motion.result()

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`: returns when the stage is seen to move, or has already arrived.

        Raises DeviceBusy while an earlier rotation is under way (that one goes on): there is no way to stop it.
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
        self._tell_a_failed_motion()
        if self._moving is not None:
            raise DeviceBusy(
                f"stage: still on its way to {self._target_deg:.2f} deg, which cannot be stopped; no new rotation was "
                "begun. Wait until it has arrived."
            )
        before_deg = _alpha_deg(await self._session.get("stage_position"))
        self._target_deg = target_deg
        self._moving = asyncio.get_running_loop().create_task(
            self._motion.put(
                "stage_position",
                {"a": math.radians(target_deg)},
                {"method": "GO", "speed": f"{level:.6g}"},
                limit_s=2 * abs(target_deg - before_deg) / speed_deg_s,
            ),
            name="stage rotation",
        )
        self._moving.add_done_callback(_look_at)
        await self._until_accepted(before_deg)

    async def _until_accepted(self, before_deg: float) -> None:
        alone = self._motion.peer != self._session.wire.peer
        give_up_ns = self._clock.now_ns() + ns(ACCEPTED_WITHIN_S)
        while self._clock.now_ns() < give_up_ns:
            await self._clock.sleep_s(POLL_S)
            if self._moving is None or self._moving.done():
                return self._tell_a_failed_motion()
            # Only another server can tell meanwhile; and one that says READY may not have begun yet.
            if alone and await self._session.get("stage_status") in MOVING:
                return None
            if alone and abs(_alpha_deg(await self._session.get("stage_position")) - before_deg) > 0.02:
                return None
        if alone:
            raise DeviceError(
                f"stage: was told to rotate, and neither moves nor refuses after {ACCEPTED_WITHIN_S:g} s; it may still "
                "begin. Look at the microscope."
            )
        raise DeviceError(
            f"stage: rotates, but {self._motion.peer} answers nothing else until it has arrived, so no frame could be "
            "taken on the way. Start a second temscript-server and write its port as motion_port into the devices file."
        )

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.release_to_pedal`: nothing is locked, nothing is done."""

    async def stop(self) -> None:
        """See `Stage.stop`, as far as it goes: the interface has no stop.

        Returns at once when nothing moves, and when a rotation under way arrives within 1.2 s. Else raises DeviceError
        with the angle it goes on to.
        """
        motion = self._moving
        if motion is None:
            return
        give_up_ns = self._clock.now_ns() + ns(ARRIVES_WITHIN_S)
        while not motion.done():
            if self._clock.now_ns() > give_up_ns:
                raise DeviceError(
                    f"stage: TEM scripting has no stop; the stage rotates on to {self._target_deg:.2f} deg and stops "
                    "there. To stop it before, use the microscope's own controls."
                )
            await self._clock.sleep_s(POLL_S)
        self._tell_a_failed_motion()

    async def close(self) -> None:
        """Let go of a rotation under way; it goes on to its target."""
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.wait([self._moving])


def _look_at(motion: asyncio.Task[None]) -> None:
    """So that an error that nobody asks for any more is not reported as never retrieved."""
    if not motion.cancelled():
        motion.exception()


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
        self._session.known.blanked = _truth(await self._session.get("beam_blanked"))
        return self._session.known.blanked


class ThermoOptics:
    """Implements `drivers.contract.Optics`: the focus of the diffraction lens, in steps of `focus_step`."""

    def __init__(self, session: Session, facts: OpticsFacts) -> None:
        self._session = session
        self.facts = facts
        self._in_diffraction = False

    async def focus(self) -> int:
        """See `Optics.focus`. Two calls; raises DeviceError outside diffraction mode."""
        self._in_diffraction = False
        await self._check_mode()
        step = self._session.focus_step
        self._session.known.focus = round(_number(await self._session.get("defocus"), "defocus") / step)
        return self._session.known.focus

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`. The mode is looked at before the first time, and with each `focus`."""
        if not self._in_diffraction:
            await self._check_mode()
        await self._session.focus(int(value))

    async def _check_mode(self) -> None:
        mode = await self._session.get("projection_mode")
        if mode != "DIFFRACTION":
            raise DeviceError(
                f"lens: the microscope is in the mode {str(mode)[:30]}, where Focus is another lens; it is as it was. "
                "Put the microscope into diffraction mode."
            )
        self._in_diffraction = True


class ThermoDriver:
    """The entry in the register of drivers."""

    name = "thermo"
    gives = ("stage", "beam", "optics")

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
        motion = TemscriptWire(clock, self.name, host, settings.motion_port, timeout_s)
        if settings.motion_port != port:
            await motion.get("version")
        facts = settings.stage(await self._limits(session, settings.limits_deg))
        stage = ThermoStage(clock, session, motion, facts, settings.speeds)
        blanker = {"host": host, "port": port}
        try:
            yield Parts(
                stage=stage,
                beam=ThermoBeam(session),
                optics=ThermoOptics(session, settings.optics),
                geometry=await self._geometry(session),
                timing=TIMING,
                second_connection=SecondConnection("drivers.thermo.blanker:blank_beam", blanker),
            )
        finally:
            await stage.close()

    @staticmethod
    async def _limits(session: Session, given_deg: tuple[float, float]) -> tuple[float, float]:
        """The narrower of what the devices file and the microscope allow."""
        limits = await session.get("stage_limits")
        if not isinstance(limits, dict) or not isinstance(pair := limits.get("a"), list) or len(pair) != 2:
            raise _strange(f"stage_limits = {str(limits)[:60]!r}")
        low_deg, high_deg = (math.degrees(_number(value, "a limit of the stage")) for value in pair)
        return max(given_deg[0], low_deg), min(given_deg[1], high_deg)

    @staticmethod
    async def _geometry(session: Session) -> dict[str, float]:
        """What the microscope knows: wavelength, and in diffraction mode the indicated camera length."""
        found = {}
        if (voltage_kv := _number(await session.get("voltage"), "voltage")) > 0:
            found["wavelength_A"] = wavelength_A(1000 * voltage_kv)
        if (camera_length_m := _number(await session.get("indicated_camera_length"), "indicated_camera_length")) > 0:
            found["camera_length_mm"] = 1000 * camera_length_m
        return found


THERMO = ThermoDriver()
