"""LiberTEM-live's Merlin simulator as a process: it replays a MIB data set on the two ports of a detector.

It answers GET, SET and CMD on the command port without acting on most of them: what it sends is the data set, at the
dwell time it was started with, whatever was set. docs/drivers/merlin.md says what that proves and what it does not.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.drivers.counterparts import accepts, free_port, program, running


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator."""

    process: subprocess.Popen[bytes]
    port: int
    data_port: int


@contextmanager
def simulator(dataset: Path, frames: int, *arguments: str) -> Iterator[Simulator]:
    """Start one on a data set of so many frames."""
    port, data_port, trigger_port = free_port(), free_port(), free_port()
    command: list[str | Path] = [
        *(program("libertem-live-mib-sim"), str(dataset), "--nav-shape", "1", str(frames), "--host", "127.0.0.1"),
        *("--control-port", str(port), "--data-port", str(data_port), "--trigger-port", str(trigger_port), *arguments),
    ]
    with running(command, ready=lambda: accepts(port) and is_taken(data_port), timeout_s=120) as process:
        yield Simulator(process, port, data_port)


def is_taken(port: int) -> bool:
    """Whether somebody listens on a port, without connecting to it: the simulator would begin a series."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so as not to be in the way of who binds it next
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
