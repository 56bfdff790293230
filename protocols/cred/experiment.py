"""cRED as the engine sees it: the type in the register, and a plan prepared for an instrument."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.contract import Microscope
from drivers.facts import Facts, Geometry
from drivers.judged import grid
from engine.errors import Refused
from engine.frame import picture_type
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.spool import SpooledFrame
from engine.record.trace import Record
from engine.run.budget import Budget
from engine.run.contract import Course, ExperimentType, Figure, Prepared, Progress, Shown, Times, WhatIf
from engine.run.lastwords import LastWords
from engine.run.machine import StrictMachine
from engine.run.panels import FrameMarks, Kept, Panel, PanelRow, Pointed
from engine.run.run import Run
from protocols.calibrate.keeping import kept_of
from protocols.cred.crystalslots import SEVERAL
from protocols.cred.gaps import gaps_of, objection_to, turns_of
from protocols.cred.likely import refuse_impossible, unusual
from protocols.cred.livelook import LOOK, SEARCH
from protocols.cred.machine import cred_machine
from protocols.cred.optics import changed_since, looked_at
from protocols.cred.panels import TABLE, crystal_read, held_at, snapshot_read
from protocols.cred.pattern import beam_asked_about, beam_cannot_be, corrected, corrected_beam, pattern_in, words_of
from protocols.cred.plan import FORMATS, ON_REQUEST, CredPlan
from protocols.cred.records import DIFFRACTION, PRESCAN_IMAGE, SNAPSHOT
from protocols.cred.sequence import CredSequence
from protocols.cred.slotplan import SlotPlan
from protocols.cred.trackingwords import offset_in
from protocols.cred.trackingwords import words_of as offset_words

if TYPE_CHECKING:
    from protocols.cred.soak.trial import CredTrial

# Spool and frames.h5 stand side by side for a moment; counts deflate to less than 0.6 of their size.
DISK_FACTOR = 1.6
# Most cameras whose servers do not say give 16 or 32 bits.
UNKNOWN_PIXEL_BYTES = 4
DISK_RESERVE_BYTES = 16 * 1024 * 1024

WHAT_IF = WhatIf(
    figures=(
        Figure("period_s", "period / s"),
        Figure("slots", "slots"),
        Figure("frames", "frames"),
        Figure("snapshot_slots", "slots a snapshot takes"),
        Figure("lost_slots", "lost slots"),
        Figure("missing_deg", "missing wedge / deg"),
        Figure("slack_min_ms", "ready before a slot, min / ms"),
        Figure("slack_median_ms", "ready before a slot, median / ms"),
        Figure("overruns", "steps over their budget"),
    ),
    swept=("frames", "snapshot_slots", "lost_slots", "missing_deg", "overruns"),
    plotted=(
        Figure("missing_deg", "missing wedge / deg"),
        Figure("lost_slots", "lost slots"),
        Figure("slack_min_ms", "ready before a slot, min / ms"),
    ),
    aliases={"exposure": "exposure_s", "interval": "snapshot_interval", "snapshot_exposure": "snapshot_exposure_s"},
    # A recording knows where the stage went and how the lens settled then, and nothing of another way.
    # Nor has it other pictures to look at.
    unanswerable=(
        *("start_deg", "speed_deg_s", "rotation", "crystal", "sample", "formats", "truth"),
        *("live", "stop_at", "stop_if", "tracking", "track_by", "beam_follows"),
        *("path", "other_paths", "prescan_images"),
    ),
    needs_settling=("defocus",),
    signed=("range_deg",),
)


@dataclass(frozen=True)
class PreparedCred(Prepared):
    """A cRED plan that fits the instrument."""

    plan: CredPlan
    slot_plan: SlotPlan
    geometry: Geometry

    @property
    def budgets(self) -> Sequence[Budget]:
        """See `Prepared.budgets`."""
        return self.slot_plan.budgets

    @property
    def words(self) -> Mapping[str, str]:
        """See `Prepared.words`."""
        slots = self.slot_plan
        begin_deg, end_deg = slots.travel_deg
        return {
            "acquisition period": f"{slots.period_s * 1000:.1f} ms",
            "oscillation angle": f"{slots.oscillation_deg:.4f} deg per slot",
            "slots": f"{slots.slots} ({_number(slots)} snapshots, {slots.snapshot_slots} slot(s) each)",
            "not recorded": gaps_of(slots),
            **turns_of(slots),
            "duration": f"{slots.slots * slots.period_s:.1f} s",
            **slots.prescan.words,
            **self._earlier,
            "stage travel": f"{begin_deg:.2f} to {end_deg:.2f} deg, run-in and run-out included",
            **self._parts,
            "a frame may start late by": f"{slots.tolerance_s * 1000:.1f} ms",
            "smallest margin": f"{slots.smallest_margin_s * 1000:.1f} ms",
            "disk space": self._disk_space,
            **self._files,
            **words_of(self.geometry, slots.detector),
        }

    @property
    def remarks(self) -> Sequence[str]:
        """See `Prepared.remarks`."""
        beam = beam_asked_about(self.plan.beam, self.geometry, self.slot_plan.detector)
        told = (beam, self.slot_plan.not_taken_back)
        said = (each for each in told if each is not None)
        return (*unusual(self.plan), *self.slot_plan.prescan.remarks, *said)

    @property
    def objections(self) -> Sequence[str]:
        """See `Prepared.objections`."""
        objection = objection_to(self.slot_plan)
        return () if objection is None else (objection,)

    @property
    def _earlier(self) -> Mapping[str, str]:
        """What ends the run before its range is covered."""
        asked = ", ".join(f"{key} = {str(value).lower()}" for key, value in self.plan.ends_early.items())
        return {"may end earlier": f"{asked}; asked of each look at the crystal"} if asked else {}

    @property
    def _parts(self) -> Mapping[str, str]:
        """What is to be said of the parts of a camera that paces itself."""
        paced, tolerance_ms = self.slot_plan.paced, self.slot_plan.tolerance_s * 1000
        if paced is None:
            return {}
        part = f"{paced.period_s * 1000:g} ms"
        if paced.tells_begin:
            return {"parts of the camera": f"{part}; slots begin with one of them"}
        unknown = f"{part}; when they begin nobody knows, so frames begin up to that much after their slots"
        if paced.period_s > self.slot_plan.tolerance_s:
            unknown += f", of which {tolerance_ms:.1f} ms are not late: choose parts that short, or a longer exposure_s"
        return {"parts of the camera": unknown}

    @property
    def _files(self) -> Mapping[str, str]:
        """What is to be said of the files for other programs: that only what is named is made."""
        formats = self.plan.formats
        if not formats or "report" in formats:
            return {}
        return {"files": f"{', '.join(formats)}, and no report: name it in formats, too, if you want one"}

    @property
    def total(self) -> int:
        """See `Prepared.total`."""
        return self.slot_plan.slots

    @property
    def smallest_margin_s(self) -> float:
        """See `Prepared.smallest_margin_s`."""
        return self.slot_plan.smallest_margin_s

    @property
    def size_bytes(self) -> int:
        """See `Prepared.size_bytes`."""
        rows, columns = self.slot_plan.detector.known_shape
        pixel = picture_type(self.slot_plan.detector.dtype)
        pixel_bytes = UNKNOWN_PIXEL_BYTES if pixel is None else pixel.itemsize
        return round(DISK_FACTOR * self.total * rows * columns * pixel_bytes) + DISK_RESERVE_BYTES

    @property
    def _disk_space(self) -> str:
        camera = self.slot_plan.detector
        if camera.shape is None:
            return "not known before the camera has told how large its pictures are"
        assumed = "" if camera.dtype else f", if a pixel takes {UNKNOWN_PIXEL_BYTES} bytes: its type is not known"
        return f"{self.size_bytes / 1e6:.0f} MB{assumed}"

    def begin(self, run: Run, microscope: Microscope) -> CredSequence:
        """See `Prepared.begin`."""
        return CredSequence(self.plan, self.slot_plan, microscope, run)


class Cred(ExperimentType[CredPlan]):
    """The entry in the register of protocols."""

    name = "cred"
    summary = "continuous rotation electron diffraction of one crystal, with defocused snapshots"
    plan_type = CredPlan
    unit = "slots"
    path_keys = ("crystal.cif",)
    frame_kinds = (DIFFRACTION, SNAPSHOT, PRESCAN_IMAGE)
    formats = (*FORMATS, *ON_REQUEST)
    needs = ("stage", "beam", "optics", "detector")
    what_if = WHAT_IF
    picture = "timing.png"
    keeps = "Rotation axis from this run"

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return cred_machine(entered)

    def unwatched(self, plan: CredPlan, computed: Collection[str]) -> CredPlan | None:
        """See `ExperimentType.unwatched`: a look at the crystal that ends nothing only watches, tracking does not."""
        if plan.ends_early or not {SEARCH.name, LOOK.name}.issuperset(computed):
            return None
        return plan.model_copy(update={"live": False})

    def prepare(self, plan: CredPlan, facts: Facts) -> PreparedCred:
        """See `ExperimentType.prepare`."""
        refuse_impossible(plan)
        if why := beam_cannot_be(plan.beam, facts.geometry, grid(facts.detector) if facts.detector else None):
            raise Refused(f"{why} Nothing was started.")
        slots = SlotPlan(plan, facts)
        if plan.ends_early and not slots.detector.has_pictures:
            raise Refused(
                f"{next(iter(plan.ends_early))}: this camera makes no pictures (a run for timing), so no crystal is "
                "looked at; nothing was started. Leave it out, or choose another camera."
            )
        return PreparedCred(plan, slots, facts.geometry)

    def label(self, plan: CredPlan) -> str:
        """See `ExperimentType.label`: the sample."""
        return plan.sample

    def device_options(self, plan: CredPlan) -> Mapping[str, Any]:
        """See `ExperimentType.device_options`."""
        return plan.device_options()

    async def look(self, plan: CredPlan, microscope: Microscope) -> JsonObject:
        """See `ExperimentType.look`: the mode, of an instrument that tells it."""
        return await looked_at(microscope)

    async def look_again(self, before: JsonObject, microscope: Microscope) -> str:
        """See `ExperimentType.look_again`: whether it is the same mode still."""
        return await changed_since(before, microscope)

    def understood(self, words: str, document: RunDocument) -> str:
        """See `ExperimentType.understood`: where the crystal is to be held."""
        offset = offset_in(words)
        if (tracking := document.plan.get("tracking")) != "correct":
            raise Refused(
                f"tracking = {tracking}: this run brings no crystal back, so it holds none; nothing was told."
            )
        return offset_words(*offset)

    def panels(self, document: RunDocument) -> Sequence[Panel]:
        """See `ExperimentType.panels`: what looks at the crystal tell, where the plan asks for them."""
        return (TABLE,) if document.plan.get("live") is True else ()

    def panel_read(self, record: Record, document: RunDocument) -> Sequence[PanelRow]:
        """See `ExperimentType.panel_read`."""
        return crystal_read(record)

    def marks_read(self, record: Record, document: RunDocument) -> FrameMarks | None:
        """See `ExperimentType.marks_read`: the crystal in a snapshot."""
        return snapshot_read(record, document)

    def pointed(self, document: RunDocument, told: JsonObject, fast_px: float, slow_px: float) -> Pointed:
        """See `ExperimentType.pointed`: where in the aperture the crystal is to be held."""
        return held_at(told, fast_px, slow_px)

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """See `ExperimentType.kept`: the rotation axis, as `credline calibrate rotation-axis --from` makes it."""
        return kept_of(folder, document)

    def numbers(self, document: RunDocument) -> Mapping[str, float]:
        """See `ExperimentType.numbers`."""
        names = {
            "range_deg": "rotation range / deg",
            "oscillation_deg": "a frame / deg",
            "frames": "frames",
            "snapshots": "snapshots",
            "lost_slots": "lost slots",
            "elapsed_s": "duration / s",
        }
        told = {name: document.result.get(key) for key, name in names.items()}
        return {name: abs(float(value)) for name, value in told.items() if isinstance(value, int | float)}

    def progress(self, record: Record) -> Progress | None:
        """See `ExperimentType.progress`: the slot of a diffraction frame, the stage's angle, how late it began."""
        if record["kind"] != "frame" or record["name"] != "diffraction":
            return None
        angle_deg = record.get("angle_deg")
        return Progress(record["slot"], f"{angle_deg:.2f} deg" if angle_deg is not None else "")

    def shown(self, document: RunDocument) -> Sequence[Shown]:
        """See `ExperimentType.shown`."""
        from protocols.cred.shown import shown_of

        return shown_of(document)

    def course(self, plan: JsonObject) -> Course | None:
        """See `ExperimentType.course`: the stage's angle."""
        from protocols.cred.shown import course_of

        return course_of(plan)

    def course_read(self, record: Record) -> float | None:
        """See `ExperimentType.course_read`."""
        from protocols.cred.shown import angle_read

        return angle_read(record)

    def finish(self, remains: Remains) -> RunEnd:
        """See `ExperimentType.finish`."""
        from protocols.cred.finish import finish_cred

        return finish_cred(remains)

    def last_words(self, remains: Remains) -> LastWords:
        """See `ExperimentType.last_words`."""
        from protocols.cred.lastwords import cred_last_words

        return cred_last_words(remains)

    def figures(self, records: Sequence[Record], result: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `ExperimentType.figures`."""
        from protocols.cred.summary import figures_of

        return figures_of(records, result)

    def told(self, result: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.told`."""
        from protocols.cred.summary import rows_of

        return rows_of(result)

    def listed(self, result: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """See `ExperimentType.listed`."""
        from protocols.cred.summary import columns_of

        return columns_of(result)

    def row(self, document: RunDocument) -> JsonObject:
        """See `ExperimentType.row`."""
        from protocols.cred.statistics.row import row_of

        return row_of(document)

    def carried_over(self, plan: CredPlan, remains: Remains) -> Mapping[str, Any]:
        """See `ExperimentType.carried_over`: a rotation is not resumed."""
        raise Refused(
            "cred: a rotation is not taken up again, for the stage has stopped and the crystal has had its dose; "
            "nothing was started. What was exposed is kept: export it as it is, or rotate over what is missing as a "
            "new run, with --set start_deg=... range_deg=..."
        )

    def held(self, result: Mapping[str, Any]) -> str:
        """See `ExperimentType.held`."""
        from protocols.cred.summary import held_by

        return held_by(result)

    def write_files(
        self, folder: Path, remains: Remains, end: RunEnd, frames: Callable[[str], Iterator[SpooledFrame]]
    ) -> list[Path]:
        """See `ExperimentType.write_files`: for people, the snapshots, the path of a crystal that was tracked, and what
        frames told while it went on.
        """
        from protocols.cred.finish import plan_of
        from protocols.cred.livetable import write_live_table
        from protocols.cred.results import look_file, snapshot_file, write_pictures
        from protocols.cred.trackedpath import paths_in, write_paths

        files = write_pictures(folder, frames(SNAPSHOT.name), "slot", snapshot_file)
        files += write_pictures(folder, frames(PRESCAN_IMAGE.name), "look", look_file)
        files += write_live_table(folder, remains.records)
        plan = plan_of(remains.plan)
        return [*files, *write_paths(folder, paths_in(remains.records, plan), plan)]

    def products(self, plan: CredPlan) -> Sequence[str]:
        """See `ExperimentType.products`."""
        return plan.formats

    def corrected(self, document: RunDocument, settings: JsonObject) -> RunDocument:
        """See `ExperimentType.corrected`: any figure of the geometry, and what is taken for the primary beam."""
        figures = {key: value for key, value in settings.items() if key != "beam"}
        if figures or not settings:
            instrument = corrected(document.instrument, figures)
            own = {**document.own, "pattern": pattern_in(instrument)}
            document = replace(document, instrument=instrument, own=own)
        if "beam" in settings:
            beam = corrected_beam(document.instrument, settings["beam"])
            document = replace(document, plan={**document.plan, "beam": beam})
        return document

    def usual_formats(self, folder: Path) -> Sequence[str]:
        """See `ExperimentType.usual_formats`: those on request where they have been made, so that none grows old."""
        from protocols.products import autoed, pyautoprocess

        there = {"autoed": autoed.FOLDER, "pyautoprocess": pyautoprocess.FOLDER}
        folders = [folder, *folder.glob("crystal_*")]  # those of several crystals have their own files
        return (*FORMATS, *(name for name in ON_REQUEST if any((own / there[name]).is_dir() for own in folders)))

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """See `ExperimentType.export`."""
        from protocols.products.export import export_run
        from protocols.products.runbeam import beam_row
        from protocols.products.source import why_no_frames

        document = RunDocument.read(folder)
        if not document.instrument.get("detector", {}).get("has_pictures", True):
            raise Refused(f"{folder}: its camera delivered no pictures (a run for timing); nothing was exported.")
        if why := why_no_frames(document):
            raise Refused(f"{folder}: {why}; nothing was exported.")
        try:
            told = self.told(document.result)
        except (KeyError, TypeError, ValueError):  # of an older version, or edited: the report has its parameters
            told = ()
        if SEVERAL in document.result:
            from protocols.cred.crystalfolders import make_crystal_folders

            folders = make_crystal_folders(folder, document)
            return [f"{own.name}: {line}" for own in folders for line in self.export(own, formats, progress)]
        _look_at_crystal(folder, document, progress)
        summary = export_run(folder, formats, None, progress, told)
        return (
            f"{summary.files} files in {', '.join(summary.formats)} from {summary.frames} frames",
            f"{beam_row(summary.beam)}; {summary.clipped}",
            *summary.warnings,
        )

    def times(self, plan: CredPlan) -> Times:
        """See `ExperimentType.times`."""
        exposures_s = (plan.exposure_s, plan.snapshot_exposure_s)
        return Times(exposures_s, plan.defocus, plan.speed_deg_s)

    def trial(self) -> "CredTrial":
        """See `ExperimentType.trial`."""
        from protocols.cred.soak.trial import CredTrial

        return CredTrial()


def _number(slots: SlotPlan) -> str:
    """Of the snapshots in the planned range."""
    shots = slots.snapshots
    return f"{shots.fewest} to {shots.most}" if shots.adaptive else f"{shots.fewest}"


def _look_at_crystal(folder: Path, document: RunDocument, progress: Callable[[int, int], None]) -> None:
    """Keep what the frames tell of the crystal, where the plan wants it or somebody has looked before."""
    from protocols.products.foundcrystal import CRYSTAL_FILE

    if document.plan.get("live") is True or (folder / CRYSTAL_FILE).exists():
        from protocols.live.keeping import keep_current_crystal

        keep_current_crystal(folder, progress)


CRED = Cred()
