"""`credline session merge` on real runs of two crystals, from pictures to files."""

import json
from hashlib import sha256
from pathlib import Path

import gemmi
import h5py
import numpy as np
import pytest

from engine.run.compute import Bulk
from engine.run.computeworker import Earlier
from protocols.session.judging.merging import unique_keys
from tests.protocols.session.judging.stills import CHABAZITE_CIF

pytestmark = pytest.mark.long
SEEDS = {"mordenite": (31, 32), "chabazite": (41, 42)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crystals of each phase, over 40 deg; nobody has looked at them yet."""
    from typer.testing import CliRunner

    from engine.commands.main import app

    folder = tmp_path_factory.mktemp("night")
    for name, seeds in SEEDS.items():
        for seed in seeds:
            words = ["run", "cred", "--clock", "virtual", "--out", str(folder), "--seed", str(seed)]
            settings = [f"sample={name}", "range_deg=40", "start_deg=-20", "formats=[]", "truth=true"]
            settings += [f"crystal.orientation_seed={seed}"]
            settings += [f"crystal.cif={CHABAZITE_CIF}"] if name == "chabazite" else []
            done = CliRunner().invoke(app, [*words, *(word for each in settings for word in ("--set", each))])
            assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def merged(runs: Path) -> dict:
    from typer.testing import CliRunner

    from protocols.session.commands.main import session_app

    done = CliRunner().invoke(session_app, ["merge", str(runs), "--d-min", "1.0", "--jobs", "2", "--json"])
    assert done.exit_code == 0, done.output
    told: dict = json.loads(done.stdout.splitlines()[-1])
    return told


def test_phases_are_told_apart(merged: dict) -> None:
    assert sorted((each["lattice"], len(each["merged"])) for each in merged["phases"]) == [("hR", 2), ("oC", 2)]
    assert merged["unplaced"] == []


def test_they_are_merged(merged: dict) -> None:
    for phase in merged["phases"]:
        assert phase["cc_half"] > 0.99
        assert phase["r_meas"] < 0.15
        assert phase["completeness"] == pytest.approx(phase["passed"], abs=0.05)


@pytest.mark.parametrize(("lattice", "name"), [("hR", "chabazite"), ("oC", "mordenite")])
def test_the_files_hold_the_true_intensities(runs: Path, merged: dict, lattice: str, name: str) -> None:
    (phase,) = [each for each in merged["phases"] if each["lattice"] == lattice]
    mtz = gemmi.read_mtz_file(str(runs / "merged" / f"phase_{phase['number']}.mtz"))
    table = np.array(mtz, copy=True)
    group = gemmi.SpaceGroup(phase["group"])
    ours = dict(zip(unique_keys(group, table[:, :3].astype(np.int64)).tolist(), table[:, 3].tolist(), strict=True))
    with h5py.File(runs / f"{name}_001" / "truth.h5") as truth:
        key = unique_keys(group, truth["hkl"][:].astype(np.int64))
        true = dict(zip(key.tolist(), truth["intensity"][:].tolist(), strict=True))
    both = sorted(set(ours) & set(true))
    assert len(both) > 0.6 * len(ours)
    assert np.corrcoef([ours[k] for k in both], [true[k] for k in both])[0, 1] > 0.99


def test_again_it_integrates_nothing(runs: Path, merged: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from protocols.session.judging.gathered import gathered
    from protocols.session.judging.mergejob import merge_all

    class Here:
        def each(self, work, given):
            return map(work, given)

    def never(*_: object) -> None:
        raise AssertionError("it was integrated again")

    monkeypatch.setattr("protocols.session.judging.integrated.observe", never)
    told = merge_all(gathered([runs]), runs / "merged", 1.0, Here, lambda *_: None)
    assert [each["r_meas"] for each in told["phases"]] == [each["r_meas"] for each in merged["phases"]]


def test_merged_one_after_the_other_while_a_session_runs_they_come_to_the_same(runs: Path, merged: dict) -> None:
    from protocols.session.judged import data_set_in, take_in
    from protocols.session.mergedsofar import integrate, merge, merged_words

    def nothing(_: int) -> np.ndarray:
        raise AssertionError("no picture of the session is wanted")

    taken = Kept(runs, "take_in")
    integrated = Kept(runs, "integrate")
    seen = []
    for number, run in enumerate(sorted(path.parent for path in runs.glob("*/run.json")), 1):
        told = {"number": number, "crystal": number, "run_dir": run.name, "result": {}}
        taken.add(take_in(data_set_in(told), nothing)[1])
        result, intensities = integrate({"number": number, "d_min_A": 1.0}, nothing, taken.earlier)
        assert result["why_not"] == ""
        integrated.add(intensities)
        seen.append(merge({"d_min_A": 1.0}, nothing, integrated.earlier))
    assert [len(each["phases"]) for each in seen] == [1, 1, 2, 2]
    first, second = (each["phases"][0]["completeness"] for each in seen[:2])
    assert second > first
    last = {each["group"]: each for each in seen[-1]["phases"]}
    for phase in merged["phases"]:
        assert last[phase["group"]]["r_meas"] == pytest.approx(phase["r_meas"], abs=1e-4)
        assert last[phase["group"]]["cc_half"] == pytest.approx(phase["cc_half"], abs=1e-4)
        assert last[phase["group"]]["completeness"] == pytest.approx(phase["completeness"], abs=1e-4)
    assert merged_words(seen[-1]).count("complete") == 2


class Kept:
    """What a computation returned beside its results, as the worker finds it in a run's folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._file = folder, f"computations/{name}.bin"
        self.earlier: list[Earlier] = []
        (folder / "computations").mkdir(exist_ok=True)

    def add(self, data: bytes) -> None:
        path = self._folder / self._file
        offset = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            file.write(data)
        self.earlier.append(Earlier(self._folder, Bulk(self._file, sha256(data).hexdigest(), len(data), offset)))
