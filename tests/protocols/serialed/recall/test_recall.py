"""A crystal of a serial run brought back under the beam, on the simulated grid: found again, the beam on it, said how
sure; and refused or failed, in one line, where it cannot be.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Refused
from engine.record.trace import Record
from engine.replay.replay import replay
from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.serialed.finding.computation import answered as find_answered
from protocols.serialed.recall.experiment import RECALL
from protocols.serialed.recall.plan import RecallPlan
from protocols.serialed.recall.recalledtable import neighbours_of, plan_for, rows_of
from protocols.serialed.results.csvfiles import read_crystals
from tests.protocols.serialed.runs import Made, devices, made, toml


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("serial"))


def recalled(
    out: Path,
    plan: RecallPlan,
    tables: Mapping[str, Any] | None = None,
    *,
    seed: int = 2,
    on: Callable[[Record, Run], None] | None = None,
    faults: Sequence[str] = (),
) -> Made:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "devices.toml"
    file.write_text(toml(devices(**(tables or {}))), encoding="utf-8")

    def watch(run: Run, _: object) -> None:
        run.compute.inline = True
        if on is not None:
            run.trace.observe(lambda record: on(record, run))

    asked = Request(RECALL, plan, out, str(file), virtual=True, seed=seed, draw=False, faults=faults)
    report = execute(asked, watch)
    return Made(report.folder, report.document)


def some_number(serial: Made) -> int:
    """A crystal with neighbours."""
    rows = read_crystals(serial.folder / "crystals.csv")
    return max(rows, key=lambda row: len(neighbours_of(row, rows))).number


@pytest.fixture(scope="module")
def run(serial: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial), ["pattern=true"])
    return recalled(tmp_path_factory.mktemp("recall"), plan, seed=17)


def test_the_crystal_is_found_again_and_the_beam_is_on_it(run: Made) -> None:
    result = run.result
    assert run.document["status"] == "done", run.document["reason"]
    assert result["found"]
    assert result["sure"] > 0.95
    assert result["beam_off_nm"] < 100
    assert "% sure; the beam shift is on it" in run.document["reason"]
    assert run.document["alarms"] == []


def test_the_stage_arrives_from_below_and_the_image_is_short(run: Made) -> None:
    moves = [record["args"] for record in run.of("call", "stagexyz.move_xy")]
    assert len(moves) in (1, 2)
    assert all(first <= last for first, last in zip(moves[0], moves[-1], strict=True))
    (image,) = run.of("frame", "image")
    assert image["end_ns"] - image["start_ns"] == 100_000_000


def test_the_beam_is_on_for_exposures_alone(run: Made) -> None:
    calls = [r["name"] for r in run.of("call") if r["name"] in ("beam.unblank", "beam.blank", "detector.start")]
    on = [name for name in calls if name != "beam.blank"]
    assert on == ["beam.unblank", "detector.start"] * 3  # image, probe, pattern
    assert calls[-1] == "beam.blank"


def test_lenses_and_light_go_back_and_the_corrected_shift_stays(run: Made) -> None:
    sets = run.of("call", "deflectors.set")
    assert list(sets[-1]["args"][1:]) == run.result["beam_shift"]
    brightness = run.of("call", "illumination.set_brightness")
    assert brightness[-1]["args"][0] == run.of("call", "illumination.brightness")[0]["result"]
    assert run.of("call", "mode.set_mode")[-1]["args"][0] == "imaging"


def test_what_belongs_to_the_image_goes_back_in_the_image_mode(run: Made) -> None:
    """A pattern leaves the lenses in diffraction, where the microscope keeps another brightness."""
    calls = [r for r in run.of("call") if r["name"] in ("mode.set_mode", "illumination.set_brightness")]
    last = max(k for k, r in enumerate(calls) if r["name"] == "illumination.set_brightness")
    modes = [r["args"][0] for r in calls[:last] if r["name"] == "mode.set_mode"]
    assert "diffraction" in modes
    assert modes[-1] == "imaging"


def test_another_magnification_goes_back_also_behind_a_pattern(serial: Made, tmp_path: Path) -> None:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial), ["pattern=true"])
    told = recalled(tmp_path, plan, {"mode": {"magnification": 5000.0, "mode": "diffraction"}})
    assert told.document["alarms"] == []
    assert told.of("call", "mode.set_magnification")[-1]["args"] == [5000.0]
    assert told.of("call", "mode.set_mode")[-1]["args"] == ["diffraction"]


def test_the_probe_is_looked_at_beside_every_crystal(run: Made) -> None:
    """No crystal is nearer to where the probe was seen than the probe's own radius."""
    (find,), (probe,) = run.of("computation", "find"), run.of("computation", "probe")
    (fast, slow), radius = probe["result"]["at"], probe["result"]["radius"]
    crystals = find_answered(find["result"]).crystals
    assert crystals
    assert min(math.hypot(c.fast_px - fast, c.slow_px - slow) - c.length_px / 2 for c in crystals) > radius


