"""`credline shell`: IPython on an instrument, in this process and as a program of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from engine.shell import open_instrument
from engine.shell.command import fit

InteractiveShell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell

pytestmark = pytest.mark.realtime

PROGRAM = "import sys; from engine.commands.program import main; sys.argv[0] = 'credline'; main()"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with open_instrument("simulated-timing", tmp_path_factory.mktemp("runs"), accept_timing=True) as instrument:
        yield instrument


@pytest.fixture
def typed(opened, tmp_path, monkeypatch):
    """Types a cell into an IPython; what it gave."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell()
    shell.history_manager.enabled = False

    def cell(text: str) -> Any:
        return shell.run_cell(text, store_history=False)

    with asyncio.Runner() as runner:
        fit(shell, opened, {"stage": "an experiment of that name", "cred": "cred"}, runner.run)
        yield cell


def test_what_is_awaited_at_the_top_of_a_cell_is_done_by_the_instrument(typed):
    assert typed("reading = await stage.angle()\nreading.value").result == pytest.approx(0.0, abs=1)
    typed("await beam.unblank()")
    assert typed("await beam.is_blanked()").result is False
    assert typed("1 + 1").result == 2
    assert typed("import asyncio\nawait asyncio.gather(stage.angle(), beam.blank())").success


def test_what_one_cell_leaves_in_the_background_goes_on_in_the_next(typed):
    typed("import asyncio\ntask = asyncio.create_task(asyncio.sleep(0.01, 'done'))\nawait asyncio.sleep(0)")
    assert typed("await task").result == "done"


def test_an_error_of_ours_is_one_line(typed, capsys):
    assert not typed("await stage.rotate(500.0, 1.0)").success
    said = capsys.readouterr()
    assert said.err.startswith("DeviceError: stage: 500.00 deg is outside")
    assert "Traceback" not in said.err + said.out


def test_a_mistake_of_the_person_is_shown_as_python_does(typed, capsys):
    typed("await stage.angel()")
    assert "AttributeError" in "".join(capsys.readouterr())


def test_every_cell_stands_in_the_log(typed, opened):
    typed("await stage.angle()  # where is it?")
    asyncio.run(opened.submit(opened._run.flush))
    records = [json.loads(line) for line in (opened.folder / "trace.jsonl").read_text().splitlines()]
    assert "await stage.angle()  # where is it?" in [r.get("text") for r in records if r["name"] == "cell"]


@pytest.mark.long
def test_a_program_of_its_own_from_the_first_line_to_the_exit(tmp_path):
    lines = [
        "await beam.unblank()",
        "print('blanked:', await beam.is_blanked())",
        "r = await perform(cred, range_deg=1.5, rotation='commanded', start_deg=0.0, relax_cycles=0, "
        "snapshot_interval=0, formats=[])",
        "print('ended:', r.ending.status.value, r.result['frames'] > 2)",
        "await beam.unblank()",
        "exit",
    ]
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "TMPDIR": str(tmp_path)}
    words = ["shell", "--devices", "simulated-timing", "--out", str(tmp_path / "runs"), "--accept-timing"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "blanked: False" in done.stdout
    assert "ended: done True" in done.stdout
    assert "let go, beam off" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    folder = tmp_path / "runs" / "shell_001"
    records = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    assert [r["name"] for r in records if r["kind"] == "call" and r["name"].startswith("beam.")][-3:] == [
        "beam.blank",
        "beam.is_blanked",
        "beam.is_blanked",
    ]
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    assert json.loads((folder / "1_mordenite" / "run.json").read_text())["status"] == "done"


TOLD_TO_END = "import os, signal; await beam.unblank(); os.kill(os.getpid(), signal.SIGTERM)"
UNDER_WAY = {
    "nothing": [],
    "a cell": ["import time", f"{TOLD_TO_END}; time.sleep(600)"],
    "an awaited call": ["import asyncio", f"{TOLD_TO_END}; await asyncio.sleep(600)"],
    "a run": [
        "import os, signal, threading",
        "end = threading.Timer(4, lambda: os.kill(os.getpid(), signal.SIGTERM))",
        "end.start(); await perform(cred, range_deg=60, rotation='commanded', start_deg=0.0, relax_cycles=0, "
        "snapshot_interval=0, formats=[])",
    ],
    "a cell that goes on": ["import time", f"try: {TOLD_TO_END}; time.sleep(600)\nexcept SystemExit: pass\n"],
}


@pytest.mark.long
@pytest.mark.parametrize("under_way", UNDER_WAY)
def test_a_program_that_is_told_to_end_leaves_the_beam_off(tmp_path, under_way):
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "TMPDIR": str(tmp_path)}
    words = ["shell", "--devices", "simulated-timing", "--out", str(tmp_path / "runs"), "--accept-timing"]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write("await beam.unblank()\nprint('the beam is', 'on')\n1 + 1\n")
        program.stdin.flush()
        for line in program.stdout:
            if "[3]: 2" in line:  # the cell before it is over
                break
        try:
            if not UNDER_WAY[under_way]:
                program.send_signal(signal.SIGTERM)
            for cell in UNDER_WAY[under_way]:
                program.stdin.write(cell + "\n")
                program.stdin.flush()
            status = program.wait(120)
        finally:
            program.kill()
        rest = program.stdout.read()
    assert status == 128 + signal.SIGTERM, rest
    folder = tmp_path / "runs" / "shell_001"
    document = json.loads((folder / "run.json").read_text())
    assert (document["status"], document["alarms"]) == ("done", [])
    runs = [json.loads(path.read_text())["status"] for path in folder.glob("*/run.json")]
    assert runs == (["stopped"] if under_way == "a run" else [])


def test_without_ipython_it_says_what_to_install(monkeypatch):
    from typer.testing import CliRunner

    from engine.shell.command import shell_app

    monkeypatch.setitem(sys.modules, "IPython.terminal.ipapp", None)
    told = CliRunner().invoke(shell_app, [])
    assert "is not installed; nothing was begun" in str(told.exception)
