"""SerialED as the engine sees it: the type in the register, and a plan prepared for an instrument."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.contract import Microscope
from drivers.facts import Facts
from drivers.parts import Deflector, OpticalMode
from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.spool import SpooledFrame
from engine.record.trace import Record
from engine.run.budget import Budget
from engine.run.contract import OVERRUNS, ExperimentType, Figure, Prepared, Progress, Shown, Times, WhatIf
from engine.run.machine import StrictMachine
from engine.run.panels import Cell, FrameMarks, Offer, Panel, PanelRow
from engine.run.run import Run
from protocols.serialed.budgets import STAGE_S, SerialedBudgets
from protocols.serialed.machine import serialed_machine
from protocols.serialed.plan import FORMATS, SerialedPlan
from protocols.serialed.raster import NM_PER_UM, parsed, raster, total_fields
from protocols.serialed.records import BEAM, IMAGE, PATTERN
from protocols.serialed.scale import FieldScale, field_scale
from protocols.serialed.shown import MAP, crystals_read, map_read, runs_of, shown_of
from protocols.serialed.stageways import BACKLASHES

if TYPE_CHECKING:
    from engine.run.trial import Trial
    from protocols.serialed.sequence import SerialedSequence

CRYSTALS_A_FIELD = (3.7, 12.0)
"""Of the first paper's run, and of its companion's: what a forecast is made for."""
PIXEL_BYTES = 2
DISK_SHARE = 1.6
WHAT_IF = WhatIf(
    figures=(Figure("images", "images"), Figure("patterns", "patterns"), OVERRUNS),
    swept=("images", "patterns", "overruns"),
    unanswerable=("width_um", "height_um", "step_um", "centre_nm", "magnification", "crystals", "finder"),
)


@dataclass(frozen=True)
class PreparedSerialed(Prepared):
    """A plan that fits the instrument."""

    plan: SerialedPlan
    facts: Facts
    scale: FieldScale
    modules = ("protocols.serialed.sequence", "protocols.serialed.finish")

    @property
    def _times(self) -> SerialedBudgets:
        return SerialedBudgets(self.plan, self.facts)

    @property
    def budgets(self) -> Sequence[Budget]:
        """See `Prepared.budgets`."""
        times = self._times
        return (times.image, times.change, times.pattern)

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        plan, scale = self.plan, self.scale
        wide_um, high_um = (size / NM_PER_UM for size in scale.size_nm)
        few, many = CRYSTALS_A_FIELD
        return {
            "before it begins": "film and crystals in the image, the beam spread over it; the run condenses it",
            "fields": f"{self.total}, {plan.step_um:g} um apart, over {plan.width_um:g} x {plan.height_um:g} um",
            "a field": f"{wide_um:.1f} x {high_um:.1f} um, {scale.nm_per_px:.1f} nm a pixel; {self._gaps}",
            "crystals": f"{plan.crystals}, {plan.crystals_per_field} a field at most",
            "beam shift": self._reach,
            "hysteresis": self._lag,
            "duration": (
                f"{self._hours(few)} with {few:g} crystals a field, {self._hours(many)} with {many:g}, if the stage "
                f"takes {STAGE_S:g} s to the next field; {self._pace(few)} and {self._pace(many)} patterns an hour"
            ),
            "disk space": f"up to {self.size_bytes / 1e6:.0f} MB with {many:g} crystals a field",
        }

    @property
    def _gaps(self) -> str:
        wide_um, high_um = (size / NM_PER_UM for size in self.scale.size_nm)
        share = min(1.0, wide_um / self.plan.step_um) * min(1.0, high_um / self.plan.step_um)
        if share >= 1.0:
            return "fields overlap, and crystals in both are visited twice"
        return f"{100 * share:.0f} % of the region is seen, the rest lies between the fields"

    @property
    def _reach(self) -> str:
        x, y = _reach_units(self.scale)
        return f"{max(x, y):.0f} units to the corner of a field, {self.scale.nm_per_unit:.2f} nm a unit"

    @property
    def _lag(self) -> str:
        if self.scale.lag_units is None:
            return "of the beam shift not known: nothing is done against it"
        lag_nm = self.scale.lag_units * self.scale.nm_per_unit
        return f"of the beam shift {lag_nm:.0f} nm: crystals are approached from one side"

    def _seconds(self, crystals: float) -> float:
        return self.total * self._times.field_s(crystals)

    def _hours(self, crystals: float) -> str:
        seconds = self._seconds(crystals)
        return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

    def _pace(self, crystals: float) -> str:
        return f"{3600 * crystals / self._times.field_s(crystals):.0f}"

    @property
    def remarks(self) -> Sequence[str]:
        """See `Prepared.remarks`."""
        plan, remarks = self.plan, []
        if plan.crystals == "isolated" and plan.probe_nm > plan.neighbour_um * NM_PER_UM:
            remarks.append(
                f"the probe ({plan.probe_nm:g} nm) is larger than the distance that makes a crystal isolated "
                f"({plan.neighbour_um:g} um): its neighbours are lit as well."
            )
        if self.facts.illumination is None:
            remarks.append("nobody sets the condenser here: images and patterns are taken with the beam as it is.")
        if not plan.probe_looks:
            remarks.append(
                "it is not looked where the probe lies: the calibration of the beam shift is taken at its word."
            )
        if self.scale.lag_units is None:
            remarks.append(
                "the hysteresis of the beam shift is not known: crystals may be missed by it. "
                "credline calibrate beam-shift"
            )
        return tuple(remarks)

    @property
    def total(self) -> int:
        """See `Prepared.total`."""
        return total_fields(self.plan)

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`: for many crystals a field; a region that has more is stopped by the full disk."""
        rows, columns = self.scale.shape
        frames = self.total * (1 + min(CRYSTALS_A_FIELD[1], self.plan.crystals_per_field))
        return super().size_bytes + round(DISK_SHARE * frames * rows * columns * PIXEL_BYTES)

    def begin(self, run: Run, microscope: Microscope) -> "SerialedSequence":
        """See `Prepared.begin`."""
        from protocols.serialed.sequence import SerialedSequence

        return SerialedSequence(self.plan, self.scale, microscope, run)