def test_a_beam_shift_that_lags_is_arrived_at_from_below(serial: Made, tmp_path: Path) -> None:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial), ["pattern=true"])
    told = recalled(tmp_path, plan, {"deflectors": {"lag": [400.0, 0.0, 0.0, 0.0]}})
    assert told.result["found"]
    assert told.result["beam_off_nm"] < 100


def test_a_replay_does_the_same(run: Made, assert_trace_matches: Callable[..., None]) -> None:
    without_truth = [r for r in run.trace if r["name"] != "truth"]
    renumbered = [{**record, "seq": seq} for seq, record in enumerate(without_truth)]
    assert_trace_matches(replay(run.trace, run.folder), renumbered)


def test_the_stage_corrects_where_it_is_asked_to(serial: Made, tmp_path: Path) -> None:
    """The holder was taken out and put back 1.5 um off."""
    plan = plan_for(serial.folder, some_number(serial), ["correct=stage", "within_nm=700"])
    off = plan.model_copy(update={"x_nm": plan.x_nm + 1500.0})
    told = recalled(tmp_path, off, {"stagexyz": {"reproducibility_nm": 100.0}}, seed=21)
    assert told.document["status"] == "done", told.document["reason"]
    assert told.result["images"] == 2
    assert told.result["away_nm"] <= 700
    assert told.result["off_nm"][0] == pytest.approx(-1500, abs=800)
    assert not told.of("frame", "beam")


def test_a_place_where_nothing_was_is_not_taken_for_it_and_nothing_is_left_changed(
    serial: Made, tmp_path: Path
) -> None:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial))
    told = recalled(tmp_path, plan.model_copy(update={"x_nm": plan.x_nm + 300_000.0}))
    assert told.document["status"] == "failed"
    assert "crystal" in told.document["reason"]
    assert "the beam shift as it was" in told.document["reason"]
    assert list(told.of("call", "deflectors.set")[-1]["args"][1:]) == told.of("call", "deflectors.read")[0]["result"]
    assert not told.result["found"]


def test_another_grid_is_noticed(serial: Made, tmp_path: Path) -> None:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial))
    told = recalled(tmp_path, plan, {"grid": {"seed": 99}})
    assert told.document["status"] == "failed"


def test_no_beam_no_crystal(serial: Made, tmp_path: Path) -> None:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial))
    told = recalled(tmp_path, plan, {"grid": {"crystals_um2": 0.0, "dirt_um2": 0.0}})
    assert told.document["reason"].startswith("no crystal is seen in the image")


