"""Where an instrument process says its port and its secret: a file in this user's lock folder, readable by him alone.

One for each instrument, named by its devices file. A file that a killed process left behind leads to nobody.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from engine.record.lock import lock_folder


@dataclass(frozen=True, slots=True)
class Published:
    """How an instrument process is reached. out: the folder of its runs. devices: as `place_of` names them."""

    port: int
    secret: str
    pid: int
    devices: str
    out: str


def place_of(devices: str) -> str:
    """The devices by a name that is the same from everywhere: a registered driver's, or the whole path of a file."""
    return str(Path(devices).resolve()) if devices.endswith(".toml") else devices


def file_of(devices: str) -> Path:
    """The file. Raises OSError where there is no lock folder of this user."""
    return lock_folder() / f"instrument-{sha256(place_of(devices).encode()).hexdigest()[:12]}.json"


@contextmanager
def publishing(told: Published) -> Iterator[None]:
    """Say it as long as this is open. Raises OSError."""
    path = file_of(told.devices)
    path.unlink(missing_ok=True)  # of a process that was killed
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            json.dump(asdict(told), file)
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def published(devices: str) -> Published | None:
    """What the instrument process of these devices says; None where there is none, or was none that ended well."""
    try:
        told = json.loads(file_of(devices).read_text(encoding="utf-8"))
        return Published(int(told["port"]), str(told["secret"]), int(told["pid"]), devices, str(told["out"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
