"""temscript's own server (PyPI temscript 2.1.0), run as a process for the tests of the driver `thermo`.

`null_server` is `temscript-server --null` as it comes; `moving_server` the same with a microscope that takes its time
and has low magnification (emulators/temscriptmicroscope.py).
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from drivers.contract import Parts
from drivers.thermo.microscope import THERMO
from engine.clock import Clock
from tests.drivers.counterparts import free_port, program, running

MICROSCOPE = Path(__file__).parent / "emulators" / "temscriptmicroscope.py"
ROTATION = {"pace": 1 / 30, "limits": [0.001, 1.0]}


@contextmanager
def null_server() -> Iterator[int]:
    """`temscript-server --null` as it comes, in diffraction mode: its port."""
    port = free_port()
    args: list[str | Path] = [program("temscript-server"), "--null", "--host", "127.0.0.1", "--port", str(port)]
    with running(args, ready=port):
        put(port, "projection_mode", "DIFFRACTION")
        yield port


@contextmanager
def moving_server() -> Iterator[tuple[int, int]]:
    """Two ports of one microscope with a stage that takes its time: for everything, and for motions."""
    ports = free_port(), free_port()
    with running([program("python"), MICROSCOPE, *map(str, ports)], ready=ports[1]):
        yield ports


def put(port: int, what: str, value: Any) -> int:
    """Another program in the lab sets something: the status it gets."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("PUT", f"/v1/{what}", json.dumps(value))
    status = connection.getresponse().status
    connection.close()
    return status


def get(port: int, what: str) -> Any:
    """Another program in the lab reads something."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", f"/v1/{what}", headers={"Accept": "application/json"})
    value = json.loads(connection.getresponse().read())
    connection.close()
    return value


@asynccontextmanager
async def connected(clock: Clock, port: int, motion_port: int | None = None, **options: Any) -> AsyncIterator[Parts]:
    """The driver, connected to a server."""
    given = {"port": port, "motion_port": motion_port or port, "rotation": ROTATION, "timeout_s": 2, **options}
    async with THERMO.connect(clock, 0, given) as parts:
        yield parts
