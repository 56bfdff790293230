"""Instamatic's calibration files: what a pixel is in 1/A at a camera length, and what cannot be used."""

from pathlib import Path

import pytest

from drivers.instamatic.calibration import per_px_A
from engine.errors import Refused
from tests.drivers.counterparts import program

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
    assert per_px_A(str(file), 150.0) == 0.00838
    assert per_px_A(str(file), 200.0) == 0.00623


# What is in the file, and what is said of it at a camera length of 150.
REFUSED = {
    "another camera length": ("diff:\n  pixelsize:\n    200: 0.006\n", "no pixelsize for diff 150.*it has 200"),
    "none": ("name: empty\n", "it has none"),
    "patterns that are turned": (BLOCK.replace("mag1:", "  rot90:\n    150: -1\nmag1:"), r"turns.*rot90"),
    "patterns that are mirrored": (BLOCK.replace("diff:", "diff:\n  flipud: true"), r"turns.*flipud"),
}


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(text)
    with pytest.raises(Refused, match=says):
        per_px_A(str(file), 150.0)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        per_px_A(str(tmp_path / "none.yaml"), 150.0)


@pytest.mark.counterpart
@pytest.mark.parametrize(("name", "length", "expected"), [("simulate", 300, 0.00412), ("tvips-f416", 60, 0.000584)])
def test_the_files_that_come_with_instamatic_are_read(name: str, length: float, expected: float) -> None:
    package = next(program("python").parents[1].glob("lib*/**/site-packages/instamatic"))
    assert per_px_A(str(package / "config" / "calibration" / f"{name}.yaml"), length) == expected
