"""JEOL microscopes through TEMCOM, on the microscope's computer: tilt, blanker, lens, and the parts in files beside.

Registered as `jeol`; connected by the engine. The COM interface blocks, so it is called in threads
(`drivers.jeol.temcom`): one for the whole column, which therefore never waits for a stage reading of 277 ms, one for
the stage, and two in which the commands to rotate and to move may take as long as the motion does. The rest of the
contract is that of drivers/contract.py and drivers/parts.py.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from drivers.calibration.rotationspeed import RotationSpeeds
from drivers.contract import Parts, Reading, SecondConnection
from drivers.declared import Declared
from drivers.geometry import wavelength_A
from drivers.jeol.deflectors import JeolDeflectors
from drivers.jeol.illumination import JeolIllumination
from drivers.jeol.lensmode import DIFFRACTION, JeolMode, nominal_camera_length_mm
from drivers.jeol.settings import LENS_MAX, TIMING, JeolSettings
from drivers.jeol.stagexyz import JeolStageXYZ
from drivers.jeol.temcom import (
    ACCEPT_S,
    AT_LIMITER,
    LONGEST_MOTION_S,
    MOVING,
    Answer,
    Connection,
    OpenLibrary,
    blank_beam,
    numbers,
    open_temcom,
)
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError, DeviceLost

TILT_X = 3  # place of the tilt axis in what Stage3 answers


class JeolStage:
    """Implements `drivers.contract.Stage`.

    speeds: the rates of the tilt axis; None where the interface cannot set it. before_stop: called before a stop, which
    is one for all axes.
    """

    def __init__(
        self,
        clock: Clock,
        stage: Connection,
        motion: Connection,
        settings: JeolSettings,
        speeds: RotationSpeeds | None,
        before_stop: Callable[[], None],
    ) -> None:
        self.facts = settings.stage(speeds)
        self.rotation_speeds = speeds
        self._clock = clock
        self._stage = stage
        self._motion = motion
        self._settings = settings
        self._before_stop = before_stop
        self._turning: asyncio.Task[Answer] | None = None
        self._rate_found: int | None = None

    async def angle(self) -> Reading:
        """See `Stage.angle`."""
        answer = await self._stage.call("Stage3", "GetPos")
        return Reading(float(numbers(answer, 5, "stage")[TILT_X]), answer.t_before_ns, answer.t_after_ns)

    async def rotate(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.rotate`; two calls where the speed can be set. A speed that no rate gives raises DeviceError."""
        low_deg, high_deg = self.facts.limits_deg
        if not low_deg <= target_deg <= high_deg:
            raise DeviceError(
                f"stage: {target_deg:.2f} deg is outside the holder's limits {low_deg:g}..{high_deg:g} deg; nothing "
                "moved. Choose a smaller range, or set limits_deg for your holder."
            )
        rate = self._rate(speed_deg_s)
        if self._turning is not None and not self._turning.done():
            await self.stop()
            await asyncio.wait([self._turning], timeout=self._settings.call_limit_s)
        if rate is not None:
            if self._rate_found is None:
                self._rate_found = await self._read_rate()
            await self._stage.call("Stage3", "Setf1OverRateTxNum", rate)
        self._turning = asyncio.create_task(self._motion.call("Stage3", "SetTiltXAngle", target_deg))
        self._turning.add_done_callback(lambda task: task.cancelled() or task.exception())
        await self._accepted(self._turning)

    def _rate(self, speed_deg_s: float) -> int | None:
        """The setting for a speed, None where the interface has none and the speed is the one it is fixed to."""
        if self.rotation_speeds is not None:
            return int(self.rotation_speeds.choose(speed_deg_s).setting)
        fixed = self._settings.fixed_speed_deg_s
        if self.facts.no_speed(speed_deg_s):
            known = f"turns at {fixed:g} deg/s" if fixed else "tells no speed"
            raise DeviceError(
                f"stage: this microscope's TEMCOM cannot set a speed and {known}; nothing moved. Rotate with the "
                "pedal, or set fixed_speed_deg_s to the measured speed and ask for that."
            )
        return None

    async def _accepted(self, turning: asyncio.Task[Answer]) -> None:
        """Until the command came back, or the stage says that it moves: some versions return at the standstill."""
        give_up_ns = self._clock.now_ns() + ns(self._settings.call_limit_s)
        await asyncio.wait([turning], timeout=ACCEPT_S)
        while not turning.done():
            state = numbers(await self._stage.call("Stage3", "GetStatus"), 5, "stage")[TILT_X]
            if state == AT_LIMITER:
                raise DeviceError("stage: stands at its hardware limiter; it did not rotate. Move it off by hand.")
            if state == MOVING:
                return
            if self._clock.now_ns() > give_up_ns:
                raise DeviceLost(
                    f"stage: did not answer the command to rotate for {self._settings.call_limit_s:g} s and does not "
                    "move; whether it still will is unknown. Stop it at the console, then connect again."
                )
        turning.result()

    async def release_to_pedal(self, target_deg: float, speed_deg_s: float) -> None:
        """See `Stage.release_to_pedal`; the pedals are never locked."""

    async def stop(self) -> None:
        """See `Stage.stop`; x, y and z stop as well."""
        self._before_stop()
        await self._stage.call("Stage3", "Stop")

    async def _read_rate(self) -> int:
        return int(numbers(await self._stage.call("Stage3", "Getf1OverRateTxNum"), 1, "stage")[0])

    async def put_back(self) -> None:
        """Stop a rotation of ours that is still under way, and set the rate that was found."""
        with contextlib.suppress(DeviceError):
            if self._turning is not None:
                await self.stop()
            if self._rate_found is not None:
                await self._stage.call("Stage3", "Setf1OverRateTxNum", self._rate_found)
        if self._turning is not None:
            await asyncio.wait([self._turning], timeout=self._settings.call_limit_s)
            self._turning.cancel()


