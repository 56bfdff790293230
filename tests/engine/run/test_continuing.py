"""Going on from an earlier run: a session that was cut off makes what is left in a new folder, each replays alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import engine.replay.replay as replaying
import engine.run.continuing as continuing
import engine.run.recovery as recovering
from engine.clock.virtual import VirtualClock
from engine.commands.main import app
from engine.errors import DataError, Refused
from engine.record.document import RunDocument
from engine.record.lock import alone_in
from engine.record.trace import read_trace
from engine.replay.replay import first_divergence, load_run, only_cut_off, replay
from engine.run import registry
from engine.run.conduct import Outcome
from engine.run.continuing import Earlier, earlier_run
from engine.run.instrument import Instrument
from engine.run.recovery import recover_run
from engine.run.registry import experiment_type
from protocols.cred import CRED
from tests.engine.run.toy_session import SHORT_CRED, TOY, ToyPlan
from tests.engine.virtually import virtual


def kind_of(name: str) -> Any:
    return TOY if name == "toy" else experiment_type(name)


@pytest.fixture(autouse=True)
def _the_toy_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (replaying, recovering, continuing):
        monkeypatch.setattr(room, "experiment_type", kind_of)


def performed(out: Path, plan: ToyPlan, earlier: Earlier | None = None, kind: Any = TOY) -> Outcome:
    ended: list[Outcome] = []

    @virtual
    async def scenario(clock: VirtualClock) -> None:
        async with Instrument.open("simulated-timing", clock, 1, watchdog=False, signals=False) as instrument:
            continued = None if earlier is None else earlier.carried_over(plan)
            ended.append(await instrument.perform(kind, plan, out=out, continued=continued))

    scenario()
    return ended[0]


def cut_off_after(folder: Path, children: int) -> None:
    """As a program leaves it that is killed while it makes the next child."""
    trace = folder / "trace.jsonl"
    lines = trace.read_text().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    begins = [r["seq"] for r in records if r["kind"] == "child" and r["event"] == "begin"]
    trace.write_text("".join(lines[: begins[children] + 1]))
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name[0].isdecimal() and int(path.name.partition("_")[0]) > children + 1:
            shutil.rmtree(path)
    said = json.loads((folder / "run.json").read_text())
    said |= {"status": "running", "reason": "", "result": {}}
    (folder / "run.json").write_text(json.dumps(said))


def replays(folder: Path) -> bool:
    records = load_run(folder)
    found = first_divergence(records, replay(records))
    return found is None or only_cut_off(records, found)


def test_a_session_killed_after_three_of_five_children_makes_two_more_in_a_new_folder(tmp_path: Path) -> None:
    first = performed(tmp_path, ToyPlan(sample="day", children=5)).folder
    cut_off_after(first, 3)
    earlier = earlier_run(first, "toy")
    assert RunDocument.read(first).status == "failed"  # it was recovered
    second = performed(tmp_path, TOY.plan_type.model_validate(earlier.plan), earlier).folder
    assert (first.name, second.name) == ("day_001", "day_002")
    assert [path.name for path in sorted(second.glob("*_toy"))] == ["1_toy", "2_toy"]
    assert [RunDocument.read(second / name).plan["number"] for name in ("1_toy", "2_toy")] == [4, 5]
    told = {"run": "day_001", "status": "failed", "plan": json.loads(json.dumps(earlier.plan)), "done": {"children": 3}}
    assert next(iter(read_trace(second)))["continued"] == told
    assert RunDocument.read(second).continued == told
    assert replays(first)
    shutil.rmtree(first)  # the second one needs it no more
    assert replays(second)
    (second / "run.json").unlink()
    recover_run(second)
    assert RunDocument.read(second).continued == told


def test_a_session_killed_between_the_making_of_a_childs_folder_and_its_first_file_goes_on(tmp_path: Path) -> None:
    first = performed(tmp_path, ToyPlan(sample="day", children=3)).folder
    cut_off_after(first, 1)
    shutil.rmtree(first / "2_toy", ignore_errors=True)
    (first / "2_toy").mkdir()
    earlier = earlier_run(first, "toy")
    assert any("2_toy: the program ended before the run began" in line for line in earlier.told)
    assert earlier.carried_over(ToyPlan(sample="day", children=3))["done"] == {"children": 1}


def test_what_was_done_adds_up_over_several_folders(tmp_path: Path) -> None:
    cut_off_after(performed(tmp_path, ToyPlan(sample="day", children=5)).folder, 1)
    plan = ToyPlan(sample="day", children=5)
    cut_off_after(performed(tmp_path, plan, earlier_run(tmp_path / "day_001")).folder, 2)
    third = performed(tmp_path, plan, earlier_run(tmp_path / "day_002"))
    assert third.document["continued"]["done"] == {"children": 3}
    assert third.document["result"]["children"] == ["done", "done"]


def test_another_plan_may_be_given_if_it_fits_what_was_done(tmp_path: Path) -> None:
    earlier = earlier_run(performed(tmp_path, ToyPlan(children=2)).folder)
    more = performed(tmp_path, ToyPlan(children=3), earlier)
    assert more.document["continued"]["done"] == {"children": 2}
    assert more.document["result"]["children"] == ["done"]
    with pytest.raises(Refused, match="2 children were made and 2 are asked for; nothing is left"):
        earlier.carried_over(ToyPlan(children=2))


def test_the_command_goes_on_with_the_earlier_plan_save_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "experiment_type", kind_of)
    how = ["--clock", "virtual", "--devices", "simulated-timing", "--out", str(tmp_path)]
    runner = CliRunner()
    begun = runner.invoke(app, ["run", "toy", "--set", "children=2", "--set", "sample=day", *how])
    assert begun.exit_code == 0, begun.output
    cut_off_after(tmp_path / "day_001", 1)
    done = runner.invoke(app, ["run", "--continue", str(tmp_path / "day_001"), "--set", "children=3", *how])
    assert done.exit_code == 0, done.output
    document = RunDocument.read(tmp_path / "day_002")
    assert (document.plan["sample"], document.plan["children"]) == ("day", 3)
    assert document.result["children"] == ["done", "done"]
    assert document.continued is not None
    assert (document.continued["plan"]["children"], document.continued["done"]) == (2, {"children": 1})


def test_a_rotation_is_not_taken_up_again(tmp_path: Path) -> None:
    folder = performed(tmp_path, SHORT_CRED, kind=CRED).folder  # type: ignore[arg-type]
    with pytest.raises(Refused, match=r"a rotation is not taken up again.*start_deg=.* range_deg="):
        earlier_run(folder).carried_over(SHORT_CRED)


def test_a_protocol_that_says_nothing_of_it_cannot_go_on() -> None:
    from engine.run.contract import ExperimentType

    with pytest.raises(Refused, match="the protocol 'toy' cannot go on from an earlier run; nothing was started"):
        ExperimentType.carried_over(TOY, ToyPlan(), None)  # type: ignore[arg-type]


def test_what_cannot_be_gone_on_from_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = performed(tmp_path, ToyPlan(children=2)).folder
    with pytest.raises(Refused, match="is no folder"):
        earlier_run(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds neither run.json nor a trace"):
        earlier_run(tmp_path)
    with pytest.raises(Refused, match="is a run of toy, not of cred"):
        earlier_run(folder, "cred")
    with pytest.raises(Refused, match=r"was on --devices simulated-timing, this one would be on lab.toml"):
        earlier_run(folder, "toy", "lab.toml")
    with alone_in(folder), pytest.raises(DataError, match="a program is still at work"):
        earlier_run(folder)
