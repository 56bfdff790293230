"""DIALS beside a session: each data set once, those of a phase scaled anew when there is one more."""

import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Refused
from engine.replay.replay import replay
from engine.run.computeworker import Earlier
from protocols.session.dialsmeanwhile import FOLDER, dials_words, process, scale
from protocols.session.mergedsofar import HEAD
from protocols.session.night import Night
from protocols.session.plan import SessionPlan
from protocols.session.status import status_of
from tests.protocols.session.judging.nights import CHABAZITE, LATTICES, MORDENITE, result_of
from tests.protocols.session.judging.test_dialsjobs import LOG, run_with
from tests.protocols.session.nights import night

SIGMA = np.array([0.05, 0.05, 0.05, 0.1, 0.1, 0.1])
CELLS = {1: MORDENITE, 2: CHABAZITE, 3: MORDENITE}
DOES = "mkdir dials; touch dials/integrated.expt dials/whole.refl"
STUBS = {
    "dials.cosym": 'echo "$@" > given',
    "dials.scale": f"cat > dials.scale.log <<'END'\n{LOG}\nEND\necho scaled >> ../times",
    "dials.export": "true",
}
needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for sh")


@dataclass(frozen=True)
class Taken(Earlier):
    """What was taken in, without a file."""

    number: int = 0

    def read(self) -> bytes:
        number = self.number
        cell = CELLS[number]
        result = result_of(cell, cell.reciprocal_basis, SIGMA, LATTICES[cell])
        told = {"number": number, "crystal": number, "run_dir": f"{number}_crystal", "result": result}
        return json.dumps(told).encode() + HEAD + b"intensities"


def taken(folder: Path, number: int) -> Earlier:
    return Taken(folder, None, number)  # type: ignore[arg-type]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the runs of a night, and programs by the names of DIALS'."""
    for number in CELLS:
        run_with(tmp_path / "night" / f"{number}_crystal", DOES if number != 2 else "echo 'no lattice'; exit 3")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, does in STUBS.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "night"


def nothing(index: int) -> np.ndarray:
    raise AssertionError("no picture is asked for")


@needs_sh
def test_each_data_set_is_processed_and_its_phase_scaled(session: Path) -> None:
    earlier = []
    for number in CELLS:
        earlier.append(taken(session, number))
        told = process({"number": number, "d_min_A": 0.9}, nothing, earlier)
        assert ("no lattice" in told["why_not"]) if number == 2 else (told["why_not"] == "")
        rows = scale({"d_min_A": 0.9}, nothing, earlier)["phases"]
        assert [each["data_sets"] for each in rows] == [[1, 3] if number == 3 else [1]]
        assert (rows[0]["completeness"], rows[0]["r_meas"], rows[0]["why_not"]) == (0.533, 0.09, "")
    # Twice: with the first, and when there was one more of its phase.
    assert (session / FOLDER / "times").read_text().split() == ["scaled", "scaled"]
    given = (session / FOLDER / "phase_1" / "given").read_text()
    assert "1_crystal/SMV/dials/integrated.expt" in given
    assert "3_crystal/SMV/dials/whole.refl" in given


def test_what_it_says_is_told_and_goes_on() -> None:
    figures = {"completeness": 0.533, "multiplicity": 3.5, "r_meas": 0.09, "cc_half": None}
    rows = [
        {"number": 1, "data_sets": [1, 3], "why_not": "", **figures},
        {"number": 2, "data_sets": [2], "why_not": "dials.cosym failed"},
    ]
    assert dials_words({"phases": rows}) == (
        "phase 1, 2 data sets: complete 53%, times 3.5, R_meas 0.090; phase 2, 1 data set: dials.cosym failed"
    )
    known = Night()
    known.take({"seq": 1, "t_ns": 0, "kind": "computation", "name": "dials_scale", "result": {"phases": rows}})
    assert status_of(known, SessionPlan().goal, 0, 0)["dials"] == rows
    assert Night.of(known.as_json()).dials == {"phases": rows}


def test_without_dials_it_is_refused_before_anything_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match=r"DIALS is not installed here .* nothing was started\. Install it, or leave"):
        night(tmp_path, dials=True)
    with pytest.raises(Refused, match="merge = false; nothing was started"):
        night(tmp_path, dials=True, merge=False)


@needs_sh
@pytest.mark.dials
@pytest.mark.long
def test_a_night_with_dials(tmp_path: Path, assert_trace_matches: Callable[..., None]) -> None:
    """The real one. A replay needs neither it nor the folders."""
    made = night(
        tmp_path,
        {"pictures": {}, "geometry": {}},
        dials=True,
        choose={"crystals": 1, "score_least": 0.0, "several_most": 1.0, "isolated": False},
        cred={"range_deg": 40.0, "start_deg": -20.0, "speed_deg_s": 1.0, "relax_cycles": 0, "tracking": "off"},
    )
    assert made.document["status"] == "done", made.document["reason"]
    (row,) = made.document["session"]["dials"]
    (ours,) = made.document["session"]["merged"]
    assert row["data_sets"] == [1]
    assert row["completeness"] == pytest.approx(ours["completeness"], abs=0.1)
    assert row["r_meas"] < 0.2
    assert_trace_matches(replay(made.trace), made.trace)
