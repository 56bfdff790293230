"""Running the written dials.sh with the DIALS of this machine, and reading its figures from the logs."""

import os
import re
import shutil
import subprocess
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


@dataclass(frozen=True)
class Processed:
    """What DIALS made of a run. rmsd: x (px), y (px), z (images). shift_px, tilt_deg: detector after refinement."""

    indexed_percent: float
    rmsd: tuple[float, float, float]
    cell: tuple[float, ...]
    space_group: str
    completeness_percent: float
    r_meas: float
    axis: tuple[float, float, float]
    detector_rotation_deg: float
    mtz: Path | None


def run_script(folder: Path) -> str:
    """Run SMV/dials.sh as it stands; its output. Fails with the end of the output if it does."""
    environment = {**os.environ, "NPROC": "2"}
    done = subprocess.run(
        ["sh", str(folder / "SMV" / "dials.sh")], capture_output=True, text=True, env=environment, check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    return text


def processed(folder: Path) -> Processed:
    """Run SMV/dials.sh and read the results."""
    text = run_script(folder)
    work = folder / "SMV" / "dials"
    mtz = gemmi.read_mtz_file(str(work / "scaled.mtz"))
    axis, rotation = models(work / "refined.expt")
    return Processed(
        indexed_percent=indexed_percent(text),
        rmsd=rmsd(text),
        cell=mtz.cell.parameters,
        space_group=mtz.spacegroup.hm,
        completeness_percent=_last(r"^Completeness +(\S+)", text),
        r_meas=_last(r"^Rmeas\(I\) +(\S+)", text),
        axis=axis,
        detector_rotation_deg=rotation,
        mtz=work / "scaled.mtz",
    )


def indexed_percent(text: str) -> float:
    """Share of the strong spots that the last indexing step could index."""
    return float(re.findall(r"\| +(\d+) \| +(\d+) \| (\S+)% +\|", text)[-1][2])


def rmsd(text: str) -> tuple[float, float, float]:
    """Residuals of the last refinement: px, px, images."""
    row = re.findall(r"^\| +0 \| +\d+ \| +(\S+) \| +(\S+) \| +(\S+) \|$", text, re.MULTILINE)[-1]
    return float(row[0]), float(row[1]), float(row[2])


def models(expt: Path) -> tuple[tuple[float, float, float], float]:
    """Rotation axis, and how far refinement has turned the detector in its plane, in degrees."""
    import json

    found = json.loads(expt.read_text())
    x, y, z = found["goniometer"][0]["rotation_axis"]
    panel = found["detector"][0]["panels"][0]
    node = found["detector"][0].get("hierarchy", {})
    fast = np.array(panel["fast_axis"])
    if abs(fast[2]) < 1e-9 and node.get("fast_axis") not in (None, [1.0, 0.0, 0.0]):
        fast = np.array(node["fast_axis"])
    return (x, y, z), float(np.degrees(np.arctan2(fast[1], fast[0])))


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
