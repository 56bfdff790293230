"""A session as the engine sees it: the type in the register, and a plan prepared for an instrument."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.contract import Microscope
from drivers.facts import Facts
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.spool import SpooledFrame
from engine.record.trace import Record
from engine.run.contract import ExperimentType, Prepared, Progress
from engine.run.machine import StrictMachine
from engine.run.panels import Panel, PanelRow
from engine.run.registry import experiment_type
from engine.run.run import Run
from protocols.session.children import Children
from protocols.session.machine import session_machine
from protocols.session.night import CRED, DATA_SET, OVER, SERIALED
from protocols.session.orders import is_order, parsed
from protocols.session.plan import GoalPlan, SessionPlan

if TYPE_CHECKING:
    from engine.run.trial import Trial
    from protocols.session.sequence import SessionSequence

S_PER_H = 3600.0


@dataclass(frozen=True)
class PreparedSession(Prepared):
    """A plan that fits the instrument, as do the plans of its children."""

    plan: SessionPlan
    children: Children
    of_children: Mapping[str, Prepared]
    modules = ("protocols.session.sequence",)

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`: time and dose, before anything moves."""
        from protocols.session.forecast import exposed_s, planned_crystal_s

        plan, goal = self.plan, self.plan.goal
        crystal_s, exposure_s = planned_crystal_s(self.children), exposed_s(self.children)
        screening: Any = self.of_children["screening"].words
        room = int(goal.max_hours * S_PER_H / crystal_s)
        blocks = len(self.children.blocks)
        at_once = "at once" if blocks == 1 else f"in {blocks} blocks"
        words = {
            "region": f"{plan.width_um:g} x {plan.height_um:g} um, screened {at_once}",
            "a screening": f"{screening.get('fields', '')}; {screening.get('duration', '')}",
            "a crystal": f"{crystal_s:.0f} s, beam on for {exposure_s:.0f} s of its rotation",
            "height": f"not set: {why}" if (why := self.children.no_height) else "measured and set for each crystal",
            "at most": f"{room} crystals in {goal.max_hours:g} h, screening not counted",
            "beam at most": f"{min(goal.max_hours, room * exposure_s / S_PER_H):.1f} h on crystals",
            "dose of a crystal": self._dose(exposure_s),
            "ends by": self._goal,
            "a device that does not answer": (
                f"is waited for, {plan.wait_for_device_min:g} min"
                if plan.device_fault == "wait"
                else "ends the session"
            ),
        }
        rotation = self.of_children["cred"].words
        return {
            **words,
            **{f"rotation: {key}": rotation[key] for key in ("duration", "stage travel") if key in rotation},
        }

    def _dose(self, exposure_s: float) -> str:
        flux = self.plan.goal.flux_e_A2_s
        if flux is None:
            return f"{exposure_s:.0f} s of beam; give goal.flux_e_A2_s to have it in electrons per A^2"
        return f"{exposure_s * flux:.3g} electrons per A^2 by the rotation"

    @property
    def _goal(self) -> str:
        goal = self.plan.goal
        ends = [f"{goal.max_hours:g} h"]
        if goal.max_beam_on_h is not None:
            ends.append(f"{goal.max_beam_on_h:g} h of beam")
        if goal.data_sets is not None:
            ends.append(f"{goal.data_sets} data sets that can be indexed")
        if goal.completeness is not None:
            ends.append(f"{goal.completeness:.0%} of each of {goal.phases} or more phases to {goal.d_min_A:g} A")
        if self.plan.choose.crystals is not None:
            ends.append(f"{self.plan.choose.crystals} crystals tried")
        return ", or ".join(ends)

    @property
    def remarks(self) -> Sequence[str]:
        """See `Prepared.remarks`: of the children, each once, and what a night will lack."""
        # That of the recall is about a crystal without neighbours, which those of a session have.
        tables = {table: prepared for table, prepared in self.of_children.items() if table != "recall"}
        remarks = [f"{table}: {text}" for table, prepared in tables.items() for text in prepared.remarks]
        if self.children.no_height:
            remarks.append("no height is set (credline plan session says why): crystals move more while they turn.")
        rotation: Any = self.children.rotation()
        if not rotation.live:
            remarks.append("cred.live = false: nobody looks at the crystals, so nothing is judged.")
        if rotation.tracking == "off":
            remarks.append("crystals are not tracked: those that move out of the beam are lost.")
        return tuple(remarks)

    @property
    def objections(self) -> Sequence[str]:
        """See `Prepared.objections`: those of the children."""
        return tuple(f"{table}: {text}" for table, prepared in self.of_children.items() for text in prepared.objections)

    @property
    def smallest_margin_s(self) -> float:
        """See `Prepared.smallest_margin_s`: that of the most demanding child."""
        return min(prepared.smallest_margin_s for prepared in self.of_children.values())

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`: a screening and some rotations; a disk that fills up ends the session later."""
        rotation = self.of_children["cred"].size_bytes
        return super().size_bytes + self.of_children["screening"].size_bytes + 10 * rotation

    def begin(self, run: Run, microscope: Microscope) -> "SessionSequence":
        """See `Prepared.begin`."""
        from protocols.session.sequence import SessionSequence

        return SessionSequence(self.plan, self.children, microscope, run)


class Session(ExperimentType[SessionPlan]):
    """The entry in the register of protocols."""

    name = "session"
    formats = ("report",)
    summary = "a night on a grid: its crystals screened, the best ones rotated and judged, one after the other"
    plan_type = SessionPlan
    unit = "crystals"
    needs = ("stage", "beam", "optics", "detector", "stagexyz", "deflectors", "mode")
    pauses = True

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return session_machine(entered)

    def label(self, plan: SessionPlan) -> str:
        """See `ExperimentType.label`: the sample."""
        return plan.sample

    def prepare(self, plan: SessionPlan, facts: Facts) -> PreparedSession:
        """See `ExperimentType.prepare`."""
        if facts.stage is None or not facts.stage.can_rotate:
            raise Refused(
                "session: nobody is there to press the pedal, and this stage is not rotated by credline; nothing was "
                "started. Name a driver in the devices file that can."
            )
        if plan.dials and not plan.merge:
            raise Refused(
                "dials: it goes on from what is integrated to be merged, and merge = false; nothing was started. Leave "
                "one of them out."
            )
        children = Children(plan, facts)
        prepared = children.prepared()
        rotation: Any = children.rotation()
        if rotation.rotation != "commanded":
            raise Refused("cred.rotation: nobody is there to press the pedal; nothing was started. Leave it out.")
        return PreparedSession(plan, children, prepared)

    async def look(self, plan: SessionPlan, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`: where the stage stands, so that a region past its limits is refused now, and
        whether DIALS is there if it is asked for. A replay needs neither.
        """
        from protocols.session.judging.dialsjobs import is_installed

        if plan.dials and not is_installed():
            raise Refused(
                "dials: DIALS is not installed here (dials.import is not on the PATH); nothing was started. Install "
                "it, or leave dials out: credline merges by itself, and credline session merge --dials can follow."
            )
        children = Children(plan, microscope.facts)
        kind = experiment_type(SERIALED)
        if microscope.stagexyz is None:
            return {}
        here = await microscope.stagexyz.position()
        centre_nm = plan.centre_nm or (here.x_nm, here.y_nm)
        for block in range(len(children.blocks)):
            try:
                kind.prepare(children.screening(block, centre_nm), microscope.facts)
            except Refused as error:
                raise Refused(f"screening: {error}") from error
        return {}

    def device_options(self, plan: SessionPlan) -> Mapping[str, object]:
        """See `ExperimentType.device_options`: as the children's plans say it of themselves."""
        return {}

    def understood(self, words: str, document: RunDocument) -> str:
        """See `ExperimentType.understood`: crystals and the goal; other words are for a rotation under way."""
        if is_order(words):
            parsed(words)
            return " ".join(words.split())
        kind = experiment_type(CRED)
        plan: Any = document.plan.get("cred") or {}
        try:
            whole = kind.plan_type(**{"tracking": "correct", **plan}).model_dump(mode="json")
            return kind.understood(words, replace(document, protocol=CRED, plan=whole))
        except Refused as error:
            raise Refused(f"{error} Or, for the session: {_SAY}") from error

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`: the crystals that are over."""
        if record["kind"] == "note" and record["name"] == OVER:
            return Progress(record["crystal"], f"crystal {record['crystal']} {record['how']}")
        if record["kind"] == "note" and record["name"] == DATA_SET:
            return Progress(record["number"], f"data set {record['number']}")
        return None

    def panels(self, document: RunDocument) -> Sequence[Panel]:
        """See `ExperimentType.panels`: data sets, phases, crystals set aside."""
        from protocols.session.shown import TABLES

        return TABLES

    def panel_read(self, record: Record, document: RunDocument) -> Sequence[PanelRow]:
        """See `ExperimentType.panel_read`."""
        from protocols.session.shown import session_read

        return session_read(record)

    def finish(self, remains: Remains) -> RunEnd:
        """See `ExperimentType.finish`."""
        from protocols.session.finish import finish_session

        return finish_session(remains)

    def told(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.told`."""
        from protocols.session.finish import told_rows

        return told_rows(result)

    def listed(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.listed`."""
        return [(name.replace("_", " "), str(result[name])) for name in ("data_sets", "phases") if name in result]

    def held(self, result: JsonObject) -> str:
        """See `ExperimentType.held`."""
        return f"{result.get('data_sets', 0)} data sets of {result.get('tried', 0)} crystals."

    def write_files(
        self, folder: Path, remains: Remains, end: RunEnd, frames: Callable[[str], Iterator[SpooledFrame]]
    ) -> list[Path]:
        """See `ExperimentType.write_files`: the status for other programs, which a program that was cut off left as it
        was.
        """
        from protocols.session.finish import night_of
        from protocols.session.status import FILE, status_of, write_status

        night = night_of(remains)
        goal = night.orders.goal_of(SessionPlan(**remains.plan).goal) if remains.plan else GoalPlan()
        write_status(folder, status_of(night, goal, 0, night.last_ns, cut_off=remains.cut_off))
        return [folder / FILE]

    def products(self, plan: SessionPlan) -> Sequence[str]:
        """See `ExperimentType.products`."""
        return ("report",) if plan.report else ()

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`."""
        from protocols.session.report.export import export_session

        return export_session(folder, formats, progress)

    def carried_over(self, plan: SessionPlan, remains: Remains) -> JsonDict:
        """See `ExperimentType.carried_over`: what was screened, and which crystals are over."""
        from protocols.session.finish import night_of

        before = SessionPlan(**remains.plan)
        for key in ("width_um", "height_um", "block_um", "centre_nm"):
            if getattr(plan, key) != getattr(before, key):
                raise Refused(
                    f"{key}: the interrupted session had {getattr(before, key)}, so its blocks are others; nothing was "
                    "started. Leave it as it was, or begin a new session."
                )
        return night_of(remains).as_json()

    def trial(self) -> "Trial":
        """See `ExperimentType.trial`."""
        from protocols.session.soak import SessionTrial

        return SessionTrial()


_SAY = "next, skip or last and numbers of crystals, or goal with a key and its value."
SESSION = Session()
