"""A run may be given the path of its crystal: checked before anything moves, part of the plan from then on."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.facts import Facts
from engine.errors import Refused
from engine.replay.replay import first_divergence, load_run, replay
from engine.run.planbasis import declared_basis
from engine.run.planfile import build_plan
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from tests.protocols.cred.conftest import Perform
from tests.protocols.cred.test_tracked import DEVICES, PLAN, away_nm

HEADER = "angle_deg,x_nm,y_nm,z_nm,sigma_nm"
FLAT = f"{HEADER}\n-50,0,0,0,20\n10,200,100,900,20\n"
CORRECTED: dict[str, Any] = {**PLAN, "tracking": "correct"}


def written(folder: Path, text: str) -> Path:
    file = folder / "way.csv"
    file.write_text(text)
    return file


@pytest.mark.long
def test_the_path_of_an_earlier_run_holds_the_crystal_from_the_first_frame_on(perform: Perform, tmp_path: Path) -> None:
    before = perform(DEVICES, **CORRECTED)
    file = tmp_path / "earlier.csv"
    file.write_bytes((before.folder / "snapshots" / "path.csv").read_bytes())
    run = perform(DEVICES, path=file, **CORRECTED)
    thirty_deg = slice(0, 115)
    assert np.percentile(away_nm(before)[thirty_deg], 95) > 200
    assert np.percentile(away_nm(run)[thirty_deg], 95) < 100
    # The crystal is brought to where the path says before the beam is on.
    unblanked_ns = run.calls("beam.unblank")[0]["begin_ns"]
    assert run.calls("deflectors.set")[0]["end_ns"] < unblanked_ns


def test_what_was_given_is_in_the_run_and_a_replay_needs_no_file(perform: Perform, tmp_path: Path) -> None:
    file = written(tmp_path, FLAT)
    run = perform(DEVICES, path=file, **{**CORRECTED, "range_deg": 20.0})
    file.unlink()
    assert run.document["plan"]["path"]["rows"][1] == [10.0, 200.0, 100.0, 900.0, 20.0]
    assert run.document["plan"]["path"]["file"] == "way.csv"
    copy = (run.folder / "snapshots" / "path_given.csv").read_text().splitlines()
    assert copy == [HEADER, "-50.0000,0.00,0.00,0.00,20.00", "10.0000,200.00,100.00,900.00,20.00"]
    assert first_divergence(load_run(run.folder), replay(load_run(run.folder))) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{HEADER}\n-50,0,nan,0,20\n10,0,0,0,20\n", "way.csv, line 2: y_nm is 'nan'"),
        (f"{HEADER}\n10,0,0,0,20\n-50,0,0,0,20\n", "line 3: the angle -50 is not above the one before"),
        ("angle_deg,x_um,y_um,z_um,sigma_um\n-50,0,0,0,20\n", "write the columns so, in nm and degrees"),
        (f"{HEADER}\n-50,0.4,0.1,1.2,0.02\n10,0.5,0.2,1,0.02\n", "if um was meant, write 1000 times as much"),
        (f"{HEADER}\n-50,0.4,0.1,1.2,20\n10,0.5,0.2,1,20\n", "x_nm, y_nm and z_nm are 1.2 at most"),
        (f"{HEADER}\n-50,4e-7,1e-7,1e-6,2e-8\n10,5e-7,2e-7,1e-6,2e-8\n", "if m was meant, write 1000000000 times"),
    ],
)
def test_a_file_that_is_no_path_is_refused_with_the_plan_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        build_plan(CRED, None, ["tracking=correct", f"path={written(tmp_path, text)}"])
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "Nothing was moved" in str(refused.value)
    assert str(refused.value).startswith("path = ")


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"start_deg": -50.0, "range_deg": 60.0}, ""),
        ({"start_deg": 10.0, "range_deg": -60.0}, ""),
        ({"start_deg": -52.0, "range_deg": 64.0}, ""),  # as far as from a snapshot to the next: as an earlier run ends
        ({"start_deg": -54.0, "range_deg": 60.0}, "holds for -50 to 10 deg and the rotation goes from -54 to 6 deg"),
        ({"start_deg": -50.0, "range_deg": 64.0}, "take a shorter rotation, or a path that covers it"),
    ],
)
def test_a_path_covers_the_rotation(tmp_path: Path, plan: dict[str, Any], says: str) -> None:
    wanted = CredPlan.model_validate({**plan, "tracking": "correct", "path": str(written(tmp_path, FLAT))})
    facts = declared_basis("simulated", CRED.device_options(wanted)).facts
    assert isinstance(facts, Facts)
    with pytest.raises(Refused, match=says) if says else nullcontext():
        CRED.prepare(wanted, facts)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"tracking": "off"}, "path: without tracking nobody uses it"),
        ({"snapshot_interval": 0}, "snapshot_interval = 0 takes none"),  # a path alone corrects nothing: nobody looks
        ({"path": ""}, "name the file of a path"),
        ({"path": 3}, "name the file of a path"),
        ({"path": "nowhere.csv"}, "nowhere.csv cannot be read as a path"),
    ],
)
def test_a_path_without_looks_is_refused(tmp_path: Path, plan: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CredPlan.model_validate({"tracking": "correct", "path": str(written(tmp_path, FLAT)), **plan})
