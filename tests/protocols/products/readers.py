"""Programs of others that read a run folder, run as a user runs them, and what stands in an XDS.INP afterwards.

They live in `.counterparts` (tests/drivers/counterparts.py). None has XDS here: the PATH holds nothing but themselves.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.drivers.counterparts import PROGRAMS, program

KEYWORD = r"[A-Z][A-Z0-9_'()./-]*="
FAILS_AFTER_S = 300


def performed(
    words: list[str | Path], cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The program words[0], over in good time: what it printed, and its status. It has a home of its own beside cwd."""
    home = cwd.parent / "home"
    home.mkdir(exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "XDG"))}
    return subprocess.run(
        [str(program(str(words[0]))), *map(str, words[1:])],
        cwd=cwd,
        env={
            **inherited,
            "PATH": os.pathsep.join((str(PROGRAMS), "/usr/bin", "/bin")),
            "HOME": str(home),
            "MPLBACKEND": "Agg",
            "QT_QPA_PLATFORM": "offscreen",
            **(env or {}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=FAILS_AFTER_S,
        check=False,
    )


def keywords(xds_inp: Path) -> dict[str, list[str]]:
    """What XDS would read: each keyword that is not commented out, with its values."""
    found: dict[str, list[str]] = {}
    for line in xds_inp.read_text(encoding="ascii").splitlines():
        active = line.split("!")[0]
        for key, value in re.findall(rf"({KEYWORD})((?:(?! {KEYWORD}).)*)", active):
            found.setdefault(key[:-1], []).append(" ".join(value.split()))
    return found
