"""Exports of finished runs, one or many: each alone in its folder, and what failed for its files alone is mended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import CredlineError, Refused, shown
from engine.record.document import RunDocument
from engine.record.lock import alone_in
from engine.run.contract import AnyExperiment, ExperimentType
from engine.run.correcting import mend
from engine.run.registry import experiment_type


@dataclass(frozen=True, slots=True)
class ExportJob:
    """A run, and what is wanted of it; without `formats` the usual ones."""

    run: Path
    formats: tuple[str, ...]


def kind_of(run: Path) -> AnyExperiment:
    """Which experiment it is. Raises DataError for a folder that is no run's, Refused for a protocol not installed."""
    return experiment_type(RunDocument.read(run).protocol)


def export_of(
    kind: AnyExperiment, run: Path, formats: Sequence[str], progress: Callable[[int, int], None]
) -> Sequence[str]:
    """Make the files of a run that is locked; lines for a person. Raises what `ExperimentType.export` raises."""
    wanted = formats or kind.usual_formats(run)
    made = kind.export(run, wanted, progress)
    if not formats and (mended := mend(kind, run)):
        made = (*made, mended)
        kind.export(run, wanted, lambda done, total: None)  # the files say how the run ended
    return made


def exported(job: ExportJob) -> tuple[ExportJob, tuple[str, ...], str]:
    """For an executor: the job, lines about what was made, and why it failed or nothing. Does not raise."""
    try:
        with alone_in(job.run):
            return job, tuple(export_of(kind_of(job.run), job.run, job.formats, lambda done, total: None)), ""
    except (CredlineError, OSError) as error:
        return job, (), shown(error, 500)
    except Exception as error:  # somebody's protocol: the other runs are none the worse for it
        return job, (), f"internal error ({type(error).__name__}: {shown(error, 300)})"


def jobs_of(runs: Sequence[Path], wanted: Sequence[str]) -> tuple[list[ExportJob], list[Path], dict[Path, str]]:
    """What there is to do for many runs; those whose protocol makes none of this; and those that cannot be read, and
    why. Refused, nothing written, for a format that none of their protocols makes.
    """
    work: list[ExportJob] = []
    passed_over: list[Path] = []
    unread: dict[Path, str] = {}
    known: dict[str, None] = {}
    for run in runs:
        try:
            kind = kind_of(run)
        except CredlineError as error:
            unread[run] = str(error)
            continue
        known |= dict.fromkeys(kind.formats)
        own = tuple(name for name in wanted if name in kind.formats)
        makes = bool(own) if wanted else type(kind).export is not ExperimentType.export
        if makes:
            work.append(ExportJob(run, own))
        else:
            passed_over.append(run)
    if unknown := sorted(set(wanted) - set(known)):
        raise Refused(
            f"--formats: {unknown[0]!r} is not one of {', '.join(known) or 'those of any of these runs'}; nothing was "
            "written."
        )
    return work, passed_over, unread
