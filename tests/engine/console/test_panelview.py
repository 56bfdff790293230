"""Rows and marks as records say them, and what a page that has seen some is given."""

from typing import Any

import pytest

from engine.console.panelview import ROWS_MOST, Changing, PanelView
from engine.record.document import RunDocument
from engine.run.contract import ExperimentType
from engine.run.panels import FrameMarks, MapPanel, Mark, PanelColumn, PanelRow, TablePanel


class Sown(ExperimentType[Any]):
    """An experiment of tests: each frame is a row; a note gives it a value; another marks it."""

    name = "sown"
    hourly = ("light",)

    def machine(self, entered=None):
        raise NotImplementedError

    def prepare(self, plan, facts):
        raise NotImplementedError

    def panels(self, document):
        return MapPanel("field", "Field", "m"), TablePanel("list", "List", (PanelColumn("a", "A", "s", 1),))

    def panel_read(self, record, document):
        if record["kind"] == "frame":
            return [PanelRow("field", str(record["index"]), {"x": record["index"], "y": 0.0})]
        if record["name"] == "value":
            return [PanelRow("field", str(record["of"]), {"value": record["value"]})]
        return []

    def marks_read(self, record, document):
        return FrameMarks(record["of"], (Mark(1.0, 2.0, 3.0),), told={"q": 1}) if record["name"] == "mark" else None


@pytest.fixture
def view():
    return PanelView(Sown(), RunDocument(protocol="sown"))


def _frame(index, seconds=0, kind="light"):
    return {"kind": "frame", "name": kind, "index": index, "t_ns": seconds * 10**9}


def _note(name, **told):
    return {"kind": "note", "name": name, "t_ns": 0, **told}


def test_a_row_keeps_the_frame_that_made_it_and_takes_what_comes_later(view):
    for record in (_frame(4), _frame(7, kind="dark"), _frame(9), _note("value", of=9, value=0.5)):
        view.take(record)
    rows = {row["key"]: row for row in view.rows.after(0)}
    assert rows["9"] == {
        "panel": "field",
        "key": "9",
        "values": {"x": 9, "y": 0.0, "value": 0.5},
        "frame": ["light", 1],
        "place": 2,
    }
    assert rows["7"]["frame"] == ["dark", 0]
    assert view.rows_of("field")["9"]["value"] == 0.5


def test_a_row_has_the_place_at_which_it_first_came(view):
    for record in (_frame(4), _frame(7), _note("value", of=4, value=0.5)):
        view.take(record)
    assert [(row["key"], row["place"]) for row in view.rows.after(0)] == [("7", 1), ("4", 0)]


def test_a_page_is_given_what_has_changed_since_it_looked(view):
    view.take(_frame(1))
    view.take(_frame(2))
    seen = view.rows.number
    assert view.rows.after(seen) == []
    view.take(_note("value", of=1, value=1.0))
    assert [row["key"] for row in view.rows.after(seen)] == ["1"]
    assert [row["key"] for row in view.rows.after(0)] == ["2", "1"]


def test_marks_find_the_frame_by_its_index_in_the_spool(view):
    for record in (_frame(4), _frame(5), _note("mark", of=5), _note("mark", of=99)):
        view.take(record)
    (told,) = view.marks.after(0)
    assert (told["kind"], told["row"], told["marks"]) == ("light", 1, [[1.0, 2.0, 3.0, ""]])
    assert view.told_of("light", 1) == {"q": 1}
    assert view.told_of("light", 0) is None


def test_what_json_has_no_word_for_and_what_is_long_does_not_reach_a_page(view):
    view.take(_frame(1))
    view.take(_note("value", of=1, value=float("nan")))
    assert view.rows.get("field/1")["values"]["value"] is None
    view.take(_note("value", of=1, value="<script>" * 1000))
    assert len(view.rows.get("field/1")["values"]["value"]) < 400


def test_a_protocol_that_fails_at_a_record_is_asked_no_more_and_rows_stay(view):
    view.take(_frame(1))
    view.take(_note("value"))  # names no row
    view.take(_frame(2))
    assert len(view.rows.after(0)) == 1


def test_how_many_an_hour_counts_from_the_first_frame(view):
    view.take(_frame(0, 100, "dark"))
    for k in range(10):
        view.take(_frame(k + 1, 101 + k))
    assert view.hourly(136 * 10**9) == [("light", 1000.0)]


def test_it_is_bounded():
    changing = Changing[int]()
    for k in range(ROWS_MOST + 5):
        changing.put(str(k), k)
    assert len(changing.after(0)) == ROWS_MOST


def test_panels_are_told_as_they_are_declared(view):
    field, table = view.panels
    assert (field["type"], field["unit"], field["offers"]) == ("map", "m", False)
    assert (table["type"], table["columns"]) == ("table", [["a", "A", "s", 1]])
