"""What-if against what is: a recorded run asked about other latencies, beside a run that really had them."""

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.replayed.whatif import Latency
from engine.commands.main import app
from engine.errors import Refused
from engine.replay.replay import load_run
from engine.replay.whatif import ask, original, parse_question, parse_sweep, sweep
from protocols.cred import CRED
from tests.protocols.cred.conftest import Finished, Perform

# Latencies without jitter, so that the two runs differ in what is asked about and in nothing else.
STEADY = {"api_jitter": 0.0, "api_call_s": 0.035}
SAME = ("slots", "frames", "snapshot_slots", "lost_slot_numbers", "gap_slots")


def same(predicted: dict[str, Any], run: Finished) -> None:
    actual = CRED.figures(run.trace, run.result)
    assert {key: predicted[key] for key in SAME} == {key: actual[key] for key in SAME}


@pytest.mark.parametrize("latency_ms", [1, 20, 35, 60, 70, 80, 150, 250])
def test_other_latencies_of_the_interface_are_foretold(perform: Perform, latency_ms: int) -> None:
    recorded = perform(devices=STEADY)
    predicted = ask(recorded.trace, parse_question([f"api_latency={latency_ms}ms"], Latency))
    same(predicted, perform(devices=STEADY | {"api_call_s": latency_ms / 1000}))


@pytest.mark.parametrize("exposure_s", [0.1, 0.3, 1.0])
def test_another_exposure_is_foretold(perform: Perform, exposure_s: float) -> None:
    recorded = perform(devices=STEADY)
    predicted = ask(recorded.trace, parse_question([f"exposure={exposure_s}"], Latency, CRED.what_if.aliases))
    same(predicted, perform(devices=STEADY, exposure_s=exposure_s))


@pytest.mark.parametrize("latency_ms", [20, 80])
def test_a_commanded_rotation_is_foretold_too(perform: Perform, latency_ms: int) -> None:
    commanded = {"rotation": "commanded", "start_deg": -20.0}
    recorded = perform(devices=STEADY, **commanded)
    predicted = ask(recorded.trace, parse_question([f"api_latency={latency_ms}ms"], Latency))
    same(predicted, perform(devices=STEADY | {"api_call_s": latency_ms / 1000}, **commanded))


def test_another_interval_is_foretold(perform: Perform) -> None:
    recorded = perform(devices=STEADY)
    predicted = ask(recorded.trace, parse_question(["snapshot_interval=4", "api_latency=90ms"], Latency))
    same(predicted, perform(devices=STEADY | {"api_call_s": 0.09}, snapshot_interval=4))


def test_nothing_changed_is_the_original(perform: Perform) -> None:
    recorded = perform(seed=5)
    before = original(recorded.trace)
    # Of a stage between two readings the recording knows what lies on the line: the last digit may be another.
    before["missing_deg"] = pytest.approx(before["missing_deg"], abs=0.0011)
    assert ask(recorded.trace, parse_question([], Latency)) == before
    assert ask(recorded.trace, parse_question(["api_latency=x1"], Latency)) == before


def test_an_interface_that_answers_at_once_does_not_stop_the_clock(perform: Perform) -> None:
    predicted = ask(perform(devices=STEADY).trace, parse_question(["api_latency=0ms"], Latency))
    assert predicted["lost_slots"] == 0


def test_one_slow_call_loses_slots_that_the_plan_did_not_foresee(perform: Perform) -> None:
    recorded = perform(devices=STEADY)
    predicted = ask(recorded.trace, parse_question(["optics.set_focus=200ms"], Latency))
    assert predicted["lost_slot_numbers"] == [slot + 1 for slot in range(10, predicted["slots"], 10)]


def test_resampling_is_the_same_for_the_same_seed(perform: Perform) -> None:
    recorded = perform(seed=5)
    question = parse_question(["api_latency=resample"], Latency)
    assert ask(recorded.trace, question, seed=3) == ask(recorded.trace, question, seed=3)


