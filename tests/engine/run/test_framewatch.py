"""Frames watched as they come: what is said, after how many frames, how often, and that slots never wait for it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest

from engine.clock.virtual import VirtualClock
from engine.frame import Frame, Picture
from engine.record.framekinds import FrameKind
from engine.record.warned import warnings_in
from engine.run.data import RunData
from engine.run.framewatch import LOOK_EVERY_NS, watched_kinds
from engine.run.machine import FINISH
from engine.run.series import Series
from tests.engine.run.toy_session import ToyKind, ToyPlan
from tests.engine.small_experiment import Rehearsal, State, rehearsal
from tests.engine.virtually import virtual

RNG = np.random.default_rng(0)
EXPOSURE_S = 0.5
EMPTY = np.zeros((16, 16), np.uint16)
FULL = np.full((16, 16), 4095, np.uint16)


def lit(level: float = 50.0) -> Picture:
    return RNG.poisson(level, (16, 16)).astype(np.uint16)


ONE = lit()


@dataclass
class Facts:
    shape: tuple[int, int] = (16, 16)
    dtype: str = "<u2"
    dark_counts: float | None = 0.0

    def saturation_of(self, exposure_s: float) -> int:
        return 4095


class Camera:
    """Gives these pictures, one after each exposure."""

    def __init__(self, clock: VirtualClock, pictures: Sequence[Picture], exposure_s: float) -> None:
        self._clock, self._pictures, self._exposure_s = clock, pictures, exposure_s
        self.facts = Facts()

    async def start(self, exposure_s: float) -> int:
        return self._clock.now_ns()

    async def frames(self) -> AsyncIterator[Frame]:
        for number, picture in enumerate(self._pictures):
            begin_ns = self._clock.now_ns()
            await self._clock.sleep_s(self._exposure_s)
            yield Frame(picture, number, begin_ns, self._clock.now_ns())


Expected = Literal["light", "dark", "anything"]


async def watched(
    clock: VirtualClock,
    pictures: Sequence[Picture],
    expects: Expected = "light",
    words: str = "",
    exposure_s: float = EXPOSURE_S,
    **trouble: str,
) -> Rehearsal:
    """A run that takes these pictures; `still` frames expect what is said."""

    class StillKind(ToyKind):
        frame_kinds = (FrameKind("still", (), expects=expects, words=words),)

    with rehearsal(clock) as experiment:
        run = experiment.run
        run.compute.trouble = lambda name, number: trouble.get(f"{name}{number}")
        names = watched_kinds(StillKind.frame_kinds, {"detector": {}})
        run.keep_data(RunData(run, StillKind(), ToyPlan(), names))

        async def measure() -> str:
            series = Series(run, Camera(clock, pictures, exposure_s))
            for _ in pictures:
                await series.start(exposure_s)
                await series.keep("still", await series.frame(exposure_s))
            await clock.sleep_s(5.0)
            return FINISH

        experiment.works[State.MEASURE] = measure
        with run.files:
            ending = await experiment.drive()
        assert ending.status.value == "done"
        return experiment


def said(experiment: Rehearsal) -> list[tuple[int, str]]:
    """After how many frames what was said."""
    told, frames = [], 0
    for record in experiment.records:
        frames += record["kind"] == "frame"
        if (record["kind"], record["name"]) == ("note", "warning"):
            told.append((frames, record["what"]))
    return told


def off_centre(picture: Picture) -> str:
    return "the beam is off centre." if picture[0, 0] > 1000 else ""


def corner() -> Picture:
    picture = lit()
    picture[0, 0] = 2000
    return picture


CASES: dict[str, tuple[list[Picture], Expected, list[tuple[int, str]]]] = {
    "light where light is expected": ([lit() for _ in range(6)], "light", []),
    "darkness": ([EMPTY] * 6, "light", [(2, "dark")]),
    "one dark frame, as when the beam comes late": ([EMPTY, *(lit() for _ in range(5))], "light", []),
    "darkness that begins later": ([*(lit() for _ in range(4)), *[EMPTY] * 3], "light", [(6, "dark")]),
    "darkness that comes and goes is said once": ([EMPTY, EMPTY, lit(), EMPTY, EMPTY], "light", [(2, "dark")]),
    "empty frames where they are to be dark are alike, not frozen": ([EMPTY] * 6, "dark", []),
    "light where darkness is expected": ([lit() for _ in range(4)], "dark", [(2, "light")]),
    "saturated": ([FULL, FULL - np.eye(16, dtype=np.uint16), FULL], "light", [(2, "saturated")]),
    "the same again and again": ([ONE] * 5, "light", [(3, "same")]),
    "twice the same may be chance": ([ONE, ONE, lit(), ONE, ONE], "light", []),
    "what the protocol says": ([corner() for _ in range(4)], "light", [(2, "words")]),
    "two troubles": ([EMPTY, EMPTY, ONE, ONE, ONE], "light", [(2, "dark"), (5, "same")]),
}


# Exposure in s, good frames before the trouble; of short frames any phase of the looks is met.
BEGINS = [(exposure_s, before) for exposure_s in (0.02, 0.1, 0.3, 0.4, 0.49) for before in range(3, 12)]


@pytest.mark.parametrize(("exposure_s", "before"), BEGINS)
@virtual
async def test_a_trouble_of_short_frames_is_said_within_a_second_and_two_frames(
    clock: VirtualClock, exposure_s: float, before: int
) -> None:
    pictures = [*(lit() for _ in range(before)), *[EMPTY] * (3 + round(1 / exposure_s))]
    experiment = await watched(clock, pictures, exposure_s=exposure_s)
    ((frames, what),) = said(experiment)
    assert what == "dark"
    assert (frames - before - 2) * exposure_s <= 1.0


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_and_after_how_many_frames(name: str) -> None:
    pictures, expects, expected = CASES[name]

    @virtual
    async def body(clock: VirtualClock) -> None:
        experiment = await watched(clock, pictures, expects, f"{__name__}:off_centre")
        assert said(experiment) == expected
        assert len(warnings_in(experiment.records)) == len(expected)
        assert len(experiment.run.data.watch.troubles) == len(expected)

    body()


@virtual
async def test_of_short_exposures_the_first_three_are_looked_at_and_then_one_in_half_a_second(
    clock: VirtualClock,
) -> None:
    experiment = await watched(clock, [lit() for _ in range(40)], exposure_s=0.05)
    looked = [record["pictures"][0] for record in experiment.records if record["kind"] == "computation"]
    assert looked[:3] == [0, 1, 2]
    starts_ns = {r["index"]: r["start_ns"] for r in experiment.records if r["kind"] == "frame"}
    later = looked[2:]
    assert len(later) == 4
    assert all(starts_ns[after] - starts_ns[before] >= LOOK_EVERY_NS for before, after in pairwise(later))


@pytest.mark.parametrize("trouble", ["late", "never", "dead"])
def test_a_look_that_fails_holds_nothing_up_and_is_said_at_the_second_time(trouble: str) -> None:
    pictures = [lit() for _ in range(12)]

    def starts(experiment: Rehearsal) -> list[int]:
        return [record["start_ns"] for record in experiment.records if record["kind"] == "frame"]

    @virtual
    async def body(clock: VirtualClock) -> None:
        once = await watched(clock, pictures, frame_check1=trouble)
        assert said(once) == []
        troubles: dict[str, Any] = {f"frame_check{n}": trouble for n in range(1, 20)}
        always = await watched(clock, pictures, **troubles)
        assert [what for _, what in said(always)] == ["not looked at"]
        calm = await watched(clock, pictures)
        first = [runs[0] for runs in (starts(once), starts(always), starts(calm))]
        assert all(
            [at - first[k] for at in starts(experiment)] == [at - first[2] for at in starts(calm)]
            for k, experiment in enumerate((once, always))
        )

    body()


@pytest.mark.parametrize(
    ("expects", "instrument", "watched_names"),
    [
        ("light", {"detector": {"has_pictures": True}}, ["still"]),
        ("dark", {"detector": {}}, ["still"]),
        ("light", {"detector": {"has_pictures": False}}, []),
        ("light", {}, []),
        ("anything", {"detector": {"has_pictures": True}}, []),
    ],
)
def test_watched_is_what_expects_something_of_a_camera_that_makes_pictures(
    expects: Expected, instrument: dict[str, Any], watched_names: list[str]
) -> None:
    assert watched_kinds([FrameKind("still", (), expects=expects)], instrument) == watched_names


@virtual
async def test_where_nothing_is_expected_nothing_is_declared_and_nothing_computed(clock: VirtualClock) -> None:
    experiment = await watched(clock, [EMPTY] * 4, "anything")
    assert not experiment.run.compute.declared
    assert not [record for record in experiment.records if record["kind"] == "computation"]
