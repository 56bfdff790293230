"""What makes no calibration of disc, flux, lens and rotation ends with its reason, and nothing is stored."""

import re
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, Refused
from engine.record.endings import Status
from tests.protocols.calibrate.instruments import analysed, performed

SHORT: dict[str, dict[str, Any]] = {
    "snapshot": {"rounds": 2, "snapshots": 1, "opposite": False},
    "flux": {"rounds": 2, "snapshots": 2},
    "lens": {"turns": 3, "cycles": 3, "frames": 2},
    "rotation": {"spans_deg": [1.0, 2.0], "watch_deg": 6.0},
}
# Which calibration, more lines of the microscope, its pictures, more of the plan, and how the run ends.
ENDED: dict[str, tuple[str, str, dict[str, object], dict[str, Any], str]] = {
    "an empty disc": ("snapshot", "", {"transmission": 1.0}, {}, "the disc is empty"),
    "no beam": ("snapshot", "", {"flux_s": 0.0}, {}, "no disc is seen"),
    "a saturated camera": ("snapshot", "", {"saturation": 100}, {}, "the camera is saturated, or nearly"),
    "a crystal as large as the disc": (
        "snapshot",
        "",
        {"aperture_nm": 560.0},
        {},
        "would leave the disc",
    ),
    "a defocus that makes no disc": ("snapshot", "", {}, {"defocus": 20}, "the camera is saturated"),
    "a tilted stage": ("snapshot", "start_deg = 50.0", {}, {}, "the stage is tilted by 50.0 deg"),
    "a flux of an empty disc": ("flux", "", {"transmission": 1.0}, {}, "the disc is empty"),
    "a flux that saturates": ("flux", "", {"saturation": 100}, {}, "the camera is saturated, or nearly"),
    "a lens that does not answer": ("lens", "", {}, {"defocus": 3}, "the lens does not answer"),
    "a beam that saturates": ("lens", "", {"saturation": 100}, {}, "the camera is saturated by the beam"),
    "a beam that is not there": ("lens", "", {"flux_s": 0.0}, {}, "no beam is seen"),
    "a stage that is stuck": (
        "rotation",
        "start_deg = -5.0\nstage.stops_at_deg = -4.5",
        {},
        {},
        "-4.00 deg at .* stands",
    ),
    "a stage at its limit": ("rotation", "start_deg = 79.0", {}, {}, "no room to watch it"),
}


@pytest.mark.parametrize(("what", "microscope", "pictures", "plan", "why"), ENDED.values(), ids=ENDED)
def test_what_is_of_no_use_ends_the_run_soon(
    tmp_path: Path, what: str, microscope: str, pictures: dict[str, object], plan: dict[str, Any], why: str
) -> None:
    report = performed(what, tmp_path, 1, {**SHORT[what], **plan}, microscope, **pictures)
    assert report.ending.status is Status.FAILED
    assert re.search(why, report.ending.reason), report.ending.reason
    with pytest.raises(DataError):
        analysed(what, report.folder)


def test_a_crystal_that_does_not_diffract_tells_no_read_delay(tmp_path: Path) -> None:
    report = performed("rotation", tmp_path, 1, SHORT["rotation"], diffracting_share=0.0)
    assert report.ending.status is Status.DONE
    with pytest.raises(DataError, match="no reflections come and go"):
        analysed("rotation", report.folder)


def test_a_stage_that_is_not_watched_tells_speeds_and_backlash_all_the_same(tmp_path: Path) -> None:
    report = performed("rotation", tmp_path, 1, {**SHORT["rotation"], "watch": False})
    assert report.ending.status is Status.DONE
    found = analysed("rotation", report.folder)
    assert set(found.values) == {"rotation_speed_share", "run_in_s", "backlash_deg"}


WRONG_PLANS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no defocus": ("snapshot", {"defocus": 0}, "defocus = 0 is no disc"),
    "an exposure that the camera cannot make": ("lens", {"exposure_s": 1e-5}, "the camera cannot expose"),
    "a spot size that there is not": ("flux", {"spot_sizes": [9]}, "spot size = 9 is none of"),
}


@pytest.mark.parametrize(("what", "plan", "why"), WRONG_PLANS.values(), ids=WRONG_PLANS)
def test_what_cannot_be_is_refused_before_anything_moves(
    tmp_path: Path, what: str, plan: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        performed(what, tmp_path, 1, plan)
    assert not (tmp_path / "runs").exists()
