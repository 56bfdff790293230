"""DIALS' jobs, with scripts in the place of its programs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols.session.judging.dialsjobs import (
    DialsJob,
    PhaseJob,
    files_of,
    is_processed,
    processed,
    scaled,
    statistics_in,
    write_list,
)
from protocols.session.judging.phases import Phase, phases_of
from tests.protocols.session.judging.nights import MORDENITE, measured

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for sh")

LOG = """
                                             Overall    Low     High
High resolution limit                           0.90    2.44    0.90
Completeness                                   53.3    50.0    57.1
Multiplicity                                    3.5     2.6     3.7
Rmeas(I)                                      0.090   0.025   0.469
Rmeas(I+/-)                                   0.091   0.026   0.462
CC half                                       0.999   1.000   0.956
"""


def run_with(folder: Path, script: str) -> Path:
    (folder / "SMV").mkdir(parents=True)
    (folder / "SMV/dials.sh").write_text(f'#!/bin/sh\nset -e\ncd "$(dirname "$0")"\n{script}\n')
    return folder


def phase() -> Phase:
    (found,) = phases_of([measured(MORDENITE, n, np.random.default_rng(n)) for n in (1, 2)])
    return found


def test_a_run_is_processed_once(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "mkdir dials; echo $D_MIN $NPROC >> dials/integrated.expt; touch dials/whole.refl")
    told = processed(DialsJob(7, run, 0.95))
    assert (told.number, told.why_not) == (7, "")
    assert is_processed(run)
    assert files_of(run)[0].read_text() == "0.95 1\n"
    assert processed(DialsJob(7, run, 0.95)).seconds == 0
    assert files_of(run)[0].read_text() == "0.95 1\n"


def test_what_fails_says_its_last_line(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", "echo 'no lattice'; exit 3")
    told = processed(DialsJob(1, run, 1.0))
    assert "failed (status 3): no lattice" in told.why_not


def test_a_run_without_the_script_says_what_writes_it(tmp_path: Path) -> None:
    told = processed(DialsJob(1, tmp_path, 1.0))
    assert "credline export" in told.why_not


def test_its_statistics_are_read() -> None:
    assert statistics_in(LOG) == {"completeness": 0.533, "multiplicity": 3.5, "r_meas": 0.090, "cc_half": 0.999}
    assert statistics_in("nothing") == {}


def test_the_list_of_a_phase_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, does in (
        ("dials.cosym", 'cat "$@" > symmetrized.expt'),
        ("dials.scale", f"echo \"$@\" > said; cat > dials.scale.log <<'E'\n{LOG}E"),
        ("dials.export", "true"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    runs = [tmp_path / name for name in ("one run", "it's two")]
    for run in runs:
        for file in files_of(run):
            file.parent.mkdir(exist_ok=True, parents=True)
            file.write_text(f"{file.name}\n")
    script = write_list(tmp_path / "merged", phase(), runs, [tmp_path / "third"], 0.9)
    assert f"# not processed by DIALS yet: {tmp_path / 'third'}" in script.read_text()
    told = scaled(PhaseJob(1, script))
    assert told.why_not == ""
    assert (told.completeness, told.r_meas, told.cc_half) == (0.533, 0.090, 0.999)
    folder = script.with_suffix("")
    assert (folder / "symmetrized.expt").read_text() == "integrated.expt\nwhole.refl\n" * 2
    assert (folder / "said").read_text() == "symmetrized.expt symmetrized.refl d_min=0.9\n"


def test_a_list_without_data_sets_says_so(tmp_path: Path) -> None:
    script = write_list(tmp_path, phase(), [], [tmp_path / "run"], 0.9)
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no data set of this phase was processed by DIALS yet" in done.stderr
    assert scaled(PhaseJob(1, script)).why_not.endswith("no data set of this phase was processed by DIALS yet")
