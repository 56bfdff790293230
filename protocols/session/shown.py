"""How a display shows a session: its data sets with the phase of each, the phases, and the crystals without data.

Pure, from the records of its trace, each for itself; what is missing in one is left out.
"""

from typing import Any

from engine.record.jsonobject import JsonObject
from engine.record.trace import Record
from engine.run.panels import Cell, PanelColumn, PanelRow, TablePanel
from protocols.session.judging.dataset import data_set
from protocols.session.night import COLLECTED, DATA_SET, JUDGE, OVER

DATA_SETS, PHASES, ASIDE = "data sets", "phases", "set aside"
UNPLACED = "none yet"
TABLES = (
    TablePanel(
        DATA_SETS,
        "Data sets",
        (
            PanelColumn("number", "data set"),
            PanelColumn("crystal", "crystal"),
            PanelColumn("phase", "phase"),
            PanelColumn("cell", "cell"),
            PanelColumn("lattice", "lattice"),
            PanelColumn("range", "range", "deg", 1),
            PanelColumn("completeness", "complete", "%", 0),
            PanelColumn("resolution", "resolution", "A"),
            PanelColumn("damage", "damage"),
            PanelColumn("ended", "ended by"),
        ),
        runs="run_dir",
    ),
    TablePanel(
        PHASES,
        "Phases, all data sets together",
        (
            PanelColumn("number", "phase"),
            PanelColumn("lattice", "lattice"),
            PanelColumn("cell", "cell"),
            PanelColumn("sets", "data sets"),
            PanelColumn("completeness", "complete", "%", 0),
            PanelColumn("attainable", "attainable", "%", 0),
            PanelColumn("doubts", "doubts"),
        ),
    ),
    TablePanel(
        ASIDE,
        "Crystals set aside",
        (PanelColumn("crystal", "crystal"), PanelColumn("stage", "while"), PanelColumn("reason", "because")),
    ),
)


def session_read(record: Record) -> list[PanelRow]:
    """What a record adds: a data set, what the data sets come to, a crystal that is over without data."""
    kind, name = record["kind"], record["name"]
    if kind == "note" and name == DATA_SET:
        return [PanelRow(DATA_SETS, _row(record["number"]), _data_set(record))]
    if kind == "note" and name == OVER and record["how"] != COLLECTED:
        number = record["crystal"]
        told: dict[str, Cell] = {"crystal": number, "stage": str(record["stage"]), "reason": str(record["reason"])}
        return [PanelRow(ASIDE, f"crystal {number}", told)]
    if kind == "computation" and name == JUDGE and "result" in record:
        return _judged(record["result"])
    return []


def _row(number: object) -> str:
    return f"data set {number}"


def _data_set(record: Record) -> dict[str, Cell]:
    result: Any = record["result"]
    told = data_set(result, record["number"], record["crystal"], record["run_dir"])
    live = result.get("live")
    cell = live.get("cell") if told.cell is not None and isinstance(live, dict) else None
    return {
        "number": told.number,
        "crystal": told.crystal,
        "cell": _cell(cell) if cell else "; ".join(told.reasons) or "not determined",
        "lattice": told.lattice,
        "range": told.range_deg,
        "completeness": None if told.completeness is None else 100 * told.completeness,
        "resolution": told.d_min_A,
        "damage": told.damage,
        "ended": told.ended,
        "run_dir": told.run_dir,
    }


def _cell(parameters: Any) -> str:
    lengths = ", ".join(f"{value:.2f}" for value in parameters[:3])
    angles = ", ".join(f"{value:.1f}" for value in parameters[3:])
    return f"{lengths} A, {angles} deg"


def _judged(result: JsonObject) -> list[PanelRow]:
    """The phases, and of each data set the phase that it is of; with a new data set a phase may be another one."""
    phases: Any = result.get("phases") or []
    unplaced: Any = result.get("unplaced") or []
    rows = [
        PanelRow(DATA_SETS, _row(each["number"]), {"number": each["number"], "phase": UNPLACED}) for each in unplaced
    ]
    for phase in phases:
        told: dict[str, Cell] = {
            "number": phase["number"],
            "lattice": phase["lattice"],
            "cell": _cell(phase["cell"]),
            "sets": len(phase["data_sets"]),
            "completeness": 100 * phase["completeness"],
            "attainable": 100 * phase["attainable"],
            "doubts": "; ".join(phase["doubts"]),
        }
        rows.append(PanelRow(PHASES, f"phase {phase['number']}", told))
        rows += [_of_phase(number, phase["number"]) for number in phase["data_sets"]]
    return rows


def _of_phase(number: Any, phase: Cell) -> PanelRow:
    return PanelRow(DATA_SETS, _row(number), {"number": number, "phase": phase})
