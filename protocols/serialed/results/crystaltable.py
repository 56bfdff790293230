"""The table of fields and crystals of a SerialED run, from its records and its frames alone.

Pure, and the same for a run, its replay, its recovery and an export years later: what the finder saw in each image,
which crystal got a pattern, how that was scored, and in words what is missing. Nothing is guessed: a crystal without a
score has none, and says why.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.record.spoolformat import FrameInfo
from engine.record.trace import Record
from protocols.screening.computation import SCREEN
from protocols.screening.computation import answered as scored_in
from protocols.screening.scoring import Score
from protocols.serialed.finding.computation import FIND
from protocols.serialed.finding.computation import answered as found_in
from protocols.serialed.finding.crystals import Found, FoundCrystal
from protocols.serialed.results.placing import Four, Placing, Seen, placing

IMAGE, PATTERN, FIELD = "image", "pattern", "field"
"""Kinds of frames of a SerialED run, and the note with which a field ends."""
GOOD = 0.5
"""A crystal with a score above it is good (Cichocka et al., 2018)."""
NO_PATTERN = "no pattern was taken of it"
PATTERN_LOST = "its pattern did not reach the disk"
NOT_FOUND = "the record of where it was found is missing"
NO_SCORE = "its pattern was not scored"


@dataclass(frozen=True, slots=True)
class CrystalRow:
    """One crystal of a run.

    number: in the run, from 1, in the order of fields; field: from 1; crystal: within the field, from 1. fast_px,
    slow_px: its middle in the image, pixel i covers [i, i + 1). turned_deg: of its length, in the image, as the finder
    says. x_nm, y_nm: its place on the specimen in the coordinates of the stage: a stage that stands there has it in the
    middle; NaN where nobody knows. neighbour_nm, border_nm: from its edge to the next thing and to the edge of the
    image. pattern: which of the run's patterns, from 0, or -1. start_ns: when that began. score_good, score_several,
    d_min_A: of the pattern, None without a score; said: the score in words. why_not: why there is no pattern, or no
    score; empty where there are both. NaN stands for what is not known of its shape.
    """

    number: int
    field: int
    crystal: int
    fast_px: float
    slow_px: float
    length_nm: float
    width_nm: float
    turned_deg: float
    area_um2: float
    contrast: float
    x_nm: float
    y_nm: float
    neighbour_nm: float
    border_nm: float
    is_isolated: bool
    pattern: int = -1
    start_ns: int | None = None
    score_good: float | None = None
    score_several: float | None = None
    d_min_A: float | None = None
    said: str = ""
    why_not: str = ""

    @property
    def is_good(self) -> bool:
        """Whether its pattern was scored as worth a run."""
        return self.score_good is not None and self.score_good > GOOD


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field of which there is an image. x_nm, y_nm: the stage. image: which of the run's images, from 0. film:
    share of it that is film, NaN where it was not looked at. crystals, isolated, patterns, good: how many. how: the
    run says that it ended (`visited`, `no crystals`), empty where it does not. note: what the finder says, or why
    nothing was found out.
    """

    field: int
    x_nm: float
    y_nm: float
    nm_per_px: float
    image: int
    start_ns: int
    film: float = math.nan
    crystals: int = 0
    isolated: int = 0
    patterns: int = 0
    good: int = 0
    how: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class SerialTables:
    """Both tables, fields and crystals in order, and how images lie on the specimen. left_out: fields without an image,
    by their numbers, and how the run says that they ended. notes: said of the scores.
    """

    fields: tuple[FieldRow, ...]
    crystals: tuple[CrystalRow, ...]
    placing: Placing
    left_out: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def crystals_of(
    records: Sequence[Record],
    frames: Sequence[FrameInfo],
    shape: tuple[int, int] | None = None,
    stage_px: Four | None = None,
) -> tuple[CrystalRow, ...]:
    """The crystals of a run; see `tables_of`."""
    return tables_of(records, frames, shape, stage_px).crystals