def test_latencies_can_be_drawn_from_another_trace(perform: Perform) -> None:
    recorded, slow = perform(devices=STEADY), perform(devices=STEADY | {"api_call_s": 0.08})
    words = [f"api_latency=@{slow.folder}"]
    same(ask(recorded.trace, parse_question(words, Latency, CRED.what_if.aliases)), slow)
    one_call = [f"optics.set_focus=@{slow.folder}:beam.unblank"]
    fixed = ["optics.set_focus=80ms"]
    asked, known = (
        ask(recorded.trace, parse_question(words, Latency, CRED.what_if.aliases)) for words in (one_call, fixed)
    )
    assert {key: asked[key] for key in SAME} == {key: known[key] for key in SAME}
    with pytest.raises(Refused, match=r"no times of optics\.wobble"):
        ask(recorded.trace, parse_question([f"optics.set_focus=@{slow.folder}:optics.wobble"], Latency))


def test_a_sweep_shows_where_the_budget_breaks(perform: Perform) -> None:
    recorded = perform(devices=STEADY, exposure_s=0.1, snapshot_interval=8)
    key, values_s = parse_sweep("api_latency=35ms:455ms:70ms", Latency)
    points = sweep(recorded.trace, key, values_s, [], Latency)
    refused = [point.figures is None for point in points]
    assert refused == sorted(refused)
    assert not refused[0]
    assert refused[-1]
    assert "does not fit" in points[-1].refusal
    missing = [point.figures["missing_deg"] for point in points if point.figures]
    assert missing == sorted(missing)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["api_latency"], "write key=value"),
        (["api_latency=fast"], "latency 'fast'"),
        (["api_latency=x-1"], "latency 'x-1'"),
        (["api_latency=xinf"], "latency 'xinf'"),
        (["speed_deg_s=0.9"], "cannot tell"),
        (["range_deg=-3"], "cannot tell"),
        (["defocus=3000"], "Give settling"),
        (["optics.wobble=1ms"], "no such call"),
        (["settling=x2"], "give a time"),
        (["exposures=1"], "no such key"),
        (["snapshot_interval=1"], "use 0 for none"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(perform: Perform, words: list[str], says: str) -> None:
    recorded = perform(range_deg=3.0)
    with pytest.raises(Refused, match=says):
        ask(recorded.trace, parse_question(words, Latency, CRED.what_if.aliases))


@pytest.mark.parametrize(
    "word", ["api_latency=20ms", "api_latency=20ms:10ms:1ms", "api_latency=1ms:2ms:0ms", "20ms:30ms:1ms"]
)
def test_a_sweep_that_makes_no_sense_is_refused(word: str) -> None:
    with pytest.raises(Refused):
        parse_sweep(word, Latency)


def test_the_command_agrees_compares_and_plots(perform: Perform, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    run, cli = perform(range_deg=3.0), CliRunner()
    agreed = cli.invoke(app, ["replay", str(run.folder)])
    assert agreed.exit_code == 0
    assert f"{len(run.trace)} records, all agree." in agreed.output
    asked = cli.invoke(app, ["replay", str(run.folder), "--what-if", "api_latency=80ms", "--json"])
    assert json.loads(asked.output.splitlines()[-1])["what_if"]["snapshot_slots"] == 2
    picture = tmp_path / "sweep.png"
    words = ["--sweep", "api_latency=20ms:60ms:20ms", "--plot", str(picture)]
    assert cli.invoke(app, ["replay", str(run.folder), *words]).exit_code == 0
    assert picture.stat().st_size > 1000


def test_the_command_shows_a_divergence_and_exits_with_1(perform: Perform) -> None:
    from typer.testing import CliRunner

    run = perform(range_deg=3.0)
    trace = run.folder / "trace.jsonl"
    lines = trace.read_text().splitlines()
    at = next(k for k, record in enumerate(load_run(run.folder)) if record["kind"] == "step" and record["slot"] == 3)
    lines[at] = lines[at].replace('"slot":3', '"slot":4')
    trace.write_text("\n".join(lines) + "\n")
    shown = CliRunner().invoke(app, ["replay", str(run.folder)])
    assert shown.exit_code == 1
    assert f"first divergence at record {at}, in state 'expose'" in shown.output
