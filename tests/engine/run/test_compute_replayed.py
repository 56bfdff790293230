"""Computations again: replayed byte for byte, computed anew, and by workers on the real clock."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.clock import NS_PER_S, Clock, RealClock
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import ComputationError
from engine.record.trace import Record, Trace
from engine.replay.computations import RecordedComputations, recompute
from engine.run import computeprocess
from engine.run.compute import Computation, ComputeGate, Verdict
from engine.run.computeprocess import WorkerProcess
from tests.engine.run.computebench import ALL, BUILT, NEWEST, Bench, computation
from tests.engine.virtually import really

Scene = Callable[[VirtualClock, ComputeGate, Trace], Awaitable[None]]


async def busy(clock: VirtualClock, gate: ComputeGate, trace: Trace) -> None:
    """Everything at once, with waits that end at the same instants."""

    async def ask_for(what: Computation, arguments: Mapping[str, Any], pictures: Sequence[int] = ()) -> None:
        outcome = await gate.compute(what, arguments, pictures)
        trace.record("note", "decided", by=outcome.verdict.value)

    async def walk() -> None:
        for _ in range(12):
            await clock.sleep_s(0.5)
            trace.tick()
            trace.record("note", "walked")

    async def impatient() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.75):
                await ask_for(NEWEST, {"n": 100})

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask_for(computation("total"), {"of": [1]}, (1, 2)))
        tasks.create_task(walk())
        for n in range(4):
            tasks.create_task(ask_for(NEWEST, {"n": n}))
            await clock.sleep_s(0.25)
        tasks.create_task(impatient())
        await ask_for(computation("third"), {"x": 1})
        await ask_for(computation("bulky"), {})
        await ask_for(BUILT, {})
        await ask_for(computation("failing"), {})
        await ask_for(NEWEST, {"n": 200})


SCENE = [NEWEST, *ALL[1:], BUILT]
FAULTS = [{}, {"echo1": "dead"}, {"echo1": "late", "total1": "never"}, {"third1": "dead", "echo6": "never"}]
VERDICTS = {"dead": "dead", "late": "late", "never": "late"}


def recorded(folder: Path, *, inline: bool, **faults: str) -> list[Record]:
    async def scene() -> list[Record]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop)
        async with Bench(clock, folder, *SCENE, inline=inline, **faults) as bench:
            await busy(clock, bench.gate, bench.trace)
        return bench.records

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scene())


def replayed(records: Sequence[Record], busy: Scene = busy, declared: Sequence[Computation] = SCENE) -> list[Record]:
    async def scene() -> list[Record]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop)
        made: list[Record] = []
        trace = Trace(clock)
        trace.observe(made.append)
        gate = ComputeGate(clock, trace, RecordedComputations(clock, records))
        gate.declare(*declared)
        await gate.ready()
        await busy(clock, gate, trace)
        gate.close()
        return made

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scene())


def lines(records: Sequence[Record]) -> list[str]:
    return [json.dumps(record) for record in records]


@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_a_replay_has_every_outcome_byte_for_byte(tmp_path: Path, faults: dict[str, str]) -> None:
    records = recorded(tmp_path, inline=True, **faults)
    expected = {"in time", "replaced", "given up", *(VERDICTS[fault] for fault in faults.values())}
    assert {r["verdict"] for r in records if r["kind"] == "computation"} == expected
    assert lines(replayed(json.loads(json.dumps(records)))) == lines(records)


@pytest.mark.long
def test_inline_and_in_workers_the_same_is_recorded(tmp_path: Path) -> None:
    faults = {"echo1": "dead", "third1": "late"}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    inline = recorded(tmp_path / "a", inline=True, **faults)
    assert lines(recorded(tmp_path / "b", inline=False, **faults)) == lines(inline)


def test_a_replay_that_asks_for_something_else_is_told(tmp_path: Path) -> None:
    async def changed(clock: VirtualClock, gate: ComputeGate, trace: Trace) -> None:
        await gate.compute(computation("third"), {"x": 2})

    with pytest.raises(ComputationError, match=r"not recorded at this point; the recorded run asked for \{'x': 1\}"):
        replayed(recorded(tmp_path, inline=True), changed)


# --- computed again


def test_what_is_computed_again_agrees_within_the_resolution(tmp_path: Path) -> None:
    records = recorded(tmp_path, inline=True)
    picture = {1: np.ones((4, 4), np.uint16)}.__getitem__
    done, differences = recompute(SCENE, records, picture, tmp_path)
    assert (done, differences) == (6, [])
    third = next(r for r in records if r["name"] == "third")
    third["result"]["third"] += 0.01  # one step of the resolution
    assert recompute(SCENE, records, picture, tmp_path)[1] == []
    third["result"]["third"] += 0.01
    (difference,) = recompute(SCENE, records, picture, tmp_path)[1]
    assert (difference.name, difference.where, difference.found) == ("third", "third", 0.33)


def test_a_picture_that_is_another_one_makes_a_difference(tmp_path: Path) -> None:
    records = recorded(tmp_path, inline=True)
    (difference,) = recompute(SCENE, records, lambda _: np.zeros((4, 4), np.uint16), tmp_path)[1]
    assert (difference.name, difference.recorded, difference.found) == ("total", 16, 0)


def test_what_is_declared_no_more_cannot_be_computed_again(tmp_path: Path) -> None:
    records = recorded(tmp_path, inline=True)
    done, differences = recompute([NEWEST], records, lambda _: np.ones((4, 4), np.uint16), tmp_path)
    assert done == 6
    assert [(d.name, d.found) for d in differences] == [
        (name, "declared no more") for name in ("total", "third", "bulky", "built")
    ]


# --- on the real clock


@pytest.mark.realtime
@really
async def test_a_worker_answers_in_time_with_low_priority_and_one_thread(clock: RealClock, tmp_path: Path) -> None:
    asked = computation("surroundings", limit_s=20.0)
    async with Bench(clock, tmp_path, asked, inline=False) as bench:
        result: Any = (await bench.gate.compute(asked, {}, (3,))).get()
    assert result["pid"] != os.getpid()
    assert result["threads"] == "1"
    assert result["nice"] is None or result["nice"] >= 10
    (record,) = bench.records
    assert record["asked_ns"] <= record["begin_ns"] <= record["end_ns"] == record["t_ns"]


@pytest.mark.realtime
@really
async def test_a_killed_worker_is_dead_and_the_next_computation_has_a_new_one(clock: RealClock, tmp_path: Path) -> None:
    asked = computation("surroundings", limit_s=20.0)
    async with Bench(clock, tmp_path, asked, inline=False, surroundings2="never", surroundings3="dead") as bench:
        first: Any = (await bench.gate.compute(asked, {})).get()
        hanging = asyncio.create_task(bench.gate.compute(asked, {}))
        await clock.sleep_s(0.2)
        os.kill(first["pid"], signal.SIGTERM)
        assert (await hanging).verdict is Verdict.DEAD
        assert (await bench.gate.compute(asked, {})).verdict is Verdict.DEAD
        last: Any = (await bench.gate.compute(asked, {})).get()
        assert last["pid"] != first["pid"]


@pytest.mark.realtime
def test_a_worker_that_never_gets_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computeprocess, "BEGIN_S", 0.5)
    others = active_children()
    asked = Computation("stuck", "tests.engine.run.stuckimport:nothing", latency_s=0.1, limit_s=0.3, resolution=0.01)
    worker = WorkerProcess(asked, tmp_path, patience_s=1.0)
    try:
        assert worker.warm().result() == "its worker process was not ready after 0.5 s and was ended"
    finally:
        worker.close()
    assert [child for child in active_children() if child not in others] == []


@pytest.mark.realtime
@really
async def test_one_that_never_answers_is_late_at_its_limit(clock: RealClock, tmp_path: Path) -> None:
    asked = computation("stuck", latency_s=0.1, limit_s=0.3)
    async with Bench(clock, tmp_path, asked, inline=False) as bench:
        assert (await bench.gate.compute(asked, {})).verdict is Verdict.LATE
    (record,) = bench.records
    assert record["end_ns"] - record["begin_ns"] >= 0.3 * NS_PER_S


async def mishaps(clock: Clock, gate: ComputeGate, trace: Trace) -> None:
    echo, stuck = REAL
    for what in (echo, stuck, echo):
        outcome = await gate.compute(what, {"n": 1})
        trace.record("note", "decided", by=outcome.verdict.value)


REAL = (computation(limit_s=20.0), computation("stuck", latency_s=0.1, limit_s=0.3))


@pytest.mark.realtime
def test_what_befell_on_the_real_clock_is_replayed_byte_for_byte(tmp_path: Path) -> None:
    async def really_recorded() -> list[Record]:
        clock = RealClock()
        async with Bench(clock, tmp_path, *REAL, inline=False, echo1="dead") as bench:
            await mishaps(clock, bench.gate, bench.trace)
        return bench.records

    records = asyncio.run(really_recorded())
    assert [r["verdict"] for r in records if r["kind"] == "computation"] == ["dead", "late", "in time"]

    async def again(clock: VirtualClock, gate: ComputeGate, trace: Trace) -> None:
        await clock.sleep_until(records[0]["asked_ns"])
        trace.tick()
        await mishaps(clock, gate, trace)

    assert lines(replayed(records, again, REAL)) == lines(records)