def tables_of(
    records: Sequence[Record],
    frames: Sequence[FrameInfo],
    shape: tuple[int, int] | None = None,
    stage_px: Four | None = None,
) -> SerialTables:
    """Fields and crystals of a run. records: of its trace. frames: those on disk, in the order of arrival
    (`Remains.frames`). shape, stage_px: as for `placing`, for crystals that were not visited.

    Records that are damaged count as missing. Never raises for what a crash can leave.
    """
    images = [frame for frame in frames if frame.kind == IMAGE]
    patterns = [frame for frame in frames if frame.kind == PATTERN]
    outcomes = {name: _outcomes(records, name) for name in (FIND.name, SCREEN.name)}
    of_field = {_int(image, "field"): image for image in reversed(images)}
    lies = placing([seen for p in patterns if (seen := _seen(p, of_field)) is not None], shape, stage_px)
    ended = _ended(records)
    taken = {(_int(p, "field"), _int(p, "crystal")): (n, p) for n, p in enumerate(patterns) if _int(p, "field") > 0}
    lost = _lost(records, {frame.index for frame in frames})
    fields: list[FieldRow] = []
    crystals: list[CrystalRow] = []
    notes: dict[str, None] = {}
    here: set[int] = set()
    for place, image in enumerate(images):
        number = _int(image, "field")
        if number in here or number <= 0:
            continue
        here.add(number)
        found, said = _found(outcomes[FIND.name].get(image.index))
        row = FieldRow(
            number, _number(image, "x_nm"), _number(image, "y_nm"), _number(image, "nm_per_px"), place, image.start_ns,
            math.nan if found is None else found.film, how=ended.get(number, ""), note=said,
        )  # fmt: skip
        rows = list(_rows(row, found, lies, taken, lost))
        rows = [_scored(each, taken, outcomes[SCREEN.name], notes) for each in rows]
        crystals += rows
        fields.append(_counted(row, rows))
    # Patterns of a field whose image is not on disk are patterns all the same.
    for (of, number), (_, pattern) in taken.items():
        if of not in here:
            crystals.append(_scored(_bare(of, number, pattern), taken, outcomes[SCREEN.name], notes))
    crystals.sort(key=lambda each: (each.field, each.crystal))
    numbered = tuple(replace(each, number=n) for n, each in enumerate(crystals, 1))
    left_out = {number: how for number, how in ended.items() if number not in here}
    return SerialTables(tuple(fields), numbered, lies, left_out, tuple(notes))


def _rows(
    field: FieldRow,
    found: Found | None,
    lies: Placing,
    taken: Mapping[tuple[int, int], tuple[int, FrameInfo]],
    lost: Mapping[tuple[int, int], str],
) -> Iterator[CrystalRow]:
    """The crystals of a field: those that were found, and those that nobody tells of but have a pattern."""
    crystals = () if found is None else found.crystals
    for number, crystal in enumerate(crystals, 1):
        yield _of_found(field, number, crystal, lies, lost.get((field.field, number), NO_PATTERN))
    for (of, number), (_, pattern) in taken.items():
        if of == field.field and number > len(crystals):
            yield _bare(of, number, pattern)


def _of_found(field: FieldRow, number: int, found: FoundCrystal, lies: Placing, why_not: str) -> CrystalRow:
    nm = field.nm_per_px
    x_nm, y_nm = lies.place(field.x_nm, field.y_nm, nm, found.fast_px, found.slow_px)
    return CrystalRow(
        0, field.field, number, found.fast_px, found.slow_px, found.length_px * nm, found.width_px * nm,
        found.turned_deg, found.area_px * (nm / 1000) ** 2, found.contrast, x_nm, y_nm, found.neighbour_nm,
        found.border_nm, found.is_isolated, why_not=why_not,
    )  # fmt: skip


def _bare(field: int, number: int, pattern: FrameInfo) -> CrystalRow:
    """A crystal of which only the pattern tells."""
    nan = math.nan
    return CrystalRow(
        0, field, number, _number(pattern, "fast_px"), _number(pattern, "slow_px"), _number(pattern, "length_nm"),
        nan, nan, nan, nan, _number(pattern, "x_nm"), _number(pattern, "y_nm"), nan, nan,
        bool(pattern.columns.get("is_isolated")), why_not=NOT_FOUND,
    )  # fmt: skip


