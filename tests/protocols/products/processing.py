"""Running the written dials.sh with the DIALS of this machine, and reading its figures from the logs."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import pytest

from drivers.simulated.crystal import Crystal


def need_dials() -> None:
    """Skip visibly where DIALS is missing; fail where it is required."""
    if shutil.which("dials.import"):
        return
    if os.environ.get("CREDLINE_REQUIRE_DIALS") == "1":
        pytest.fail("CREDLINE_REQUIRE_DIALS=1, but dials.import is not on the PATH (Debian: package dials)")
    pytest.skip("DIALS is not installed (Debian: package dials); CREDLINE_REQUIRE_DIALS=1 makes this a failure")


ONE_AFTER_THE_OTHER = """
import json, os, runpy, sys
program = sys.argv[1]
for folder, words in json.load(sys.stdin):
    os.chdir(folder)
    sys.argv = [program, *words]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(f"{folder}: {end.code}")
"""


def own_python(program: str) -> list[str]:
    """The words that start DIALS' own Python, by a program's first line; none where that is a shell script."""
    with open(program, "rb") as file:
        first = file.readline().decode("utf-8", "replace").removeprefix("#!").split()
    return first if "python" in " ".join(first) else []


TRUSTED_IN = """
import json, sys
from dxtbx.model.experiment_list import ExperimentListFactory
found = []
for path in sys.argv[1:]:
    images = ExperimentListFactory.from_json_file(path, check_format=True)[0].imageset
    mask, counts = images.get_mask(0)[0].as_numpy_array(), images.get_raw_data(0)[0].as_numpy_array()
    found.append(sorted({int(count) for count in counts[mask]}))
print(json.dumps(found))
"""


def trusted_counts(*experiments: Path) -> list[list[int]]:
    """The counts that DIALS trusts in the first image of each imported.expt, by dxtbx's own mask."""
    program = shutil.which("dials.import")
    assert program is not None
    words = own_python(program) or [shutil.which("dials.python") or "dials.python"]
    done = subprocess.run(
        [*words, "-c", TRUSTED_IN, *map(str, experiments)], capture_output=True, text=True, check=True
    )
    found: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return found


