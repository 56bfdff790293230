"""What a page shows of a run, made from its records."""

import json
from dataclasses import replace
from typing import Any

import pytest

from engine.console.runview import DRAWN_MOST, Growing, RunView, machine_told
from engine.console.watched import WatchedRun
from engine.record.document import RunDocument
from engine.run.registry import experiment_type
from engine.run.total import total_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from engine.run.perform import Request, execute

    kind = experiment_type("cred")
    plan = kind.plan_type.model_validate({"range_deg": 20, "sample": "zeolite", "formats": []})
    out = tmp_path_factory.mktemp("runs")
    return execute(Request(kind, plan, out, "simulated-timing", virtual=True, seed=1, draw=False)).folder


def test_all_of_a_run_is_shown_once_it_was_looked_at(run):
    watched = WatchedRun(run, "zeolite_001")
    watched.look()
    told = json.loads(json.dumps(watched.summary(), allow_nan=False))
    assert (told["status"], told["state"], told["done"], told["total"], told["unit"]) == (
        "done",
        "done",
        87,
        87,
        "slots",
    )
    assert told["counts"] == {"diffraction": 79, "snapshot": 8}
    assert told["lost"] == 0
    assert told["late_ms"]["p99"] == 0.0
    assert told["slack_ms"]["most"] >= 0
    assert [shown["kind"] for shown in told["shown"]][:2] == ["diffraction", "snapshot"]
    assert told["course"]["begin"] == -30
    assert told["course"]["end"] == -10
    assert told["course"]["from"][1] == pytest.approx(-29.6, abs=0.2)
    assert told["spent_s"]["expose"] > 30
    assert 40 < told["t_s"] < 60  # from the beginning of the run
    assert not told["cut_off"]
    assert ["frames, snapshots", "79, 8 in 87 slots"] in told["told"]


def test_what_is_drawn_over_time_comes_once(run):
    watched = WatchedRun(run, "zeolite_001")
    watched.look()
    bars = watched.view.bars.after(0)
    assert {"state", "steps", "camera", "stage", "beam", "optics", "detector"} <= {row for row, *_ in bars}
    assert all(length >= 0 and begin >= -0.001 for _, begin, length, *_ in bars)
    assert len(watched.view.late.after(0)) == watched.view.late.number
    number = watched.view.bars.number
    watched.look()
    assert watched.view.bars.after(number) == []


def test_a_run_that_goes_on_is_shown_from_what_there_is_so_far(run):
    kind, document = experiment_type("cred"), RunDocument(protocol="cred")
    lines = [json.loads(line) for line in (run / "trace.jsonl").read_text().splitlines()]
    view = RunView("zeolite_001", kind, document, total_of(kind, lines[0]), lines[0]["t_ns"])
    for record in lines[1:300]:
        view.take(record)
    told = view.summary()
    assert told["state"] == "expose"
    assert told["total"] == 87
    left_s = (87 - told["done"]) * 0.512
    assert told["left_s"] == pytest.approx(left_s, rel=0.1)
    assert told["operator"]
    assert told["told"] == []


def _records(*told: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"seq": k + 1, "t_ns": k * 10**9, **record} for k, record in enumerate(told)]


def test_warnings_are_told_once_each_and_in_plain_words():
    view = RunView("x", experiment_type("cred"), RunDocument(protocol="cred"))
    lost = {"kind": "slot", "name": "lost", "slot": 7, "reason": "late"}
    for record in _records(
        lost,
        {**lost, "slot": 8},
        {"kind": "note", "name": "warning", "what": "dark", "text": "The frames are dark."},
        {"kind": "note", "name": "warning", "what": "dark", "text": "The frames are dark."},
        {"kind": "fault", "name": "stage.angle", "reason": "no answer"},
    ):
        view.take(record)
    told = view.summary()
    assert told["warnings"] == ["slot 7 is lost: late", "The frames are dark.", "stage.angle: no answer"]
    assert told["lost"] == 2


def test_a_protocol_that_fails_at_a_record_costs_its_own_figures_only():
    kind = experiment_type("cred")
    view = RunView("x", kind, RunDocument(protocol="cred"))
    frame = {"kind": "frame", "name": "diffraction", "slot": 1, "angle_deg": "none", "start_ns": 0, "end_ns": 1}
    for record in _records(frame, {"kind": "state", "name": "expose", "trigger": ""}):
        view.take(record)
    told = view.summary()
    assert told["counts"] == {"diffraction": 1}
    assert told["state"] == "expose"


