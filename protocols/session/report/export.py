"""Files of a finished session, for `credline export` and the end of a session: its report."""

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import Refused, shown
from protocols.session.report.page import write_report
from protocols.session.report.source import open_session

FORMATS = ("report",)


def export_session(folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> tuple[str, ...]:
    """Make these files; lines for a person. Raises Refused for an unknown format (nothing written), DataError for a
    session that cannot be read, StorageError for the disk.
    """
    wanted = [name.strip().lower() for name in formats if name.strip()]
    if unknown := sorted(set(wanted) - set(FORMATS)):
        raise Refused(f"formats: {shown(unknown[0])!r} is none of {', '.join(FORMATS)}. Nothing was exported.")
    if not wanted:
        return ()
    progress(0, 1)
    path = write_report(open_session(folder))
    progress(1, 1)
    return (f"report: {path}",)
