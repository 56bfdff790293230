"""The run that sets the eucentric height: pictures at a few tilts, z from how the image moved, the stage moved by it,
and all of it again until what is left is little.

The first look is at small tilts, where an image that is far off stays in view; once the height is known well enough for
larger ones, they tell it better. z is arrived at from below. The beam is on for exposures alone. The tilt goes back to
where it was; z stays where it was brought, also by a run that does not end well.
"""

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from drivers.approach import arrive_deg, stands_xy
from drivers.contract import Microscope, Stage
from drivers.facts import Facts
from drivers.parts import OpticalMode, StageXYZ
from engine.errors import DeviceError
from engine.record.endings import Status
from engine.run.contract import SafeAction, Work
from engine.run.run import Run
from protocols.calibrate.height.fit import Height, fitted_height
from protocols.calibrate.height.plan import HEIGHT_NOTE, LOOKED, MOVED_NOTE, HeightPlan, State, height_machine
from protocols.calibrate.height.tilted import TILTED, told
from protocols.calibrate.picturing import Picturing

SEEN_SHARE = 0.35
"""Of the picture's side: an image may move so far between two tilts and is followed."""
BACKLASHES = 2.0
"""From so far below z is arrived at: a stage that scatters has then taken up its play."""
STOP_LIMIT_S = 1.5
AGREES = 0.5
"""Least correlation of two pictures: of a film it is above 0.9, of noise now and then 0.4."""
ASIDE_NM = 1000.0
"""Along the tilt axis no height moves anything: a picture that seems to have gone farther is not the same place."""
LEAST_PICTURES = 3
MOST_LEFT_NM = 300.0
"""What a height and play do not explain is what bearings do, some 100 nm; more, and something else moves."""
OTHER_WAY_SIGMAS = 4.0
"""A move that went the wrong way by so many standard deviations shows that z counts the other way."""
STAGE_ALARM = "THE STAGE MAY STILL BE MOVING: stop it at the microscope now"


