"""What a display shows of a session, from single records."""

from engine.record.document import RunDocument
from engine.run.panels import TablePanel
from engine.run.registry import experiment_type

KIND = experiment_type("session")
DOCUMENT = RunDocument(protocol="session")
MORDENITE = [18.11, 20.53, 7.528, 90.0, 90.0, 90.0]
PRIMITIVE = [7.528, 13.688, 13.688, 97.16, 90.0, 90.0]
LIVE = {
    "determined": True,
    "primitive": PRIMITIVE,
    "orientation": [[0.1, 0.0, 0.0], [0.0, 0.07, 0.0], [0.0, 0.0, 0.07]],
    "bravais": "oC",
    "cell": MORDENITE,
    "completeness": 0.713,
    "resolution_A": 0.82,
    "lattices": 1,
    "damage": {"verdict": "none"},
}
RESULT = {"start_deg": -50.0, "end_deg": 49.6, "live": LIVE, "reason": "range covered"}


def _rows(kind, name, **told):
    rows = KIND.panel_read({"kind": kind, "name": name, "t_ns": 1, **told}, DOCUMENT)
    return {(row.panel, row.key): dict(row.values) for row in rows}


def _data_set(**result):
    told = {"number": 2, "crystal": 17, "run_dir": "9_crystal", "result": {**RESULT, **result}}
    return _rows("note", "data set", **told)["data sets", "data set 2"]


def test_a_data_set_is_a_row_that_shows_its_run():
    row = _data_set()
    assert (row["crystal"], row["lattice"], row["ended"], row["damage"]) == (17, "oC", "range covered", "none")
    assert row["cell"] == "18.11, 20.53, 7.53 A, 90.0, 90.0, 90.0 deg"
    assert (round(row["range"], 3), round(row["completeness"], 3), row["resolution"]) == (99.6, 71.3, 0.82)
    table = KIND.panels(DOCUMENT)[0]
    assert isinstance(table, TablePanel)
    assert row[table.runs] == "9_crystal"
    assert {column.key for column in table.columns} <= {*row, "phase"}


def test_a_data_set_without_a_lattice_says_why():
    assert _data_set(live={"determined": False, "reasons": ["too few reflections"]})["cell"] == "too few reflections"
    assert _data_set(live=None)["cell"] == "nobody has looked at it"
    assert _data_set(live={"determined": True})["completeness"] is None  # of another version


def test_a_judgement_says_the_phases_and_which_data_sets_are_of_each():
    phase = {
        "number": 1, "words": "", "lattice": "oC", "cell": MORDENITE, "data_sets": [1, 3], "completeness": 0.89,
        "attainable": 0.971, "attainable_words": "", "doubts": [],
    }  # fmt: skip
    rows = _rows("computation", "judge", result={"phases": [phase], "unplaced": [{"number": 2, "why": "no cell"}]})
    assert {key: row["phase"] for (panel, key), row in rows.items() if panel == "data sets"} == {
        "data set 1": 1,
        "data set 3": 1,
        "data set 2": "none yet",
    }
    told = rows["phases", "phase 1"]
    assert (told["sets"], told["completeness"], told["lattice"]) == (2, 89.0, "oC")
    assert _rows("computation", "judge", error="late") == {}


def test_only_a_crystal_without_data_is_set_aside():
    told = {"crystal": 5, "reason": "not found again", "stage": "recall"}
    assert _rows("note", "crystal over", how="collected", **told) == {}
    assert _rows("note", "crystal over", how="set aside", **told)["set aside", "crystal 5"] == {
        "crystal": 5,
        "stage": "recall",
        "reason": "not found again",
    }
