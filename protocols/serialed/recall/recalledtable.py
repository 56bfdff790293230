"""From a table of crystals and a number to the plan of a recall: the crystal, and what lies around it."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import DataError, Refused, shown
from engine.record.document import RunDocument
from engine.run.planfile import build_plan
from protocols.serialed.recall.experiment import RECALL
from protocols.serialed.recall.plan import RecallPlan
from protocols.serialed.results.crystaltable import CrystalRow
from protocols.serialed.results.csvfiles import CRYSTAL_COLUMNS, CRYSTALS, read_crystals

REACH_NM = 6000.0
"""As far as neighbours are taken: a field of the paper's run is 6 um wide."""
MOST = 60
SAME_NM = 150.0
"""Rows nearer to each other are one crystal, which two fields that overlap have both seen."""
PAPER_COLUMNS = 7
TAKEN_OVER = ("magnification", "image_brightness", "probe_brightness", "condenser_settling_s")
"""Keys of the serial run's plan that hold for the recall as well."""


def plan_for(table: Path, number: int, settings: Sequence[str] = ()) -> RecallPlan:
    """The plan for crystal `number` of a table: a crystals.csv, a run folder, or a list in the paper's columns.

    settings: `key=value` of the plan, which go before the run's own. Raises Refused for a number that is not there or
    has no place, DataError for a file that is none.
    """
    rows, target = rows_of(table, number)
    if not (math.isfinite(target.x_nm) and math.isfinite(target.y_nm)):
        raise Refused(
            f"{shown(table)}: nobody knows where crystal {number} is ({target.why_not or 'it has no place'}); nothing "
            "was started. Choose another."
        )
    told: dict[str, Any] = {
        "crystal": number,
        "x_nm": target.x_nm,
        "y_nm": target.y_nm,
        "neighbours": neighbours_of(target, rows),
        **_of_the_run(table),
    }
    if math.isfinite(target.length_nm) and target.length_nm > 0:
        told["length_nm"] = target.length_nm
    return build_plan(RECALL, None, settings, told)


def rows_of(table: Path, number: int) -> tuple[Sequence[CrystalRow], CrystalRow]:
    """The crystals of a table, and the one with that number."""
    path = table / CRYSTALS if table.is_dir() else table
    if not path.is_file():
        more = "; `credline export RUN --formats csv` makes it" if table.is_dir() else ""
        raise Refused(f"{shown(path)}: no such file{more}. Nothing was started.")
    if _is_paper(path):
        listed = _paper_rows(path)
        if number > len(listed):
            raise Refused(
                f"{shown(path)}: has {len(listed)} lines, so no crystal {number}; nothing was started. All crystals, "
                f"also those that are not isolated or not good, are in {CRYSTALS}."
            )
        target = listed[number - 1]
        whole = path.with_name(CRYSTALS)
        rows = read_crystals(whole) if whole.is_file() else listed
        same = [row for row in rows if (row.field, row.crystal) == (target.field, target.crystal)]
        return rows, same[0] if same else target
    rows = read_crystals(path)
    found = [row for row in rows if row.number == number]
    if not found:
        raise Refused(f"{shown(path)}: has crystals 1 to {len(rows)}, and no {number}; nothing was started.")
    return rows, found[0]


def neighbours_of(target: CrystalRow, rows: Sequence[CrystalRow]) -> tuple[tuple[float, float, float], ...]:
    """What lies around a crystal, the nearest first: x, y in nm from it, length (0: not known)."""
    near: list[tuple[float, float, float]] = []
    for row in rows:
        x, y = row.x_nm - target.x_nm, row.y_nm - target.y_nm
        if row is target or not (SAME_NM < math.hypot(x, y) <= REACH_NM):
            continue
        if all(math.hypot(x - u, y - v) > SAME_NM for u, v, _ in near):
            length = row.length_nm if math.isfinite(row.length_nm) else 0.0
            near.append((round(x, 1), round(y, 1), round(length, 1)))
    return tuple(sorted(near, key=lambda each: math.hypot(each[0], each[1]))[:MOST])


def _of_the_run(table: Path) -> Mapping[str, Any]:
    """What the serial run beside the table was told of lenses; nothing where there is none."""
    folder = table if table.is_dir() else table.parent
    try:
        plan = RunDocument.read(folder).plan
    except DataError:
        return {}
    return {name: plan[name] for name in TAKEN_OVER if plan.get(name) is not None}


def _is_paper(path: Path) -> bool:
    """Whether it is a list without a first line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{shown(path)}: cannot be read ({shown(error)}); nothing was started") from error
    return not first or (len(first) == PAPER_COLUMNS and first[0] != CRYSTAL_COLUMNS[0])


def _paper_rows(path: Path) -> list[CrystalRow]:
    """Lines of file, picture, crystal, score, size in um^2, x and y of the stage in nm."""
    rows: list[CrystalRow] = []
    nan = math.nan
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line, told in enumerate(csv.reader(file), 1):
            try:
                _, picture, crystal, score, size, x, y = told
                area = float(size) if size else nan
                length = 1000 * math.sqrt(area) if area > 0 else nan
                place = float(x) if x else nan, float(y) if y else nan
                named = int(picture), int(crystal)
                rows.append(
                    CrystalRow(
                        line,
                        *named,
                        nan,
                        nan,
                        length,
                        nan,
                        nan,
                        area,
                        nan,
                        *place,
                        nan,
                        nan,
                        True,
                        score_good=float(score),
                    )
                )
            except ValueError as error:
                raise DataError(f"{shown(path)}: line {line} is damaged ({shown(error)}); correct it") from error
    return rows
