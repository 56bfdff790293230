"""The instrument file: what it holds is read as it was stored, and what cannot be is refused with the place."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.calibration.calibratedvalue import KINDS, CalibratedValue, Holds
from drivers.calibration.calibrationarrays import CameraArrays
from drivers.calibration.instrumentfile import InstrumentFile, read_camera_arrays, read_instrument, store
from engine.errors import DataError, Refused

MATRIX: dict[str, Any] = {
    "value": (0.5, 0.1, -0.1, 0.5),
    "sigma": (0.01,) * 4,
    "covariance": tuple(tuple(1e-4 * (row == column) for column in range(4)) for row in range(4)),
}
SETTINGS: dict[Holds, dict[str, float]] = {
    Holds.INSTRUMENT: {},
    Holds.HIGH_TENSION: {"high_tension_kV": 200.0},
    Holds.CAMERA_LENGTH: {"high_tension_kV": 200.0, "camera_length_mm": 250.0},
    Holds.MAGNIFICATION: {"high_tension_kV": 200.0, "magnification": 8000.0},
    Holds.ILLUMINATION: {"high_tension_kV": 200.0, "spot_size": 3, "brightness": 40_000.0},
}


def value(name: str, /, **changes: Any) -> CalibratedValue:
    kind = KINDS[name]
    numbers = MATRIX if kind.is_matrix else {"value": 1.5, "sigma": 0.1}
    made = {"unit": kind.unit, "date": date(2026, 11, 28), "data": 'run "7"\\', "program": "credline 0.1.0"}
    return CalibratedValue(**{"name": name, **numbers, **SETTINGS[kind.holds], **made, **changes})


def arrays(rows: int = 6, columns: int = 4, **changes: Any) -> CameraArrays:
    flat = np.linspace(0.9, 1.1, rows * columns).reshape(rows, columns).astype(np.float32)
    bad = np.zeros((rows, columns), bool)
    bad[1, 2] = True
    made = {"made_on": date(2026, 11, 28), "data": "flatfield_001", "program": "credline 0.1.0", "accuracy": 0.01}
    pictures = {"flatfield": flat, "sigma": flat * 0.01, "dark_counts_s": flat * 0, "bad": bad}
    return CameraArrays(**{**pictures, "high_tension_kV": 200.0, **made, **changes})


@pytest.mark.parametrize("name", KINDS)
def test_a_value_of_every_kind_is_read_as_it_was_stored(tmp_path: Path, name: str) -> None:
    stored = value(name)
    store(tmp_path / "titan.toml", [stored])
    assert read_instrument(tmp_path / "titan.toml").values == (stored,)


# What is stored second, and how many values there are then.
SECOND = {
    "a newer one of the same": ({"value": 2.0}, 1),
    "its nominal setting told a little otherwise": ({"camera_length_mm": 250.4}, 1),
    "one of another camera length": ({"camera_length_mm": 400.0}, 2),
    "one of another high tension": ({"high_tension_kV": 300.0}, 2),
}


@pytest.mark.parametrize(("changes", "count"), SECOND.values(), ids=SECOND)
def test_a_newer_value_takes_the_place_of_one_for_the_same_setting(
    tmp_path: Path, changes: dict[str, float], count: int
) -> None:
    path = tmp_path / "titan.toml"
    for one in (value("rotation_axis_deg"), value("beam_fast_px"), value("rotation_axis_deg", **changes)):
        store(path, [one])
    kept = [each for each in read_instrument(path).values if each.name == "rotation_axis_deg"]
    assert len(kept) == count
    assert kept[-1] == value("rotation_axis_deg", **changes)


def test_the_flux_of_another_spot_size_or_brightness_stays(tmp_path: Path) -> None:
    path = tmp_path / "titan.toml"
    for changes in ({}, {"spot_size": 4}, {"brightness": 30_000.0}, {"value": 2.0}):
        store(path, [value("flux_e_A2_s", **changes)])
    kept = [(each.spot_size, each.brightness, each.value) for each in read_instrument(path).values]
    assert kept == [(4, 40_000.0, 1.5), (3, 30_000.0, 1.5), (3, 40_000.0, 2.0)]


def test_what_somebody_set_in_the_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "titan.toml"
    path.write_text("stale_after_days = 30\n")
    store(path, [value("backlash_deg")])
    assert read_instrument(path).stale_after_days == 30


WRONG = {
    "another name": ({"name": "rotation_axes"}, "'rotation_axes' is none of camera_length_mm"),
    "another unit": ({"unit": "mrad"}, "is in 'deg', not 'mrad'"),
    "no camera length": ({"camera_length_mm": None}, "camera_length_mm is missing"),
    "a magnification": ({"magnification": 8000.0}, "magnification is to be left out"),
    "a matrix": (MATRIX, "value and sigma are numbers"),
    "no number": ({"value": float("nan")}, "finite number"),
    "a negative uncertainty": ({"sigma": -1.0}, "greater than or equal to 0"),
}


@pytest.mark.parametrize(("changes", "why"), WRONG.values(), ids=WRONG)
def test_a_value_that_does_not_fit_its_name_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        value("rotation_axis_deg", **changes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("stale_after_days = ", "cannot be read"),
        ("stale_after_days = -1\n", "stale_after_days: .*greater than 0"),
        ("[[values]]\nname = 'x'\n", r"values\.0\.value: Field required"),
        ("voltage = 200\n", "voltage: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place_and_left_as_it_is(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "titan.toml"
    path.write_text(text)
    with pytest.raises(Refused, match=why):
        store(path, [value("backlash_deg")])
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    assert read_instrument(tmp_path / "titan.toml") == InstrumentFile()
    assert read_camera_arrays(tmp_path / "titan.toml") is None


def test_pictures_lie_beside_it_and_are_read_as_they_were_stored(tmp_path: Path) -> None:
    stored = arrays()
    store(tmp_path / "titan.toml", [], stored)
    read = read_camera_arrays(tmp_path / "titan.toml")
    assert read is not None
    for name in ("flatfield", "sigma", "dark_counts_s", "bad"):
        assert np.array_equal(getattr(read, name), getattr(stored, name))
        assert getattr(read, name).dtype == getattr(stored, name).dtype
    told = ("high_tension_kV", "accuracy", "made_on", "data", "program")
    assert [getattr(read, name) for name in told] == [getattr(stored, name) for name in told]


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_damaged_pictures_are_an_error_with_the_way_to_new_ones(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "titan.h5").write_bytes(content)
    with pytest.raises(DataError, match="credline calibrate flatfield"):
        read_camera_arrays(tmp_path / "titan.toml")
