"""The run of snapshots at many places and settings: a little lens, panel and stage, and pictures of the disc.

`snapshot` and `flux` differ in what they visit and in what is made of the frames.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

from drivers.approach import arrive_xy, way_points
from drivers.contract import Microscope
from drivers.facts import DetectorFacts, Facts
from engine.errors import Refused
from engine.record.endings import Status
from engine.run.compute import Computation, Json
from engine.run.contract import Prepared, Work
from engine.run.run import Run
from protocols.calibrate.disc.visits import (
    DARK,
    DARK_FRAMES,
    DIRECTIONS,
    SNAPSHOT,
    TRIED,
    State,
    Visit,
    around,
    disc_machine,
)
from protocols.calibrate.picturing import Picturing, as_sentence, camera_of

Visits = Callable[[float, float | None], list[Visit]]
"""What to visit, by how far the crystal may be moved, and by how far off the stage lands along each axis (nm; None for
a stage of which that is not known yet: the most that will be visited)."""

MOST_TILT_DEG = 30.0
LENS_RESTS_S = 2.0
"""A lens that was told to go to another defocus is looked at after this: its iron follows slowly."""
PANEL_RESTS_S = 1.0
STAGE_RESTS_S = 0.2
BACKLASHES = 2.0
"""A place is arrived at from so many backlashes below, so that all of it is taken up whatever the stage's scatter."""


TRY = Computation(
    "tried", "protocols.calibrate.disc.tried:tried", latency_s=0.5, limit_s=30.0, resolution=1e-3, quick=True
)
TRIED_SHARE, TRIED_ROUNDS = 0.3, 2
"""Of the plan's radius: so far the crystal is moved at first, and so often."""


class DiscPlan(Protocol):
    """What both plans say."""

    @property
    def defocus(self) -> int:
        """Of the first snapshots."""
        ...

    @property
    def radius_nm(self) -> float:
        """How far the crystal is moved at most."""
        ...

    @property
    def exposure_s(self) -> float:
        """Of a snapshot."""
        ...

    @property
    def snapshots(self) -> int:
        """At each place."""
        ...


class DiscExperiment(Picturing):
    """The work of each state."""

    def __init__(self, plan: DiscPlan, visits: Visits, facts: Facts, microscope: Microscope, run: Run) -> None:
        super().__init__(facts, microscope, run, disc_machine)
        self.plan, self.later = plan, visits
        self.visits = around(plan.defocus, TRIED_SHARE * plan.radius_nm, TRIED_ROUNDS)
        self.number = 0
        self.is_tried = False
        self.seen: list[dict[str, Json]] = []
        self.indices: list[int] = []
        run.compute.declare(TRY)
        self.before: Visit | None = None
        self.at = 0.0, 0.0
        self.panel = 0, 0.0
        self.tilt_deg = 0.0

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.DARK: self.dark,
            State.LENS: self.lens,
            State.PANEL: self.set_panel,
            State.MOVE: self.move,
            State.EXPOSE: self.expose,
            State.TRY: self.try_it,
        }

    @property
    def visit(self) -> Visit:
        """The one that is under way."""
        return self.visits[self.number]

    async def dark(self) -> str:
        """Remember how everything is, take frames without beam, switch it on."""
        await self.begin_series((self.plan.exposure_s,))
        self.focus = await self.found.remember_lens()
        self.at = await self.found.remember_xy()
        if self.found.illumination is not None:
            self.panel = await self.found.remember_illumination()
        if self.stage is not None:
            self.tilt_deg = (await self.stage.angle()).value
        if why := self._cannot():
            return self.run.finish(Status.FAILED, f"{why} Nothing is stored.")
        for _ in range(DARK_FRAMES):
            await self.frame(DARK, self.plan.exposure_s)
        await self.beam.unblank()
        return "dark_taken"

    def _cannot(self) -> str:
        """Why the places cannot be reached from here; empty where they can."""
        if abs(self.tilt_deg) > MOST_TILT_DEG:
            return (
                f"the stage is tilted by {self.tilt_deg:.1f} deg, at which its y is foreshortened too much. Bring it "
                "to 0."
            )
        stage = self.found.stagexyz
        if stage is None:
            return "this instrument has no stage that moves."
        for visit in [*self.visits, *self.later(self.plan.radius_nm, None)]:
            try:
                way_points(stage.facts, self.at[0] + visit.x_nm, self.at[1] + visit.y_nm, BACKLASHES)
            except Refused as error:
                return str(error)
        return ""

    async def lens(self) -> str:
        """To the defocus of this visit."""
        if self.before is None or self.before.defocus != self.visit.defocus:
            await self.defocus(self.visit.defocus)
            await self.wait("lens at rest", LENS_RESTS_S)
        return "lens_set"

    async def set_panel(self) -> str:
        """To the spot size and brightness of this visit."""
        illumination, visit = self.found.illumination, self.visit
        spot_size = self.panel[0] if visit.spot_size is None else visit.spot_size
        brightness = self.panel[1] if visit.brightness is None else visit.brightness
        if illumination is not None and (spot_size, brightness) != self.panel:
            if spot_size != self.panel[0]:
                await illumination.set_spot_size(spot_size)
            if brightness != self.panel[1]:
                await illumination.set_brightness(brightness)
            await self.wait("illumination at rest", PANEL_RESTS_S)
        self.panel = spot_size, brightness
        return "panel_set"

    async def move(self) -> str:
        """To the place of this visit, always from the same side; the run may be paused here."""
        await self.run.checkpoint()
        visit, before, stage = self.visit, self.before, self.found.stagexyz
        if stage is None:
            raise Refused("this instrument has no stage that moves; nothing was started.")
        if before is None or (before.x_nm, before.y_nm) != (visit.x_nm, visit.y_nm):
            to_nm = self.at[0] + visit.x_nm, self.at[1] + visit.y_nm
            await arrive_xy(stage, self.run.timeline, *to_nm, backlashes=BACKLASHES)
            await self.wait("stage at rest", STAGE_RESTS_S)
        place = await stage.position()
        self.place = place.x_nm, place.y_nm
        return "arrived"

    async def expose(self) -> str:
        """The pictures of this visit."""
        columns = {
            "defocus": float(self.visit.defocus),
            "x_nm": self.place[0],
            "y_nm": self.place[1],
            "tilt_deg": self.tilt_deg,
            "spot_size": float(self.panel[0]),
            "brightness": float(self.panel[1]),
            "visit": float(self.number),
        }
        indices = []
        for _ in range(self.plan.snapshots if self.is_tried else 1):
            await self.frame(SNAPSHOT if self.is_tried else TRIED, self.plan.exposure_s, columns)
            indices.append(self.run.data.last[0])
        self.before = self.visit
        self.number += 1
        if not self.is_tried:
            self.seen.append({"place_nm": list(self.place), "pictures": list(indices)})
            self.indices += indices
        if self.number < len(self.visits):
            return "exposed"
        return self.run.finish(Status.DONE, "all pictures taken") if self.is_tried else "first_seen"

    async def try_it(self) -> str:
        """Are the first pictures of use, and how far may the crystal go?"""
        camera = self.detector.facts
        told: dict[str, Json] = {
            "visits": self.seen,
            "saturation": camera.saturation_of(self.plan.exposure_s),
            "wide_cross": camera.wide_cross,
        }
        outcome = await self.run.compute.compute(TRY, told, self.indices)
        result = outcome.fields
        if result["why"]:
            return self.run.finish(Status.FAILED, f"{as_sentence(result['why'])} Nothing is stored.")
        self.is_tried, self.number = True, 0
        (right_nm, up_nm), (x_nm, y_nm) = result["middle_nm"], self.at
        self.at = x_nm + float(right_nm), y_nm + float(up_nm)
        radius_nm, scatter_nm = min(self.plan.radius_nm, float(result["radius_nm"])), float(result["scatter_nm"])
        self.visits = self.later(radius_nm, scatter_nm)
        minutes = len(self.visits) * visit_s(self.plan, self.facts, camera) / 60
        text = (
            f"The stage lands within {scatter_nm:.0f} nm along each axis, and the crystal has room to move by "
            f"{radius_nm:.0f} nm: {len(self.visits)} visits, about {minutes:.1f} min."
        )
        self.run.trace.record("note", "operator", text=text)
        return "of_use"


