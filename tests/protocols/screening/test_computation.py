"""Screening in a run: a pattern of the spool is scored in a worker, recorded, replayed and computed again."""

import asyncio
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engine.clock import NS_PER_S
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.frame import Frame
from engine.record.spool import SPOOL_FILE, Spool
from engine.record.trace import Record, Trace
from engine.record.writer import Writer
from engine.replay.computations import RecordedComputations
from engine.run.compute import ComputeGate
from engine.run.computeworkers import Workers
from protocols.screening.model import SHIPPED
from tests.protocols.screening.madescores import lattice_frame

pytestmark = pytest.mark.skipif(
    find_spec("tensorflow") is None or not SHIPPED.is_dir(), reason="no TensorFlow, or no network comes along yet"
)

PATTERNS = [lattice_frame(), np.zeros((516, 516), np.uint16)]
PER_PX = 0.00488


async def session(clock: VirtualClock, gate: ComputeGate, trace: Trace) -> None:
    """Two patterns are scored; the next one is taken meanwhile, and the loop waits for neither."""
    from protocols.screening.computation import SCREEN, answered, told

    async def judge(index: int) -> None:
        outcome = await gate.compute(SCREEN, told(index, PER_PX, wide_cross=False), (index,))
        result = outcome.get()
        assert isinstance(result, dict)
        score, note = answered(result)
        trace.record("note", "scored", pattern=index, good=score.good, why=score.why, told=note)

    async with asyncio.TaskGroup() as tasks:
        for index in range(len(PATTERNS)):
            tasks.create_task(judge(index))
            trace.record("note", "taken", pattern=index)
            await clock.sleep_s(0.01)


def recorded(folder: Path) -> tuple[list[Record], float]:
    from protocols.screening.computation import SCREEN

    async def run() -> tuple[list[Record], float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop)
        records: list[Record] = []
        trace, writer = Trace(clock), Writer()
        trace.observe(records.append)
        gate = ComputeGate(clock, trace, Workers(clock, writer, folder, folder / SPOOL_FILE, durable=False))
        gate.inline = True
        gate.declare(SCREEN)
        spool = Spool(folder / SPOOL_FILE, writer, durable=False)
        for number, pattern in enumerate(PATTERNS):
            await spool.append(Frame(pattern, number, 0, 1), "still", {})
        await gate.ready()
        await session(clock, gate, trace)
        await writer.drain()
        gate.close()
        writer.close()
        spool.close()
        return records, clock.now_ns() / NS_PER_S

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def replayed(records: list[Record]) -> list[Record]:
    from protocols.screening.computation import SCREEN

    async def run() -> list[Record]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop)
        made: list[Record] = []
        trace = Trace(clock)
        trace.observe(made.append)
        gate = ComputeGate(clock, trace, RecordedComputations(clock, records))
        gate.declare(SCREEN)
        await gate.ready()
        await session(clock, gate, trace)
        gate.close()
        return made

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def test_patterns_are_scored_while_the_next_is_taken_and_a_replay_has_the_same_bytes(tmp_path: Path) -> None:
    records, took_s = recorded(tmp_path)
    notes = [record for record in records if record["kind"] == "note"]
    assert ["good" in note for note in notes] == [False, False, True, True]
    lattice, nothing = (note["good"] for note in notes if "good" in note)
    assert lattice > 0.5 > nothing
    assert took_s == pytest.approx(0.1)
    again = replayed(json.loads(json.dumps(records)))
    assert [json.dumps(record) for record in again] == [json.dumps(record) for record in records]


def test_of_a_camera_that_is_known_to_have_a_wide_cross_none_is_guessed_at() -> None:
    """Told that there is none, a frame with one is all lines."""
    from protocols.screening.computation import told
    from protocols.screening.scoringworker import screen_in

    even = lattice_frame()
    keep = np.r_[0:256, 260:516]
    raw = even[np.ix_(keep, keep)]  # as read out: the middle rows and columns hold the counts of three
    for axis in (0, 1):
        for side, wide in ((255, (255, 256, 257)), (256, (258, 259, 260))):
            lines = even.take(wide, axis=axis).sum(axis=axis).astype(raw.dtype)[keep]
            if axis:
                raw[:, side] = lines
            else:
                raw[side] = lines
    of_even = screen_in(told(0, PER_PX, wide_cross=False), lambda _: even)
    of_raw = screen_in(told(0, PER_PX, wide_cross=True), lambda _: raw)
    assert of_raw["good"] == pytest.approx(of_even["good"], abs=0.05)
    untold = screen_in(told(0, PER_PX, wide_cross=False), lambda _: raw)
    assert untold["good"] < 0.5 < of_raw["good"]
