"""A rotation whose camera sees nothing, or not what it should: said while it goes, and ended where the plan says so."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.commands.main import app
from engine.replay.computations import recompute_run
from engine.replay.replay import first_divergence, load_run, replay
from engine.replay.whatif import Question, ask
from engine.run.recovery import recover_run
from engine.testing.plugin import RecordedRun
from tests.protocols.cred.conftest import Perform

SHORT: dict[str, Any] = {"range_deg": 3.0, "snapshot_interval": 0, "relax_cycles": 0, "formats": ()}
SMALL = {"shape": [128, 128], "wide_cross": False}
MIDDLE = {"beam_fast_px": 64.0, "beam_slow_px": 64.0}

Seen = Callable[..., RecordedRun]


@pytest.fixture
def seen(perform: Perform) -> Seen:
    """A run whose pictures are of these settings."""

    def seeing(pictures: dict[str, Any] | None = None, **plan: Any) -> RecordedRun:
        devices = {"geometry": MIDDLE, "pictures": {**SMALL, **(pictures or {})}}
        return perform(devices, driver="simulated", **{**SHORT, **plan})

    return seeing


def slots(run: RecordedRun) -> list[int]:
    return [record["slot"] for record in run.of("frame")]


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ({}, None),
        ({"flux_s": 0.0, "constant_s": 0.0}, "the camera sees nothing: diffraction frames are dark (level 0 counts)"),
        ({"flux_s": 1e11}, "of the pixels of diffraction frames are saturated"),
        ({"flux_s": 0.0, "constant_s": 20.0}, "no primary beam on the camera"),
    ],
)
def test_what_is_wrong_with_the_frames_is_said_once_and_the_run_goes_on(
    seen: Seen, pictures: dict[str, Any], words: str | None
) -> None:
    run = seen(pictures)
    assert run.document["status"] == "done"
    warnings = run.document.get("warnings", [])
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]
    told = [record for record in run.of("note") if record["name"] == "warning"]
    assert [record["text"] for record in told] == warnings
    if told:
        before = [frame for frame in run.of("frame") if frame["seq"] < told[0]["seq"]]
        assert len(before) == 2
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


DARK = {"flux_s": 0.0, "constant_s": 0.0}


def test_a_plan_may_stop_by_it_as_the_operator_would(seen: Seen) -> None:
    run = seen(DARK, bad_frames="stop")
    assert run.document["status"] == "stopped"
    assert run.document["reason"].startswith("bad_frames = stop: the camera sees nothing")
    assert slots(run) == [1, 2, 3]  # the third was under way
    assert run.document["result"]["frames"] == 3
    assert (run.folder / "frames.h5").exists()
    safe = [record["name"] for record in run.trace if record["kind"] in ("state", "call")]
    assert safe[safe.index("finalize") + 1] == "beam.blank"
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


def test_a_run_that_sees_its_crystal_never_stops_by_it(seen: Seen) -> None:
    assert seen(bad_frames="stop").document["status"] == "done"


def test_watching_moves_no_frame(seen: Seen, perform: Perform) -> None:
    watched, unwatched = seen(), perform(**SHORT)
    assert [r["start_ns"] for r in watched.of("frame")] == [r["start_ns"] for r in unwatched.of("frame")]
    assert not unwatched.of("computation")
    assert "watched" not in unwatched.trace[0]
    assert watched.trace[0]["watched"] == ["diffraction"]


def test_the_same_seed_writes_the_same_bytes(seen: Seen) -> None:
    first, second = ((seen(DARK).folder / "trace.jsonl").read_bytes() for _ in range(2))
    assert first == second


def test_what_was_looked_at_is_computed_again_and_a_what_if_is_answered(seen: Seen) -> None:
    run = seen()
    looked = [record for record in run.of("computation") if "result" in record]
    assert recompute_run(load_run(run.folder), run.folder) == (len(looked), [])
    assert ask(load_run(run.folder), Question(latencies={"api_latency": "80ms"}))["frames"] == len(slots(run))


def test_a_trace_of_before_frames_were_watched_replays(seen: Seen) -> None:
    """Its header names no kind that is watched, so nothing is looked at."""
    records = load_run(seen(DARK).folder)
    new = [r for r in records if r["kind"] != "computation" and (r["kind"], r["name"]) != ("note", "warning")]
    old = [{**record, "seq": seq} for seq, record in enumerate(new)]
    old[0] = {key: value for key, value in old[0].items() if key != "watched"}
    assert first_divergence(old, replay(old)) is None


def test_a_recovery_says_again_what_was_said(seen: Seen) -> None:
    run = seen(DARK)
    (run.folder / "run.json").unlink()
    told = list(recover_run(run.folder))
    assert json.loads((run.folder / "run.json").read_text())["warnings"] == run.document["warnings"]
    assert f"Warning: {run.document['warnings'][0]}" in told


def command(folder: Path, *words: str) -> Any:
    settings = [word for key, value in SHORT.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    always = ["run", "cred", "--clock", "virtual", "--out", str(folder / "runs"), *settings]
    return CliRunner().invoke(app, [*always, *words])


def devices_file(folder: Path, **pictures: float) -> Path:
    """The one of docs/cred.md: a simulated camera beside another simulated stage."""
    path = folder / "devices.toml"
    path.write_text(
        f"""
        [microscope]
        driver = "simulated"
        api_call_s = 0.060
        [microscope.stage]
        limits_deg = [-42.0, 42.0]
        stage_read_s = 0.277
        [detector]
        driver = "simulated"
        geometry = {{ beam_fast_px = 64.0, beam_slow_px = 64.0 }}
        [detector.pictures]
        shape = [128, 128]
        wide_cross = false
        {chr(10).join(f"{key} = {value}" for key, value in pictures.items())}
        """,
        encoding="utf-8",
    )
    return path


def test_a_warning_is_on_the_screen_at_once_and_at_the_end(tmp_path: Path) -> None:
    answer = command(tmp_path, "--devices", str(devices_file(tmp_path, constant_s=0.0, flux_s=0.0).as_posix()))
    assert answer.exit_code == 0  # bad_frames is "go on": it was done
    assert answer.output.count("WARNING: the camera sees nothing") == 2


def test_the_devices_file_of_the_docs_gives_pictures_of_its_own_stage(tmp_path: Path) -> None:
    answer = command(tmp_path, "--devices", str(devices_file(tmp_path)), "--set", "truth=true")
    assert answer.exit_code == 0, answer.output
    assert "WARNING" not in answer.output


def test_records_of_looks_are_small(seen: Seen) -> None:
    lengths = [len(json.dumps(record)) for record in seen().of("computation")]
    assert max(lengths) < 700
    assert all(after["number"] == before["number"] + 1 for before, after in pairwise(seen().of("computation")))