class JeolBlanker:
    """Implements `drivers.contract.Beam`."""

    def __init__(self, column: Connection) -> None:
        self._column = column

    async def blank(self) -> None:
        """See `Beam.blank`."""
        await self._column.call("Def3", "SetBeamBlank", 1)

    async def unblank(self) -> None:
        """See `Beam.unblank`."""
        await self._column.call("Def3", "SetBeamBlank", 0)

    async def is_blanked(self) -> bool:
        """See `Beam.is_blanked`."""
        return numbers(await self._column.call("Def3", "GetBeamBlank"), 1, "beam")[0] != 0


class JeolLens:
    """Implements `drivers.contract.Optics`: IL1 through the diffraction focus, 0 to 65535, in diffraction mode."""

    def __init__(self, column: Connection, settings: JeolSettings) -> None:
        self.facts = settings.optics
        self._column = column
        self._diffraction = False

    async def focus(self) -> int:
        """See `Optics.focus`."""
        return int(numbers(await self._column.call("Lens3", "GetIL1"), 1, "lens")[0])

    def forget_mode(self) -> None:
        """The mode is about to change: ask for it before the next `set_focus`."""
        self._diffraction = False

    async def set_focus(self, value: int) -> None:
        """See `Optics.set_focus`. Asks for the mode before the first one: DeviceError outside diffraction mode."""
        if not 0 <= value <= LENS_MAX:
            raise DeviceError(f"lens: {value} is not within 0 to {LENS_MAX}; nothing was changed. Use less defocus.")
        if not self._diffraction:
            mode = numbers(await self._column.call("EOS3", "GetFunctionMode"), 1, "lens")[0]
            if mode != DIFFRACTION:
                raise DeviceError(
                    "lens: the microscope is not in diffraction mode; nothing was changed. Switch it to DIFF."
                )
            self._diffraction = True
        await self._column.call("Lens3", "SetDiffFocus", value)


@dataclasses.dataclass(frozen=True, slots=True)
class JeolDriver:
    """The entry in the register of drivers. open_library: makes the COM object TEM3, in the thread that uses it.

    second_connection: for the watchdog; TEMCOM serves several programs.
    """

    name: str
    open_library: OpenLibrary
    second_connection: SecondConnection | None = None
    gives = ("stage", "beam", "optics", "stagexyz", "deflectors", "mode", "illumination")

    def address(self, options: Mapping[str, Any]) -> str | None:
        """One computer has one TEMCOM."""
        return "jeol TEMCOM"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the microscope without asking it. Raises Refused for options."""
        return JeolSettings.of(options).declared

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """The parts of the microscope this computer belongs to.

        Waits until its TEM server answers, for up to `ready_s`. The column stays as it is on leaving; a rotation or a
        move under way is stopped. Raises Refused for options, and where there is no TEMCOM; DeviceError.
        """
        settings = JeolSettings.of(options)
        async with AsyncExitStack() as stack:
            column, stage, motion, translation = (
                Connection(f"jeol {name}", clock, self.open_library, limit_s)
                for name, limit_s in (
                    ("column", settings.call_limit_s),
                    ("stage", settings.call_limit_s),
                    ("motion", LONGEST_MOTION_S),
                    ("translation", LONGEST_MOTION_S),
                )
            )
            for connection in (column, stage, motion, translation):
                stack.push_async_callback(connection.close)
            geometry = await _when_ready(clock, column, settings.ready_s)
            has_rates = await stage.has("Stage3", "Setf1OverRateTxNum")
            stagexyz = JeolStageXYZ(clock, stage, translation, settings.stagexyz, settings.call_limit_s)
            stack.push_async_callback(stagexyz.put_back)
            speeds = settings.speeds if has_rates else None
            goniometer = JeolStage(clock, stage, motion, settings, speeds, stagexyz.drop_the_rest)
            stack.push_async_callback(goniometer.put_back)
            lens = JeolLens(column, settings)
            mode = JeolMode(column, settings.mode, lens.forget_mode)
            yield Parts(
                stage=goniometer,
                beam=JeolBlanker(column),
                optics=lens,
                geometry=geometry | await nominal_camera_length_mm(mode),
                timing=TIMING,
                second_connection=self.second_connection,
                stagexyz=stagexyz,
                deflectors=JeolDeflectors(column, settings.deflectors),
                mode=mode,
                illumination=JeolIllumination(column, settings.illumination),
            )


async def _when_ready(clock: Clock, column: Connection, ready_s: float) -> dict[str, float]:
    """What the high tension tells of the geometry, as soon as the TEM server answers."""
    give_up_ns = clock.now_ns() + ns(ready_s)
    while True:
        try:
            (volts,) = numbers(await column.call("HT3", "GetHTValue"), 1, "high tension")
            return {"wavelength_A": wavelength_A(volts)} if volts > 0 else {}
        except (DeviceBusy, DeviceLost):
            raise
        except DeviceError as error:
            if clock.now_ns() >= give_up_ns:
                raise DeviceError(
                    f"jeol: TEMCOM was not ready within {ready_s:g} s ({error}); nothing was moved. Start the "
                    "microscope's own software, then connect again."
                ) from error
        await clock.sleep_s(0.5)


JEOL = JeolDriver("jeol", open_temcom, SecondConnection(f"{blank_beam.__module__}:{blank_beam.__name__}", {}))
