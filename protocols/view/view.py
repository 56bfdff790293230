"""The live view in the register of protocols."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path

from drivers.contract import Microscope
from drivers.facts import Facts
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.framekinds import SHOWN_ONLY
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.spool import SpooledFrame
from engine.record.trace import Record
from engine.run.budget import Budget, BudgetStep
from engine.run.contract import Button, ExperimentType, Prepared, Shown, Times
from engine.run.machine import StrictMachine
from engine.run.panels import Panel, PanelColumn, PanelRow, TablePanel
from engine.run.run import Run
from engine.run.trial import OPERATOR, Case, Rules, SoakedRun, Trial
from protocols.view import words
from protocols.view.buttons import buttons_of
from protocols.view.experiment import ViewExperiment
from protocols.view.images import write_missing
from protocols.view.plan import LIVE, SAVED, ViewPlan, view_machine
from protocols.view.standing import NOW, QUANTITIES, camera_length_told, in_words

MICROSCOPE = "microscope"
MOVING = ("stagexyz.position", "stagexyz.move_xy", "stagexyz.move_z", "stagexyz.is_moving", "stagexyz.stop")
TOLD = (
    *("unblank", "blank", "defocus", "defocus -400", "focus", "relax", "mode imaging", "mode diffraction"),
    *("move x 3", "move x -40", "move y -2", "move z 1", "tilt 20", "tilt -20", "tilt by -5", "stop stage"),
    *("exposure 0.1", "exposure 0.5", "save"),
)
"""What a soaked view is told."""


class PreparedView(Prepared):
    """A view that the instrument can have."""

    def __init__(self, plan: ViewPlan, facts: Facts) -> None:
        self.plan, self.facts = plan, facts

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        return {
            "beam": "off at first and at the end",
            "pictures": "shown, and kept only where you save one",
            "ends": f"by itself after {self.plan.lasts_min:g} min, or when another run is begun from the page",
        }

    @property
    def budgets(self) -> Sequence[Budget]:
        """See `Prepared.budgets`: what a picture takes; the next one waits for it."""
        camera, timing = self.facts.detector, self.facts.timing
        if camera is None:
            return ()
        cycle = BudgetStep.fixed("exposure and readout", "camera", camera.cycle_s(self.plan.exposure_s))
        worst_s = max(self.plan.interval_s, cycle.worst_s, 6 * timing.api_call_worst_s)
        return (Budget("one picture", (cycle,), worst_s),)

    def begin(self, run: Run, microscope: Microscope) -> ViewExperiment:
        """See `Prepared.begin`."""
        return ViewExperiment(self.plan, self.facts, microscope, run)


class View(ExperimentType[ViewPlan]):
    """The entry in the register of protocols."""

    name = "view"
    summary = "live pictures and the state of the microscope, to find a crystal and prepare a run"
    plan_type = ViewPlan
    unit = "pictures"
    frame_kinds = (LIVE, SAVED)
    needs = ("beam", "detector")
    gives_way = True

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return view_machine(entered)

    def prepare(self, plan: ViewPlan, facts: Facts) -> PreparedView:
        """See `ExperimentType.prepare`."""
        camera = facts.detector
        if camera is None:
            raise Refused("view: this instrument has no camera; nothing was started. Name one in the devices file.")
        if said := camera.cannot_expose((plan.exposure_s,)):
            raise Refused(f"exposure_s: the camera {said}; nothing was started. Choose another exposure.")
        return PreparedView(plan, facts)

    def shown(self, document: RunDocument) -> Sequence[Shown]:
        """See `ExperimentType.shown`."""
        camera = document.instrument.get("detector")
        known = camera if isinstance(camera, Mapping) else {}
        saturation = known.get("saturation")
        looked_at = {
            "saturation": saturation if isinstance(saturation, int | float) else None,
            "wide_cross": known.get("wide_cross") is True,
        }
        seen, pattern = "protocols.view.looks:seen", {**looked_at, "instrument": document.instrument}
        live = Shown(LIVE.name, LIVE.name, seen=seen, arguments=pattern, panel=MICROSCOPE)
        return [live, Shown(SAVED.name, SAVED.name, seen=seen, arguments=looked_at)]

    def buttons(self, document: RunDocument) -> Sequence[Button]:
        """See `ExperimentType.buttons`."""
        return buttons_of(document)

    def panels(self, document: RunDocument) -> Sequence[Panel]:
        """See `ExperimentType.panels`."""
        return [TablePanel(MICROSCOPE, MICROSCOPE, [PanelColumn(name, name) for name in QUANTITIES])]

    def panel_read(self, record: Record, document: RunDocument) -> Sequence[PanelRow]:
        """See `ExperimentType.panel_read`: how the microscope stands."""
        told = in_words(record)
        return [PanelRow(MICROSCOPE, NOW, {**dict(told), **camera_length_told(record)})] if told else []

    def understood(self, words_: str, document: RunDocument) -> str:
        """See `ExperimentType.understood`."""
        return str(words.told_in(words_))

    def finish(self, remains: Remains) -> RunEnd:
        """See `ExperimentType.finish`."""
        looked = sum(record["kind"] == "refused" and record.get("reason") == SHOWN_ONLY for record in remains.records)
        return RunEnd({"images": len(remains.of_kind(SAVED.name)), "shown": looked})

    def told(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.told`."""
        return [("images saved", f"{result.get('images', 0)}"), ("pictures shown", f"{result.get('shown', 0)}")]

    def listed(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.listed`."""
        return [("images", str(result["images"]))] if "images" in result else []

    def held(self, result: JsonObject) -> str:
        """See `ExperimentType.held`."""
        return f"{result.get('images', 0)} saved images."

    def write_files(
        self, folder: Path, remains: Remains, end: RunEnd, frames: Callable[[str], Iterator[SpooledFrame]]
    ) -> list[Path]:
        """See `ExperimentType.write_files`: the images that are not there yet."""
        return write_missing(folder, frames(SAVED.name)) if remains.of_kind(SAVED.name) else []

    def times(self, plan: ViewPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.exposure_s, plan.exposure_s))

    def trial(self) -> Trial:
        """See `ExperimentType.trial`."""
        return ViewTrial()


class ViewTrial(Trial):
    """What `credline soak view` draws: views of half a minute, in which their operator moves all that can be moved."""

    def draw(self, rng: random.Random) -> tuple[JsonDict, list[str]]:
        """See `Trial.draw`."""
        lasts_min = rng.choice([0.2, 0.5])
        plan = {"lasts_min": lasts_min, "exposure_s": rng.choice([0.05, 0.2, 1.0])}
        troubles = super().draw(rng)[1]
        for _ in range(rng.choice([0, 1, 2])):
            call, number = rng.choice(MOVING), rng.randint(1, 6)
            troubles.append(f"{call} {number} {rng.choice(['error', 'hang', f'slow {rng.uniform(0.02, 9.0):.3f}'])}")
        for _ in range(rng.choice([0, 2, 5, 12])):
            at_s = rng.uniform(0.0, 70.0 * lasts_min)
            troubles.append(f"{OPERATOR} {at_s:.3f} tell {rng.choice(TOLD)}")
        return plan, troubles

    def instrument(self, case: Case) -> JsonDict:
        """See `Trial.instrument`: a small camera that makes pictures."""
        geometry = {"beam_fast_px": 48.0, "beam_slow_px": 48.0}
        return {"driver": "simulated", "pictures": {"shape": [96, 96], "wide_cross": False}, "geometry": geometry}

    def judge(self, soaked: SoakedRun) -> Rules:
        """See `Trial.judge`."""
        yield "the beam is off, or an alarm says so", soaked.microscope.truth.is_blanked() or bool(soaked.alarms), ""
        if not soaked.alarms:
            truth, now_ns = soaked.microscope.truth, soaked.run.clock.now_ns()
            yield "the lens is in focus at the end", truth.is_in_focus(), ""
            yield "the stage does not tilt at the end", not truth.is_rotating(now_ns), ""
            yield "the stage does not move at the end", not truth.is_moving(now_ns), ""


VIEW = View()
