"""Every wrong convention is injected once, to see that DIALS with the written script would have caught it.

The simulated specimen is the truth: cell, orientation, intensities.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivers.simulated.crystal import Crystal
from protocols.products.export import export_run
from protocols.products.smv import HEADER_BYTES
from tests.protocols.products.crystals import GEOMETRY, crystal_run
from tests.protocols.products.processing import faults, need_dials

pytestmark = [pytest.mark.dials, pytest.mark.long]

BESIDE = replace(GEOMETRY, beam_fast_px=240.4, beam_slow_px=275.7)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Crystal]:
    """200 slots of mordenite with the beam beside the middle, exported."""
    need_dials()
    folder, crystal = crystal_run(tmp_path_factory.mktemp("good") / "run", slots=200, geometry=BESIDE)
    export_run(folder, ["dials"], 2)
    return folder, crystal


def test_a_right_run_has_no_faults(good: tuple[Path, Crystal]) -> None:
    assert faults(good[0], good[1], 2) == []


def mirrored_axis(folder: Path) -> None:
    edit_script(folder, "0.782554,-0.622583,0.000000", "0.782554,0.622583,0.000000")


def reversed_axis(folder: Path) -> None:
    edit_script(folder, "0.782554,-0.622583,0.000000", "-0.782554,0.622583,0.000000")


def axis_five_degrees_off(folder: Path) -> None:
    w = np.radians(-38.505 + 5)
    edit_script(folder, "0.782554,-0.622583,0.000000", f"{np.cos(w):.6f},{np.sin(w):.6f},0")


def angle_off_by_one_slot(folder: Path) -> None:
    edit_headers(folder, "OSC_START", lambda value: f"{float(value) + 0.2314:.6f}")


def oscillation_two_percent_wide(folder: Path) -> None:
    edit_headers(folder, "OSC_RANGE", lambda value: f"{float(value) * 1.02:.8f}")
    edit_headers(folder, "OSC_START", lambda value: f"{-60 + (float(value) + 60) * 1.02:.6f}")


def beam_centre_in_the_wrong_order(folder: Path) -> None:
    edit_headers(folder, "BEAM_CENTER_X", lambda _: "275.7000")
    edit_headers(folder, "BEAM_CENTER_Y", lambda _: "240.4000")


def swapped_axes(folder: Path) -> None:
    for path in images(folder):
        whole = path.read_bytes()
        counts = np.frombuffer(whole[HEADER_BYTES:], dtype="<u2").reshape(516, 516)
        path.write_bytes(whole[:HEADER_BYTES] + np.ascontiguousarray(counts.T).tobytes())


@pytest.mark.parametrize(
    "wrong",
    [
        mirrored_axis,
        reversed_axis,
        axis_five_degrees_off,
        angle_off_by_one_slot,
        oscillation_two_percent_wide,
        beam_centre_in_the_wrong_order,
        swapped_axes,
    ],
)
def test_a_wrong_convention_is_caught(
    good: tuple[Path, Crystal], tmp_path: Path, wrong: Callable[[Path], None]
) -> None:
    folder = tmp_path / wrong.__name__
    shutil.copytree(good[0], folder, ignore=shutil.ignore_patterns("dials", "frames.h5"))
    wrong(folder)
    found = faults(folder, good[1], 2)
    print(wrong.__name__, "->", found)
    assert found


def images(folder: Path) -> list[Path]:
    """The SMV pictures of a run."""
    return sorted((folder / "SMV" / "data").glob("*.img"))


def edit_script(folder: Path, old: str, new: str) -> None:
    """Replace a text in dials.sh; it must be there."""
    path = folder / "SMV" / "dials.sh"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edit_headers(folder: Path, key: str, change: Callable[[str], str]) -> None:
    """Change one value in the header of every picture."""
    for path in images(folder):
        whole = path.read_bytes()
        header = whole[:HEADER_BYTES].decode()
        assert f"\n{key}=" in header
        edited = re.sub(rf"^{key}=(.*);$", lambda m: f"{key}={change(m.group(1))};", header, flags=re.MULTILINE)
        path.write_bytes(edited.rstrip(" ").encode().ljust(HEADER_BYTES) + whole[HEADER_BYTES:])