def test_an_operator_who_stops_gets_the_beam_shift_back(serial: Made, tmp_path: Path) -> None:
    def stop(record: Record, run: Run) -> None:
        if record["kind"] == "state" and record["name"] == "look_at_beam":
            run.commands.stop("enough")

    plan = plan_for(serial.folder / "crystals.csv", some_number(serial))
    told = recalled(tmp_path, plan, on=stop)
    assert told.document["status"] == "stopped"
    assert list(told.of("call", "deflectors.set")[-1]["args"][1:]) == told.of("call", "deflectors.read")[0]["result"]


@pytest.mark.parametrize("fault", ["stagexyz.move_xy 1 error", "deflectors.set 1 hang", "detector.frames 1 drop"])
def test_troubles_end_safely(serial: Made, tmp_path: Path, fault: str) -> None:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial))
    told = recalled(tmp_path, plan, faults=[fault])
    assert told.document["status"] in ("failed", "done")
    assert told.of("call", "beam.blank")
    assert told.document["reason"]


@pytest.mark.parametrize("fault", ["compute.find 1 late", "compute.find 1 dead"])
def test_an_answer_that_does_not_come_costs_an_image_and_not_the_crystal(
    serial: Made, tmp_path: Path, fault: str
) -> None:
    plan = plan_for(serial.folder / "crystals.csv", some_number(serial))
    told = recalled(tmp_path, plan, faults=[fault])
    assert told.document["status"] == "done", told.document["reason"]
    assert len(told.of("frame", "image")) == 2
    again = recalled(tmp_path, plan, faults=[fault, "compute.find 2 late"])
    assert again.document["status"] == "failed"
    assert "crystals could not be looked for" in again.document["reason"]


def test_the_papers_list_names_crystals_by_its_lines(serial: Made, tmp_path: Path) -> None:
    rows = read_crystals(serial.folder / "crystals.csv")
    row = rows[2]
    path = tmp_path / "serialed.csv"
    path.write_text(f"frames.h5,{row.field},{row.crystal},0.9,0.25,{row.x_nm},{row.y_nm}\n")
    plan = plan_for(path, 1)
    assert (plan.x_nm, plan.y_nm, plan.neighbours, plan.length_nm) == (row.x_nm, row.y_nm, (), 500.0)
    (tmp_path / "crystals.csv").write_text((serial.folder / "crystals.csv").read_text())
    whole = plan_for(path, 1)
    assert whole.length_nm == row.length_nm
    assert len(whole.neighbours) == len(neighbours_of(row, rows))


REFUSED = {
    "a number that is not there": (lambda folder: (folder / "crystals.csv", 999), "no 999"),
    "a file that is not there": (lambda folder: (folder / "nothing.csv", 1), "no such file"),
    "a folder without a table": (lambda folder: (folder.parent, 1), "credline export"),
    "a line that is not there": (lambda folder: (folder / "serialed.csv", 5), "has 0 lines"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_recalled_is_refused_in_one_line(serial: Made, case: str) -> None:
    asked, said = REFUSED[case]
    path, number = asked(serial.folder)
    if path.name == "serialed.csv":
        path.write_text("")
    with pytest.raises(Refused, match=said) as refused:
        rows_of(path, number)
    assert "\n" not in str(refused.value)


def test_a_crystal_without_a_place_is_refused(serial: Made, tmp_path: Path) -> None:
    from protocols.serialed.results.crystaltable import SerialTables
    from protocols.serialed.results.csvfiles import write_tables
    from protocols.serialed.results.placing import placing

    rows = [replace(row, x_nm=float("nan")) for row in read_crystals(serial.folder / "crystals.csv")]
    write_tables(tmp_path, SerialTables((), tuple(rows), placing([], None)))
    with pytest.raises(Refused, match="nobody knows where crystal 1 is"):
        plan_for(tmp_path / "crystals.csv", 1)


def test_a_place_past_the_stages_end_is_refused_before_anything_moves(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be arrived at from below"):
        recalled(tmp_path, RecallPlan(x_nm=9e6, y_nm=0.0))
    assert not list(tmp_path.glob("recall_*"))
