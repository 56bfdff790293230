"""The translation of the stage behind temscript's server: x, y and z, there in metres.

Made by `drivers.thermo.microscope` from the table `[microscope.stagexyz]`. Promises what `drivers.parts.StageXYZ` asks,
but that nothing can be stopped. Source: temscript 2.1.0, `base_microscope.py`; its documentation tells that a GoTo with
a speed fails for more than one axis, so none is given.
"""

from dataclasses import dataclass, replace
from typing import Any

from drivers.options import Options
from drivers.parts import Limits, PositionReading, StageXYZFacts
from drivers.thermo.motion import MOVING, Motion
from drivers.thermo.session import Session, number, pair, strange
from engine.errors import DeviceBusy, DeviceError

NM = 1e9
"""In a metre."""
FARTHEST_NM = 10e6
"""No specimen holder goes as far; a limit beyond it has a slip in it."""
SEEN_TO_MOVE_NM = 20.0


@dataclass(frozen=True, slots=True)
class StageXYZOptions:
    """The table `[microscope.stagexyz]`. move_limit_s: a move that takes longer counts as lost."""

    facts: StageXYZFacts
    move_limit_s: float

    @classmethod
    def read(cls, table: Options) -> "StageXYZOptions":
        """Raises Refused for an option that cannot be. Backlash as SerialEM takes it up: 10 um."""
        far = FARTHEST_NM
        facts = StageXYZFacts(
            limits_nm=(
                table.pair("x_limits_nm", (-1000e3, 1000e3), -far, far),
                table.pair("y_limits_nm", (-1000e3, 1000e3), -far, far),
                table.pair("z_limits_nm", (-300e3, 300e3), -far, far),
            ),
            backlash_nm=table.number("backlash_nm", 10e3, 0.0, 100e3),
            xy_while_tilting=False,  # one GoTo at a time
            tilt_counts_as_moving=True,
        )
        options = cls(facts, table.number("move_limit_s", 60.0, 1.0, 3600.0))
        table.finish()
        return options

    def within(self, told: Any) -> "StageXYZOptions":
        """With the narrower of these limits and those that the microscope has told."""
        x_nm, y_nm, z_nm = (
            narrower(given, told, axis, NM) for axis, given in zip("xyz", self.facts.limits_nm, strict=True)
        )
        return replace(self, facts=replace(self.facts, limits_nm=(x_nm, y_nm, z_nm)))


def narrower(given: Limits, told: Any, axis: str, times: float) -> Limits:
    """The narrower of two limits. told: `stage_limits`; times: to have them in the unit of `given`."""
    if not isinstance(told, dict) or axis not in told:
        raise strange(f"stage_limits = {str(told)[:60]!r}")
    low, high = pair(told[axis], f"stage_limits of {axis}")
    return max(given[0], low * times), min(given[1], high * times)


def place_nm(position: Any) -> tuple[float, float, float]:
    """x, y and z of `stage_position`, or DeviceError."""
    if not isinstance(position, dict) or not {"x", "y", "z"} <= position.keys():
        raise strange(f"stage_position = {str(position)[:60]!r}")
    x_nm, y_nm, z_nm = (number(position[axis], axis) * NM for axis in "xyz")
    return x_nm, y_nm, z_nm


class ThermoStageXYZ:
    """Implements `drivers.parts.StageXYZ`. Moves need a server of their own (`motion_port`)."""

    def __init__(self, session: Session, motion: Motion, options: StageXYZOptions) -> None:
        self.facts = options.facts
        self._session = session
        self._motion = motion
        self._move_limit_s = options.move_limit_s

    async def position(self) -> PositionReading:
        """See `StageXYZ.position`."""
        position, before_ns, after_ns = await self._session.timed("stage_position")
        return PositionReading(*place_nm(position), before_ns, after_ns)

    async def move_xy(self, x_nm: float, y_nm: float) -> None:
        """See `StageXYZ.move_xy`; four calls or more, until the stage is seen to move or has arrived."""
        self._require(self.facts.outside(x_nm=x_nm, y_nm=y_nm))
        await self._move({"x": x_nm / NM, "y": y_nm / NM}, f"x = {x_nm:.0f}, y = {y_nm:.0f} nm")

    async def move_z(self, z_nm: float) -> None:
        """See `StageXYZ.move_z`; the same."""
        self._require(self.facts.outside(z_nm=z_nm))
        await self._move({"z": z_nm / NM}, f"z = {z_nm:.0f} nm")

    def _require(self, outside: str | None) -> None:
        if outside is not None:
            raise DeviceError(
                f"stagexyz: {outside}; nothing moved. Choose a place within the limits of the microscope's holder and "
                "of [microscope.stagexyz] in the devices file."
            )

    async def _move(self, target_m: dict[str, float], towards: str) -> None:
        if not self._motion.has_server:
            raise DeviceError(
                f"stagexyz: {self._motion.peer} would answer nothing else until the stage has arrived, and the beam "
                "could not be blanked; nothing moved. Start a second temscript-server and write its port as "
                "motion_port into the devices file."
            )
        if await self.is_moving():
            raise DeviceBusy("stagexyz: the stage still moves; nothing else was begun. Wait until it stands.")
        before_nm = place_nm(await self._session.get("stage_position"))
        self._motion.begin("stagexyz", "moves", towards, target_m, {}, self._move_limit_s)

        def has_moved(position: Any) -> bool:
            steps_nm = (now - before for now, before in zip(place_nm(position), before_nm, strict=True))
            return max(abs(step_nm) for step_nm in steps_nm) > SEEN_TO_MOVE_NM

        await self._motion.until_accepted("stagexyz", has_moved)

    async def is_moving(self) -> bool:
        """See `StageXYZ.is_moving`: also during a tilt. Raises DeviceError, once, when a move of ours has failed."""
        self._motion.tell_failure("stagexyz")
        return self._motion.under_way or await self._session.get("stage_status") in MOVING

    async def stop(self) -> None:
        """See `StageXYZ.stop`: there is none. Raises DeviceError, with where it goes on to, unless the stage stands."""
        if await self.is_moving():
            raise self._motion.no_stop("stagexyz")
