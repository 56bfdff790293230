"""Snapshots come when the path of the crystal has become unsure: fewer than every n-th slot, and on whole slots, too.

The simulated instrument draws a holder and a crystal from a seed; its camera makes snapshots, and frames without spots.
"""

import asyncio
import re
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.contract import Microscope
from drivers.facts import Facts
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import Refused
from engine.record.trace import Record
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.devicesfile import connect_devices
from protocols.cred.gaps import gaps_of, objection_to
from protocols.cred.plan import CredPlan
from protocols.cred.slotplan import SlotPlan
from protocols.cred.snapshotslots import NEXT
from tests.protocols.cred.conftest import Finished, Perform
from tests.protocols.cred.test_tracked import DEVICES, PLAN, with_options

pytestmark = pytest.mark.long

UNSURE: dict[str, Any] = {"tracking": "correct", "snapshot_interval": 20, "snapshot_when_unsure_nm": 100.0}


def slots_of_snapshots(run: Finished) -> list[int]:
    return [record["slot"] for record in run.of("frame", "snapshot")]


def decisions(run: Finished) -> list[Record]:
    return [record for record in run.of("tracking") if record["name"] == NEXT]


def away_nm(run: Finished) -> np.ndarray:
    with h5py.File(run.folder / "truth.h5") as file:
        return np.hypot(*file["frame_crystal_nm"][:].T)


def test_there_are_fewer_of_them_and_the_crystal_is_held_as_well(perform: Perform) -> None:
    fixed = perform(DEVICES, tracking="correct", **PLAN)
    unsure = perform(DEVICES, **PLAN, **UNSURE)
    assert len(slots_of_snapshots(unsure)) < 0.75 * len(slots_of_snapshots(fixed))
    assert np.percentile(away_nm(unsure), 95) < np.percentile(away_nm(fixed), 95)


def test_they_come_soon_at_first_and_later_when_the_path_is_known(perform: Perform) -> None:
    run = perform(DEVICES, **PLAN, **UNSURE)
    apart = np.diff(slots_of_snapshots(run))
    assert apart[0] == 5  # snapshot_interval_least
    assert np.median(apart[5:]) >= 12
    assert apart.min() >= 5
    assert apart.max() <= 20


def test_each_comes_where_the_trace_says(perform: Perform) -> None:
    run = perform(DEVICES, **PLAN, **UNSURE)
    said = [1, *(record["slot"] + record["after_slots"] for record in decisions(run))]
    slots = slots_of_snapshots(run)
    assert said[: len(slots)] == slots


def test_a_crystal_that_slipped_or_is_not_found_is_looked_at_as_soon_as_can_be(perform: Perform) -> None:
    slips = {"drawn_seed": -1, "jumps_per_deg": 0.01, "jump_nm": 330.0, "seed": 36}
    run = perform(with_options(motion=slips), **PLAN, **UNSURE)
    doubted = [record["slot"] for record in run.of("tracking") if record.get("seen") == "doubted"]
    after = {record["slot"]: record["after_slots"] for record in decisions(run)}
    assert doubted
    assert {after[slot] for slot in doubted} == {5}
    empty = with_options(motion={"drawn_seed": -1, "centred_off_nm": [3000.0, 0.0]})
    assert set(np.diff(slots_of_snapshots(perform(empty, **PLAN, **UNSURE)))) == {5}


def test_it_costs_no_slot_and_no_frame_is_late(perform: Perform) -> None:
    result = perform({**DEVICES, "api_jitter": 0.0}, **PLAN, **UNSURE).document["result"]
    assert (result["snapshot_slots"], result["lost_slots"]) == (1, 0)
    assert result["lateness_ms"]["max"] < 1.0


@pytest.mark.parametrize("tracking", ["show", "correct"])
def test_a_replay_decides_the_same_byte_for_byte(perform: Perform, tracking: str) -> None:
    run = perform(DEVICES, **{**PLAN, "range_deg": 20.0}, **{**UNSURE, "tracking": tracking})
    assert decisions(run)
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


def test_files_for_other_programs_leave_out_the_slots_that_hold_no_frame(perform: Perform) -> None:
    run = perform(DEVICES, **{**PLAN, "range_deg": 20.0, "formats": ("xds", "dials", "report")}, **UNSURE)
    shots, frames = slots_of_snapshots(run), [record["slot"] for record in run.of("frame", "diffraction")]
    gaps = sorted(set(range(frames[0], frames[-1])) - set(frames))
    assert set(gaps) < set(shots)  # the first one lies before the first frame
    text = (run.folder / "SMV" / "XDS.INP").read_text()
    assert re.findall(r"^EXCLUDE_DATA_RANGE= *(\d+) \d+", text, re.MULTILINE) == [str(slot) for slot in gaps]
    script = (run.folder / "SMV" / "dials.sh").read_text()
    told = re.findall(r"^GAPS=['\"]?([\d -]+)", script, re.MULTILINE)
    assert [each.split() for each in told] == [[str(slot) for slot in gaps]]
    apart = np.diff(shots)
    log = (run.folder / "cRED_log.txt").read_text()
    assert f"{len(shots)}, {apart.min()} to {apart.max()} slots from one to the next" in log


@pytest.fixture(scope="module")
def facts() -> Facts:
    """Of the simulated instrument."""

    async def told() -> Facts:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with connect_devices("simulated", VirtualClock(loop), 0, DEVICES) as microscope:
            assert isinstance(microscope, Microscope)
            return microscope.facts

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(told())


def test_a_plan_says_how_much_it_may_leave_out_and_wants_that_accepted(facts: Facts) -> None:
    planned = SlotPlan(CredPlan(**UNSURE), facts)
    assert gaps_of(planned).startswith("5 to 20 % of the range, in 13 to 52 wedges")
    assert objection_to(planned) is None
    often = SlotPlan(CredPlan(**UNSURE, snapshot_interval_least=2), facts)
    assert "set snapshot_interval_least = 3 or more" in (objection_to(often) or "")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"snapshot_when_unsure_nm": 100.0}, "only tracking knows that"),
        ({**UNSURE, "snapshot_interval": 5}, "it has to be less than snapshot_interval = 5"),
        ({**UNSURE, "exposure_s": 0.1}, "snapshot_interval_least = 5"),
    ],
)
def test_what_cannot_be_is_refused(facts: Facts, keys: dict[str, Any], says: str) -> None:
    with pytest.raises((Refused, ValueError), match=says):
        SlotPlan(CredPlan(**keys), facts)
