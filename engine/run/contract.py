"""What an experiment is to the engine. Who writes a protocol begins here, and with docs/protocol-writing.md.

A protocol registers one `ExperimentType` under the entry points `credline.protocols`. Five things are required of it
(name, summary, plan_type, machine, prepare), one of what it prepares (begin), two of its experiment (machine,
activities); everything else has a default. The engine needs nothing that is not declared here.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.framekinds import FrameKind
from engine.record.jsonobject import JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.spool import SpooledFrame
from engine.record.trace import Record
from engine.run.budget import Budget
from engine.run.lastwords import LastWords, last_words
from engine.run.machine import StrictMachine
from engine.run.panels import Cell, FrameMarks, Kept, Offer, Panel, PanelRow, Pointed

if TYPE_CHECKING:
    from engine.run.run import Run
    from engine.run.trial import Trial

PlanT = TypeVar("PlanT", bound=BaseModel)

Work = Callable[[], Coroutine[object, object, str]]
"""The work of a state: a coroutine function that returns the trigger to leave by."""

RESERVE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SafeAction:
    """One step into the safe state, tried again until `limit_s` is over. `alarm`: what to tell the operator, loudly,
    if it fails; empty where a later action makes sure.
    """

    name: str
    call: Callable[[], Awaitable[object]]
    limit_s: float
    alarm: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for its display: `done` of `total` units, and a word on how it goes (an angle, a field)."""

    done: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a display shows frames of one kind: its name in `frame_kinds`, a title for a person.

    centre_px: (fast, slow) in the counts as the camera gave them, from the middle of the first pixel; rings are drawn
    around it, each with its radius in these pixels and what it means. None for a picture with nothing drawn in it.
    seen: `module:function`, called by the display, never by the run, with each picture that it shows, (rows, columns),
    and `arguments`: what a person wants to know of it (`Seen`); empty for nothing. It decides nothing. panel: of which
    the rows, as they stand then, are among the arguments as `rows`, by their keys; empty for none.
    """

    kind: str
    title: str
    centre_px: tuple[float, float] | None = None
    rings: Sequence[tuple[float, str]] = ()
    seen: str = ""
    arguments: JsonObject = field(default_factory=dict)
    panel: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a display tells of one picture. figures: names and texts. crosses: places (fast, slow) in its pixels, from
    the middle of the first, each with a word. followed: a figure that is drawn over the pictures, by its name.
    centre_px, rings: as `Shown` has them, where they are not the same for all pictures.
    """

    figures: Sequence[tuple[str, str]] = ()
    crosses: Sequence[tuple[float, float, str]] = ()
    followed: tuple[str, float] | None = None
    centre_px: tuple[float, float] | None = None
    rings: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True, slots=True)
class Button:
    """What an operator may tell a run from a display by one press: the words of `ExperimentType.understood`.

    value: what stands in the field beside it at first, and follows the words; None for a button without a field.
    both_ways: the number in the field is a distance, which may be told with a minus as well, by a press of its own.
    choices: in the place of a field those words that may follow, each with how it is shown; empty words for nothing.
    """

    label: str
    words: str
    hint: str = ""
    value: str | None = None
    unit: str = ""
    both_ways: bool = False
    choices: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Course:
    """A quantity that is read while a run goes, and what the plan asks of it: from `begin` to `end`, `rate` a second
    from the first frame of its first kind on.
    """

    name: str
    unit: str
    begin: float
    end: float
    rate: float


@dataclass(frozen=True, slots=True)
class Times:
    """What a plan asks of camera, lens and stage: `devices check` measures it.

    exposures_s: the one that it makes most, and one that it makes in between. lens_change: that it makes, in the
    lens's own units. speed_deg_s: of the stage's rotation.
    """

    exposures_s: tuple[float, float] = (0.5, 0.5)
    lens_change: int = 0
    speed_deg_s: float = 1.0


