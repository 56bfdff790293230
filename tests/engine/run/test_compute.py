"""Computations: when their outcomes enter a run, and what each verdict means."""

import asyncio
import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from engine.clock import NS_PER_S
from engine.clock.virtual import VirtualClock
from engine.errors import ComputationError, Refused
from engine.record.schema import gap, problem
from engine.replay.computations import recompute
from engine.run.compute import Outcome, Verdict
from engine.run.machine import FINISH
from tests.engine.run.computebench import BUILT, ECHO, NEWEST, Bench, computation
from tests.engine.small_experiment import State, rehearsal
from tests.engine.virtually import virtual

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