class HeightExperiment(Picturing):
    """The work of each state."""

    def __init__(self, plan: HeightPlan, stage_px: tuple[float, ...], facts: Facts, microscope: Microscope, run: Run):
        super().__init__(facts, microscope, run, height_machine)
        if microscope.stagexyz is None or self.stage is None:
            raise DeviceError("eucentric-height: a part is missing; nothing was done.")  # `needs` says so before
        self.plan, self._stage_px = plan, (stage_px[0], stage_px[1], stage_px[2], stage_px[3])
        self._xyz: StageXYZ = run.gate.wrap("stagexyz", microscope.stagexyz)
        self._tilting: Stage = self.stage
        self._begin_deg = 0.0
        self._z_nm = 0.0
        self._look, self._moves, self._farthest_deg = 1, 0, plan.first_tilt_deg
        self._most_deg = plan.tilt_deg
        self._waiting: list[float] = []
        self._taken: list[tuple[float, int]] = []
        """Tilt as read, and index of the frame, of each picture of this look."""
        self._height: Height | None = None
        self._moved_nm = 0.0
        self._before: tuple[float, float] | None = None
        """z as measured and z of the stage, before the last move."""
        self._direction = 1.0
        """-1 where z of the stage counts away from the source."""
        self._why, self._status = "", Status.DONE
        run.compute.declare(TILTED)

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.BEGIN: self.begin,
            State.TILT: self.tilt,
            State.IMAGE: self.image,
            State.MEASURE: self.measure,
            State.MOVE: self.move,
            State.BACK: self.back,
        }

    def safe_actions(self) -> Sequence[SafeAction]:
        """See `Experiment.safe_actions`: beam first, tilt and z stand, then the lenses go back."""
        blank, *others = super().safe_actions()
        return (blank, SafeAction("stop z", self._xyz.stop, STOP_LIMIT_S, STAGE_ALARM), *others)

    async def begin(self) -> str:
        """The image mode, the camera armed, where the stage stands."""
        mode = self.found.mode
        if mode is not None:
            await self.found.remember_mode()
            await mode.set_mode(OpticalMode.IMAGING)
            if await self.found.remember_magnification() != self.plan.magnification:
                await mode.set_magnification(self.plan.magnification)
            await self.wait("lenses settled", mode.facts.settling_s)
        self._begin_deg = (await self._tilting.angle()).value
        self._z_nm = (await self._xyz.position()).z_nm
        await self.begin_series((self.plan.exposure_s,))
        self._waiting = self._tilts()
        return "begun"

    def _tilts(self) -> list[float]:
        """Where pictures are taken: first between the others, to which it is compared, then from below to above."""
        half_deg = self._farthest_deg
        return [0.0, *(half_deg * share for share in (-1.0, -0.5, 0.5, 1.0))]

    async def tilt(self) -> str:
        """To the next tilt."""
        await arrive_deg(self._tilting, self.run.timeline, self._waiting[0], self.plan.speed_deg_s)
        await self.wait("stage stands", self.plan.settling_s)
        return "tilted"

    async def image(self) -> str:
        """A picture, the beam on for it alone."""
        self._waiting.pop(0)
        angle_deg = (await self._tilting.angle()).value
        columns: dict[str, Any] = {"look": self._look, "angle_deg": angle_deg, "stage_z_nm": self._z_nm}
        await self.beam.unblank()
        await self.frame(LOOKED, self.plan.exposure_s, columns)
        await self.beam.blank()
        self._taken.append((angle_deg, self.run.data.last[0]))
        return "imaged" if self._waiting else "looked"

    async def measure(self) -> str:
        """How far the image moved from tilt to tilt, and the height that this tells."""
        reference_deg, before = self._taken[0]
        tilts, shifts = [], []
        for angle_deg, after in self._taken[1:]:
            asked = self._told(before, after, angle_deg, reference_deg)
            frames = (before, after) if self.flatfield is None else (before, after, self.flatfield)
            outcome = await self.run.compute.compute(TILTED, asked, frames)
            seen = outcome.fields
            if seen["sure"] and seen["agreement"] >= AGREES and abs(seen["x_nm"]) <= ASIDE_NM:
                tilts.append(angle_deg)
                shifts.append(float(seen["y_nm"]))
        self._taken, whole = [], len(self._taken) - 1
        both_sides = {angle > reference_deg for angle in tilts} == {False, True}
        if len(tilts) < LEAST_PICTURES or not both_sides:
            return self._look_nearer(
                f"only {len(tilts)} of {whole} pictures at tilts up to {self._farthest_deg:g} deg show what the one at "
                f"{reference_deg:z.1f} deg shows: the height cannot be told. Look for a place that shows film and "
                "particles, away from bars; make exposure_s longer, or first_tilt_deg smaller"
            )
        found = fitted_height(tilts, shifts, reference_deg)
        if found.left_nm > MOST_LEFT_NM:
            return self._look_nearer(
                f"the image does not move as a height would have it: {found.left_nm:.0f} nm are left of the shifts at "
                f"tilts up to {self._farthest_deg:g} deg. Look whether the stage stands still, and at the pictures"
            )
        self._height = found
        self._note(found, len(tilts))
        if self._before is not None:
            self._direct(found, *self._before)
            self._before = None
        if self._farthest_deg < self._most_deg and self._is_followed(found):
            self._farthest_deg = self._most_deg
            return self._again("look_again")
        if abs(found.z_nm) <= self.plan.within_nm or not self.plan.moves:
            self._why = f"the height is within {self.plan.within_nm:g} nm" if self.plan.moves else "measured"
            return "over"
        if self._moves == self.plan.moves:
            return self._give_up(
                f"after {self._moves} moves of z the height is still {found.z_nm:.0f} +- {found.sigma_nm:.0f} nm off, "
                f"and not within_nm = {self.plan.within_nm:g}: z lands no better, or something else moves the image"
            )
        return "off"

    def _told(self, before: int, after: int, angle_deg: float, reference_deg: float) -> dict[str, Any]:
        known_nm = 0.0 if self._height is None else self._height.z_nm
        guess_nm = -known_nm * (math.sin(math.radians(angle_deg)) - math.sin(math.radians(reference_deg)))
        camera = self.detector.facts
        return told(
            before,
            after,
            cosine=math.cos(math.radians(angle_deg)) / math.cos(math.radians(reference_deg)),
            stage_px=self._stage_px,
            guess_nm=guess_nm,
            wide_cross=camera.wide_cross,
            saturation=camera.saturation_of(self.plan.exposure_s),
            flatfield=self.flatfield,
        )

    def _is_followed(self, found: Height) -> bool:
        """Whether the image stays in view up to the farthest tilt."""
        rows, columns = self.detector.facts.known_shape
        a, b, c, d = self._stage_px
        side_nm = min(rows, columns) / math.sqrt(abs(a * d - b * c))
        off_nm = (abs(found.z_nm) + 2 * found.sigma_nm) * math.sin(math.radians(self.plan.tilt_deg))
        return off_nm < SEEN_SHARE * side_nm

    def _direct(self, found: Height, z_before_nm: float, stage_before_nm: float) -> None:
        """After a move: whether z of the stage counts the other way."""
        stage_nm, came_nm = self._z_nm - stage_before_nm, found.z_nm - z_before_nm
        if abs(came_nm) > OTHER_WAY_SIGMAS * found.sigma_nm and came_nm * stage_nm * self._direction < 0:
            self._direction = -self._direction
            self.run.trace.record(
                "note", "operator", text="Height: z of the stage counts the other way; it is moved back."
            )

    def _again(self, trigger: str) -> str:
        self._look += 1
        self._waiting = self._tilts()
        return trigger

    async def move(self) -> str:
        """Z by what it is off, from below."""
        found = self._height
        if found is None:
            raise DeviceError("eucentric-height: nothing was measured; z was not moved.")
        to_nm = self._z_nm - self._direction * found.z_nm
        backlash_nm = BACKLASHES * self._xyz.facts.backlash_nm
        below_nm = to_nm - backlash_nm
        for z_nm in (below_nm, to_nm) if backlash_nm > 0 else (to_nm,):
            if said := self._xyz.facts.outside(z_nm=z_nm):
                return self._give_up(f"the height is {found.z_nm:.0f} nm off, and z cannot be brought there: {said}")
        await arrive_deg(self._tilting, self.run.timeline, 0.0, self.plan.speed_deg_s)
        for z_nm in (below_nm, to_nm) if backlash_nm > 0 else (to_nm,):
            await self._xyz.move_z(z_nm)
            if not await stands_xy(self._xyz, self.run.timeline):
                raise DeviceError(
                    f"stagexyz: the move of z to {z_nm:.0f} nm was not over after a minute; it was told to stop. Look "
                    "what holds it."
                )
        await self.wait("stage stands", self.plan.settling_s)
        self._before = found.z_nm, self._z_nm
        reached_nm = (await self._xyz.position()).z_nm
        self._moved_nm += reached_nm - self._z_nm
        self._z_nm = reached_nm
        self._moves += 1
        self.run.trace.record("note", MOVED_NOTE, moved_nm=round(self._moved_nm, 1), stage_z_nm=round(reached_nm, 1))
        # It is near now, if z does what it says; what is left is guessed to be nothing.
        self._height = None
        return self._again("moved")

    async def back(self) -> str:
        """The tilt to where it was, and how it ended."""
        await arrive_deg(self._tilting, self.run.timeline, self._begin_deg, self.plan.speed_deg_s)
        found, words = self._height, ""
        if self._status is Status.FAILED:
            words = f". The beam is off, z has been moved by {self._moved_nm:.0f} nm, and the tilt is back."
        elif found is not None:
            words = f": {found.z_nm:.0f} +- {found.sigma_nm:.0f} nm over the tilt axis"
        return self.run.finish(self._status, f"{self._why}{words}")

    def _look_nearer(self, why: str) -> str:
        """Where large tilts tell nothing, as beside a bar, which shades what lies behind it, small ones have to do."""
        if self._farthest_deg == self.plan.first_tilt_deg:
            return self._give_up(why)
        self._farthest_deg = self._most_deg = self.plan.first_tilt_deg
        return self._again("look_again")

    def _give_up(self, why: str) -> str:
        self._why, self._status = why, Status.FAILED
        return "over"

    def _note(self, found: Height, pictures: int) -> None:
        self.run.trace.record(
            "note",
            HEIGHT_NOTE,
            look=self._look,
            z_nm=round(found.z_nm, 1),
            sigma_nm=round(found.sigma_nm, 1),
            left_nm=round(found.left_nm, 1),
            pictures=pictures,
            farthest_deg=self._farthest_deg,
            moved_nm=round(self._moved_nm, 1),
        )
