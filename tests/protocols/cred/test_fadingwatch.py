"""Frames that fade between snapshots are a warning: said once, in the trace, and the next snapshot comes sooner."""

from typing import Any

import pytest

from engine.replay.replay import first_divergence, load_run, replay
from protocols.cred.fadingwatch import FADING
from protocols.cred.snapshotslots import NEXT
from tests.protocols.cred.conftest import Finished, Perform
from tests.protocols.cred.test_tracked import DEVICES, PLAN, with_options

pytestmark = pytest.mark.long

SLIPS = {"drawn_seed": -1, "jumps_per_deg": 0.01, "jump_nm": 1000.0, "seed": 362}
"""Once, at -38.2 deg, out of the aperture."""
FRAMES = {"rendered": "all", "shape": [512, 512], "disc_radius_px": 192.0}
"""With spots, so many that they do not come and go."""
PLACE = {"beam_fast_px": 256.0, "beam_slow_px": 258.0}
SHOW: dict[str, Any] = {**PLAN, "range_deg": 24.0, "tracking": "show"}


def fades(run: Finished) -> list[str]:
    return [record["text"] for record in run.of("tracking") if record["name"] == FADING]


def told(run: Finished) -> list[str]:
    notes = [record["text"] for record in run.of("note") if record["name"] == "operator"]
    return [text for text in notes if "scattered" in text or "shadows" in text]


def test_a_crystal_that_leaves_the_aperture_is_said_once(perform: Perform) -> None:
    run = perform(with_options(motion=SLIPS, pictures=FRAMES, geometry=PLACE), **SHOW)
    assert "the crystal may leave the aperture" in fades(run)[0]
    assert told(run) == [f"Tracking: {fades(run)[0]}."]


def test_one_that_stays_is_not(perform: Perform) -> None:
    assert not fades(perform(with_options(motion={"drawn_seed": -1}, pictures=FRAMES, geometry=PLACE), **SHOW))


def test_the_next_snapshot_comes_sooner_for_it(perform: Perform) -> None:
    unsure = {"snapshot_interval": 40, "snapshot_interval_least": 10, "snapshot_when_unsure_nm": 300.0}
    run = perform(with_options(motion=SLIPS, pictures=FRAMES, geometry=PLACE), **SHOW, **unsure)
    sooner = [record for record in run.of("tracking") if record["name"] == NEXT and record.get("reason")]
    (fading,) = [record for record in run.of("tracking") if record["name"] == FADING][:1]
    assert [record["reason"] for record in sooner][:1] == ["frames fade"]
    frame = next(record for record in run.of("frame", "diffraction") if record["index"] == fading["index"])
    after = min(record["slot"] for record in run.of("frame", "snapshot") if record["slot"] > frame["slot"])
    assert after - frame["slot"] <= 3  # what a look takes, and the frame that is exposed meanwhile


def test_no_slot_is_late_for_it(perform: Perform) -> None:
    result = perform(
        {**with_options(motion=SLIPS, pictures=FRAMES, geometry=PLACE), "api_jitter": 0.0}, **SHOW
    ).document["result"]
    assert result["lost_slots"] == 0
    assert result["lateness_ms"]["max"] < 1.0


@pytest.mark.parametrize("interval", [{}, {"snapshot_interval": 40, "snapshot_when_unsure_nm": 300.0}])
def test_a_replay_says_the_same_byte_for_byte(perform: Perform, interval: dict[str, Any]) -> None:
    run = perform(with_options(motion=SLIPS, pictures=FRAMES, geometry=PLACE), **SHOW, **interval)
    assert fades(run)
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


def test_a_run_that_is_not_tracked_measures_nothing(perform: Perform) -> None:
    run = perform(DEVICES, **{**SHOW, "tracking": "off", "range_deg": 5.0})
    checks = run.of("computation", "frame_check")
    assert checks
    assert not any("measure" in record["arguments"] for record in checks)