class Experiment(ABC):
    """One experiment under way: its machine and the work of each state.

    Returning FINISH without having called `Run.finish` means the run is done.
    """

    # Any, here and below: an author types it with the microscope, and the facts, of the drivers that he uses, of which
    # the engine knows only what stands in engine.run.microscope.
    def __init__(self, run: "Run", microscope: Any, machine: StrictMachine) -> None:
        self.run = run
        self.microscope = microscope
        self.machine = machine

    @abstractmethod
    def activities(self) -> Mapping[Enum, Work]:
        """The work of every state that is neither the finalizing nor a final one."""

    def safe_actions(self) -> Sequence[SafeAction]:
        """What makes the instrument safe, most urgent first, done one after the other, so that a replay makes them in
        the same order. By default what the parts of the microscope ask for; a protocol adds to it or replaces it.
        """
        from engine.run.safety import default_safe_actions

        return default_safe_actions(self.microscope, self.run.gate, self.run.timeline)

    async def when_safe(self) -> None:  # noqa: B027 most have none
        """Called in the finalizing state once the instrument is safe: the last frames, or nothing."""

    def heard(self, words: str) -> None:
        """The operator tells something, between any two steps; returns at once, and what it does then stands in the
        trace. words: as `ExperimentType.understood` has let them pass, or not. Raises Refused, nothing changed, for
        what is not understood or cannot be now: the operator is told. Not called any more once the run is on its way
        into the safe state: what would begin then, nothing would end.
        """
        raise Refused(f"nobody here understands {words!r}; nothing was changed.")

    def is_mine(self, words: str) -> bool:
        """Whether words are for this run itself, also while a child of it is under way; others are handed on to that.
        By the words alone.
        """
        return False

    def write_extra(self, folder: Path) -> None:  # noqa: B027 most have none
        """Files that only the run itself can write (the truth of a simulation). Blocks: for the writer's thread."""


class Prepared(ABC):
    """A plan found to fit the facts it was prepared for. Nothing has moved.

    modules: those that a run imports and planning does not. On the real clock the engine has them imported by a thread
    before the run begins, for that takes a second and more, in which nothing would look after the instrument.
    """

    modules: ClassVar[tuple[str, ...]] = ()

    @property
    def budgets(self) -> Sequence[Budget]:
        """The timed sequences, for `credline plan`."""
        return ()

    @property
    def words(self) -> Mapping[str, str]:
        """What else a person wants to know before starting, with units."""
        return {}

    @property
    def remarks(self) -> Sequence[str]:
        """What is unusual about the plan, one line each: said by `plan` and at the start of a run, kept in run.json."""
        return ()

    @property
    def objections(self) -> Sequence[str]:
        """What the plan leaves unrecorded that a person would hardly want to miss, one line each, with what would be
        better. A run is refused for it unless it is accepted (`--accept-gaps`); then these are remarks.
        """
        return ()

    @property
    def total(self) -> int:
        """How much there is to do, in `ExperimentType.unit`; 0 where nobody knows."""
        return 0

    @property
    def smallest_margin_s(self) -> float:
        """The tightest tolerance of the plan; a machine that wakes later than this cannot run it."""
        return 1.0

    @property
    def size_bytes(self) -> int:
        """Disk space to have free before the start."""
        return RESERVE_BYTES

    @abstractmethod
    def begin(self, run: "Run", microscope: Any) -> Experiment:
        """Make the experiment for one run; it does nothing until driven. microscope: the parts behind the gate are
        `run.gate.wrap(name, part)`.
        """


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a run for the tables of a what-if. name: with its unit."""

    key: str
    name: str


OVERRUNS = Figure("overruns", "steps over their budget")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a what-if may ask of a recorded run, and the figures that answer it.

    swept, plotted: those of a sweep's table and picture. aliases: short names of plan keys. unanswerable: keys of the
    plan of which a recording cannot tell what they would have changed; needs_settling: those of which it can if the
    settling time is given; signed: those whose sign cannot be turned.
    """

    figures: Sequence[Figure] = (Figure("frames", "frames"), OVERRUNS)
    swept: Sequence[str] = ("frames", "overruns")
    plotted: Sequence[Figure] = (OVERRUNS,)
    aliases: Mapping[str, str] = field(default_factory=dict)
    unanswerable: Sequence[str] = ()
    needs_settling: Sequence[str] = ()
    signed: Sequence[str] = ()


