"""Which files of which runs the page may see: those of run folders in one folder, and nothing beside them."""

import re
from pathlib import Path

from engine.errors import Refused, shown
from engine.record.document import RUN_FILE

PART = re.compile(r"\w[\w.,+ ()-]*")
"""A part of a run's name: as samples are called, and never a way up."""
DEPTH_MOST = 4
SHOWN_FILES = {".html": "text/html; charset=utf-8", ".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}


def run_folder(out: Path, name: str) -> Path:
    """The folder of a run by its name, `sample_001`, or `session_001/3_sample`. Raises Refused for what is none."""
    parts = name.split("/")
    if not 1 <= len(parts) <= DEPTH_MOST or not all(len(part) < 200 and PART.fullmatch(part) for part in parts):
        raise Refused(f"{shown(name[:80])!r}: is no name of a run; nothing was read.")
    folder = out.joinpath(*parts)
    if not folder.resolve().is_relative_to(out.resolve()) or not (folder / RUN_FILE).is_file():
        raise Refused(f"{shown(name[:80])!r}: there is no such run; nothing was read.")
    return folder


def report_file(out: Path, name: str, file: str) -> tuple[Path, str]:
    """A file of a run's report with its type for a browser. Raises Refused."""
    folder = run_folder(out, name) / "report"
    path = folder / file
    kind = SHOWN_FILES.get(path.suffix.lower())
    within = PART.fullmatch(file) and path.resolve().is_relative_to(folder.resolve())
    if kind is None or not within or not path.is_file():
        raise Refused(f"{shown(file[:80])!r}: the report has no such file; nothing was read.")
    return path, kind
