"""What a check writes into a devices file, and what it leaves alone."""

import tomllib
from pathlib import Path

import pytest

from engine.errors import Refused, StorageError
from engine.run.devicesfile import update_devices_file

WRITTEN = """\
# Our microscope, in room 3.
[microscope]  # the column
driver = "jeol"
limits_deg = [
    -60.0,  # the cooling holder
    70.0,
]

[timing]
api_call_s = 0.035  # from the paper
stage_read_s = 0.1

# The camera is new.
[detector]
driver = "merlin"
"""
TIMING = {"api_call_s": 0.041, "api_call_worst_s": 0.09, "stage_read_s": 0.268}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "devices.toml"
    path.write_text(WRITTEN, encoding="utf-8", newline="")
    return path


def test_a_persons_words_stay_and_the_figures_change(file: Path) -> None:
    update_devices_file(file, {"timing": TIMING}, "measured today")
    text = file.read_text(encoding="utf-8")
    assert tomllib.loads(text)["timing"] == TIMING
    for line in WRITTEN.splitlines():
        if not line.startswith(("api_call_s", "stage_read_s")):
            assert line in text
    assert tomllib.loads(text)["microscope"] == tomllib.loads(WRITTEN)["microscope"]
    assert "api_call_s = 0.041 # measured today\n" in text.replace("  #", " #")


def test_a_table_that_is_not_there_is_made(file: Path) -> None:
    update_devices_file(file, {"microscope.rotation": {"pace": 1.2}, "geometry": {"wavelength_A": 0.025}}, "measured")
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    assert tables["microscope"]["rotation"] == {"pace": 1.2}
    assert tables["microscope"]["driver"] == "jeol"
    assert tables["geometry"] == {"wavelength_A": 0.025}


def test_a_second_check_replaces_the_remark_of_the_first(file: Path) -> None:
    update_devices_file(file, {"timing": TIMING}, "measured on Monday")
    update_devices_file(file, {"timing": TIMING}, "measured on Tuesday")
    text = file.read_text(encoding="utf-8")
    assert text.count("measured on Tuesday") == 3
    assert "Monday" not in text
    update_devices_file(file, {"timing": TIMING}, "measured on Tuesday")
    assert file.read_text(encoding="utf-8") == text


def test_an_empty_file_will_do(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text("", encoding="utf-8")
    update_devices_file(path, {"timing": TIMING}, "measured")
    assert tomllib.loads(path.read_text(encoding="utf-8")) == {"timing": TIMING}


def test_line_ends_of_windows_stay(file: Path) -> None:
    file.write_text(WRITTEN.replace("\n", "\r\n"), encoding="utf-8", newline="")
    update_devices_file(file, {"timing": TIMING, "geometry": {"wavelength_A": 0.025}}, "measured")
    data = file.read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") > WRITTEN.count("\n")


def test_what_is_no_toml_is_left_as_it_is(file: Path) -> None:
    file.write_text("[timing\n", encoding="utf-8")
    with pytest.raises(Refused, match="left as it is"):
        update_devices_file(file, {"timing": TIMING}, "measured")
    assert file.read_text(encoding="utf-8") == "[timing\n"


def test_a_folder_that_cannot_be_written_is_told(file: Path) -> None:
    (file.parent / ".devices.toml.new").mkdir()
    with pytest.raises(StorageError, match="left as it is"):
        update_devices_file(file, {"timing": TIMING}, "measured")
    assert file.read_text(encoding="utf-8") == WRITTEN
