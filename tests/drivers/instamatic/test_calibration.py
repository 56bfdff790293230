"""Instamatic's calibration files: what a pixel is in 1/A, how patterns are turned, and what cannot be used."""

import os
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from drivers.instamatic.calibration import calibration
from drivers.turn import Turn
from engine.errors import Refused
from tests.drivers.counterparts import program
from tests.drivers.instamaticprocess import home_of

BLOCK = """name: ours
diff:
  pixelsize:
    150: 0.00838
    200: 0.00623  # by hand
mag1:
  flipud: true
  pixelsize:
    150: 7
"""
INLINE = "diff:\n  pixelsize: {150: 0.00838, 200: 6.23e-3}\n"


@pytest.mark.parametrize("text", [BLOCK, INLINE])
def test_a_pixel_is_read_for_the_camera_length(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(text)
    assert calibration(str(file), 150.0).per_px_A == 0.00838
    assert calibration(str(file), 200.0).per_px_A == 0.00623
    assert calibration(str(file), 150.0).turn == Turn()  # what other modes are turned by is no matter


PICTURE = np.arange(12, dtype=np.uint16).reshape(3, 4)
# All that a file can say: quarters, and two mirrors. Each two of these are the same.
SAID = list(product((-1, 0, 1, 2, 3), (False, True), (False, True)))


def turning(folder: Path, rot90: int, flipud: bool, fliplr: bool) -> Path:
    file = folder / "turning.yaml"
    mirrors = f"  flipud: {str(flipud).lower()}\n  fliplr: {str(fliplr).lower()}\n"
    file.write_text(f"diff:\n{mirrors}  rot90:\n    150: {rot90}\n  pixelsize:\n    150: 0.00838\n    200: 0.006\n")
    return file


def as_instamatic_does(rot90: int, flipud: bool, fliplr: bool) -> "np.ndarray[tuple[int, int], np.dtype[np.uint16]]":
    """Its `image_utils.rotate_image`."""
    picture = np.flipud(PICTURE) if flipud else PICTURE
    return np.rot90(np.fliplr(picture) if fliplr else picture, rot90)


@pytest.mark.parametrize("said", SAID)
def test_patterns_are_turned_and_mirrored_as_instamatics_own_programs_do(
    tmp_path: Path, said: tuple[int, bool, bool]
) -> None:
    turn = calibration(str(turning(tmp_path, *said)), 150.0).turn
    turned = turn.turned(PICTURE)
    assert np.array_equal(turned, as_instamatic_does(*said))
    assert turned.shape == turn.shape(3, 4)
    assert turned.flags.c_contiguous
    other = calibration(str(turning(tmp_path, *said)), 200.0).turn
    assert np.array_equal(other.turned(PICTURE), as_instamatic_does(0, *said[1:]))  # quarters are a camera length's own


def test_there_are_eight_ways() -> None:
    assert len({Turn.of(*said) for said in SAID}) == 8
    assert len({Turn.of(*said).turned(PICTURE).tobytes() for said in SAID if said[0] % 2}) == 4
    assert Turn().turned(PICTURE) is PICTURE


@pytest.mark.counterpart
def test_that_is_what_instamatic_itself_does(tmp_path: Path) -> None:
    asks = (
        "import numpy as np; from instamatic import config\n"
        "from instamatic.image_utils import rotate_image\n"
        f"for k, ud, lr in {SAID}:\n"
        "    config.calibration = {'diff': {'rot90': {150: k}, 'flipud': ud, 'fliplr': lr}}\n"
        "    print(rotate_image(np.arange(12).reshape(3, 4), 'diff', 150).tolist())\n"
    )
    home = {**os.environ, "instamatic": str(home_of(tmp_path, "json", 1, 2))}
    done = subprocess.run([program("python"), "-P", "-c", asks], capture_output=True, text=True, env=home)
    assert done.stdout.splitlines()[-len(SAID) :] == [str(as_instamatic_does(*said).tolist()) for said in SAID]


# What is in the file, and what is said of it at a camera length of 150.
REFUSED = {
    "another camera length": ("diff:\n  pixelsize:\n    200: 0.006\n", "no pixelsize for diff 150.*it has 200"),
    "none": ("name: empty\n", "it has none"),
    "half a quarter": (BLOCK.replace("mag1:", "  rot90:\n    150: 0.5\nmag1:"), r"rot90 = 0\.5, which is no whole"),
}


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(text)
    with pytest.raises(Refused, match=says):
        calibration(str(file), 150.0)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        calibration(str(tmp_path / "none.yaml"), 150.0)


@pytest.mark.counterpart
@pytest.mark.parametrize(("name", "length", "expected"), [("simulate", 300, 0.00412), ("tvips-f416", 60, 0.000584)])
def test_the_files_that_come_with_instamatic_are_read(name: str, length: float, expected: float) -> None:
    package = next(program("python").parents[1].glob("lib*/**/site-packages/instamatic"))
    assert calibration(str(package / "config" / "calibration" / f"{name}.yaml"), length).per_px_A == expected
