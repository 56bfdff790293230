"""How a display shows a serial run: by the records of a run that was performed."""

from typing import Any

import pytest

from engine.errors import Refused
from engine.record.document import RunDocument
from engine.run.planfile import build_plan
from engine.run.registry import experiment_type
from protocols.serialed.shown import TO_COME

KIND: Any = experiment_type("serialed")
PLAN = {"width_um": 26.0, "height_um": 13.0, "step_um": 13.0, "sample": "grid"}
DOCUMENT = RunDocument(protocol="serialed", plan=PLAN, instrument={"detector": {"shape": [512, 512]}})


def _rows(*records):
    rows: dict[str, dict] = {}
    for record in records:
        for row in KIND.panel_read({"t_ns": 0, **record}, DOCUMENT):
            rows.setdefault(row.key, {}).update(row.values)
    return rows


ROUTE = {"kind": "note", "name": "route", "centre_nm": [0, 0], "total": 2, "queue": [1, 2]}
IMAGE = {"kind": "frame", "name": "image", "field": 1, "x_nm": -6400.0, "y_nm": 100.0, "index": 1}
OVER = {"kind": "note", "name": "field", "field": 1, "how": "visited", "found": 3, "visited": 2, "left": 0}
SCORE = {"kind": "computation", "name": "screen", "pictures": [2], "result": {"good": 0.7, "why": "many spots"}}


def _pattern(index=2, x_nm=-5000.0, y_nm=2000.0, crystal=1):
    where = {"x_nm": x_nm, "y_nm": y_nm, "length_nm": 420.0}
    return {"kind": "frame", "name": "pattern", "field": 1, "crystal": crystal, "index": index, **where}


def test_the_fields_of_the_region_are_there_before_they_are_visited():
    rows = _rows(ROUTE)
    assert {key: row["state"] for key, row in rows.items()} == {"field 1": TO_COME, "field 2": TO_COME}
    assert (rows["field 1"]["x"], rows["field 2"]["x"], rows["field 1"]["side"]) == (-6.5, 6.5, 13.0)


def test_a_field_is_under_way_where_the_stage_stands_and_over_as_its_note_says():
    assert _rows(ROUTE, IMAGE)["field 1"]["state"] == "under way"
    row = _rows(ROUTE, IMAGE, OVER)["field 1"]
    assert (row["state"], row["x"], row["y"]) == ("visited", -6.4, 0.1)
    assert "2 of 3 crystals" in row["words"]


def test_every_way_a_field_can_be_over_is_a_state_of_the_map():
    (panel,) = KIND.panels(DOCUMENT)
    known = {state for state, _ in panel.states}
    assert {"visited", "no crystals", "barren", "bar", "asked", "stage", "lost"} <= known


def test_a_score_goes_to_the_crystal_of_its_pattern():
    rows = _rows(_pattern(2), _pattern(3, crystal=2), SCORE)
    assert (rows["pattern 2"]["value"], rows["pattern 2"]["x"], rows["pattern 2"]["y"]) == (0.7, -5.0, 2.0)
    assert "value" not in rows["pattern 3"]


def test_crystals_are_marked_on_the_image_they_were_found_in():
    found = {"kind": "computation", "name": "find", "pictures": [5, 0], "arguments": {"wide_cross": True}}
    marks = KIND.marks_read({**found, "result": {"crystals": [[10.5, 515.5, 30.0], [258.0, 258.0, 2.0]]}}, DOCUMENT)
    assert marks.index == 5
    first, second = marks.marks
    assert (first.fast_px, first.slow_px, first.radius_px) == (10.0, 511.0, 15.0)
    assert (second.fast_px, second.slow_px, second.radius_px) == (255.5, 255.5, 4.0)


def test_a_crystal_offers_to_be_brought_back_and_rotated_by_plans_that_can_be():
    rows = _rows(_pattern(2), _pattern(3, -4000.0, 2500.0, 2), _pattern(4, 90_000.0, 0.0, 3))
    recall, rotation = KIND.offered(DOCUMENT, "grid", rows, "pattern 2")
    plan = build_plan(experiment_type(recall.protocol), None, recall.settings)
    assert (plan.x_nm, plan.y_nm, plan.correct) == (-5000.0, 2000.0, "stage")
    assert plan.neighbours == ((1000.0, 500.0, 420.0),)
    assert build_plan(experiment_type(rotation.protocol), None, rotation.settings).sample == plan.sample == "grid-f1-c1"


@pytest.mark.parametrize("key", ["field 1", "pattern 99", "", "<script>"])
def test_what_is_no_crystal_offers_nothing(key):
    with pytest.raises(Refused, match="no crystal of this run"):
        KIND.offered(DOCUMENT, "grid", _rows(ROUTE, _pattern()), key)


def test_a_damaged_plan_offers_nothing():
    with pytest.raises(Refused, match="cannot be read"):
        KIND.offered(RunDocument(protocol="serialed", plan={"width_um": "x"}), "grid", _rows(_pattern()), "pattern 2")
