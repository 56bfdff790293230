"""A series of a camera: its frames are looked at, and every one that came stands in the trace, kept or not."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from engine.clock.virtual import VirtualClock
from engine.errors import DeviceError, DeviceLost
from engine.frame import Frame
from engine.record.framekinds import Column, FrameKind
from engine.run.data import RunData
from engine.run.run import Run
from engine.run.series import FRAME_OVERDUE_S, Series
from tests.engine.run.toy_session import ToyKind, ToyPlan
from tests.engine.small_experiment import Rehearsal, rehearsal
from tests.engine.virtually import virtual

GOOD = np.zeros((4, 4), "<u2")


class StillKind(ToyKind):
    frame_kinds = (FrameKind("still", (Column("place", "<i4", "where"),)),)


@dataclass
class Facts:
    shape: tuple[int, int] = (4, 4)
    dtype: str = "<u2"
    dark_counts: float | None = None

    def saturation_of(self, exposure_s: float) -> int | None:
        return None


class Camera:
    """Gives these frames, each 10 ms after it is asked for one; then none any more."""

    def __init__(self, clock: VirtualClock, frames: list[Frame]) -> None:
        self._clock = clock
        self._given = frames
        self.facts = Facts()
        self.closed = False

    async def start(self, exposure_s: float) -> int:
        return self._clock.now_ns()

    async def frames(self) -> AsyncIterator[Frame]:
        try:
            for frame in self._given:
                await self._clock.sleep_s(0.01)
                yield frame
            await self._clock.sleep_s(1e6)
        finally:
            self.closed = True


def frame(number: int, counts: np.ndarray = GOOD) -> Frame:
    return Frame(counts, number, 0, 1000)


@contextmanager
def begun(clock: VirtualClock) -> Iterator[tuple[Rehearsal, Run]]:
    with rehearsal(clock) as experiment:
        experiment.run.keep_data(RunData(experiment.run, StillKind(), ToyPlan()))
        with experiment.run.files:
            yield experiment, experiment.run


def told(experiment: Rehearsal) -> list[tuple[str, str]]:
    """The records of frames: kept by their kind, or why not."""
    of_frames = [r for r in experiment.records if r["kind"] in ("frame", "refused")]
    return [(r["kind"], r["reason"] if r["kind"] == "refused" else r["name"]) for r in of_frames]


@virtual
async def test_good_frames_are_kept_in_their_order(clock: VirtualClock) -> None:
    with begun(clock) as (experiment, run):
        series = Series(run, Camera(clock, [frame(0), frame(1)]))
        for number in (0, 1):
            await series.start(0.1)
            came = await series.frame(0.1, {"place": 7})
            assert came.number == number
            assert await series.keep("still", came, {"place": 7})
        assert told(experiment) == [("frame", "still")] * 2
        assert [r["arrived_ns"] for r in experiment.records if r["kind"] == "frame"] == [10_000_000, 20_000_000]
        with pytest.raises(ValueError, match="only the last frame"):
            await series.keep("still", came, {"place": 7})


@pytest.mark.parametrize(
    ("came", "why"),
    [
        (frame(1), "picture 2 of its series came where 1 belongs"),
        (frame(0, np.zeros((4, 5), "<u2")), "a frame of (4, 5) pixels came where (4, 4) belong"),
        (frame(0, np.zeros((4, 4), "<i4")), "a frame of int32 counts came where it declared uint16"),
    ],
)
def test_another_frame_than_was_begun_ends_the_trust_in_the_camera(came: Frame, why: str) -> None:
    @virtual
    async def body(clock: VirtualClock) -> None:
        with begun(clock) as (experiment, run):
            series = Series(run, Camera(clock, [came]))
            await series.start(0.1)
            with pytest.raises(DeviceError) as refused:
                await series.frame(0.1, {"place": 7})
            assert why in str(refused.value)
            ((kind, reason),) = told(experiment)
            assert kind == "refused"
            assert reason.startswith(why)

    body()


@virtual
async def test_the_first_frame_settles_a_type_that_was_not_declared(clock: VirtualClock) -> None:
    with begun(clock) as (experiment, run):
        camera = Camera(clock, [frame(0, np.zeros((4, 4), ">f4")), frame(1)])
        camera.facts.dtype = ""
        series = Series(run, camera)
        await series.start(0.1)
        await series.keep("still", await series.frame(0.1), {"place": 1})
        assert [(r["name"], r["dtype"]) for r in experiment.records if r["kind"] == "note"] == [
            ("type of counts", ">f4")
        ]
        await series.start(0.1)
        with pytest.raises(DeviceError, match="a frame of uint16 counts came where its first frame had float32"):
            await series.frame(0.1)


@virtual
async def test_a_frame_that_does_not_come_is_lost_after_a_while(clock: VirtualClock) -> None:
    with begun(clock) as (_, run):
        series = Series(run, Camera(clock, []))
        await series.start(0.1)
        with pytest.raises(DeviceLost, match="no frame 5 s after its exposure"):
            await series.frame(0.1)
        assert clock.now_ns() == pytest.approx((0.1 + FRAME_OVERDUE_S) * 1e9)


@virtual
async def test_a_frame_that_nobody_kept_is_named_when_the_next_is_asked_for_and_at_the_end(clock: VirtualClock) -> None:
    with begun(clock) as (experiment, run):
        series = Series(run, Camera(clock, [frame(0), frame(1)]))
        for _ in range(2):
            await series.start(0.1)
            await series.frame(0.1, {"place": 3})
        await series.close()
        assert told(experiment) == [
            ("refused", "the next one was asked for"),
            ("refused", "the run ended before it was kept"),
        ]
        assert [r["place"] for r in experiment.records if r["kind"] == "refused"] == [3, 3]


@virtual
async def test_a_run_lets_its_series_go_when_the_instrument_is_safe(clock: VirtualClock) -> None:
    with begun(clock) as (experiment, run):
        camera = Camera(clock, [frame(0)])

        async def measure() -> str:
            series = Series(run, camera)
            await series.start(0.1)
            await series.frame(0.1, {"place": 1})
            return "finish"

        experiment.works[list(experiment.works)[1]] = measure
        await experiment.drive()
        assert camera.closed
        assert told(experiment) == [("refused", "the run ended before it was kept")]
