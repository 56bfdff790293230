"""The run of the calibration of a lens: the beam at rest after each relax cycle, watched after each way back, its
disc.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from drivers.check.settling import AWAY_S, LOOKED_S, turn_of_lens
from drivers.contract import Microscope
from drivers.facts import Facts
from engine.errors import DeviceError, Refused
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.compute import Computation, Json
from engine.run.contract import ExperimentType, Prepared, Progress, Times, Work
from engine.run.machine import StrictMachine
from engine.run.panels import Kept
from engine.run.run import Run
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.lens.plan import AWAY, BACK, DARK, DISC, PARTS, REST, LensPlan, State, lens_machine
from protocols.calibrate.picturing import SMALL, Picturing, as_sentence, beam_is_off, camera_of, looked_at_diffraction

TRY = Computation("answers", "protocols.calibrate.lens.tried:tried", latency_s=0.3, limit_s=20.0, quick=True)
DARK_FRAMES = 3
HALF_CYCLE_S = 0.5
"""As a cRED run relaxes its lens."""
RESTS_S = 2.0
"""A lens that was told to go anywhere stands there after this."""
DISC_FRAMES = 2


class LensExperiment(Picturing):
    """The work of each state."""

    def __init__(self, plan: LensPlan, facts: Facts, microscope: Microscope, run: Run) -> None:
        super().__init__(facts, microscope, run, lens_machine)
        self.plan = plan
        run.compute.declare(TRY)

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {
            State.DARK: self.dark,
            State.TRY: self.try_it,
            State.RELAX: self.relax,
            State.TURN: self.turn,
            State.DISC: self.disc,
        }

    async def dark(self) -> str:
        """Remember the lens, take frames without beam, switch it on, look at it."""
        await self.begin_series((self.plan.exposure_s, self.plan.disc_exposure_s))
        self.focus = await self.found.remember_lens()
        for _ in range(DARK_FRAMES):
            await self.frame(DARK, self.plan.exposure_s)
        await self.beam.unblank()
        await self._rest(0)
        return "dark_taken"

    async def try_it(self) -> str:
        """A first cycle: does the lens answer, and is the camera up to the beam?"""
        at_rest = self.run.data.last[0]
        await self.defocus(self.plan.defocus)
        await self._heard(self.plan.defocus)
        await self.wait("lens away", HALF_CYCLE_S)
        await self.frame(AWAY, self.plan.exposure_s, {"turn": -1.0})
        away = self.run.data.last[0]
        await self.defocus(0)
        await self.wait("lens at rest", RESTS_S)
        camera = self.detector.facts
        told: dict[str, Json] = {
            "rest": at_rest,
            "away": away,
            "saturation": camera.saturation_of(self.plan.exposure_s),
        }
        outcome = await self.run.compute.compute(TRY, told, (at_rest, away))
        result = outcome.fields
        if result["why"]:
            return self.run.finish(Status.FAILED, f"{as_sentence(result['why'])} Nothing is stored.")
        await self._rest(1)
        return "answers"

    async def relax(self) -> str:
        """The other cycles; the run may be paused before each."""
        for cycle in range(2, self.plan.cycles + 1):
            await self.run.checkpoint()
            await self.defocus(self.plan.defocus)
            await self.wait("relax", HALF_CYCLE_S)
            await self.defocus(0)
            await self.wait("lens at rest", RESTS_S)
            await self._rest(cycle)
        return "relaxed"

    async def turn(self) -> str:
        """Out of focus and back, watched all the time; the run may be paused before each."""
        optics = self.found.optics
        if optics is None:
            raise DeviceError("optics: gone; nothing was changed.")
        for number in range(self.plan.turns):
            await self.run.checkpoint()

            async def picture(back_ns: int | None, number: int = number) -> None:
                if back_ns is None:
                    await self.frame(AWAY, self.plan.exposure_s, {"turn": float(number)})
                else:
                    await self.frame(BACK, self.plan.exposure_s, {"turn": float(number), "told_ns": float(back_ns)})

            await turn_of_lens(optics.set_focus, self.run.timeline, self.focus, self.plan.defocus, picture)
        return "watched"

    async def disc(self) -> str:
        """The disc at parts of the defocus, on both sides; the run may be paused before each."""
        for part in PARTS:
            await self.run.checkpoint()
            units = round(part * self.plan.defocus)
            await self.defocus(units)
            await self.wait("lens at rest", RESTS_S)
            for _ in range(DISC_FRAMES):
                await self.frame(DISC, self.plan.disc_exposure_s, {"defocus": float(units)})
        await self.defocus(0)
        return self.run.finish(Status.DONE, "all pictures taken")

    async def _rest(self, cycle: int) -> None:
        for _ in range(self.plan.frames):
            await self.frame(REST, self.plan.exposure_s, {"cycle": float(cycle)})

    async def _heard(self, units: int) -> None:
        """Raise DeviceError for a lens that does not keep what it was told."""
        optics = self.found.optics
        if optics is not None and (reads := await optics.focus()) != self.focus + units:
            raise DeviceError(
                f"optics: the lens was told to go to {self.focus + units} and reads {reads}: it does not answer; "
                "nothing is stored. Look at the microscope's own program."
            )


class PreparedLens(Prepared):
    """A plan that fits the instrument."""

    def __init__(self, plan: LensPlan, facts: Facts) -> None:
        self.plan, self.facts = plan, facts
        self.camera = camera_of(facts, (plan.exposure_s, plan.disc_exposure_s), "lens")
        if plan.defocus == 0:
            raise Refused("lens: defocus = 0 is no change; nothing was started. Give the defocus of your runs.")

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        plan = self.plan
        seconds = plan.cycles * (HALF_CYCLE_S + RESTS_S) + plan.turns * (AWAY_S + LOOKED_S) + len(PARTS) * RESTS_S
        return {
            "before it begins": "the primary beam on the camera, small spot size; diffraction",
            "lens": f"defocus {plan.defocus}: {plan.cycles} relax cycles, {plan.turns} watched turns, the disc",
            "pictures": f"about {self.total}, of {plan.exposure_s:g} s",
            "duration": f"{seconds:.0f} s, beam on",
        }

    @property
    def total(self) -> int:
        """See `Prepared.total`."""
        watched = self.plan.turns * int(LOOKED_S / self.camera.cycle_s(self.plan.exposure_s))
        return DARK_FRAMES + (self.plan.cycles + 1) * self.plan.frames + watched + DISC_FRAMES * len(PARTS)

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        rows, columns = self.camera.shape or (0, 0)
        return super().size_bytes + 2 * rows * columns * self.total

    def begin(self, run: Run, microscope: Microscope) -> LensExperiment:
        """See `Prepared.begin`."""
        return LensExperiment(self.plan, self.facts, microscope, run)


class LensCalibration(ExperimentType[LensPlan]):
    """The entry in the register of protocols."""

    name = "lens"
    summary = "disc against defocus, settling and hysteresis of the diffraction lens"
    plan_type = LensPlan
    frame_kinds = (DARK, REST, AWAY, BACK, DISC)
    pauses = True
    needs = ("beam", "detector", "optics")
    formats = ("lens",)

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return lens_machine(entered)

    def prepare(self, plan: LensPlan, facts: Facts) -> PreparedLens:
        """See `ExperimentType.prepare`."""
        return PreparedLens(plan, facts)

    def device_options(self, plan: LensPlan) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: an instrument that hides what it is."""
        return {"hidden": True}

    async def look(self, plan: LensPlan, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`."""
        return await looked_at_diffraction(microscope)

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """See `ExperimentType.kept`."""
        from protocols.calibrate.keeping import kept_of

        return kept_of(folder, document)

    def times(self, plan: LensPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.disc_exposure_s), plan.defocus)

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the frames of the run."""
        from protocols.calibrate.lens.analysis import analyse

        return analyse(folder).lines

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return LensTrial()


class LensTrial(Trial):
    """What `credline soak lens` draws, and the rules that it adds."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        return {"cycles": 3, "turns": 3, "frames": 2, "exposure_s": rng.choice([0.001, 0.002])}, super().draw(rng)[1]

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures, and not too many."""
        return {**SMALL, "detector": {"readout_s": 0.08}}

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield from beam_is_off(soaked)


LENS_CALIBRATION = LensCalibration()
