"""The golden trace of cRED: what a short run has always written. To renew it: docs/testing.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.replay.replay import load_run, replay
from engine.testing.plugin import RecordRun, Traced

GOLDEN = Path(__file__).parents[2] / "data" / "cred.jsonl"


def test_a_short_run_writes_the_golden_trace(
    record_run: RecordRun, assert_trace_matches: Callable[[Traced, Traced], None]
) -> None:
    plan: dict[str, Any] = {"rotation": "commanded", "start_deg": 0.0, "range_deg": 2.5, "snapshot_interval": 5}
    run = record_run("cred", seed=1, **plan, relax_cycles=1, formats=())
    assert run.result["snapshots"] == 2
    assert_trace_matches(run, GOLDEN)


def test_the_golden_trace_replays(assert_trace_matches: Callable[[Traced, Traced], None]) -> None:
    assert_trace_matches(replay(load_run(GOLDEN)), load_run(GOLDEN))


def test_the_golden_trace_is_small() -> None:
    assert GOLDEN.stat().st_size < 64 * 1024
