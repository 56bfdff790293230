"""Runs within a run: their endings, the commands that reach them, the pause between them, and the parent's replay."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import engine.replay.replay as replaying
from drivers.contract import Microscope
from engine.clock.virtual import VirtualClock
from engine.errors import DeviceBusy
from engine.record.endings import Status
from engine.record.trace import read_trace
from engine.record.warned import warnings_in
from engine.replay.replay import first_divergence, replay
from engine.run.childlimit import FINISH_LIMIT_S
from engine.run.conduct import Outcome
from engine.run.contract import Prepared
from engine.run.instrument import Instrument
from engine.run.run import Run
from tests.engine.run.toy_session import TOY, ToyPlan
from tests.engine.virtually import virtual


async def session(
    clock: VirtualClock, out: Path, plan: ToyPlan, *commands: tuple[float, str], faults: Any = ()
) -> Outcome:
    """A session, told these commands at these seconds; the beam is off after every run in it."""
    outermost: list[Run] = []
    blanked: list[bool] = []

    def watch(run: Run, prepared: Prepared) -> None:
        if not outermost:
            outermost.append(run)
            for when_s, command in commands:
                asyncio.get_running_loop().call_at(when_s, getattr(run.commands, command), "operator")

        def observe(record: dict[str, Any]) -> None:
            if record["name"] == "safe state":
                assert isinstance(instrument.microscope, Microscope)
                assert instrument.microscope.truth is not None
                blanked.append(instrument.microscope.truth.is_blanked())

        run.trace.observe(observe)

    async with Instrument.open(
        "simulated-timing", clock, 1, faults=faults, watchdog=False, signals=False, watch=watch
    ) as instrument:
        outcome = await instrument.perform(TOY, plan, out=out)
        if not faults:
            assert blanked
            assert all(blanked)
        return outcome


def records_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in read_trace(folder) if record["kind"] == kind]


def ends(folder: Path) -> list[tuple[str, str]]:
    return [(r["name"], r["status"]) for r in records_of(folder, "child") if r["event"] != "begin"]


def calls_of(*folders: Path) -> list[tuple[int, int]]:
    return [(call["begin_ns"], call["end_ns"]) for folder in folders for call in records_of(folder, "call")]


CASES = {
    "left alone": ((), "done", [("1_toy", "done"), ("2_toy", "done")]),
    "stopped in the first": (((4.0, "stop"),), "stopped", [("1_toy", "stopped")]),
    "aborted in the second": (((8.0, "abort"),), "aborted", [("1_toy", "done"), ("2_toy", "aborted")]),
    "paused in the first": (((4.0, "pause"), (60.0, "resume")), "done", [("1_toy", "done"), ("2_toy", "done")]),
    "stopped while paused": (((4.0, "pause"), (60.0, "stop")), "stopped", [("1_toy", "done")]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_session_and_its_children_end_as_they_are_told_and_the_parent_replays_alone(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands, status, children = CASES[case]
    seen: list[Outcome] = []

    @virtual
    async def scenario(clock: VirtualClock) -> None:
        seen.append(await session(clock, tmp_path, ToyPlan(sample="day", children=2), *commands))

    scenario()
    (outcome,) = seen
    assert outcome.ending.status.value == status
    assert ends(outcome.folder) == children
    assert outcome.document["result"]["children"] == [ending for _, ending in children]
    for name, ending in children:
        assert json.loads((outcome.folder / name / "run.json").read_text())["status"] == ending
    calls = sorted(calls_of(outcome.folder, *(outcome.folder / name for name, _ in children)))
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(calls))  # nothing interleaves
    monkeypatch.setattr(replaying, "experiment_type", lambda _: TOY)
    records = list(read_trace(outcome.folder))
    assert first_divergence(records, replay(records)) is None


def test_a_pause_holds_the_next_child_and_not_the_one_under_way(tmp_path: Path) -> None:
    @virtual
    async def scenario(clock: VirtualClock) -> None:
        outcome = await session(clock, tmp_path, ToyPlan(children=2), (4.0, "pause"), (60.0, "resume"))
        first, second = (r for r in records_of(outcome.folder, "child") if r["event"] == "end")
        assert first["end_ns"] < 10e9
        assert second["begin_ns"] == 60_000_000_000

    scenario()


def test_a_command_stands_in_both_traces(tmp_path: Path) -> None:
    @virtual
    async def scenario(clock: VirtualClock) -> None:
        outcome = await session(clock, tmp_path, ToyPlan(children=1), (4.0, "stop"))
        (told,) = records_of(outcome.folder, "command")
        (handed_on,) = records_of(outcome.folder / "1_toy", "command")
        assert "source" not in told
        assert (handed_on["name"], handed_on["source"]) == ("stopped", "parent")

    scenario()


def test_a_child_that_hangs_in_its_finalizing_is_given_up(tmp_path: Path) -> None:
    @virtual
    async def scenario(clock: VirtualClock) -> None:
        outcome = await session(clock, tmp_path, ToyPlan(children=1, hang="data"))
        assert outcome.ending.status is Status.DONE
        (child,) = (r for r in records_of(outcome.folder, "child") if r["event"] == "end")
        assert child["status"] == "failed"
        assert f"did not end within {FINISH_LIMIT_S:g} s" in child["reason"]
        assert outcome.alarms == ()

    scenario()


def test_the_parent_of_a_child_that_never_makes_safe_does_so_in_its_place_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "experiment_type", lambda _: TOY)

    @virtual
    async def scenario(clock: VirtualClock) -> None:
        outcome = await session(clock, tmp_path, ToyPlan(children=2, hang="safe"))
        folder = outcome.folder
        assert outcome.ending.status is Status.FAILED
        assert outcome.ending.reason == "1_toy did not make safe in time; its parent does so now"
        assert outcome.alarms == ("1_toy: IT IS NOT KNOWN WHETHER THE CHILD MADE EVERYTHING SAFE",)
        (begun,) = (r for r in records_of(folder, "child") if r["event"] == "begin")
        assert begun["name"] == "1_toy"  # and no second one
        left_ns = records_of(folder / "1_toy", "state")[-1]["t_ns"]
        (safe,) = (r for r in records_of(folder, "note") if r["name"] == "safe state")
        assert left_ns < safe["t_ns"] < left_ns + 30e9
        last = max((r for r in records_of(folder, "call") if r["name"].startswith("beam.")), key=lambda r: r["seq"])
        assert (last["name"], last["result"]) == ("beam.is_blanked", True)

    scenario()
    records = list(read_trace(tmp_path / "toy_001"))
    assert first_divergence(records, replay(records)) is None


def test_faults_and_observers_see_every_run(tmp_path: Path) -> None:
    seen: list[str] = []

    @virtual
    async def scenario(clock: VirtualClock) -> None:
        def watch(run: Run, _: Prepared) -> None:
            seen.append(run.folder.name)

        faults = [f"beam.unblank {number} slow 0.5" for number in (1, 2, 3, 4)]
        async with Instrument.open(
            "simulated-timing", clock, 1, faults=faults, watchdog=False, signals=False, watch=watch
        ) as instrument:
            for _ in range(2):
                await instrument.perform(TOY, ToyPlan(children=1), out=tmp_path)
            assert instrument.microscope.faults is not None
            assert instrument.microscope.faults.never_came == []

    scenario()
    assert seen == ["toy_001", "1_toy", "toy_002", "1_toy"]
    folders = [tmp_path / name for name in ("toy_001", "toy_001/1_toy", "toy_002", "toy_002/1_toy")]
    told = [[r["fault"] for r in records_of(folder, "injected")] for folder in folders]
    assert told == [[f"beam.unblank {number} slow 0.5"] for number in (1, 2, 3, 4)]


def test_what_a_child_warns_of_its_parent_tells_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "experiment_type", lambda _: TOY)

    @virtual
    async def scenario(clock: VirtualClock) -> None:
        plan = ToyPlan(children=2, cred=True)
        outcome = await session(clock, tmp_path, plan, faults=["mode.changed 12 imaging"])
        assert outcome.document["result"]["children"] == ["done", "done"]

    scenario()
    folder = tmp_path / "toy_001"
    told = json.loads((folder / "2_mordenite" / "run.json").read_text())["warnings"]
    assert "mode" in told[0]
    first, second = (r for r in records_of(folder, "child") if r["event"] == "end")
    assert "warnings" not in first
    assert second["warnings"] == told
    whole = json.loads((folder / "run.json").read_text())
    assert whole["warnings"] == [f"2_mordenite: {text}" for text in told]
    records = list(read_trace(folder))
    again, result = replaying.replay_with_result(records)
    assert first_divergence(records, again) is None
    assert warnings_in(again) == tuple(whole["warnings"])
    assert result == whole["result"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    @virtual
    async def scenario(clock: VirtualClock) -> None:
        async with Instrument.open("simulated-timing", clock, 1, signals=False) as instrument:
            first = asyncio.ensure_future(instrument.perform(TOY, ToyPlan(), out=tmp_path))
            await clock.sleep_s(1)
            with pytest.raises(DeviceBusy, match="another run has the instrument; nothing was begun"):
                await instrument.perform(TOY, ToyPlan(sample="second"), out=tmp_path)
            assert (await first).ending.status is Status.DONE

    scenario()
    assert [path.name for path in tmp_path.iterdir()] == ["toy_001"]


def test_after_an_alarm_no_child_begins(tmp_path: Path) -> None:
    @virtual
    async def scenario(clock: VirtualClock) -> None:
        outcome = await session(clock, tmp_path, ToyPlan(children=2), faults=["stage.stop 1 hang"])
        assert [(r["name"], r["event"]) for r in records_of(outcome.folder, "child")] == [
            ("1_toy", "begin"),
            ("1_toy", "end"),
            ("2_toy", "refused"),
        ]
        assert outcome.alarms[0].startswith("1_toy: THE STAGE MAY STILL BE MOVING")
        assert not (outcome.folder / "2_toy").exists()

    scenario()