class ExperimentType(ABC, Generic[PlanT]):
    """An entry of the register of protocols."""

    name: str
    summary: str
    plan_type: type[PlanT]

    unit: str = "frames"
    """What `Prepared.total` and `Progress.done` count."""
    path_keys: Sequence[str] = ()
    """Keys of the plan that are files (`table.key`): a trace holds their names, for folders differ by machine."""
    frame_kinds: Sequence[FrameKind] = ()
    formats: Sequence[str] = ()
    """Products that `export` can make of a run folder, all of them; see `usual_formats`."""
    needs: Sequence[str] = ()
    """The parts of the microscope without which it cannot run (`stage`, `detector`): checked before the folder is
    made."""
    what_if: WhatIf = WhatIf()
    pauses: bool = False
    """Whether its runs have places to be paused at (`Run.checkpoint`): a display offers it then."""
    hourly: Sequence[str] = ()
    """Kinds of frames of which a display says how many come in an hour."""
    picture: str = ""
    """The file of a report that shows a run at a glance, for a list of runs; none without."""
    begun_by: str = ""
    """The command that begins its runs, where neither `credline run` nor a form can."""
    gives_way: bool = False
    """Whether who owns the instrument ends a run of it when another run is asked for."""

    @abstractmethod
    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """A machine of this experiment in its initial state; `entered` is told every state boundary."""

    @abstractmethod
    def prepare(self, plan: PlanT, facts: Any) -> Prepared:
        """Check a plan against what is known of the instrument. Raises Refused with the step and by how much it does
        not fit.

        facts: `drivers.facts.Facts`, frozen data that holds no device. The header of the trace has them whole, so a
        replay prepares from the same.
        """

    def label(self, plan: PlanT) -> str:
        """The name of the run folder, before its number."""
        return self.name

    def device_options(self, plan: PlanT) -> Mapping[str, object]:
        """What a simulated microscope is told of the plan before the run: what lies in it, and how its operator left
        stage and beam (`drivers.parts.Specimen`).
        """
        return {}

    async def look(self, plan: PlanT, microscope: Any) -> JsonObject:
        """What is read of the instrument before the folder is made, for the header of the trace: a mode, a
        magnification. Reads only. Raises Refused for what does not fit the plan.
        """
        return {}

    async def look_again(self, before: JsonObject, microscope: Any) -> str:
        """What of that has changed, read when the run has ended and the instrument is safe: a sentence for the
        warnings of run.json, or empty. before: what `look` had read, never empty. Reads only, within 2 s; may raise
        DeviceError.
        """
        return ""

    def understood(self, words: str, document: RunDocument) -> str:
        """What `credline tell` may tell a run under way, as `Experiment.heard` takes it. Raises Refused for words that
        are none, or that this run could not follow, with those that it could.
        """
        raise Refused(f"a run of {self.name!r} takes no words; nothing was told.")

    def progress(self, record: Record) -> Progress | None:
        """How far the run is, where this record tells; called with every record."""
        return None

    def shown(self, document: RunDocument) -> Sequence[Shown]:
        """How a display shows the frames of a run, the kind that it shows first before the others; from run.json, which
        may be damaged. May not raise.
        """
        return [Shown(frames.name, frames.name) for frames in self.frame_kinds]

    def course(self, plan: JsonObject) -> Course | None:
        """What a display draws over time beside what was planned of it; from the plan in run.json. None for nothing."""
        return None

    def course_read(self, record: Record) -> float | None:
        """The quantity of `course`, where this record tells it; called with every record."""
        return None

    def panels(self, document: RunDocument) -> Sequence[Panel]:
        """The maps and tables that a display shows of a run, from run.json, which may be damaged. May not raise."""
        return ()

    def panel_read(self, record: Record, document: RunDocument) -> Sequence[PanelRow]:
        """What this record adds to the panels; called with every record. Pure."""
        return ()

    def marks_read(self, record: Record, document: RunDocument) -> FrameMarks | None:
        """What this record says to mark on a frame; called with every record. Pure."""
        return None

    def pointed(self, document: RunDocument, told: JsonObject, fast_px: float, slow_px: float) -> Pointed:
        """What a click on a marked frame asks of the run. told: as `FrameMarks` has it. Raises Refused."""
        raise Refused("a click there asks for nothing; nothing was told.")

    def offered(
        self, document: RunDocument, panel: str, rows: Mapping[str, Mapping[str, Cell]], key: str
    ) -> Sequence[Offer]:
        """The runs that a row of a panel offers to be queued, in their order. rows: of the panel, by their keys. Raises
        Refused for a row that offers none.
        """
        raise Refused("no run can be made of that; nothing was queued.")

    def kept(self, folder: Path, document: RunDocument) -> Kept | None:
        """What a finished run can store of the instrument for later runs: of a calibration. Blocks. Raises DataError
        for a run that tells nothing; None where there is nothing to store.
        """
        return None

    keeps: str = ""
    """Where only some runs are wanted for that, or it takes long: what it is, on a button of a display, by which `kept`
    is asked. Without, a display asks `kept` of each run that is over.
    """

    def numbers(self, document: RunDocument) -> Mapping[str, float]:
        """The figures of a run that are compared with those of others, by their names with units; from run.json, which
        may be an older one. May not raise.
        """
        return {}

    def buttons(self, document: RunDocument) -> Sequence[Button]:
        """What a display offers to be told to a run that is under way; from run.json, whose `instrument` has all its
        facts here, as the header of the trace. May not raise.
        """
        return ()

    def finish(self, remains: Remains) -> RunEnd:
        """The result, from the records and the frames that are on disk: pure, the same for a run, its replay and its
        recovery. May not raise for what a crash can leave.
        """
        counts = {kind.name: len(remains.of_kind(kind.name)) for kind in self.frame_kinds}
        return RunEnd({"frames": sum(counts.values()), "frames_of_kind": counts})

    def last_words(self, remains: Remains) -> LastWords:
        """What is known of the instrument's safety when a run was cut off, from the trace as far as it goes."""
        return last_words(remains)

    def unwatched(self, plan: PlanT, computed: Collection[str]) -> PlanT | None:
        """The plan without what only watches its pictures: a what-if has none, and asks of that plan. None, as by
        default, where what is computed from pictures decides what the run does. computed: the names of what was.
        """
        return None

    def figures(self, records: Sequence[Record], result: JsonObject) -> JsonObject:
        """The figures of `what_if` for a run, from its records and its result."""
        frames = sum(record["kind"] == "frame" for record in records)
        late = sum(record["kind"] == "step" and record["verdict"] in ("over", "underflow") for record in records)
        return {"frames": frames, "overruns": late}

    def told(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """The result for a person: names and texts, as rows of the table at a run's end."""
        return [(key, f"{value:g}") for key, value in result.items() if isinstance(value, int | float)]

    def listed(self, result: JsonObject) -> Sequence[tuple[str, str]]:
        """Columns of its own in `credline runs list`: names, with units, and texts; of runs that failed as well."""
        return [("frames", str(result["frames"]))] if "frames" in result else []

    def row(self, document: RunDocument) -> JsonObject:
        """What of a run that has ended stands in runs.csv beside its folder: texts and numbers by the names of their
        columns, with units; nothing for no row.
        """
        return {}

    def write_files(
        self, folder: Path, remains: Remains, end: RunEnd, frames: Callable[[str], Iterator[SpooledFrame]]
    ) -> list[Path]:
        """Files of the protocol's own beside frames.h5, for a run and for its recovery; which were written.

        frames: gives the whole frames of one kind, in order. Blocks. Raises StorageError.
        """
        return []

    def products(self, plan: PlanT) -> Sequence[str]:
        """The formats that a run makes at its end."""
        return ()

    def carried_over(self, plan: PlanT, remains: Remains) -> JsonObject:
        """What a new run of this plan goes on from, as JSON can hold it: what was done in an earlier one.

        Stands in the header of the new run, which finds it as `Run.carried_over`. remains: the earlier run, recovered
        if it was cut off; where it went on from one itself, that is `remains.header["continued"]["done"]`. Raises
        Refused where it cannot go on, or the plan does not fit what was done.
        """
        raise Refused(
            f"the protocol {self.name!r} cannot go on from an earlier run; nothing was started. Perform a new one."
        )

    def held(self, result: JsonObject) -> str:
        """What a recovered run holds, as one sentence."""
        return f"{result.get('frames', 0)} frames."

    def corrected(self, document: RunDocument, settings: JsonObject) -> RunDocument:
        """run.json with other values of the instrument than the run had: keys with dots, as `--set` gives them.

        Only `instrument` and what follows from it may change, and what the plan says of how files are made; what it was
        before, the engine keeps. Raises Refused for
        a key that cannot be corrected, or a value that cannot be.
        """
        raise Refused(f"--set: nothing of a run of {self.name!r} can be corrected; nothing was changed.")

    def usual_formats(self, folder: Path) -> Sequence[str]:
        """Those of `formats` that are made of a run folder where none is named: all."""
        return self.formats

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """Make files for other programs from a finished run folder; lines for a person about what was made.

        Blocks (it is for a thread). Raises DataError or StorageError; every file is whole or absent.
        """
        raise Refused(f"{folder}: the protocol {self.name!r} makes no products; nothing was exported.")

    def times(self, plan: PlanT) -> Times:
        """What a plan asks of camera, lens and stage, for `devices check` to measure."""
        return Times()

    def trial(self) -> "Trial":
        """What a soak draws and judges; by default the default plan, and what holds for every protocol."""
        from engine.run.trial import Trial

        return Trial()


AnyExperiment = ExperimentType[Any]
"""An experiment whose plan the engine passes on and does not look into."""
