"""JEOL microscopes through TEMCOM, on the microscope's own computer: stage tilt, beam blanker, diffraction lens.

Registered as `jeol`; connected by the engine. The COM interface blocks, so it is called in threads
(`drivers.jeol.temcom`): one for lens and blanker, which therefore never wait for a stage reading of 277 ms, one for the
stage, and one in which the command to rotate may take as long as the rotation does. The rest of the contract is that of
drivers/contract.py.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from drivers.calibration.rotationspeed import RotationSpeeds, rotation_speeds, stage_facts
from drivers.contract import Parts, Reading, SecondConnection
from drivers.declared import Declared
from drivers.facts import OpticsFacts, StageFacts, Timing
from drivers.geometry import wavelength_A
from drivers.jeol.temcom import Answer, Connection, OpenLibrary, blank_beam, numbers, open_temcom
from drivers.options import Options
from engine.clock import Clock, ns
from engine.errors import DeviceBusy, DeviceError, DeviceLost

DIFFRACTION = 4  # EOS3.GetFunctionMode: 0 MAG, 1 MAG2, 2 LowMAG, 3 SAMAG, 4 DIFF
LENS_MAX = 65535
MOVING, AT_LIMITER = 1, 2  # Stage3.GetStatus, for each axis
TILT_X = 3  # place of the tilt axis in what Stage3 answers
# Stage3.Setf1OverRateTxNum, the rates of the tilt axis in deg/s as PyJEM documents them.
RATES = RotationSpeeds(levels={0: 10.0, 1: 2.0, 2: 1.0, 3: 0.5})
# A call to rotate that has not come back after this is asked about with GetStatus.
ACCEPT_S = 0.15
LONGEST_ROTATION_S = 3600.0
# Cichocka et al. (2018): about 35 ms a call. Instamatic's notes: a stage reading takes 277 ms on some.
TIMING = Timing(api_call_s=0.035, api_call_worst_s=0.060, stage_read_s=0.277)


@dataclasses.dataclass(frozen=True, slots=True)
class JeolSettings:
    """The options, checked; see docs/drivers/jeol.md.

    settling_time_constant_s, still: the lens is said to be at rest when it is within `still` units of its value, and
    to approach it with this time constant: 350 ms for 1500 units, as the paper has it.
    """

    limits_deg: tuple[float, float]
    backlash_deg: float
    settling_time_constant_s: float
    still: float
    fixed_speed_deg_s: float
    call_limit_s: float
    ready_s: float
    speeds: RotationSpeeds

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "JeolSettings":
        """Checked. Raises Refused."""
        table = Options("jeol", options)
        settings = cls(
            limits_deg=table.pair("limits_deg", (-60.0, 60.0), -180.0, 180.0),
            backlash_deg=table.number("backlash_deg", 0.1, 0.0, 5.0),
            settling_time_constant_s=table.number("settling_time_constant_s", 0.168, 0.0, 2.0),
            still=table.number("still", 187.0, 1.0, LENS_MAX),
            fixed_speed_deg_s=table.number("fixed_speed_deg_s", 0.0, 0.0, 100.0),
            call_limit_s=table.number("call_limit_s", 5.0, 0.1, 600.0),
            ready_s=table.number("ready_s", 30.0, 0.0, 3600.0),
            speeds=rotation_speeds(table.table("rotation") or {}, RATES),
        )
        table.finish()
        return settings

    def stage(self, speeds: RotationSpeeds | None) -> StageFacts:
        """The facts of the stage. speeds: the rates of the tilt axis; None where the interface cannot set it."""
        facts = stage_facts(self.limits_deg, self.backlash_deg, speeds)
        if speeds is None and self.fixed_speed_deg_s:
            return dataclasses.replace(facts, can_rotate=True, speeds_deg_s=(self.fixed_speed_deg_s,))
        return facts

    @property
    def optics(self) -> OpticsFacts:
        """The facts of the lens."""
        return OpticsFacts(0.0, self.settling_time_constant_s, self.still)


class JeolStage:
    """Implements `drivers.contract.Stage`. speeds: the rates of the tilt axis; None where the interface cannot set
    it.
    """

    def __init__(
        self, clock: Clock, stage: Connection, motion: Connection, settings: JeolSettings, speeds: RotationSpeeds | None
    ) -> None:
        self.facts = settings.stage(speeds)
        self.rotation_speeds = speeds
        self._clock = clock
        self._stage = stage
        self._motion = motion
        self._settings = settings
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
        """See `Stage.stop`."""
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

    def address(self, options: Mapping[str, Any]) -> str | None:
        """One computer has one TEMCOM."""
        return "jeol TEMCOM"

    def facts(self, options: Mapping[str, Any]) -> Declared:
        """What these options say of the microscope without asking it. Raises Refused for options.

        Of the speeds what holds for most: with `fixed_speed_deg_s` that one, else the rates of the tilt axis.
        """
        settings = JeolSettings.of(options)
        no_rates = "without rates only the pedal rotates, or fixed_speed_deg_s"
        return Declared(
            stage=settings.stage(None if settings.fixed_speed_deg_s else settings.speeds),
            beam=True,
            optics=settings.optics,
            timing=TIMING,
            unknown={
                "stage.can_rotate": f"this microscope's TEMCOM tells whether it has rates; {no_rates}",
                "stage.speeds_deg_s": "only a TEMCOM that has rates can set them",
                "geometry.wavelength_A": "the microscope's high tension tells it",
            },
        )

    @asynccontextmanager
    async def connect(self, clock: Clock, seed: int, options: Mapping[str, Any]) -> AsyncIterator[Parts]:
        """Stage, blanker and lens of the microscope this computer belongs to.

        Waits until its TEM server answers, for up to `ready_s`. Blanker and lens stay as they are on leaving; a
        rotation under way is stopped. Raises Refused for options, and where there is no TEMCOM; DeviceError.
        """
        settings = JeolSettings.of(options)
        async with AsyncExitStack() as stack:
            column, stage, motion = (
                Connection(f"jeol {name}", clock, self.open_library, limit_s)
                for name, limit_s in (
                    ("column", settings.call_limit_s),
                    ("stage", settings.call_limit_s),
                    ("motion", LONGEST_ROTATION_S),
                )
            )
            for connection in (column, stage, motion):
                stack.push_async_callback(connection.close)
            geometry = await _when_ready(clock, column, settings.ready_s)
            has_rates = await stage.has("Stage3", "Setf1OverRateTxNum")
            goniometer = JeolStage(clock, stage, motion, settings, settings.speeds if has_rates else None)
            stack.push_async_callback(goniometer.put_back)
            yield Parts(
                stage=goniometer,
                beam=JeolBlanker(column),
                optics=JeolLens(column, settings),
                geometry=geometry,
                timing=TIMING,
                second_connection=self.second_connection,
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