def visit_s(plan: DiscPlan, facts: Facts, camera: DetectorFacts) -> float:
    """How long a visit takes, roughly: the moves themselves are short."""
    return 8 * facts.timing.api_call_s + STAGE_RESTS_S + plan.snapshots * camera.cycle_s(plan.exposure_s)


class PreparedDisc(Prepared):
    """A plan that fits the instrument. calibration: its name, in messages."""

    def __init__(
        self, plan: DiscPlan, visits: Visits, facts: Facts, words: Mapping[str, str], calibration: str
    ) -> None:
        self.plan, self.visits, self.facts, self._words = plan, visits, facts, words
        self.most, self.least = len(visits(plan.radius_nm, None)), len(visits(plan.radius_nm, 0.0))
        self.camera = camera_of(facts, (plan.exposure_s,), calibration)

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        each_s = visit_s(self.plan, self.facts, self.camera)
        number, wanted, duration = f"{self.most}", "", f"{self.most * each_s:.0f}"
        if self.least < self.most:
            number, wanted = f"{self.least} to {self.most}", ", as many as the scatter of the stage wants"
            duration = f"{self.least * each_s:.0f} to {duration}"
        return {
            **self._words,
            "pictures": f"{self.plan.snapshots} at each of {number} visits{wanted}, {self.plan.exposure_s:g} s each",
            "duration": f"{duration} s, beam on the specimen",
        }

    @property
    def total(self) -> int:
        """See `Prepared.total`."""
        return self._least_pictures if self.least == self.most else 0

    @property
    def _least_pictures(self) -> int:
        return DARK_FRAMES + TRIED_ROUNDS * DIRECTIONS + self.least * self.plan.snapshots

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`: of the fewest visits. A disk that is too small for more ends the run with what
        there is, which can be analysed.
        """
        rows, columns = self.camera.shape or (0, 0)
        return super().size_bytes + 2 * rows * columns * self._least_pictures

    def begin(self, run: Run, microscope: Microscope) -> DiscExperiment:
        """See `Prepared.begin`."""
        return DiscExperiment(self.plan, self.visits, self.facts, microscope, run)
