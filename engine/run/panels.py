"""What a display shows of an experiment beside its frames: maps, tables, marks on frames, and what a click offers.

Data alone. An experiment declares which there are and what each record of its trace adds to them
(`ExperimentType.panels`, `panel_read`, `marks_read`); a display keeps, draws and offers them, and knows no more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.record.jsonobject import JsonObject

Cell = float | str | bool | None
"""What stands in one place of a panel."""


@dataclass(frozen=True, slots=True)
class PanelColumn:
    """A column: its key in the rows, a title for a person, the unit of its numbers, digits after the point."""

    key: str
    title: str
    unit: str = ""
    digits: int = 2


@dataclass(frozen=True, slots=True)
class TablePanel:
    """A table; each row has its key, and comes where it first came. shows: a row that a record of a frame has made
    shows that frame when it is clicked.
    """

    name: str
    title: str
    columns: Sequence[PanelColumn]
    offers: bool = False
    """Whether a row offers something (`ExperimentType.offered`)."""
    runs: str = ""
    """The key of the values that holds the folder of a run, as seen from this one's: a click on the row shows it."""


@dataclass(frozen=True, slots=True)
class MapPanel:
    """A map of areas (squares) with points in them.

    Of its rows `x`, `y` say where, in `unit`, x to the right and y upwards; `side` makes a row an area, whose
    `state` is one of `states` (name, what it means for a person; the first is what is still to come). Without it a row
    is a point; its `value` from 0 to 1 is its colour; `points` and
    `value_title` say what they are. `words` are said of it.
    """

    name: str
    title: str
    unit: str
    states: Sequence[tuple[str, str]] = ()
    points: str = "points"
    value_title: str = ""
    offers: bool = False
    """Whether a point offers something (`ExperimentType.offered`)."""


Panel = TablePanel | MapPanel


@dataclass(frozen=True, slots=True)
class PanelRow:
    """What a record says of one row of a panel: `values` go over those that the row had. A row that a record of a frame
    has made first is that frame's: a click shows it.
    """

    panel: str
    key: str
    values: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Mark:
    """A circle on a frame, in pixels as in `Shown`: its middle, its radius, and what it is."""

    fast_px: float
    slow_px: float
    radius_px: float
    words: str = ""


@dataclass(frozen=True, slots=True)
class FrameMarks:
    """Marks on the frame with this index in the spool.

    trail: a line is drawn through the first marks of all frames of its kind so far. click: what a click on the frame
    would do, in words, as long as the run goes; empty for nothing. told: what `ExperimentType.pointed` needs to know
    of this frame.
    """

    index: int
    marks: Sequence[Mark] = ()
    trail: bool = False
    click: str = ""
    told: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pointed:
    """What a click on a frame asks of the run: the words that it is told (`ExperimentType.understood`), and the same
    for a person, who confirms it.
    """

    words: str
    plain: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A run that can be put into the queue: what it does, for a person; its protocol, and its plan as words of
    `--set`.
    """

    title: str
    protocol: str
    settings: Sequence[str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run has found out that later runs may go by, once it is stored: a calibration. lines: for a person.
    store: does it, and says where; blocks, raises CredlineError, nothing stored then.
    """

    lines: Sequence[str]
    store: Callable[[], str]
