"""What a display shows of a cRED run beside its frames, and what a click on a snapshot asks."""

from typing import Any

import numpy as np
import pytest

from engine.errors import Refused
from engine.record.document import RunDocument
from engine.run.registry import experiment_type
from protocols.cred.trackingwords import offset_in

KIND: Any = experiment_type("cred")
PX_PER_NM = (0.08, 0.02, 0.03, -0.09)


def _document(**plan):
    instrument = {"detector": {"shape": [512, 512], "wide_cross": True}}
    return RunDocument(protocol="cred", instrument=instrument, plan={"tracking": "correct", **plan})


def _located(x_nm=None, y_nm=None, *, wide=True):
    place = {} if x_nm is None else {"place": {"x_nm": x_nm, "y_nm": y_nm}}
    optics = {"centre_px": [261.3, 255.1], "radius_px": 66.0, "px_per_nm": list(PX_PER_NM)}
    arguments = {"detector": {"wide_cross": wide}}
    common = {"kind": "computation", "name": "locate", "pictures": [7], "arguments": arguments}
    return {**common, "result": {"optics": optics, **place}}


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("place_nm", [(0, 0), (310, -120), (-5, 44), (60, 60)])
def test_a_click_on_the_mark_of_a_crystal_holds_it_where_it_is(place_nm, wide):
    document = _document()
    marks = KIND.marks_read(_located(*place_nm, wide=wide), document)
    (mark,) = marks.marks
    pointed = KIND.pointed(document, marks.told, mark.fast_px, mark.slow_px)
    assert offset_in(pointed.words) == pytest.approx(place_nm, abs=1)
    assert KIND.understood(pointed.words, document) == pointed.words
    assert str(place_nm[0]) in pointed.plain
    assert (marks.index, marks.trail) == (7, True)


def test_a_click_lies_where_the_optics_say():
    marks = KIND.marks_read(_located(wide=False), _document())
    off_px = np.reshape(PX_PER_NM, (2, 2)) @ [200.0, 100.0]
    fast_px, slow_px = 261.3 - 0.5 + off_px[0], 255.1 - 0.5 + off_px[1]
    assert KIND.pointed(_document(), marks.told, fast_px, slow_px).words == "track offset 200 100"


def test_outside_of_the_disc_nothing_is_asked():
    marks = KIND.marks_read(_located(), _document())
    with pytest.raises(Refused, match="outside of the aperture"):
        KIND.pointed(_document(), marks.told, 10.0, 10.0)


def test_a_snapshot_without_the_crystal_can_be_clicked_and_a_run_that_only_shows_cannot():
    marks = KIND.marks_read(_located(), _document())
    assert marks.marks == []
    assert marks.click
    assert not KIND.marks_read(_located(1, 1), _document(tracking="show")).click


def _look(**told):
    known = {"deg": 12.0, "reflections": 200, "determined": True, "cell": [18.11, 20.53, 7.528, 90.0, 90.0, 90.0]}
    known |= {"cell_sigma": [0.02] * 6, "bravais": "oC", "lattices": 1, "indexed": 0.97, "completeness": 0.351}
    known |= {"resolution_A": 0.88, "damage": None, "reasons": []}
    return {"kind": "computation", "name": "live", "result": {**known, **told}}


def _rows(record):
    return {row.key: row.values["told"] for row in KIND.panel_read(record, _document())}


def test_a_look_tells_cell_lattice_completeness_resolution_and_damage():
    rows = _rows(_look())
    assert rows["cell"].startswith("18.11, 20.53, 7.53 A, 90.0, 90.0, 90.0 deg")
    assert (rows["lattice"], rows["completeness"], rows["resolution"]) == ("oC", "35.1%", "0.88 A")
    assert "lattices" not in rows
    assert _rows(_look(lattices=2))["lattices"] == "2: not one crystal"
    assert _rows(_look(damage={"verdict": "damage", "lost": 0.31}))["damage"] == "the outer shell has lost 31%"


def test_a_look_that_has_found_nothing_says_why():
    rows = _rows(_look(determined=False, cell=None, reasons=["too few reflections"], completeness=None))
    assert rows["cell"] == "too few reflections"
    assert rows["completeness"] == "not known yet"


def test_there_is_a_table_where_the_plan_asks_for_looks():
    assert [panel.name for panel in KIND.panels(_document(live=True))] == ["crystal"]
    assert KIND.panels(_document()) == ()


def test_figures_that_are_compared_leave_out_what_an_older_run_does_not_tell():
    told = KIND.numbers(RunDocument(protocol="cred", result={"range_deg": -59.8, "frames": 117, "lost_slots": None}))
    assert told == {"rotation range / deg": 59.8, "frames": 117}