def import_each(folders: Mapping[Path, Sequence[str]]) -> None:
    """`dials.import WORDS` in each of these folders, in one process: to start takes longer than to import."""
    program = shutil.which("dials.import")
    assert program is not None
    first = own_python(program)
    if not first:
        for folder, words in folders.items():
            subprocess.run([program, *words], cwd=folder, check=True, capture_output=True)
        return
    jobs = json.dumps([(str(folder), list(words)) for folder, words in folders.items()])
    done = subprocess.run(
        [*first, "-c", ONE_AFTER_THE_OTHER, program], input=jobs, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@dataclass(frozen=True)
class Processed:
    """What DIALS made of a run. rmsd: x (px), y (px), z (images). said: what the script says of it at its end."""

    indexed_percent: float
    rmsd: tuple[float, float, float]
    cell: tuple[float, ...]
    space_group: str
    completeness_percent: float
    r_meas: float
    lattice: "Lattice"
    detector_rotation_deg: float
    mtz: Path
    said: str


def run_script(folder: Path, until: str | None = None) -> str:
    """Run SMV/dials.sh as it stands (or the steps before dials.`until`); its output. AssertionError if it fails."""
    script = folder / "SMV" / "dials.sh"
    if until is not None:
        part = script.with_name("part.sh")
        part.write_text(script.read_text().split(f"\nstep dials.{until} ")[0] + "\n")
        script = part
    environment = {**os.environ, "NPROC": "2"}
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, env=environment, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    return text


def processed(folder: Path, crystal: Crystal) -> Processed:
    """Run SMV/dials.sh and read the results."""
    text = run_script(folder)
    work = folder / "SMV" / "dials"
    mtz = gemmi.read_mtz_file(str(work / "scaled.mtz"))
    return Processed(
        indexed_percent=indexed_percent(text),
        rmsd=rmsd(text),
        cell=mtz.cell.parameters,
        space_group=mtz.spacegroup.hm,
        completeness_percent=_last(r"^Completeness +(\S+)", text),
        r_meas=_last(r"^Rmeas\(I\) +(\S+)", text),
        lattice=lattice(work / "refined.expt", crystal),
        detector_rotation_deg=detector_rotation_deg(work / "refined.expt"),
        mtz=work / "scaled.mtz",
        said=text.partition("dials_between.py told ")[2],
    )


def faults(folder: Path, crystal: Crystal, lattice_points: int) -> list[str]:
    """What is wrong with a run when it is processed up to refinement; empty for a right one.

    lattice_points: of the conventional cell (2 for a centred one). An indexed pattern alone proves little: residuals,
    lattice, orientation and detector rotation are asked too.
    """
    try:
        text = run_script(folder, until="integrate")
    except AssertionError as error:
        return [f"DIALS gave up: {str(error).strip().splitlines()[-1]}"]
    expt = folder / "SMV" / "dials" / "refined.expt"
    (x, y, z), found = rmsd(text), lattice(expt, crystal)
    measured = {
        f"indexed {indexed_percent(text)} %": indexed_percent(text) >= 90,
        f"residual x {x} px": x < 0.2,
        f"residual y {y} px": y < 0.2,
        f"residual z {z} images": z < 0.3,
        f"lattice points {found.points}": found.points == lattice_points,
        f"strain {found.strain_percent:.3f} %": found.strain_percent < 0.5,
        f"misorientation {found.misorientation_deg:.3f} deg": found.misorientation_deg < 0.06,
        f"detector rotation {detector_rotation_deg(expt):.3f} deg": abs(detector_rotation_deg(expt)) < 0.5,
    }
    print(folder.name, measured)
    return [what for what, good in measured.items() if not good]


@dataclass(frozen=True)
class Lattice:
    """A lattice found, against the true one: index of the cell in the true cell, rotation between them, strain."""

    points: int
    misorientation_deg: float
    strain_percent: float


def lattice(expt: Path, crystal: Crystal) -> Lattice:
    """Compare the crystal in a DIALS experiment with the true one, at stage angle 0, whatever its setting."""
    found = json.loads(expt.read_text())["crystal"][0]
    real = np.array([found["real_space_a"], found["real_space_b"], found["real_space_c"]])  # rows
    reciprocal = np.linalg.inv(real)  # columns a*, b*, c* in the lab
    index = np.rint(np.linalg.solve(crystal.ub, reciprocal))
    points = round(float(np.linalg.det(index)))
    if points == 0:
        return Lattice(0, 180.0, 100.0)
    u, stretch, v = np.linalg.svd(reciprocal @ np.linalg.inv(crystal.ub @ index))
    turn = u @ v
    cosine = np.clip((np.trace(turn) - 1) / 2, -1, 1)
    return Lattice(points, float(np.degrees(np.arccos(cosine))), float(100 * np.abs(stretch - 1).max()))


def detector_rotation_deg(expt: Path) -> float:
    """How far refinement has turned the detector in its plane."""
    fast = json.loads(expt.read_text())["detector"][0]["panels"][0]["fast_axis"]
    return float(np.degrees(np.arctan2(fast[1], fast[0])))


def indexed_percent(text: str) -> float:
    """Share of the strong spots that the last indexing step could index."""
    return float(re.findall(r"\| +(\d+) \| +(\d+) \| (\S+)% +\|", text)[-1][2])


def rmsd(text: str) -> tuple[float, float, float]:
    """Residuals of the last refinement: px, px, images."""
    row = re.findall(r"^\| +0 \| +\d+ \| +(\S+) \| +(\S+) \| +(\S+) \|$", text, re.MULTILINE)[-1]
    return float(row[0]), float(row[1]), float(row[2])


def correlation(mtz_path: Path, crystal: Crystal) -> tuple[float, int]:
    """CC of the integrated with the true intensities over unique reflections, and their number.

    Only for crystals whose setting DIALS reproduces up to the signs of h, k, l (orthorhombic with unequal axes).
    """
    mtz = gemmi.read_mtz_file(str(mtz_path))
    table, labels = np.array(mtz.array), mtz.column_labels()
    order = np.argsort(np.abs(np.subtract.outer(np.array(crystal.cell[:3]), mtz.cell.parameters[:3])), axis=1)[:, 0]
    hkl = np.abs(table[:, :3]).astype(int)[:, order]
    intensity, sigma = table[:, labels.index("I")], table[:, labels.index("SIGI")]
    truth = dict(zip(map(tuple, np.abs(crystal.hkl).tolist()), crystal.intensity, strict=True))
    sums: dict[tuple[int, ...], tuple[float, float]] = {}
    for index, i, s in zip(map(tuple, hkl.tolist()), intensity, sigma, strict=True):
        weighted, weight = sums.get(index, (0.0, 0.0))
        sums[index] = (weighted + i / s**2, weight + 1 / s**2)
    pairs = np.array([(truth[h], a / b) for h, (a, b) in sums.items() if h in truth])
    return float(np.corrcoef(pairs.T)[0, 1]), len(pairs)


def _last(pattern: str, text: str) -> float:
    return float(re.findall(pattern, text, re.MULTILINE)[-1])