def _scored(
    row: CrystalRow,
    taken: Mapping[tuple[int, int], tuple[int, FrameInfo]],
    screened: Mapping[int, Record],
    notes: dict[str, None],
) -> CrystalRow:
    """The same with its pattern and the score of that. The place is that of the pattern: it was aimed at."""
    if (there := taken.get((row.field, row.crystal))) is None:
        return row
    place, pattern = there
    x_nm, y_nm = _number(pattern, "x_nm"), _number(pattern, "y_nm")
    if not (math.isfinite(x_nm) and math.isfinite(y_nm)):
        x_nm, y_nm = row.x_nm, row.y_nm
    bare = row.why_not if row.why_not == NOT_FOUND else ""
    score, said = _score(screened.get(pattern.index), notes)
    row = replace(row, pattern=place, start_ns=pattern.start_ns, why_not=said or bare, x_nm=x_nm, y_nm=y_nm)
    if score is None:
        return row
    return replace(
        row, score_good=score.good, score_several=score.several, d_min_A=score.d_min_A, said=score.why, why_not=bare
    )


def _counted(field: FieldRow, rows: Sequence[CrystalRow]) -> FieldRow:
    return replace(
        field,
        crystals=len(rows),
        isolated=sum(row.is_isolated for row in rows),
        patterns=sum(row.pattern >= 0 for row in rows),
        good=sum(row.is_good for row in rows),
    )


def _outcomes(records: Sequence[Record], name: str) -> dict[int, Record]:
    """The last outcome of a computation for each picture, by the picture's place in the spool; one that is good before
    one that is not.
    """
    last: dict[int, Record] = {}
    for record in records:
        if record["kind"] != "computation" or record["name"] != name:
            continue
        pictures = record.get("pictures")
        if not isinstance(pictures, list) or not pictures or type(pictures[0]) is not int:
            continue  # the first is the picture; the camera's response may come after it
        if "result" in record or "result" not in last.get(pictures[0], {}):
            last[pictures[0]] = record
    return last


def _found(record: Record | None) -> tuple[Found | None, str]:
    """What the finder saw, and its note; or None, and why not."""
    if record is None:
        return None, "crystals were not looked for"
    if "result" not in record:
        return None, f"crystals were not found out: {_why(record)}"
    try:
        found = found_in(record["result"])
        return found, found.note
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None, "what the finder said cannot be read"


def _score(record: Record | None, notes: dict[str, None]) -> tuple[Score | None, str]:
    """The score of a pattern; or None, and why not."""
    if record is None:
        return None, NO_SCORE
    if "result" not in record:
        return None, f"{NO_SCORE}: {_why(record)}"
    try:
        score, note = scored_in(record["result"])
        if not math.isfinite(float(score.good)):
            return None, f"{NO_SCORE}: its score is no number"
    except (KeyError, TypeError, ValueError, AttributeError):
        return None, f"{NO_SCORE}: what was said of it cannot be read"
    if note:
        notes[note] = None
    return score, ""


def _why(record: Mapping[str, Any]) -> str:
    return str(record.get("error") or record.get("verdict") or "nobody says why")


def _lost(records: Sequence[Record], on_disk: set[int]) -> dict[tuple[int, int], str]:
    """The crystals whose pattern the trace tells of, and the disk does not hold."""
    return {
        (record["field"], record["crystal"]): PATTERN_LOST
        for record in records
        if record["kind"] == "frame"
        and record["name"] == PATTERN
        and record.get("index") not in on_disk
        and type(record.get("field")) is int
        and type(record.get("crystal")) is int
    }


def _ended(records: Sequence[Record]) -> dict[int, str]:
    """How each field ended, by the notes of the run."""
    return {
        record["field"]: str(record.get("how", ""))
        for record in records
        if (record["kind"], record["name"]) == ("note", FIELD) and type(record.get("field")) is int
    }


def _seen(pattern: FrameInfo, images: Mapping[int, FrameInfo]) -> Seen | None:
    """Where a pattern's crystal is in the image, in px, and on the specimen from the stage's place, in nm."""
    if (image := images.get(_int(pattern, "field"))) is None:
        return None
    seen = Seen(
        _number(pattern, "fast_px"),
        _number(pattern, "slow_px"),
        _number(pattern, "x_nm") - _number(image, "x_nm"),
        _number(pattern, "y_nm") - _number(image, "y_nm"),
        _number(image, "nm_per_px"),
    )
    return seen if all(map(math.isfinite, (seen.fast_px, seen.slow_px, seen.x_nm, seen.y_nm, seen.nm_per_px))) else None


def _int(frame: FrameInfo, column: str) -> int:
    value = frame.columns.get(column)
    return value if type(value) is int else 0


def _number(frame: FrameInfo, column: str) -> float:
    value = frame.columns.get(column)
    return float(value) if isinstance(value, int | float) else math.nan
