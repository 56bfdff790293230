"""docs/setup.md with the three laboratories that it names, each against real servers (or an emulator named so).

From answers to files, a check of the devices, and the list of calibrations; nothing of the instrument is typed twice.
"""

import json
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from drivers.jeol.microscope import JeolDriver
from tests.cli.commandline import command
from tests.drivers import eigersim
from tests.drivers.emulators.temcom import Temcom
from tests.drivers.instamaticprocess import camserver, temserver
from tests.drivers.merlinsimulator import simulator
from tests.drivers.mibdata import write
from tests.drivers.temscriptserver import null_server

pytestmark = [pytest.mark.realtime, pytest.mark.counterpart, pytest.mark.long]


@contextmanager
def instamatic(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """JEOL and Timepix, both behind Instamatic's servers as they come (simulated microscope and camera)."""
    with temserver(folder) as (port, _), camserver(folder, "json", "exposing") as (camera_port, _):
        yield (
            f'microscope.driver = "instamatic"\nmicroscope.port = {port}\n'
            f'detector.driver = "instamatic-camera"\ndetector.port = {camera_port}\n'
        )


@contextmanager
def thermo_merlin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Thermo Fisher behind temscript's own server, Merlin as LiberTEM-live simulates it."""
    dataset = write(folder, (np.full((64, 64), number % 7, np.uint16) for number in range(40)))
    with null_server() as port, simulator(dataset, 40, "--wait-trigger") as merlin:
        yield (
            f'microscope.driver = "thermo"\nmicroscope.port = {port}\ndetector.driver = "merlin"\n'
            f"detector.port = {merlin.port}\ndetector.data_port = {merlin.data_port}\n"
        )


@contextmanager
def jeol_dectris(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """JEOL by an emulator of TEMCOM, which runs on Windows alone, and a DECTRIS by eiger-simulator."""
    monkeypatch.setattr("drivers.jeol.microscope.JEOL", JeolDriver("jeol", Temcom().open))
    detector = eigersim.prepared(folder, "bslz4")
    with detector.running():
        options = "".join(f"detector.{key} = {json.dumps(value)}\n" for key, value in detector.options.items())
        yield f'microscope.driver = "jeol"\ndetector.driver = "dectris"\n{options}'


LABORATORIES: dict[str, Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[str]]] = {
    "instamatic": instamatic,
    "thermo and merlin": thermo_merlin,
    "jeol and dectris": jeol_dectris,
}
ASKED = {"high_tension_kV": "200.0", "camera_length_mm": "300.0"}


@pytest.mark.parametrize("name", LABORATORIES)
def test_from_answers_to_a_checked_instrument_and_what_it_lacks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = tmp_path / "answers.toml"
    # That simulator of a Merlin replays a data set whatever it is asked for, so no camera can be checked by it.
    more = ["--no-check"] if name == "thermo and merlin" else []
    with LABORATORIES[name](tmp_path, monkeypatch) as drivers:
        typed: dict[str, str] = {}
        while True:
            figures = "".join(f"{key} = {value}\n" for key, value in typed.items())
            answers.write_text(f'name = "lab"\n{figures}{drivers}')
            done = command("setup", "--answers", str(answers), "--out", str(tmp_path), "--json", *more)
            if done.returncode != 2:
                break
            missing = next(key for key in ASKED if f"{key} is missing" in done.stderr)
            typed[missing] = ASKED[missing]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["answers"], done.stderr
    written = tomllib.loads((tmp_path / "lab-devices.toml").read_text())
    if not more:
        assert result["works"] is not None, done.stderr
        assert written["timing"]["api_call_s"] > 0, "measured"
    assert "credline calibrate flatfield" in "".join(result["missing"]["cRED"])
    for part in ("stage", "beam", "optics", "detector"):
        assert f"\n{part}: " in f"\n{done.stderr}"
