"""The five calibrations by moves as entries in the register of protocols."""

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TypeVar

from drivers.contract import Microscope
from drivers.facts import DetectorFacts, Facts
from drivers.parts import OpticalMode
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from engine.run.contract import ExperimentType, Prepared, Progress, Times
from engine.run.machine import StrictMachine
from engine.run.panels import Kept
from engine.run.run import Run
from engine.run.trial import Case, Rules, SoakedRun, Trial
from protocols.calibrate.moves.experiment import MovesExperiment
from protocols.calibrate.moves.mover import MOVERS, Mover, SeenBy
from protocols.calibrate.moves.plan import (
    MOST_ROUNDS,
    MOVED,
    TRIED,
    AnyMovesPlan,
    DiffractionMovesPlan,
    MovesPlan,
    moves_machine,
)
from protocols.calibrate.setting import looked_at

FIRST_FRAMES = 12
CALLS_OF_VISIT = 3
STAGE_S = 2.0


class PreparedMoves(Prepared):
    """A plan that fits the instrument."""

    def __init__(self, mover: Mover, plan: AnyMovesPlan, facts: Facts, camera: DetectorFacts) -> None:
        self.mover, self.plan, self.facts, self.camera = mover, plan, facts, camera

    @property
    def total(self) -> int:
        """See `Prepared.total`."""
        return self._visits(self.plan.rounds) if self.plan.rounds else 0

    def _visits(self, rounds: int) -> int:
        return self.mover.points**2 * 2 * rounds

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        call_s = self.facts.timing.api_call_s
        move_s = STAGE_S if self.mover.deflector is None else CALLS_OF_VISIT * call_s
        frame_s = self.camera.cycle_s(self.plan.exposure_s)
        before = {
            SeenBy.IMAGE: "a place with film and particles in the image, the beam spread over it",
            SeenBy.DISC: "the beam in the middle of the image; it is condensed to a small disc",
            SeenBy.BEAM: "the primary beam on the camera, the beam stop out",
        }[self.mover.seen_by]
        least, most = self._least, self._most
        number, wanted, duration_s = f"{least}", "", f"{(least + FIRST_FRAMES) * (move_s + frame_s):.0f}"
        if most > least:
            number, wanted = f"{least} to {most}", f", as many as {self.plan.accuracy_percent:g} % want"
            duration_s += f" to {(most + FIRST_FRAMES) * (move_s + frame_s):.0f}"
        return {
            "before it begins": before,
            "moved": f"{self.mover.words}; how far, the first moves tell",
            "frames": f"{number}, each place from below and from above{wanted}; and some before",
            "duration": f"{duration_s} s",
        }

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`: of the usual visits. A disk that is too small for more ends the run with what
        there is, which can be analysed.
        """
        rows, columns = self.camera.shape or (0, 0)
        return super().size_bytes + 4 * rows * columns * (self._least + FIRST_FRAMES)

    @property
    def _least(self) -> int:
        return self._visits(self.plan.rounds or self.mover.rounds)

    @property
    def _most(self) -> int:
        return self._visits(self.plan.rounds or max(MOST_ROUNDS, self.mover.rounds))

    def begin(self, run: Run, microscope: Microscope) -> MovesExperiment:
        """See `Prepared.begin`."""
        return MovesExperiment(self.mover, self.plan, self.facts, microscope, run)


PlanT = TypeVar("PlanT", bound=AnyMovesPlan)


class Moves(ExperimentType[PlanT]):
    """An entry in the register of protocols."""

    frame_kinds = (TRIED, MOVED)
    formats = ("matrix",)
    pauses = True

    def __init__(self, mover: Mover, plan_type: type[PlanT]) -> None:
        self.mover: Mover = mover
        self.name, self.plan_type = mover.name, plan_type
        where = "of the diffraction pattern" if mover.seen_by is SeenBy.BEAM else "in the image"
        self.summary = f"what the {mover.words} moves {where}"
        needs = ["beam", "detector", "stagexyz" if mover.deflector is None else "deflectors"]
        self.needs = needs if mover.seen_by is SeenBy.BEAM else [*needs, "mode"]

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return moves_machine(entered)

    async def look(self, plan: PlanT, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`."""
        return await looked_at(microscope)

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """See `ExperimentType.kept`."""
        from protocols.calibrate.keeping import kept_of

        return kept_of(folder, document)

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`."""
        return Progress(record["index"] + 1, record["name"]) if record["kind"] == "frame" else None

    def products(self, plan: PlanT) -> Sequence[str]:
        """See `ExperimentType.products`: none while the instrument is held; the command makes them."""
        return ()

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`: the analysis, from the frames of the run."""
        from protocols.calibrate.moves.analysis import analyse

        return analyse(folder).lines

    def times(self, plan: PlanT) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s))

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return MovesTrial(self.mover)

    def device_options(self, plan: PlanT) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: an instrument that hides what it is."""
        return {"hidden": True}

    def prepare(self, plan: PlanT, facts: Facts) -> PreparedMoves:
        """See `ExperimentType.prepare`."""
        camera, which = facts.detector, self.mover.deflector
        if camera is None:
            raise Refused(
                f"{self.mover.name}: this instrument has no camera; nothing was started. Name one in the devices file."
            )
        if why := camera.cannot_expose((plan.exposure_s,)):
            raise Refused(f"exposure_s: the camera {why}; nothing was started.")
        if which is not None and (facts.deflectors is None or which not in facts.deflectors.limits):
            raise Refused(f"{self.mover.name}: this instrument has no {self.mover.words}; nothing was started.")
        if which is None and facts.stagexyz is None:
            raise Refused("stage: this instrument's stage has no x and y; nothing was started.")
        if isinstance(plan, MovesPlan):
            self._check_mode(plan, facts)
        return PreparedMoves(self.mover, plan, facts, camera)

    def _check_mode(self, plan: MovesPlan, facts: Facts) -> None:
        if facts.mode is None:
            raise Refused(
                f"{self.mover.name}: nobody tells the magnification, and the value holds for one; nothing was started. "
                "Give the microscope its part mode in the devices file."
            )
        mode = OpticalMode.LOW_MAG if plan.low_mag else OpticalMode.IMAGING
        if mode not in facts.mode.modes:
            raise Refused(f"{self.mover.name}: this microscope has no {mode} mode; nothing was started.")
        if plan.magnification and (why := facts.mode.no_magnification(mode, plan.magnification)):
            raise Refused(f"magnification: {why}; nothing was started.")


class MovesTrial(Trial):
    """What `credline soak` draws of these, and the rules that it adds to those of the engine."""

    def __init__(self, mover: Mover) -> None:
        self.mover = mover

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        plan: JsonDict = {"rounds": 1, "exposure_s": rng.choice([0.2, 0.5])}
        troubles = super().draw(rng)[1]
        calls = ("stagexyz.move_xy", "stagexyz.is_moving") if self.mover.deflector is None else ("deflectors.set",)
        if rng.random() < 0.5:
            trouble = rng.choice(["error", "hang", "slow 1.5"])
            troubles.append(f"{rng.choice([*calls, 'mode.set_mode'])} {rng.randint(1, 30)} {trouble}")
        return plan, troubles

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures, in much light."""
        return {
            "driver": "simulated",
            "pictures": {"shape": [96, 96], "wide_cross": False},
            "geometry": {"beam_fast_px": 48.0, "beam_slow_px": 48.0},
            "illumination": {"current_s": 4.0e8},
        }

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""
        name = f"deflectors.read {self.mover.deflector}"
        read = [r for r in soaked.of("call", "deflectors.read") if "error" not in r]
        back = [r for r in soaked.of("call", "deflectors.set") if "error" not in r]
        if read and back and not soaked.alarms:
            yield f"{name}: it is back where it was", list(back[-1]["args"][1:]) == list(read[0]["result"]), ""


_OF = {mover.value: mover for mover in MOVERS}
BEAM_SHIFT = Moves(_OF["beam_shift"], MovesPlan)
IMAGE_SHIFT = Moves(_OF["image_shift"], MovesPlan)
STAGE = Moves(_OF["stage"], MovesPlan)
PATTERN_SHIFT = Moves(_OF["pattern_shift"], DiffractionMovesPlan)
DIFFRACTION_SHIFT = Moves(_OF["diffraction_shift"], DiffractionMovesPlan)
