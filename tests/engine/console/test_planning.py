"""The form of a plan, and what the plan in it would be."""

import json

import pytest

from engine.console.form import form_of
from engine.console.planning import planned, protocols
from engine.errors import Refused
from engine.run.registry import experiment_type, registered


@pytest.mark.parametrize("name", sorted(registered("protocols")))
def test_every_experiment_has_a_form_with_defaults_that_are_its_own(name):
    kind = experiment_type(name)
    form = json.loads(json.dumps(form_of(kind), allow_nan=False))
    assert form["summary"] == kind.summary
    assert form["keys"] or kind.begun_by
    for key in form["keys"]:
        assert key["input"] in ("number", "integer", "switch", "choice", "text", "toml"), key
        assert key["input"] != "choice" or (key["choices"] and all(key["choices"])), key


def test_a_key_has_its_unit_limits_and_meaning():
    keys = {key["key"]: key for key in form_of(experiment_type("cred"))["keys"]}
    assert keys["exposure_s"]["unit"] == "s"
    assert keys["exposure_s"]["input"] == "number"
    assert keys["rotation"]["choices"] == ["pedal", "commanded"]
    assert keys["unblank"]["input"] == "switch"
    assert keys["snapshot_when_unsure_nm"]["optional"]
    assert keys["crystal.orientation_seed"]["input"] == "integer"
    assert keys["formats"]["input"] == "toml"
    assert all(key["meaning"] for key in keys.values() if "." not in key["key"] and key["key"] != "sample")


def test_a_plan_that_fits_tells_its_budgets_and_the_same_command():
    told = planned("cred", ["range_deg=20", 'sample="a-b"'], "simulated", None)
    assert told["fits"]
    assert [budget["name"] for budget in told["budgets"]] == ["diffraction frame", "snapshot cycle"]
    for budget in told["budgets"]:
        assert budget["slack_ms"] == pytest.approx(
            budget["available_ms"] - sum(step[2] for step in budget["steps"]), abs=0.3
        )
    assert told["command"] == "credline run cred --set range_deg=20 --set 'sample=\"a-b\"'"
    assert ["slots", "87 (8 snapshots, 1 slot(s) each)"] in told["words"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["exposure_s=abc"], "exposure_s = 'abc': give a plain number of seconds"),
        (["exposur=1"], "Did you mean exposure_s?"),
        (["range_deg=500"], "range_deg"),
        (["without an equals sign"], "write key=value"),
    ],
)
def test_what_does_not_fit_is_said_in_the_words_of_the_command_line(settings, words):
    told = planned("cred", settings, "simulated", None)
    assert not told["fits"]
    assert words in told["error"]


def test_what_leaves_much_unrecorded_is_objected_to():
    assert planned("cred", ["exposure_s=0.05", "range_deg=20"], "simulated", None)["objections"]


def test_an_experiment_that_there_is_not_is_refused():
    with pytest.raises(Refused, match="is not known"):
        planned("cre", [], "simulated", None)
    with pytest.raises(Refused, match="more settings"):
        planned("cred", ["range_deg=20"] * 1000, "simulated", None)


def test_all_experiments_are_told_of_with_a_line_on_each():
    told = {each["name"]: each for each in protocols()}
    assert set(told) == set(registered("protocols")) - {"shell"}  # which a person begins who types
    assert told["cred"]["summary"].startswith("continuous rotation")
