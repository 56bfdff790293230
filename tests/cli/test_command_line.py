"""The command as its users type it; runs in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commandline import command

EXAMPLES = Path(__file__).parents[2] / "examples"
CREDLINE = [sys.executable, "-c", "from engine.commands.main import main; main()"]
VIRTUAL = ["run", "cred", "--clock", "virtual", "--devices", "simulated-timing"]


def credline(*words: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [*CREDLINE, *words], capture_output=True, text=True, timeout=120, env=environment, check=False
    )


@pytest.mark.parametrize(("name", "slots", "snapshots", "range_deg"), [
    ("mordenite-1", 553, 55, 127.97),
    pytest.param("mordenite-2", 439, 43, 102.55, marks=pytest.mark.long),
])  # fmt: skip
def test_the_data_sets_of_table_1_on_the_virtual_clock(
    tmp_path: Path, name: str, slots: int, snapshots: int, range_deg: float
) -> None:
    done = credline(
        *VIRTUAL, "--config", str(EXAMPLES / f"{name}.toml"), "--seed", "1", "--json", "--out", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert abs(result["slots"] - slots) <= 1
    assert result["snapshots"] == snapshots
    assert result["period_s"] == pytest.approx(0.512, abs=0.001)
    assert result["range_deg"] == pytest.approx(range_deg, abs=0.3)
    assert result["lateness_ms"]["max"] == result["gap_error_ms"]["max"] == 0
    folder = Path(result["run_dir"])
    for file in ("run.json", "trace.jsonl", "journal.jsonl", "frames.h5", "report/timing.png", "snapshots/00010.tiff"):
        assert (folder / file).stat().st_size > 0, file
    assert not (folder / "frames.spool").exists()


@pytest.mark.long
def test_the_same_seed_writes_the_same_trace_in_any_process(tmp_path: Path) -> None:
    traces = []
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        done = credline(*VIRTUAL, "--set", "range_deg=5", "--seed", "7", "--out", str(out), hash_seed=hash_seed)
        assert done.returncode == 0, done.stderr
        traces.append((out / "mordenite_001" / "trace.jsonl").read_bytes())
    assert traces[0] == traces[1]
    other = command(*VIRTUAL, "--set", "range_deg=5", "--seed", "8", "--out", str(tmp_path / "other"))
    assert other.returncode == 0
    assert (tmp_path / "other" / "mordenite_001" / "trace.jsonl").read_bytes() != traces[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nope"], "protocol 'nope' is not known"),
        (["run"], "which experiment?"),
        (["run", "--continue", "nowhere"], "--continue nowhere: is no folder"),
        ([*VIRTUAL, "--set", "exposre_s=1"], "Did you mean exposure_s?"),
        ([*VIRTUAL, "--set", "exposure_s=500ms"], "plain number of seconds"),
        ([*VIRTUAL, "--set", "exposure_s=-0.5"], "greater than 0"),
        ([*VIRTUAL, "--set", "snapshot_interval=1"], "use 0 for none"),
        ([*VIRTUAL, "--set", "range_deg=170"], "holder's -80..80"),
        ([*VIRTUAL, "--set", "crystal.cif=nowhere.cif"], "crystal.cif"),
        ([*VIRTUAL, "--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
        ([*VIRTUAL[:-1], "nothing"], "no driver of that name"),
        (["plan", "cred", "--set", "exposure_s=0.05", "--set", "snapshot_interval=5"], "does not fit"),
        (["soak", "nope"], "protocol 'nope' is not known"),
        (["soak", "cred", "--fault", "beam.blank 1 explode"], "'explode' is not known"),
        (["soak", "cred", "--fault", "stage.fly 1 error"], "the stage has no such call"),
        (["soak", "cred", "--fault", "beam.blank 1 slow"], "write beam.blank WHEN slow VALUE"),
        (["soak", "cred", "--fault", "operator soon stop"], "operator"),
        (["soak", "cred", "--fault", "operator 3 dance"], "operator"),
        (["soak", "cred", "--fault", "operator"], "operator"),
        (["soak", "cred", "--set", "exposre_s=1"], "exposre_s"),
        (["soak", "cred", "--set", "exposure_s"], "exposure_s"),
        (["soak", "cred", "--set", "exposure_s=-1"], "greater than 0"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(tmp_path: Path, words: list[str], says: str) -> None:
    out = tmp_path / "out"
    done = command(*words, *(["--out", str(out)] if words[0] == "run" else []))
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("credline: refused: ")
    assert says in lines[0]
    assert "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--seeds", "many"], ["--first", "-1"], ["--jobs", "-2"]])
def test_a_soak_of_impossible_numbers_is_refused_without_a_traceback(words: list[str]) -> None:
    done = command("soak", "cred", *words)
    assert done.returncode == 2
    assert words[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_soak_counts_runs_faults_and_invariants_in_its_last_line() -> None:
    done = command("soak", "cred", "--seeds", "3", "--jobs", "1")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 runs (")
    assert "invariants checked, 0 broken" in done.stdout
    assert done.stderr == ""


def test_one_case_of_a_soak_can_be_given_in_full() -> None:
    settings = ["--set", "range_deg=2", "--set", "rotation=commanded", "--set", "unblank=true"]
    done = command("soak", "cred", *settings, "--fault", "operator 4 abort", "--fault", "beam.blank 1 error")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("1 run (aborted), 1 faults injected")


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    done = command(*VIRTUAL, "--out", str(file / "out"))
    assert done.returncode == 2
    assert "no run folder can be made there" in done.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="keeps no files, on Linux")
def test_a_folder_that_keeps_no_files_is_refused() -> None:
    done = command(*VIRTUAL, "--out", "/proc/out")
    assert done.returncode == 2
    assert "--out /proc/out: nothing can be written in /proc; nothing was started." in done.stderr


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    # As many slots as a plan may have, of pictures of 512 x 512.
    endless = ["--set", "exposure_s=0.1", "--set", "speed_deg_s=0.0006", "--set", "snapshot_interval=0"]
    done = command(*VIRTUAL, "--devices", "simulated", *endless, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "MB are free, the run needs" in done.stderr
    assert not (tmp_path / "out").exists()


def test_plan_prints_the_budget_and_moves_nothing() -> None:
    done = command("plan", "cred", "--full", "--config", str(EXAMPLES / "mordenite-1.toml"))
    assert done.returncode == 0
    for words in ("snapshot cycle: 512.0 ms", "settling", "slack", "553 (55 snapshots"):
        assert words in done.stdout


def test_help_has_an_example() -> None:
    done = command("run", "-h")
    assert done.returncode == 0
    assert "Example: credline run cred" in done.stdout


@pytest.mark.realtime
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to another process as on Unix")
@pytest.mark.parametrize(
    ("number", "state"),
    [
        pytest.param(signal.SIGINT, "relax", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, "wait-for-rotation", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, "expose", marks=pytest.mark.long),
        (signal.SIGTERM, "expose"),
        pytest.param(signal.SIGINT, "defocus-snapshot", marks=pytest.mark.long),
    ],
)
def test_a_signal_on_the_real_clock_ends_in_the_safe_state(tmp_path: Path, number: int, state: str) -> None:
    out = tmp_path / "out"
    words = [
        "run",
        "cred",
        "--devices",
        "simulated-timing",
        "--accept-timing",
        "--accept-gaps",
        "--json",
        "--out",
        str(out),
    ]
    words += ["--set", "relax_cycles=1", "--set", "exposure_s=0.1", "--set", "snapshot_interval=10"]
    # A wrapper that sends the signal to itself when the trace reaches the state: no guessing of times.
    program = (
        "import os, engine.record.trace as t\n"
        "record = t.Trace.record\n"
        "def spy(self, kind, name, **fields):\n"
        f"    record(self, kind, name, **fields)\n"
        f"    if kind == 'state' and name == {state!r} and not getattr(spy, 'sent', 0):\n"
        f"        spy.sent = 1; os.kill(os.getpid(), {int(number)})\n"
        "t.Trace.record = spy\n"
        "from engine.commands.main import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120, check=False
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == (0 if result["frames"] else 1), done.stderr  # without data nothing was achieved
    assert ("stopped without a frame" in done.stderr) is (result["frames"] == 0)
    assert result["status"] == "stopped"
    trace = [json.loads(line) for line in (Path(result["run_dir"]) / "trace.jsonl").read_text().splitlines()]
    calls = [record["name"] for record in trace if record["kind"] == "call"]
    assert "beam.blank" in calls
    assert "stage.stop" in calls
    assert json.loads((Path(result["run_dir"]) / "run.json").read_text())["alarms"] == []
    if state == "defocus-snapshot":
        assert result["frames"] > 0
