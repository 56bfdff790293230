"""The file of a path: written, read again, and refused in words where it is none."""

import math

import pytest

from engine.errors import Refused
from protocols.tracking.path import PathPoint
from protocols.tracking.pathfile import check_range, path_text, read_path

POINTS = (
    PathPoint(-10.0, 1.0, -2.0, 30.0, 5.0),
    PathPoint(0.0, 1.5, -1.0, 31.0, 4.0),
    PathPoint(12.5, 2.0, 0.0, 32.0, 4.5),
)
HEADER = "angle_deg,x_nm,y_nm,z_nm,sigma_nm"


def test_what_was_written_is_read(tmp_path):
    file = tmp_path / "path.csv"
    file.write_text(path_text(POINTS[::-1]))
    assert read_path(file) == POINTS


def test_of_two_points_at_one_angle_the_later_is_written():
    later = PathPoint(0.0, 9.0, 9.0, 9.0, 9.0)
    assert path_text([*POINTS, later]).splitlines()[2] == "0.0000,9.00,9.00,9.00,9.00"


def test_no_number_is_not_written():
    with pytest.raises(ValueError, match="no number"):
        path_text([PathPoint(0.0, math.nan, 0.0, 0.0, 1.0)])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "begins with ''"),
        ("angle_deg,x_um,y_um,z_um,sigma_um\n0,0,0,0,1\n", "in nm and degrees"),
        (f"{HEADER}\n0,0,0,0,1\n", "has 1 angles"),
        (f"{HEADER}\n0,0,nan,0,1\n1,0,0,0,1\n", r"line 2: y_nm is 'nan'"),
        (f"{HEADER}\n0,0,,0,1\n1,0,0,0,1\n", r"line 2: y_nm is ''"),
        (f"{HEADER}\n0,0,0,0,1\n1,0,inf,0,1\n", r"line 3: y_nm is 'inf'"),
        (f"{HEADER}\n0,0,0,0,1\n0,0,0,0,1\n", r"line 3: the angle 0 is not above"),
        (f"{HEADER}\n0,0,0,0,1\n-1,0,0,0,1\n", "sort them"),
        (f"{HEADER}\n0,0,0,0\n1,0,0,0,1\n", "4 values and not 5"),
        (f"{HEADER}\n0,0,0,0,0\n1,0,0,0,1\n", "sigma_nm = 0"),
        (f"{HEADER}\n0,0,0,0,1\n120,0,0,0,1\n", "angle_deg = 120 is beyond 90"),
        (f"{HEADER}\n0,2e8,0,0,1\n1,0,0,0,1\n", "look at the unit"),
    ],
)
def test_what_is_no_path_is_refused(tmp_path, text, cause):
    file = tmp_path / "wrong.csv"
    file.write_text(text)
    with pytest.raises(Refused, match=cause) as said:
        read_path(file)
    assert str(said.value).startswith("wrong.csv")
    assert "Nothing was moved" in str(said.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    (tmp_path / "picture.csv").write_bytes(b"\xff\xfe\x00\x81")
    for name in ("missing.csv", "picture.csv"):
        with pytest.raises(Refused, match="cannot be read"):
            read_path(tmp_path / name)


@pytest.mark.parametrize(
    ("first_deg", "last_deg", "holds"), [(-10, 12, True), (12, -10, True), (-11, 0, False), (0, 13, False)]
)
def test_a_path_holds_for_the_whole_rotation(tmp_path, first_deg, last_deg, holds):
    file = tmp_path / "path.csv"
    if holds:
        check_range(file, POINTS, first_deg, last_deg)
    else:
        with pytest.raises(Refused, match=r"holds for -10 to 12\.5 deg"):
            check_range(file, POINTS, first_deg, last_deg)