def test_a_run_of_a_protocol_that_is_not_installed_is_shown_as_far_as_the_engine_knows_it(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": 2, "protocol": "elsewhere", "status": "done"}))
    line = {"seq": 0, "t_ns": 5, "kind": "header", "name": "credline", "schema": 2, "protocol": "elsewhere"}
    (tmp_path / "trace.jsonl").write_text(json.dumps({**line, "plan": {}, "instrument": {}}) + "\n")
    watched = WatchedRun(tmp_path, "x_001")
    watched.look()
    told = watched.summary()
    assert (told["protocol"], told["status"], told["total"], told["shown"]) == ("elsewhere", "done", 0, [])


def test_what_the_watchdog_did_is_told(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"schema": 2, "protocol": "cred", "status": "running"}))
    lines = [
        {"what": "watching"},
        {"what": "blanking", "why": "gone"},
        {"what": "blanked", "why": "gone", "utc": "12:00"},
    ]
    (tmp_path / "watchdog.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "half a li")
    watched = WatchedRun(tmp_path, "x_001")
    watched.look()
    told = watched.summary()
    assert [line.partition(" (")[0] for line in told["watchdog"]] == [
        "the watchdog blanks the beam",
        "the watchdog has blanked the beam and read it back",
    ]
    assert told["cut_off"]


def test_a_machine_is_told_without_the_ways_to_its_end():
    told = machine_told(experiment_type("cred").machine())
    assert told["states"][0] == "relax"
    assert told["finalizing"] == "finalize"
    assert told["final"] == ["done", "stopped", "aborted", "failed"]
    assert ["refocus", "expose"] in told["edges"]
    assert not any(dest == "finalize" for _, dest in told["edges"])


def test_of_a_long_run_the_last_are_kept_and_nobody_is_given_one_twice():
    growing = Growing[int]()
    for k in range(DRAWN_MOST + 10):
        growing.add(k)
    assert growing.after(0)[0] == 10
    assert growing.after(DRAWN_MOST + 7) == [DRAWN_MOST + 7, DRAWN_MOST + 8, DRAWN_MOST + 9]
    assert growing.after(DRAWN_MOST + 10) == []


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """A live view that has saved an image."""
    from engine.run.perform import Request, execute

    def watch(run, _):
        def told(record):
            if record["kind"] == "call" and record["name"] == "detector.arm":
                run.commands.tell("unblank", by="a test")
                run.commands.tell("save")

        run.trace.observe(told)

    kind = experiment_type("view")
    out = tmp_path_factory.mktemp("runs")
    plan = kind.plan_type.model_validate({"lasts_min": 0.1})
    return execute(Request(kind, plan, out, "simulated", virtual=True, seed=1, draw=False), watch).folder


def test_what_a_protocol_sees_in_a_picture_is_told_with_it_and_computed_once(view, monkeypatch):
    watched = WatchedRun(view, "view_001")
    watched.look()
    frame = watched.picture("saved", None)
    assert frame is not None
    told = json.loads(json.dumps(watched.seen(frame), allow_nan=False))
    assert {name for name, _ in told["figures"]} >= {"brightest pixel", "sharpness", "beam from the middle"}
    assert [word for _, _, word in told["crosses"]] == ["beam"]
    assert told["followed"][0] == "sharpness"
    monkeypatch.setattr("protocols.view.looks.sharpness", lambda image: 1 / 0)
    assert watched.seen(frame) == watched.seen(frame)
    assert WatchedRun(view, "view_001").seen(frame) is None  # a protocol that fails at it tells nothing


def test_buttons_are_offered_as_long_as_a_run_goes(view):
    watched, kind = WatchedRun(view, "view_001"), experiment_type("view")
    watched.look()
    assert watched.view.summary()["buttons"] == []
    watched.view.document = document = replace(watched.view.document, status="running")
    going = {button["label"]: button for button in watched.view.summary()["buttons"]}
    assert going["Tilt to"] == {
        "label": "Tilt to", "words": "tilt", "hint": "The stage turns there", "value": "0", "unit": "deg",
        "both_ways": False, "choices": (),
    }  # fmt: skip
    assert going["Move x"]["both_ways"]
    assert ("20000", "20000") in going["Imaging"]["choices"]  # of the facts in the header, which run.json has not
    for button in going.values():  # each says what the run understands
        follows = [words for words, _ in button["choices"]] or [button["value"] or ""]
        assert all(kind.understood(f"{button['words']} {each}", document) for each in follows)


def test_what_was_wrong_with_words_is_not_said_any_more_when_others_were_told():
    view = RunView("view_001", experiment_type("view"), RunDocument(protocol="view"))
    view.take({"seq": 1, "t_ns": 1, "kind": "note", "name": "operator", "text": "move x 5: nothing moved."})
    assert view.summary()["operator"] == "move x 5: nothing moved."
    view.take({"seq": 2, "t_ns": 2, "kind": "command", "name": "told", "reason": "move x 1", "by": "somebody"})
    assert view.summary()["operator"] == ""


def test_how_the_microscope_stands_is_a_panel(view):
    watched = WatchedRun(view, "view_001")
    watched.look()
    (row,) = [row["values"] for row in watched.view.panels.rows.after(0)]
    assert (row["mode"], row["camera length"], row["beam"]) == ("diffraction", "250 mm", "blanked")


def test_what_a_run_can_tell_of_the_instrument_is_asked_by_a_button_where_it_says_so():
    assert RunView("x", experiment_type("cred"), RunDocument(protocol="cred")).summary()["keeps"]
    assert RunView("x", experiment_type("lens"), RunDocument(protocol="lens")).summary()["keeps"] == ""


def test_a_live_picture_has_rings_and_one_of_an_image_has_none(view):
    watched = WatchedRun(view, "view_001")
    watched.look()
    frame = watched.picture("saved", None)
    assert frame is not None
    live = replace(frame, kind="live", start_ns=frame.start_ns + 1)
    told = json.loads(json.dumps(watched.seen(live), allow_nan=False))
    assert [words for _, words in told["rings"]] == ["4 A", "2 A", "1.5 A", "1.2 A", "1 A", "0.8 A"]
    assert told["centre"] == told["crosses"][0][:2]
    call = {"kind": "call", "name": "mode.mode", "args": [], "begin_ns": 0, "end_ns": 0, "result": "imaging"}
    watched.view.take({"seq": 0, "t_ns": 0, **call})
    assert json.loads(json.dumps(watched.seen(replace(live, start_ns=0))))["rings"] == []
