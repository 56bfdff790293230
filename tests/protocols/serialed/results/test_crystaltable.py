"""The table of crystals: what the records say, what is missing said in words, the same however a run ended."""

import json
import math
from pathlib import Path

import pytest

from engine.record.spoolformat import FrameInfo
from protocols.serialed.results.crystaltable import NO_PATTERN, NO_SCORE, PATTERN_LOST, crystals_of, tables_of
from protocols.serialed.results.source import open_serial
from tests.protocols.serialed.results.serialruns import IMAGE_PX, STAGE_PX, Crystal, Made, place_of, write_run

SHAPE = (IMAGE_PX, IMAGE_PX)
FOUR = {
    1: [Crystal(40, 30, 0.97), Crystal(90, 70, 0.02), Crystal(30, 100, None), Crystal(100, 20, visited=False)],
    2: [],
    3: [Crystal(60.5, 61.25, 0.88, neighbour_nm=400.0)],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return write_run(tmp_path_factory.mktemp("serial") / "grid_001", FOUR, left_out={4: "bar"})


def test_every_crystal_that_was_found_has_a_row(made: Made) -> None:
    rows = crystals_of(made.records, made.frames, SHAPE)
    assert [(row.number, row.field, row.crystal) for row in rows] == [
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 3),
        (4, 1, 4),
        (5, 3, 1),
    ]
    assert [row.pattern for row in rows] == [0, 1, 2, -1, 3]
    assert [row.score_good for row in rows] == [0.97, 0.02, None, None, 0.88]
    assert [row.why_not for row in rows] == ["", "", NO_SCORE, NO_PATTERN, ""]
    assert [row.is_good for row in rows] == [True, False, False, False, True]
    assert [row.is_isolated for row in rows] == [True, True, True, True, False]
    assert rows[4].length_nm == pytest.approx(8 * 46)
    assert rows[4].area_um2 == pytest.approx(32 * 0.046**2)


def test_a_crystal_that_was_not_visited_is_placed_by_those_that_were(made: Made) -> None:
    row = crystals_of(made.records, made.frames, SHAPE)[3]
    assert (row.x_nm, row.y_nm) == pytest.approx(place_of(1, (100, 20)), abs=1.0)


def test_without_patterns_the_calibration_of_the_stage_tells_the_places(tmp_path: Path) -> None:
    made = write_run(tmp_path / "grid_001", {1: [Crystal(100, 20, visited=False)]})
    row = crystals_of(made.records, made.frames, SHAPE, STAGE_PX)[0]
    assert (row.x_nm, row.y_nm) == pytest.approx(place_of(1, (100, 20)), abs=0.1)
    unknown = tables_of(made.records, made.frames)
    assert math.isnan(unknown.crystals[0].x_nm)
    assert "taken as seen from the source" in unknown.placing.how


def test_fields_count_what_is_in_them_and_those_left_out_are_named(made: Made) -> None:
    tables = tables_of(made.records, made.frames, SHAPE)
    assert [(f.field, f.crystals, f.isolated, f.patterns, f.good, f.how) for f in tables.fields] == [
        (1, 4, 4, 3, 1, "visited"),
        (2, 0, 0, 0, 0, "no crystals"),
        (3, 1, 0, 1, 1, "visited"),
    ]
    assert tables.left_out == {4: "bar"}


def test_a_folder_tells_the_same_as_the_records_of_its_run(made: Made) -> None:
    with open_serial(made.folder) as source:
        assert source.tables.crystals == crystals_of(made.records, made.frames, SHAPE)


def test_what_a_crash_has_cost_is_said(made: Made) -> None:
    """The last pattern is in the trace and not on the disk."""
    rows = crystals_of(made.records, made.frames[:-1], SHAPE)
    assert (rows[-1].pattern, rows[-1].why_not) == (-1, PATTERN_LOST)
    assert [row.score_good for row in rows[:2]] == [0.97, 0.02]


def test_a_finder_that_was_late_leaves_its_patterns_and_says_so(tmp_path: Path) -> None:
    made = write_run(tmp_path / "grid_001", FOUR, drop=["find"])
    tables = tables_of(made.records, made.frames, SHAPE)
    assert [row.why_not for row in tables.crystals if row.score_good is not None] == [
        "the record of where it was found is missing"
    ] * 3
    assert tables.fields[0].note == "crystals were not found out: find: took too long"
    assert (tables.crystals[0].x_nm, tables.crystals[0].y_nm) == pytest.approx(place_of(1, (40, 30)))


def test_scores_by_geometry_alone_are_said_once(made: Made) -> None:
    records = json.loads(json.dumps(made.records))
    for record in records:
        if record["name"] == "screen":
            record["result"]["note"] = "scored by geometry alone: no TensorFlow"
    assert tables_of(records, made.frames, SHAPE).notes == ("scored by geometry alone: no TensorFlow",)


DAMAGE = {
    "result is no object": ("find", lambda record: record.update(result=7)),
    "a crystal lacks its place": ("find", lambda record: record["result"]["crystals"][0].clear()),
    "pictures are no list": ("screen", lambda record: record.update(pictures=None)),
    "a score is a text": ("screen", lambda record: record["result"].update(good="x")),
    "a score is no number": ("screen", lambda record: record["result"].update(good=float("nan"))),
    "a score lacks its note": ("screen", lambda record: record["result"].pop("note")),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_records_count_as_missing(made: Made, case: str) -> None:
    name, damage = DAMAGE[case]
    records = json.loads(json.dumps(made.records))
    damage(next(r for r in records if r["name"] == name and r.get("result", {}).get("crystals", True)))
    rows = crystals_of(records, made.frames, SHAPE)
    assert sum(row.pattern >= 0 for row in rows) == 4
    assert any(row.why_not not in ("", NO_PATTERN) for row in rows)


def test_a_finder_that_was_given_the_cameras_response_as_well_is_read(made: Made) -> None:
    records = json.loads(json.dumps(made.records))
    for record in records:
        if record["name"] == "find":
            record["pictures"].append(77)
    assert crystals_of(records, made.frames, SHAPE) == crystals_of(made.records, made.frames, SHAPE)


def test_frames_without_their_columns_are_passed_over(made: Made) -> None:
    bare = [FrameInfo(f.index, f.kind, {}, f.number, f.start_ns, f.end_ns, (0, 0), (0, 0)) for f in made.frames]
    assert crystals_of(made.records, bare, SHAPE) == ()


def test_no_frames_and_no_records_make_an_empty_table() -> None:
    tables = tables_of([], [])
    assert (tables.fields, tables.crystals) == ((), ())
