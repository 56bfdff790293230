"""Instamatic's own servers (PyPI instamatic 2.2.2) as processes: TEM server with simulated microscope, camera server.

They need a folder named by the environment variable `instamatic` that holds `config/`: the package's own is copied,
with the ports and the protocol of a test written into its settings.yaml.
"""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drivers.instamatic.codec import CODECS
from tests.drivers import counterparts

# What the simulated stage does with a speed setting: setting / 12 * 20 deg/s (`simu_microscope.py`). Its speed is not
# bounded, so that the highest one makes a new target be reached at once.
ROTATION = {"pace": 0.6, "limits": [1e-3, 1e9]}
# And it does nothing when it is told to stop.
STAGE = {"rotation": ROTATION, "stop_by_moving": True}

MICROSCOPE_TABLES = """
[microscope]
driver = "instamatic"
port = {port}
rotation = {{ pace = {pace}, limits = {limits} }}
stop_by_moving = true

[timing]
api_call_s = 0.005
api_call_worst_s = 0.03
stage_read_s = 0.005
"""
CREDLINE = [sys.executable, "-c", "from engine.commands.main import main; main()"]

CAMERA_SERVER = Path(__file__).parent / "instamaticserver.py"
# A camera of instamaticserver.py; what is written here can be written otherwise by a test.
EXPOSING: Mapping[str, Any] = {
    "interface": "credline",
    "dimensions": [64, 48],
    "default_binsize": 1,
    "possible_binsizes": [1, 2, 4],
    "default_exposure": 0.1,
    "dynamic_range": 11800,
    "physical_pixelsize": 0.055,
    "camera_rotation_vs_stage_xy": 0.0,
    "stretch_amplitude": 0.0,
    "stretch_azimuth": 0.0,
    "dtype": "uint16",
    "exposes_s": 0.0,
    "setup_s": 0.0,
    "readout_s": 0.0,
}


def home_of(folder: Path, protocol: str, port: int, camera_port: int) -> Path:
    """A folder as `instamatic` names it, made where it is not there yet."""
    home = folder / f"instamatic-{port}"
    if home.exists():
        return home
    package = next(counterparts.program("python").parents[1].glob("lib*/**/site-packages/instamatic"))
    for name in ("camera", "calibration", "microscope"):
        shutil.copytree(package / "config" / name, home / "config" / name)
    for name in ("logs", "scripts", "alignments"):
        (home / name).mkdir(parents=True)
    shutil.copy(package / "config" / "defaults.yaml", home / "config")
    settings = (package / "config" / "settings.yaml").read_text(encoding="utf-8")
    for key, value in {
        "tem_server_host": "'127.0.0.1'",
        "tem_server_port": str(port),
        "tem_communication_protocol": f"'{protocol}'",
        "use_cam_server": "True",
        "cam_server_host": "'127.0.0.1'",
        "cam_server_port": str(camera_port),
    }.items():
        settings, changed = re.subn(rf"(?m)^{key}:.*$", f"{key}: {value}", settings)
        assert changed == 1
    (home / "config" / "settings.yaml").write_text(settings, encoding="utf-8")
    return home


def microscope_tables(port: int) -> str:
    """The tables of a devices file for a TEM server; those of a camera come after them.

    The server answers in half a millisecond here; a microscope behind it would take 50 ms and more.
    """
    return MICROSCOPE_TABLES.format(port=port, **ROTATION)


@contextmanager
def temserver(
    folder: Path, protocol: str = "json", port: int | None = None, mode: str = "diff"
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A running TEM server with a fresh simulated microscope: its port, and the process."""
    program = counterparts.program("instamatic.temserver")
    port = port or counterparts.free_port()
    home = home_of(folder, protocol, port, counterparts.free_port())
    with counterparts.running([program, "-t", "simulate"], ready=port, env={"instamatic": str(home)}) as process:
        raw_call(port, protocol)("setFunctionMode", mode)
        stand_at_zero(port, protocol)
        yield port, process


@contextmanager
def camserver(
    folder: Path, protocol: str = "json", camera: str = "simulate", shared_memory: bool = True, **configured: Any
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A running camera server: its port, and the process.

    camera: one of Instamatic's own, as its configuration has it but for `configured`; or any other name, for a camera
    of `EXPOSING`, whose exposures are then in the file `exposures_file(folder)`.
    """
    port = counterparts.free_port()
    home = home_of(folder, protocol, counterparts.free_port(), port)
    settings = home / "config" / "settings.yaml"
    shared = f"cam_use_shared_memory: {str(shared_memory).lower()}"
    settings.write_text(settings.read_text().replace("cam_use_shared_memory: true", shared))
    file = home / "config" / "camera" / f"{camera}.yaml"
    given = configured if file.exists() else {**EXPOSING, "exposures": str(exposures_file(folder)), **configured}
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    for key, value in given.items():
        text = re.sub(rf"(?m)^{key}:.*\n", "", text) + f"\n{key}: {value!r}\n"
    file.write_text(text, encoding="utf-8")
    # -P: beside the script lie our tests of Instamatic, under its own name.
    args: list[str | Path] = [counterparts.program("python"), "-P", CAMERA_SERVER, camera]
    with counterparts.running(args, ready=port, env={"instamatic": str(home)}) as process:
        yield port, process


def exposures_file(folder: Path) -> Path:
    """Where the camera of instamaticserver.py writes when it really exposed."""
    return folder / "exposures.txt"


def stand_at_zero(port: int, protocol: str = "json") -> None:
    """Put the stage to 0 deg; the simulated microscope starts anywhere from -40 to 40."""
    call = raw_call(port, protocol)
    _, setting = call("getRotationSpeed")
    call("setRotationSpeed", value=1e9)
    call("setStagePosition", a=0.0)
    call("setRotationSpeed", value=setting)


def raw_call(port: int, protocol: str = "json", asks_with: str = "func_name") -> Callable[..., Any]:
    """A client of its own, as another program in the lab would be: `call(function, *args, **kwargs)`.

    asks_with: "attr_name" for the camera server. Returns (status, value); makes a connection for each call.
    """
    codec = CODECS[protocol]()

    def call(function: str, *args: Any, **kwargs: Any) -> Any:
        with socket.create_connection(("127.0.0.1", port), 10) as line:
            line.settimeout(10)
            line.sendall(codec.encode({asks_with: function, "args": list(args), "kwargs": kwargs}))
            return codec.decode(line.recv(4096))[0]

    return call
