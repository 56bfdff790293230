"""Slots and the parts of a camera that paces itself: frames begin on their slots wherever the parts happen to fall."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from drivers.facts import DetectorFacts, Facts, PacedFacts
from drivers.simulated import microscope
from drivers.simulated.detector import Timepix
from engine.clock import NS_PER_MS, ns
from engine.replay.replay import first_divergence, load_run, replay
from engine.replay.whatif import Question, ask
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from protocols.cred.slotplan import SlotPlan
from protocols.cred.soak.agreement import check_run
from tests.protocols.cred.conftest import Finished, Perform

PLAN: dict[str, Any] = {
    "exposure_s": 0.1,
    "speed_deg_s": 1.0,
    "range_deg": 4.0,
    "snapshot_interval": 0,
    "relax_cycles": 0,
    "formats": (),
}
SPARE = 2


class PacedTimepix(Timepix):
    """A camera whose parts run by themselves: exposures begin with the next one."""

    part_s = 0.01
    phase_s = 0.0
    tells_begin = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        paced = PacedFacts(self.part_s, self.part_s, SPARE, tells_begin=self.tells_begin)
        given = {name: getattr(self.facts, name) for name in self.facts.__dataclass_fields__}
        self.facts = type(self.facts)(**{**given, "readout_s": 0.0, "overhead_s": 0.0, "paced": paced})
        self.asked: list[int] = []

    async def part_begin_ns(self, at_ns: int) -> int:
        part_ns, origin_ns = ns(self.part_s), ns(self.phase_s)
        return origin_ns - (origin_ns - at_ns) // part_ns * part_ns

    async def start(self, exposure_s: float) -> int:
        assert self._queue is not None
        begin_ns = await self.part_begin_ns(self._clock.now_ns())
        expose = self._expose(self._queue, self._number, begin_ns, exposure_s)
        self._exposing = asyncio.get_running_loop().create_task(expose)
        self._number += 1
        return begin_ns


@pytest.fixture
def paced(perform: Perform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run with a camera whose parts are so long and begin so late after 0."""

    def performing(part_s: float, phase_s: float, tells_begin: bool = True, **changes: Any) -> Finished:
        monkeypatch.setattr(PacedTimepix, "part_s", part_s)
        monkeypatch.setattr(PacedTimepix, "phase_s", phase_s)
        monkeypatch.setattr(PacedTimepix, "tells_begin", tells_begin)
        monkeypatch.setattr(microscope, "Timepix", PacedTimepix)
        return perform(changes.pop("devices", None), **{**PLAN, **changes})

    return performing


PHASES_S = [0.0, 0.001, 0.0037, 0.005, 0.0066, 0.0086, 0.0099]


@pytest.mark.parametrize("part_s", [0.01, 0.02])
@pytest.mark.parametrize("phase_s", PHASES_S)
def test_all_frames_begin_on_their_slots_wherever_the_parts_begin(paced: Any, part_s: float, phase_s: float) -> None:
    run = paced(part_s, phase_s)
    frames = run.frames()
    assert len(frames) > 20
    assert all(frames["kept"])
    assert set(frames["late_ns"]) == {0}
    assert all((begin_ns - ns(phase_s)) % ns(part_s) == 0 for begin_ns in frames["start_ns"].tolist())
    period_ns = ns(0.1 + SPARE * part_s)
    assert {after - before for before, after in pairwise(frames["start_ns"].tolist())} == {period_ns}


def test_their_angles_are_those_of_their_exposures(paced: Any) -> None:
    run = paced(0.01, 0.0066, truth=True)
    frames, true_deg = run.frames(), run.truth_deg()
    uncertainty = run.result["offset_uncertainty_deg"]
    for k, side in enumerate(("start_deg", "end_deg")):
        assert abs(frames[side] - true_deg[:, k]).max() <= uncertainty


def test_where_nobody_knows_when_parts_begin_the_offset_is_lateness_and_the_plan_says_so(paced: Any) -> None:
    late = [paced(0.01, phase_s, tells_begin=False).frames() for phase_s in PHASES_S]
    lateness = [set(frames["late_ns"]) for frames in late]
    assert all(len(each) == 1 for each in lateness)  # one offset for all frames of a run
    assert max(max(each) for each in lateness) > 6 * NS_PER_MS
    assert any(not all(frames["kept"]) for frames in late)
    facts = Facts.of(paced(0.01, 0.0, tells_begin=False).trace[0]["instrument"])
    words = CRED.prepare(CredPlan(**PLAN), facts).words["parts of the camera"]
    assert words == (
        "10 ms; when they begin nobody knows, so frames begin up to that much after their slots, of which 6.0 ms are "
        "not late: choose parts that short, or a longer exposure_s"
    )
    assert "parts of the camera" not in CRED.prepare(CredPlan(**PLAN), replace(facts, detector=no_parts(facts))).words


def no_parts(facts: Facts) -> DetectorFacts:
    assert facts.detector is not None
    return replace(facts.detector, paced=None, readout_s=0.012)


def test_a_run_with_snapshots_keeps_its_phase_and_is_replayed(paced: Any) -> None:
    run = paced(0.01, 0.0066, snapshot_interval=12)
    frames = run.frames()
    assert all(frames["kept"])
    assert set(frames["late_ns"]) == {0}
    assert run.result["snapshots"] >= 2
    records = load_run(run.folder)
    assert first_divergence(records, replay(records)) is None
    assert check_run(run.folder) == []
    assert ask(records, Question())["lost_slots"] == run.result["lost_slots"]


def test_a_period_that_is_lengthened_keeps_its_place_among_the_parts(paced: Any) -> None:
    run = paced(0.01, 0.0037, devices={"detector": {"readout_s": 0.035}}, range_deg=8.0)
    (stretched,) = run.of("slot", "stretched")
    assert stretched["period_ns"] % ns(0.01) == 0
    frames = run.frames()
    after = frames[frames["slot"] >= stretched["slot"]]
    assert after["kept"].sum() > 10  # until the stage stops
    assert set(after["late_ns"]) == {0}


@pytest.mark.parametrize(("part_s", "wake_s"), [(0.01, 0.005), (0.02, 0.01), (0.002, 0.001 + 2 * 0.002)])
def test_a_frame_may_be_asked_for_so_late_that_it_still_begins_within_the_tolerance(
    paced: Any, part_s: float, wake_s: float
) -> None:
    run = paced(part_s, 0.0, range_deg=1.0)
    slots = SlotPlan(CredPlan.model_validate(run.document["plan"]), Facts.of(run.trace[0]["instrument"]))
    assert slots.wake_tolerance_s == pytest.approx(wake_s)
    assert slots.smallest_margin_s == slots.wake_tolerance_s
