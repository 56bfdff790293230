"""Where an instrument process says its port and secret."""

import stat
import sys

import pytest

from engine.console.published import Published, file_of, place_of, published, publishing

TOLD = Published(4711, "secret", 1, "our-instrument", "/runs")


@pytest.fixture(autouse=True)
def own_lock_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_it_is_there_as_long_as_the_process_is_and_for_this_user_alone():
    assert published("our-instrument") is None
    with publishing(TOLD):
        assert published("our-instrument") == TOLD
        if sys.platform != "win32":
            assert stat.S_IMODE(file_of("our-instrument").stat().st_mode) == 0o600
    assert published("our-instrument") is None


def test_what_a_killed_process_left_behind_is_replaced():
    file_of("our-instrument").write_text("{}")
    assert published("our-instrument") is None
    with publishing(TOLD):
        assert published("our-instrument") == TOLD


def test_a_devices_file_is_the_same_from_everywhere(tmp_path, monkeypatch):
    file = tmp_path / "ours.toml"
    monkeypatch.chdir(tmp_path)
    assert place_of("ours.toml") == place_of(str(file)) == str(file)
    assert place_of("simulated") == "simulated"