def _reach_units(scale: FieldScale) -> tuple[float, float]:
    """How far the beam shift goes, along x and y, to the corners of a field from its middle."""
    aim = scale.aim_at((0.0, 0.0))
    corners = [aim.units_for((fast, slow)) for fast in (0, scale.shape[1]) for slow in (0, scale.shape[0])]
    return max(abs(x) for x, _ in corners), max(abs(y) for _, y in corners)


class Serialed(ExperimentType[SerialedPlan]):
    """The entry in the register of protocols."""

    name = "serialed"
    summary = "every crystal of a region of the grid found, and its diffraction pattern taken"
    plan_type = SerialedPlan
    unit = "fields"
    frame_kinds = (IMAGE, PATTERN, BEAM)
    formats = FORMATS
    needs = ("beam", "detector", "stagexyz", "deflectors", "mode")
    what_if = WHAT_IF
    hourly = (PATTERN.name,)
    picture = "overview.png"

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return serialed_machine(entered)

    def prepare(self, plan: SerialedPlan, facts: Facts) -> PreparedSerialed:
        """See `ExperimentType.prepare`."""
        camera, stage, coils, mode = facts.detector, facts.stagexyz, facts.deflectors, facts.mode
        if camera is None or stage is None or coils is None or mode is None:
            raise Refused(
                "serialed: needs a camera, x and y of the stage, the beam shift and the mode, of which this instrument "
                "lacks one; nothing was started. Name a driver that has it in the devices file."
            )
        if not camera.has_pictures:
            raise Refused(
                "serialed: this camera makes no pictures (a run for timing), so no crystal is found; nothing was "
                "started. Take the driver simulated."
            )
        for key, exposure_s in (("image", plan.image_exposure_s), ("pattern", plan.pattern_exposure_s)):
            if why := camera.cannot_expose((exposure_s,)):
                raise Refused(f"{key}_exposure_s: the camera {why}; nothing was started.")
        for wanted in (OpticalMode.IMAGING, OpticalMode.DIFFRACTION):
            if wanted not in mode.modes:
                raise Refused(f"serialed: this microscope has no {wanted} mode; nothing was started.")
        steps = mode.magnifications.get(OpticalMode.IMAGING)  # where nobody tells them, the operator has set it
        if steps and (why := mode.no_magnification(OpticalMode.IMAGING, plan.magnification)):
            raise Refused(f"magnification: {why}; nothing was started.")
        if (light := facts.illumination) is not None:
            for key, value in (
                ("probe_brightness", plan.probe_brightness),
                ("image_brightness", plan.image_brightness),
            ):
                if why := light.outside(brightness=value):
                    raise Refused(f"{key}: {why}; nothing was started.")
        elif plan.probe_looks:
            raise Refused(
                "probe_looks: nobody sets the condenser here, so the probe cannot be looked at; nothing was "
                "started. Focus the beam yourself and set probe_looks = false."
            )
        scale = field_scale(facts, plan.magnification, (512, 512) if camera.shape is None else None)
        low, high = coils.limits.get(Deflector.BEAM_SHIFT, (0.0, 0.0))
        need = 2 * max(_reach_units(scale))
        if need > high - low:
            raise Refused(
                f"magnification: from corner to corner a field takes {need:.0f} units of beam shift, and there are "
                f"{high - low:.0f}; nothing was started. Take a higher magnification."
            )
        if plan.centre_nm is not None:
            _within_limits(plan, facts, plan.centre_nm)
        SerialedBudgets(plan, facts).pattern  # noqa: B018 refuses what has no camera
        return PreparedSerialed(plan, facts, scale)

    def label(self, plan: SerialedPlan) -> str:
        """See `ExperimentType.label`: the sample."""
        return plan.sample

    async def look(self, plan: SerialedPlan, microscope: Microscope) -> JsonDict:
        """See `ExperimentType.look`: where the stage stands, so that a region past its limits is refused now."""
        if microscope.stagexyz is None:
            return {}
        here = await microscope.stagexyz.position()
        if plan.centre_nm is None:
            _within_limits(plan, microscope.facts, (here.x_nm, here.y_nm))
        return {"x_nm": here.x_nm, "y_nm": here.y_nm}

    def understood(self, words: str, document: RunDocument) -> str:
        """See `ExperimentType.understood`: the order of the fields."""
        verb, numbers = parsed(words, total_fields(SerialedPlan(**document.plan)))
        return f"{verb} {' '.join(map(str, numbers))}"

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`: the fields that are over."""
        if record["kind"] == "note" and record["name"] == "field":
            return Progress(record["field"], f"{record['visited']} of {record['found']} crystals")
        return None

    def shown(self, document: RunDocument) -> Sequence[Shown]:
        """See `ExperimentType.shown`."""
        return shown_of()

    def panels(self, document: RunDocument) -> Sequence[Panel]:
        """See `ExperimentType.panels`: the map of the grid."""
        return (MAP,)

    def panel_read(self, record: Record, document: RunDocument) -> Sequence[PanelRow]:
        """See `ExperimentType.panel_read`."""
        return map_read(record, document.plan)

    def marks_read(self, record: Record, document: RunDocument) -> FrameMarks | None:
        """See `ExperimentType.marks_read`: the crystals found."""
        return crystals_read(record, document.instrument.get("detector") or {})

    def offered(
        self, document: RunDocument, panel: str, rows: Mapping[str, Mapping[str, Cell]], key: str
    ) -> Sequence[Offer]:
        """See `ExperimentType.offered`: a crystal of the map brought back, and rotated."""
        return runs_of(document, rows, key)

    def numbers(self, document: RunDocument) -> Mapping[str, float]:
        """See `ExperimentType.numbers`."""
        names = {"images": "images", "crystals_found": "crystals found", "patterns": "patterns", "good": "worth a run"}
        told = {name: document.result.get(key) for key, name in names.items()}
        told["patterns an hour"] = document.result.get("patterns_per_hour")
        return {name: float(value) for name, value in told.items() if isinstance(value, int | float)}

    def finish(self, remains: Remains) -> RunEnd:
        """See `ExperimentType.finish`."""
        from protocols.serialed.finish import finish_serialed

        return finish_serialed(remains)

    def figures(self, records: Sequence[Record], result: JsonObject) -> JsonObject:
        """See `ExperimentType.figures`."""
        counts = {key: result.get(key, 0) for key in ("images", "patterns")}
        return {**super().figures(records, result), **counts}

    def told(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.told`."""
        from protocols.serialed.finish import told_rows

        return told_rows(result)

    def listed(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.listed`."""
        names = ("images", "patterns", "good")
        return [(name, str(result[name])) for name in names if name in result]

    def held(self, result: JsonObject) -> str:
        """See `ExperimentType.held`."""
        return f"{result.get('images', 0)} images and {result.get('patterns', 0)} patterns."

    def write_files(
        self, folder: Path, remains: Remains, end: RunEnd, frames: Callable[[str], Iterator[SpooledFrame]]
    ) -> list[Path]:
        """See `ExperimentType.write_files`: the tables of crystals and fields."""
        from protocols.serialed.results.runknown import write_run_tables

        return write_run_tables(folder, remains)

    def products(self, plan: SerialedPlan) -> Sequence[str]:
        """See `ExperimentType.products`."""
        return plan.formats

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`."""
        from protocols.serialed.results.export import export_serial

        try:
            told = self.told(RunDocument.read(folder).result)
        except (KeyError, TypeError, ValueError):  # of an older version, or edited: the report does without
            told = ()
        return export_serial(folder, formats, progress, told)

    def carried_over(self, plan: SerialedPlan, remains: Remains) -> JsonDict:
        """See `ExperimentType.carried_over`: the fields that are done, and the crystals of the one under way."""
        from protocols.serialed.takenup import as_json

        before = SerialedPlan(**remains.plan)
        for key in ("width_um", "height_um", "step_um", "magnification"):
            if getattr(plan, key) != getattr(before, key):
                raise Refused(
                    f"{key}: the interrupted run had {getattr(before, key):g}, so its fields are others; nothing was "
                    "started. Leave it as it was, or begin a new run."
                )
        done = as_json(remains)
        if not done["queue"] and not done["field"] and done["centre_nm"] is not None:
            raise Refused("serialed: all fields of that run are done; nothing was started. Begin a new run.")
        return done

    def times(self, plan: SerialedPlan) -> Times:
        """See `ExperimentType.times`."""
        return Times((plan.pattern_exposure_s, plan.image_exposure_s))

    def trial(self) -> "Trial":
        """See `ExperimentType.trial`."""
        from protocols.serialed.soak import SerialedTrial

        return SerialedTrial()


def _within_limits(plan: SerialedPlan, facts: Facts, centre_nm: tuple[float, float]) -> None:
    """Refuse a region that the stage does not reach, with the way that takes up its backlash."""
    if facts.stagexyz is None:
        return
    away_nm = BACKLASHES * facts.stagexyz.backlash_nm
    for field in raster(plan, centre_nm):
        for x_nm, y_nm in ((field.x_nm, field.y_nm), (field.x_nm - away_nm, field.y_nm - away_nm)):
            if why := facts.stagexyz.outside(x_nm=x_nm, y_nm=y_nm):
                raise Refused(
                    f"centre_nm: field {field.number} cannot be reached: {why}; nothing was started. Take a smaller "
                    "region, or another middle."
                )


SERIALED = Serialed()
