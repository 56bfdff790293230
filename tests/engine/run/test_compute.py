"""Computations: when their outcomes enter a run, what each verdict means, and that a replay has them byte for byte."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.clock import NS_PER_S, Clock, RealClock
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import ComputationError, Refused
from engine.frame import Frame
from engine.record.schema import gap, problem
from engine.record.spool import SPOOL_FILE, Spool
from engine.record.trace import Record, Trace
from engine.record.writer import Writer
from engine.replay.computations import RecordedComputations, recompute
from engine.replay.whatif import Question, ask
from engine.run.compute import Computation, ComputeGate, Outcome, Verdict
from engine.run.computeworkers import Workers
from engine.run.machine import FINISH
from tests.engine.small_experiment import State, rehearsal
from tests.engine.virtually import really, virtual

HERE = "tests.engine.run.computations"


def computation(function: str = "echo", **changes: Any) -> Computation:
    declared: dict[str, Any] = {"latency_s": 1.0, "limit_s": 3.0, "resolution": 0.01, **changes}
    return Computation(function, f"{HERE}:{function}", **declared)


ECHO = computation()
NEWEST = computation(queue="newest")
ALL = [ECHO, *map(computation, ("total", "third", "large", "bulky", "failing", "endless"))]


class Bench:
    """A gate with workers, a spool of four pictures, and what the trace holds."""

    def __init__(self, clock: Clock, folder: Path, *computations: Computation, inline: bool = True, **faults: str):
        self.clock = clock
        self.folder = folder
        self.records: list[Record] = []
        self.trace = Trace(clock)
        self.trace.observe(self.records.append)
        self.writer = Writer()
        self.gate = ComputeGate(
            clock, self.trace, Workers(clock, self.writer, folder, folder / SPOOL_FILE, durable=False)
        )
        self.gate.inline = inline
        self.gate.trouble = lambda name, number: faults.get(f"{name}{number}")
        self.gate.declare(*(computations or ALL))
        self.spool = Spool(folder / SPOOL_FILE, self.writer, durable=False)

    async def __aenter__(self) -> "Bench":
        for k in range(4):
            await self.spool.append(Frame(np.full((4, 4), k, np.uint16), k, 0, 1), "still", {})
        await self.gate.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.writer.drain()
        self.gate.close()
        self.writer.close()
        self.spool.close()

    @property
    def now_s(self) -> float:
        return self.clock.now_ns() / NS_PER_S

    @property
    def verdicts(self) -> list[tuple[int, str]]:
        return [(r["number"], r["verdict"]) for r in self.records if r["kind"] == "computation"]


# --- when an outcome comes


@virtual
async def test_a_computation_ends_at_its_declared_latency_and_is_recorded(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path) as bench:
        outcome = await bench.gate.compute(computation("total"), {"of": [1, 3]}, (1, 3))
        assert outcome == Outcome(Verdict.IN_TIME, {"total": 64})
        assert bench.now_s == 1.0
    assert bench.records == [
        {
            "seq": 0,
            "t_ns": NS_PER_S,
            "kind": "computation",
            "name": "total",
            "number": 1,
            "arguments": {"of": [1, 3]},
            "pictures": [1, 3],
            "asked_ns": 0,
            "begin_ns": 0,
            "end_ns": NS_PER_S,
            "verdict": "in time",
            "result": {"total": 64},
        }
    ]
    assert problem(bench.records[0]) is None
    assert gap(bench.records[0]) is None


@virtual
async def test_the_loop_goes_on_while_something_is_computed(clock: VirtualClock, tmp_path: Path) -> None:
    """A worker process computes: virtual time moves until its latency is over, other waits end meanwhile."""
    async with Bench(clock, tmp_path, ECHO, inline=False) as bench:
        woken: list[float] = []

        async def waits() -> None:
            for _ in range(4):
                await clock.sleep_s(0.3)
                woken.append(bench.now_s)

        other = asyncio.create_task(waits())
        assert (await bench.gate.compute(ECHO, {"n": 7})).get() == 7
        assert woken == [0.3, 0.6, 0.9]
        assert bench.now_s == 1.0
        await other


@virtual
async def test_an_analysis_overlaps_the_motion_and_costs_no_time(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        r.run.compute.inline = True
        r.run.compute.declare(computation("echo", latency_s=1.5))

        took_s: list[float] = []

        async def measure() -> str:
            began_s = r.now_s
            analysis = asyncio.create_task(r.run.compute.compute(computation("echo", latency_s=1.5), {"n": 1}))
            await r.run.timeline.wait("stage moves", clock.now_ns() + 2 * NS_PER_S)
            assert (await analysis).good
            took_s.append(r.now_s - began_s)
            return FINISH

        r.works[State.MEASURE] = measure
        await r.drive()
        r.run.files.close()
        assert took_s == [2.0]


# --- what befalls it

TROUBLES = [
    ("late", "late", 3.0, "no answer within its limit of 3 s"),
    ("never", "late", 3.0, "no answer within its limit of 3 s"),
    ("dead", "dead", 1.0, "its worker process died"),
]


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "worker"])
@pytest.mark.parametrize(("trouble", "verdict", "at_s", "words"), TROUBLES, ids=[row[0] for row in TROUBLES])
@virtual
async def test_trouble_is_an_outcome_and_the_next_is_computed(
    clock: VirtualClock, tmp_path: Path, trouble: str, verdict: str, at_s: float, words: str, inline: bool
) -> None:
    async with Bench(clock, tmp_path, ECHO, inline=inline, echo1=trouble) as bench:
        outcome = await bench.gate.compute(ECHO, {"n": 1})
        assert outcome.verdict == verdict
        assert not outcome.good
        assert words in outcome.error
        assert bench.now_s == at_s
        with pytest.raises(ComputationError, match=words):
            outcome.get()
        assert (await bench.gate.compute(ECHO, {"n": 2})).get() == 2
        assert bench.verdicts == [(1, verdict), (2, "in time")]


@virtual
async def test_a_function_that_fails_is_an_error_in_time(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path) as bench:
        outcome = await bench.gate.compute(computation("failing"), {})
        assert (outcome.verdict, outcome.good) == (Verdict.IN_TIME, False)
        assert "its function failed (ValueError: no crystal in it)" in outcome.error
        assert "result" not in bench.records[0]


@virtual
async def test_a_picture_that_was_not_named_or_is_not_there_is_an_error(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path) as bench:
        total = computation("total")
        assert "picture 2 was not named" in (await bench.gate.compute(total, {"of": [2]}, (1,))).error
        assert "has no picture 9" in (await bench.gate.compute(total, {"of": [9]}, (9,))).error


# --- the queue


@virtual
async def test_every_computation_is_computed_one_after_the_other(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path, ECHO) as bench:
        outcomes = await asyncio.gather(*(bench.gate.compute(ECHO, {"n": n}) for n in range(3)))
        assert [outcome.result for outcome in outcomes] == [0, 1, 2]
        assert [r["begin_ns"] // NS_PER_S for r in bench.records] == [0, 1, 2]
        assert bench.now_s == 3.0


@virtual
async def test_of_those_that_wait_only_the_newest_is_computed(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path, NEWEST) as bench:
        outcomes = await asyncio.gather(*(bench.gate.compute(NEWEST, {"n": n}) for n in range(4)))
        assert [o.verdict.value for o in outcomes] == ["in time", "replaced", "replaced", "in time"]
        assert bench.verdicts == [(2, "replaced"), (3, "replaced"), (1, "in time"), (4, "in time")]
        assert bench.now_s == 2.0


@virtual
async def test_who_is_cancelled_frees_the_queue(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path, ECHO) as bench:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.25):
                await bench.gate.compute(ECHO, {"n": 1})
        assert (await bench.gate.compute(ECHO, {"n": 2})).get() == 2
        assert bench.verdicts == [(1, "given up"), (2, "in time")]
        assert bench.now_s == 1.25


# --- what a result may be


@virtual
async def test_floats_are_rounded_to_the_declared_resolution(clock: VirtualClock, tmp_path: Path) -> None:
    by_key = computation("third", resolution={"third": 0.25, "parts": 1e-3})
    async with Bench(clock, tmp_path, by_key) as bench:
        outcome = await bench.gate.compute(by_key, {"x": 2})
        assert outcome.get() == {"third": 0.75, "parts": [0.3], "n": 2}


@virtual
async def test_a_float_without_a_resolution_is_an_error(clock: VirtualClock, tmp_path: Path) -> None:
    by_key = computation("third", resolution={"third": 0.25})
    async with Bench(clock, tmp_path, by_key) as bench:
        assert "its parts has no declared resolution" in (await bench.gate.compute(by_key, {"x": 2})).error


@virtual
async def test_a_result_that_json_cannot_hold_is_an_error(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path) as bench:
        assert "is inf, which JSON cannot hold" in (await bench.gate.compute(computation("endless"), {})).error


@pytest.mark.parametrize(("letters", "good"), [(65_534, True), (65_535, False)])
@virtual
async def test_a_result_is_at_most_64_kib(clock: VirtualClock, tmp_path: Path, letters: int, good: bool) -> None:
    async with Bench(clock, tmp_path) as bench:
        outcome = await bench.gate.compute(computation("large"), {"letters": letters})
        assert outcome.good is good
        assert good or "return (result, bytes), and the bytes go to a file" in outcome.error


@virtual
async def test_bytes_go_to_a_file_and_their_digest_into_the_event(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path) as bench:
        outcome = await bench.gate.compute(computation("bulky"), {})
        await bench.gate.compute(computation("bulky"), {})
    data = (tmp_path / "computations" / "bulky.bin").read_bytes()
    assert data == b"bytes of two rowsbytes of two rows"
    assert outcome.get() == {"rows": 2}
    assert [record["bulk"] for record in bench.records] == [
        {
            "file": "computations/bulky.bin",
            "sha256": sha256(data[:17]).hexdigest(),
            "size_bytes": 17,
            "offset": offset,
        }
        for offset in (0, 17)
    ]


BUILT = computation("built", builds_on="bulky")


def no_picture(index: int) -> Any:
    raise KeyError(index)


@pytest.mark.parametrize("inline", [True, False])
@virtual
async def test_a_computation_builds_on_the_bytes_of_all_earlier_outcomes_of_another(
    clock: VirtualClock, tmp_path: Path, inline: bool
) -> None:
    bulky = computation("bulky")
    async with Bench(clock, tmp_path, bulky, BUILT, inline=inline, bulky2="dead") as bench:
        under_way = asyncio.create_task(bench.gate.compute(bulky, {}))
        await clock.sleep_s(0.5)
        told = [(await bench.gate.compute(BUILT, {})).get()]  # asked for before the other one had ended
        await under_way
        for _ in range(2):
            told.append((await bench.gate.compute(BUILT, {})).get())
            await bench.gate.compute(bulky, {})
        told.append((await bench.gate.compute(BUILT, {})).get())
    lengths = [of["bytes"] for of in told if isinstance(of, dict)]
    assert lengths == [[], [17], [17], [17, 17]]  # the second one died
    assert [record["earlier"] for record in bench.records if record["name"] == "built"] == [0, 1, 1, 2]
    records = json.loads(json.dumps(bench.records))
    assert recompute([bulky, BUILT], records, no_picture, tmp_path) == (6, [])
    (tmp_path / "computations" / "bulky.bin").write_bytes(b"bytes of two rowsbytes of two rowz")
    (difference,) = recompute([bulky, BUILT], records, no_picture, tmp_path)[1]
    assert (difference.number, "bulky.bin: is damaged at byte 17" in str(difference.found)) == (4, True)


@virtual
async def test_a_computation_that_builds_on_what_is_not_declared_is_refused(
    clock: VirtualClock, tmp_path: Path
) -> None:
    bench = Bench(clock, tmp_path)
    with pytest.raises(Refused, match="builds on another, which is not declared before it"):
        bench.gate.declare(computation("stuck", builds_on="another"))
    bench.writer.close()
    bench.spool.close()


@pytest.mark.parametrize(
    ("arguments", "words"), [({"x": b""}, "no JSON"), ({"x": float("nan")}, "no JSON"), ({"x": "y" * 70_000}, "take")]
)
@virtual
async def test_arguments_are_json_and_small(
    clock: VirtualClock, tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    async with Bench(clock, tmp_path) as bench:
        with pytest.raises(ComputationError, match=words):
            await bench.gate.compute(ECHO, arguments)
        assert bench.records == []


# --- declared once


@pytest.mark.parametrize(
    "changes",
    [{"latency_s": 4.0}, {"latency_s": 0.0}, {"resolution": 0.0}, {"queue": "last"}],
    ids=["later than its limit", "no latency", "no resolution", "another queue"],
)
def test_a_declaration_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        computation(**changes)


@virtual
async def test_what_was_not_declared_is_not_computed(clock: VirtualClock, tmp_path: Path) -> None:
    async with Bench(clock, tmp_path, ECHO) as bench:
        with pytest.raises(ComputationError, match="was not declared"):
            await bench.gate.compute(computation("third"), {})
        with pytest.raises(Refused, match="declared twice"):
            bench.gate.declare(ECHO)


@virtual
async def test_a_function_that_is_not_there_fails_the_run_before_its_first_state(clock: VirtualClock) -> None:
    with rehearsal(clock) as r:
        r.run.compute.declare(computation("forgotten"))
        ending = await r.drive()
        r.run.files.close()
        assert "forgotten" in ending.reason
        assert r.states == []


# --- inline, worker and replay are one

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


def test_a_what_if_refuses_a_run_that_fed_back_from_data(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="feeds back from data"):
        ask(recorded(tmp_path, inline=True), Question())


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
