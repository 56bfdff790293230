"""A second terminal on a run: what it shows of runs under way, over, cut off, and of runs within a run."""

import asyncio
import io
import json
import shutil
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from engine.clock import RealClock
from engine.commands.display import LiveDisplay
from engine.commands.main import app
from engine.commands.watch import Shown, _watched
from engine.record.document import RunDocument
from engine.record.lock import drop_lock, take_lock
from engine.run.registry import experiment_type
from tests.engine.run.toy_session import ToyKind


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from engine.run.perform import Request, execute

    kind = experiment_type("cred")
    plan = kind.plan_type.model_validate({"range_deg": 6, "sample": "zeolite", "formats": []})
    out = tmp_path_factory.mktemp("runs")
    return execute(Request(kind, plan, out, "simulated-timing", virtual=True, seed=1, draw=False)).folder


def _display(kind) -> tuple[LiveDisplay, io.StringIO]:
    file = io.StringIO()
    return LiveDisplay(Console(file=file, force_terminal=True, width=100, color_system=None), kind), file


def test_a_run_that_is_over_is_told_as_it_was_at_its_end(run):
    told = CliRunner().invoke(app, ["watch", str(run)])
    assert told.exit_code == 0
    assert "range covered" in told.output
    assert "zeolite_001: done" in told.output


@pytest.mark.realtime
def test_a_run_under_way_is_shown_as_its_trace_grows_until_it_has_ended(run, tmp_path):
    folder = tmp_path / "zeolite_001"
    folder.mkdir()
    lines = (run / "trace.jsonl").read_bytes().splitlines(keepends=True)
    document = RunDocument.read(run)
    replace(document, status="running", reason="", result={}).write(folder)
    lock = take_lock(folder)
    assert lock is not None
    kind = experiment_type("cred")
    display, file = _display(kind)
    seen = []

    async def growing() -> None:
        with (folder / "trace.jsonl").open("ab") as trace:
            for k in range(0, len(lines), 40):
                trace.writelines(lines[k : k + 40])
                trace.flush()
                await RealClock().sleep_s(0.3)
                seen.append(file.getvalue().rpartition("\x1b[2K")[2].splitlines()[0].split()[0])
        document.write(folder)
        drop_lock(folder, lock)

    async def both():
        began = RunDocument.read(folder)
        told, _ = await asyncio.gather(_watched(folder, kind, began, display, RealClock()), growing())
        return told

    told = asyncio.run(both())
    display.close()
    assert told.status == "done"
    assert "expose" in seen
    assert "26/26" in file.getvalue()
    assert "late" in file.getvalue()


def test_an_hour_is_caught_up_with_without_drawing_each_of_its_frames(run):
    kind = experiment_type("cred")
    display, file = _display(kind)
    Shown(run, kind, RunDocument.read(run), display).look()
    display.close()
    assert file.getvalue().count("since the start") <= 2


def test_runs_within_a_run_are_shown_by_the_same_display(tmp_path):
    from engine.run.perform import Request, execute

    kind = ToyKind()
    request = Request(
        kind, kind.plan_type(children=2, cred=True), tmp_path, "simulated-timing", virtual=True, draw=False
    )
    folder = execute(request).folder
    display, file = _display(kind)
    Shown(folder, kind, RunDocument.read(folder), display).look()
    display.close()
    (child,) = folder.glob("2_*")
    assert f"run folder: {child}" in file.getvalue().replace("\n", "")


def test_a_run_that_was_cut_off_is_said_to_be(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "x_001")
    replace(RunDocument.read(folder), status="running").write(folder)
    told = CliRunner().invoke(app, ["watch", str(folder)])
    assert told.exit_code == 1
    assert "was cut off" in told.output


@pytest.mark.parametrize(("status", "words"), [("failed", "failed: the lens"), ("aborted", "aborted: the lens")])
def test_how_a_run_failed_is_told_by_the_exit_status_too(run, tmp_path, status, words):
    folder = shutil.copytree(run, tmp_path / "x_001")
    replace(RunDocument.read(folder), status=status, reason="the lens", alarms=("look",)).write(folder)
    told = CliRunner().invoke(app, ["watch", str(folder)])
    assert told.exit_code == 1
    assert words in told.output
    assert "ALARM: look" in told.output


def test_what_is_no_run_is_refused_in_a_line(tmp_path):
    told = CliRunner().invoke(app, ["watch", str(tmp_path)])
    assert "no such file" in str(told.exception)
    (tmp_path / "run.json").write_text(json.dumps({"schema": 2, "protocol": "cred", "status": "odd"}))
    told = CliRunner().invoke(app, ["watch", str(tmp_path)])
    assert "which no run is" in str(told.exception)


def test_ctrl_c_ends_the_watching_alone(run, tmp_path, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "x_001")
    replace(RunDocument.read(folder), status="running").write(folder)
    lock = take_lock(folder)
    assert lock is not None

    def interrupted(work):
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.run", interrupted)
    told = CliRunner().invoke(app, ["watch", str(folder)])
    drop_lock(folder, lock)
    assert told.exit_code == 0
    assert "goes on" in told.output
