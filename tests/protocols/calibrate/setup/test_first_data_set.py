"""From nothing to a cell by commands alone, on an instrument of which nobody knows what it is: no number is typed.

`credline setup`, the calibrations that cRED wants, a rotation, and the written dials.sh. The camera may be mounted
turned or mirrored, the axis points anywhere, the camera length is off by up to 6 %, and the ellipse by up to 2.5 %.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from protocols.calibrate.truth import truth_of
from tests.cli.commandline import command
from tests.protocols.products.processing import indexed_percent, need_dials, run_script

pytestmark = [pytest.mark.dials, pytest.mark.long]

MORDENITE = (18.11, 20.53, 7.528, 90.0, 90.0, 90.0)
ANSWERS = (
    'name = "sim"\nmicroscope.driver = "simulated"\nmicroscope.hidden = true\nmicroscope.pictures.hidden_seed = {}\n'
)
STEPS = (
    ("flatfield", ()),
    ("camera-length", ("--set", "standard=TlCl")),  # its lattice is known best
    ("rotation-axis", ()),
)


def result_of(*words: str) -> dict[str, object]:
    done = command(*words, "--clock", "virtual", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("seed", [7, 17])
def test_by_commands_alone_from_setup_to_the_cell(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    need_dials()
    monkeypatch.chdir(tmp_path)
    Path("answers.toml").write_text(ANSWERS.format(seed))
    setup = result_of("setup", "--answers", "answers.toml")
    devices = str(setup["devices"])
    told = {what: result_of("calibrate", what, "--devices", devices, *more) for what, more in STEPS}
    assert {str(each["stored"]) for each in told.values()} == {"sim.toml"}
    missing = command("calibrate", "list", "--devices", devices).stdout
    for what, _ in STEPS:
        assert re.search(rf"^{what}: \d\d\d\d-", missing, flags=re.M), missing
    plan = command("plan", "cred", "--devices", devices, "--full").stdout
    assert "calibrated, sim.toml" in plan
    run = result_of(
        *("run", "cred", "--devices", devices, "--seed", str(seed)),
        *("--set", "range_deg=90", "--set", "start_deg=-45", "--set", "truth=true", "--set", 'formats=["dials"]'),
    )
    folder = Path(str(run["run_dir"]))
    truth = truth_of(folder)
    text = run_script(folder)
    assert indexed_percent(text) > 90
    cell = [float(number) for number in re.findall(r"Unit cell: *\(?([\d., ]+)", text)[-1].replace(",", " ").split()]
    # No camera length is known better than the lattice of the film that tells it, and here that is known.
    off_percent = truth_of(Path(str(told["camera-length"]["run_dir"])))["lattice_off_percent"]
    film = 1 + float(np.asarray(off_percent)) / 100
    for found, true, scale in zip(cell, MORDENITE, [film] * 3 + [1] * 3, strict=True):
        assert scale * found == pytest.approx(true, rel=0.002), (cell, film, truth)
