"""Instamatic's own TEM server (PyPI instamatic 2.2.2, `instamatic.temserver`) in its simulated mode, as a process.

It needs a folder named by the environment variable `instamatic` that holds `config/`: the package's own is copied, with
the port and the protocol of a test written into its settings.yaml.
"""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
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


@contextmanager
def temserver(
    folder: Path, protocol: str = "json", port: int | None = None, mode: str = "diff"
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A running TEM server with a fresh simulated microscope: its port, and the process."""
    python = counterparts.program("python")
    program = counterparts.program("instamatic.temserver")
    port = port or counterparts.free_port()
    home = folder / f"instamatic-{port}"
    if not home.exists():
        package = next(python.parents[1].glob("lib*/**/site-packages/instamatic"))
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
        }.items():
            settings, changed = re.subn(rf"(?m)^{key}:.*$", f"{key}: {value}", settings)
            assert changed == 1
        (home / "config" / "settings.yaml").write_text(settings, encoding="utf-8")
    with counterparts.running([program, "-t", "simulate"], ready=port, env={"instamatic": str(home)}) as process:
        raw_call(port, protocol)("setFunctionMode", mode)
        stand_at_zero(port, protocol)
        yield port, process


def stand_at_zero(port: int, protocol: str = "json") -> None:
    """Put the stage to 0 deg; the simulated microscope starts anywhere from -40 to 40."""
    call = raw_call(port, protocol)
    _, setting = call("getRotationSpeed")
    call("setRotationSpeed", value=1e9)
    call("setStagePosition", a=0.0)
    call("setRotationSpeed", value=setting)


def raw_call(port: int, protocol: str = "json") -> Callable[..., Any]:
    """A client of its own, as another program in the lab would be: `call(function, *args, **kwargs)`.

    Returns (status, value); makes a connection for each call.
    """
    codec = CODECS[protocol]()

    def call(function: str, *args: Any, **kwargs: Any) -> Any:
        with socket.create_connection(("127.0.0.1", port), 10) as line:
            line.settimeout(10)
            line.sendall(codec.encode({"func_name": function, "args": list(args), "kwargs": kwargs}))
            return codec.decode(line.recv(4096))[0]

    return call
