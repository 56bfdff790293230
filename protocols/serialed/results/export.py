"""Files of a finished serial run for people and other programs: which are made, and what a person is told of them.

Every file is written whole or not at all; the run's own are only read. An export may be stopped and done again at will.
"""

from collections.abc import Callable, Sequence, Set
from pathlib import Path

from engine.errors import DataError, Refused
from protocols.products.atomic import write_file
from protocols.serialed.results import cxi, nexus
from protocols.serialed.results.csvfiles import write_tables
from protocols.serialed.results.masks import masks_of
from protocols.serialed.results.overview import overview_png
from protocols.serialed.results.patternlook import PatternLook, beam_of, look_at_patterns
from protocols.serialed.results.report import write_report
from protocols.serialed.results.runknown import places_of
from protocols.serialed.results.selection import selection
from protocols.serialed.results.source import Patterns, SerialSource, open_serial

FORMATS = ("csv", "cxi", "nexus", "overview", "report")
OVERVIEW = "report/overview.png"
NO_PATTERNS = "no patterns.cxi: the run has no patterns"

Progress = Callable[[int, int], None]


def export_serial(
    folder: Path,
    formats: Sequence[str] = FORMATS,
    progress: Progress | None = None,
    told: Sequence[tuple[str, str]] = (),
) -> tuple[str, ...]:
    """Make these files of a run folder; lines for a person. told: the table of the result, for the report.

    progress(done, total) is called in steps of work; what it raises stops the export. Raises Refused for an unknown
    format (nothing written), DataError for a run that cannot be read, StorageError for the disk.
    """
    wanted = [name.strip().lower() for name in formats if name.strip()]
    if unknown := sorted(set(wanted) - set(FORMATS)):
        raise Refused(f"formats: {unknown[0]!r} is none of {', '.join(FORMATS)}. Nothing was exported.")
    with open_serial(folder) as source:
        return tuple(_export(source, set(wanted), progress, told))


def _export(
    source: SerialSource,
    wanted: Set[str],
    progress: Progress | None,
    told: Sequence[tuple[str, str]],
) -> list[str]:
    folder, tables = source.folder, source.tables
    files: list[Path] = []
    lines = [selection(tables.crystals).words()]
    warnings: list[str] = []
    if "csv" in wanted:
        files += write_tables(folder, tables, int(source.header.get("t_ns") or 0))
    patterns = _patterns(source, warnings)
    if wanted & {"cxi", "nexus"}:
        files += _linked(source, patterns, wanted, progress, lines)
        if patterns is None and "cxi" in wanted and not warnings:
            lines.append(NO_PATTERNS)
    if wanted & {"overview", "report"}:
        overview = overview_png(source, places_of(source.records, source.document.plan))
        if "overview" in wanted:
            (folder / OVERVIEW).parent.mkdir(exist_ok=True)
            write_file(folder / OVERVIEW, overview)
            files.append(folder / OVERVIEW)
        if "report" in wanted:
            per_px = None if patterns is None else patterns.inverse_A_per_px
            files.append(write_report(source, told, overview, per_px, warnings))
    names = ", ".join(str(path.relative_to(folder)) for path in files)
    return [f"{len(files)} files: {names}" if files else "no files", *lines, *warnings]


def _patterns(source: SerialSource, warnings: list[str]) -> Patterns | None:
    """The stack; a geometry that cannot be is said, and files that need none are made all the same."""
    try:
        return source.patterns()
    except DataError as error:
        warnings.append(f"no patterns.cxi, and no patterns in serialed.nxs: {error}")
        return None


def _linked(
    source: SerialSource,
    patterns: Patterns | None,
    wanted: Set[str],
    progress: Progress | None,
    lines: list[str],
) -> list[Path]:
    """The two files that link to frames.h5."""
    files: list[Path] = []
    if patterns is None:
        if "nexus" in wanted:
            nexus.write_nexus(source.folder / nexus.FILE, source, None, None, (0.0, 0.0), "", ())
            files.append(source.folder / nexus.FILE)
        return files
    good = [row.pattern for row in source.tables.crystals if row.is_good] if "cxi" in wanted else []
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, patterns.count)

    looks = look_at_patterns(source, patterns.count, good, more)
    beam_px, beam_told = beam_of(looks, (patterns.nominal_beam_fast_px, patterns.nominal_beam_slow_px))
    lines.append(f"primary beam at fast {beam_px[0]:.2f}, slow {beam_px[1]:.2f} px, {beam_told}")
    if unread := [look for look in looks if look.error]:
        lines.append(f"NOT READ: {len(unread)} of {len(looks)} patterns, such as {unread[0].error}")
    masks = masks_of(patterns, source.correction())
    if "nexus" in wanted:
        path = source.folder / nexus.FILE
        nexus.write_nexus(path, source, patterns, masks, beam_px, beam_told, looks)
        files.append(path)
    if "cxi" in wanted:
        files += cxi.write_cxi(source.folder, source, patterns, masks, beam_px, beam_told, looks)
        lines.append(_peaks_words(looks))
    return files


def _peaks_words(looks: Sequence[PatternLook]) -> str:
    with_peaks = [len(look.peaks) for look in looks if len(look.peaks)]
    if not with_peaks:
        return "no list of spots in patterns.cxi: no pattern was scored as good"
    return f"{sum(with_peaks)} spots of {len(with_peaks)} good patterns in patterns.cxi"
