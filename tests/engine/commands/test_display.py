"""What a person sees of a run on a terminal: drawn from the trace alone, fed here record by record."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from engine.clock import NS_PER_S
from engine.commands.display import LiveDisplay, summary_table
from engine.record.endings import Ending, Status
from engine.run.contract import Progress
from engine.run.perform import Report


class Kind:
    """An experiment as far as a display needs one."""

    unit = "slots"

    def progress(self, record: dict[str, Any]) -> Progress | None:
        return Progress(record["slot"], "12.3 deg") if record["kind"] == "frame" else None

    def told(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        return [("frames", str(result["frames"]))]


class Seen:
    """A display on a terminal of some width, and what was written to it."""

    def __init__(self, width: int, *, terminal: bool = True) -> None:
        self.file = io.StringIO()
        self.observers: list[Any] = []
        console = Console(file=self.file, force_terminal=terminal, width=width, color_system=None)
        self.display = LiveDisplay(console, Kind())  # type: ignore[arg-type]
        self.run = SimpleNamespace(
            folder=Path("runs/x_001"),
            trace=SimpleNamespace(observe=self.observers.append),
            document=SimpleNamespace(remarks=()),
        )
        self.watch()

    def watch(self) -> None:
        self.display.watch(self.run, SimpleNamespace(total=100))  # type: ignore[arg-type]

    def record(self, t_s: float, kind: str, name: str, **told: Any) -> str:
        """What is written for one record."""
        before = len(self.file.getvalue())
        for observe in dict.fromkeys(self.observers):  # a run within the run is shown by the same display
            observe({"t_ns": round(t_s * NS_PER_S), "kind": kind, "name": name, **told})
        return self.file.getvalue()[before:]


@pytest.fixture(params=[60, 80])
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    shown = Seen(request.param)
    yield shown
    shown.display.close()


def test_folder_state_progress_lateness_and_time_left_are_seen(seen: Seen) -> None:
    assert "run folder: runs/x_001\n" in seen.file.getvalue()
    assert "relax" in seen.record(0, "state", "relax")
    seen.record(1, "frame", "still", slot=1)
    seen.record(10.5, "step", "frame", slot=10, planned_ns=0, start_ns=1_500_000)
    shown = seen.record(10.0 + 1, "frame", "still", slot=11)
    for words in ("11/100", "1:29 left", "12.3 deg", "late 1.50 ms", "0:11 since the start"):
        assert words in shown


def test_words_for_the_operator_are_written_at_once_and_stay(seen: Seen) -> None:
    assert "[press] the pedal\n" in seen.record(0, "note", "operator", text="[press] the pedal")


def test_warnings_wait_for_a_frame_and_each_cause_is_told_once(seen: Seen) -> None:
    for slot in (3, 4):
        assert "lost" not in seen.record(1, "slot", "lost", slot=slot, reason="the disk was behind")
    shown = seen.record(2, "frame", "still", slot=5)
    assert shown.count("WARNING: slot 3 is lost: the disk was behind\n") == 1
    assert "slot 4" not in shown
    assert "2 lost" in shown
    assert "WARNING" not in seen.record(3, "frame", "still", slot=6)


def test_warnings_that_no_frame_followed_are_told_at_the_end(seen: Seen) -> None:
    seen.record(1, "refused", "frame", reason="all dark")
    assert "all dark" not in seen.file.getvalue()
    seen.display.close()
    assert "WARNING: a frame was not kept: all dark\n" in seen.file.getvalue()


def test_it_draws_at_most_four_times_a_second(seen: Seen) -> None:
    drawn = [bool(seen.record(1 + 0.1 * slot, "frame", "still", slot=slot)) for slot in range(10)]
    assert drawn == [True, False, False, True, False, False, True, False, False, True]


def test_a_run_within_the_run_is_shown_in_the_same_lines(seen: Seen) -> None:
    seen.record(1, "frame", "still", slot=50)
    seen.watch()
    assert "3/100" in seen.record(2, "frame", "still", slot=3)


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_wrong_with_frames_is_said_at_once_on_any_console(terminal: bool) -> None:
    assert "WARNING: all is dark" in Seen(80, terminal=terminal).record(0, "note", "warning", text="all is dark")


@pytest.mark.parametrize(
    ("status", "in_table"),
    [(Status.DONE, True), (Status.STOPPED, True), (Status.FAILED, False), (Status.ABORTED, False)],
)
def test_why_a_run_failed_and_its_alarms_are_left_to_the_lines_after_the_table(status: Status, in_table: bool) -> None:
    report = Report(
        Path("runs/x_001"),
        Ending(status, "this is why"),
        ("BEAM ON",),
        {"result": {"frames": 3}, "devices": "simulated"},
        wall_s=1.0,
    )
    file = io.StringIO()
    Console(file=file, width=60).print(summary_table(report, Kind()))  # type: ignore[arg-type]
    assert ("this is why" in file.getvalue()) is in_table
    assert "BEAM ON" not in file.getvalue()
    assert "simulated" in file.getvalue()
    assert "x_001" in file.getvalue()


def test_into_a_log_goes_what_the_operator_is_told_how_far_it_is_and_how_each_run_within_ended() -> None:
    seen = Seen(80, terminal=False)
    told = {"status": "done", "reason": "the work is done"}
    assert seen.record(1.0, "note", "operator", text="Press the pedal") == "Press the pedal\n"
    assert seen.record(2.0, "frame", "diffraction", slot=3) == ""
    assert seen.record(301.0, "frame", "diffraction", slot=4) == "after 5 min: 4 of 100 slots, 12.3 deg\n"
    assert seen.record(302.0, "frame", "diffraction", slot=5) == ""
    assert seen.record(310.0, "child", "1_toy", event="begin") == ""
    assert seen.record(320.0, "child", "1_toy", event="end", **told) == "1_toy: done, the work is done\n"


def test_of_a_run_within_only_what_the_operator_is_told() -> None:
    seen = Seen(80, terminal=False)
    seen.observers.clear()
    seen.watch()
    assert seen.record(400.0, "frame", "diffraction", slot=4) == ""
    assert seen.record(1.0, "note", "operator", text="Press the pedal") == "Press the pedal\n"
