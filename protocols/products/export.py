"""Export of a finished run: which files, in which order, by how many processes.

The pictures are made by several processes where there are many; instruction files, master file and report by this one.
Every file is written whole or not at all, an export may be stopped at any time and repeated at will, and the run's own
files are only read.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from engine.errors import DataError, Refused
from engine.record.folder import of_this_process
from protocols.products.atomic import write_text
from protocols.products.checkedgeometry import unusual_geometry
from protocols.products.corrections import Clipped
from protocols.products.cred_log import LOG_FILE, cred_log, slot_list
from protocols.products.foundcrystal import FoundCrystal, found_crystal
from protocols.products.metadata import RunHeader, run_header
from protocols.products.picturefiles import PictureFolders, UndistortedFolder
from protocols.products.pictures import Frames, Job, make_frames, name_frames, run_correction, write_placeholders
from protocols.products.processes import Processes, processes, processes_for, stretches
from protocols.products.refinedgeometry import geometry_questions
from protocols.products.runbeam import RunBeam, asked_beam, beam_questions, beam_row, run_beam
from protocols.products.scale import faded
from protocols.products.source import RunInfo, RunSource, open_run
from protocols.products.survey import FrameSurvey, clipped_in, shadowed_slots
from protocols.products.undistorted import UNDISTORTED, undistortion

FORMATS = ("smv", "tiff", "mrc", "nexus", "xds", "dials", "redp", "pets", "report")
"""Made where none is named; `xds` and `dials` bring the SMV pictures along, `redp` the MRC and `pets` the TIFF ones."""

ON_REQUEST = ("autoed", "pyautoprocess")
"""Made where they are named, for single programs; `pyautoprocess` brings the SMV pictures along."""

FLATFIELD_MISSING = "no flatfield in frames.h5: counts are as the detector gave them"

MAKING, NAMING = 9, 1
"""Steps of progress for a frame that is made, and one whose pictures get their headers and names."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export did.

    formats: written, in the order of FORMATS and ON_REQUEST. files: pictures and other files. beam_px: primary beam
    (fast, slow) in all files; beam: how it is known. clipped: in all pictures together. warnings: one line each, for
    people.
    """

    run_dir: Path
    formats: tuple[str, ...]
    frames: int
    gaps: int
    files: int
    beam: RunBeam
    clipped: Clipped
    warnings: tuple[str, ...]

    @property
    def beam_px(self) -> tuple[float, float]:
        """See above."""
        return self.beam.place_px


def export_run(
    run_dir: Path,
    formats: Sequence[str] = FORMATS,
    workers: int | None = None,
    progress: Progress | None = None,
    told: Sequence[tuple[str, str]] = (),
) -> ExportSummary:
    """Export the run in `run_dir` in these formats with this many processes, this one included (None: as many as are
    worth their start).

    progress(done, total) is called in this process, in steps of work; what it raises stops the export. told: the table
    of the run's result, that the report shows as it is. One export of a run at a time. Raises
    Refused for unknown formats (nothing written), DataError for a run that cannot be read, StorageError for a full
    disk, ComputationError for a process that died; files written before an error are whole, the raw spool is untouched.
    """
    wanted = _wanted(formats)
    if workers is not None and workers < 1:
        raise Refused(f"workers={workers}: at least 1 process must do the work; nothing was exported")
    run_dir = Path(run_dir)
    with open_run(run_dir) as source:
        info = source.info
        folders = _folders(info, wanted)
        workers = workers or processes_for(len(info.slot), info.shape)
        steps = _Steps(progress, len(info.slot) * (MAKING + NAMING) + 1)
        job = Job(run_dir, folders, of_this_process(), "report" in wanted)
        frames = Frames(source, job)
        with _pictures_put_aside(folders), processes(workers) as several:
            surveys = _make(several, frames, job, info, steps)
            beam = _beam(info, surveys)
            header = run_header(info, beam.place_px, beam_row(beam), beam.places, shadowed_slots(surveys))
            files = _name(several, frames, job, info, surveys, header, steps) if folders.wanted else 0
        files += _fill_up(info, header, folders)
        crystal, of_crystal = _crystal(info, header)
        warnings = (*_warnings(source, surveys, beam, header.shadowed), *of_crystal, *_not_served(info, wanted))
        files += _other_files(source, header, wanted, crystal)
        if "report" in wanted:
            from protocols.products.report import write_report

            files += write_report(source, header, surveys, warnings, told, crystal)
        steps.add(1)
        return ExportSummary(
            run_dir=run_dir,
            formats=wanted,
            frames=len(info.slot),
            gaps=len(info.gaps),
            files=files,
            beam=beam,
            clipped=clipped_in(surveys),
            warnings=warnings,
        )


def _wanted(formats: Sequence[str]) -> tuple[str, ...]:
    asked = {f.strip().lower() for f in formats if f.strip()}
    known = (*FORMATS, *ON_REQUEST)
    unknown = sorted(asked - set(known))
    if unknown or not asked:
        raise Refused(
            f"formats: {', '.join(unknown) or 'none given'}; known are {', '.join(known)}. Nothing was exported"
        )
    if asked & {"xds", "dials", "pyautoprocess"}:
        asked.add("smv")
    if "redp" in asked:
        asked.add("mrc")
    if "pets" in asked:
        asked.add("tiff")
    return tuple(f for f in known if f in asked)


def _folders(info: RunInfo, wanted: Sequence[str]) -> PictureFolders:
    run_dir, lens = info.folder, undistortion(info) if "dials" in wanted else None
    folders = PictureFolders(
        tiff=run_dir / "tiff" if "tiff" in wanted else None,
        smv=run_dir / "SMV" / "data" if "smv" in wanted else None,
        mrc=run_dir / "RED" if "mrc" in wanted else None,
        undistorted=None if lens is None else UndistortedFolder(run_dir / "SMV" / UNDISTORTED, lens),
    )
    folders.make()
    return folders


@contextmanager
def _pictures_put_aside(folders: PictureFolders) -> Iterator[None]:
    """On an error, or Ctrl-C, what was put aside goes again."""
    try:
        yield
    except BaseException:
        folders.clear()
        raise


def _make(several: Processes, frames: Frames, job: Job, info: RunInfo, steps: "_Steps") -> list[FrameSurvey]:
    found: list[FrameSurvey] = []
    tasks = ((stretch,) for stretch in stretches(len(info.slot), info.shape))
    for seen in several.map(frames.make, partial(make_frames, job), tasks):
        found.extend(seen)
        steps.add(MAKING * len(seen))
    return sorted(found, key=lambda s: s.slot)


def _name(
    several: Processes,
    frames: Frames,
    job: Job,
    info: RunInfo,
    surveys: list[FrameSurvey],
    header: RunHeader,
    steps: "_Steps",
) -> int:
    files = 0
    tasks = ((s, surveys[s.start : s.stop], header) for s in stretches(len(info.slot), info.shape))
    for named in several.map(frames.name, partial(name_frames, job), tasks):
        files += named
        steps.add(NAMING * named // len(job.folders.wanted))
    return files


def _fill_up(info: RunInfo, header: RunHeader, folders: PictureFolders) -> int:
    """Placeholders for the gaps; pictures of an earlier export that are none of this run's go. The files written."""
    kept = set(info.slot.tolist())
    sweeps = [] if folders.smv is None else [(folders.smv, header)]
    if (other := folders.undistorted) is not None:
        sweeps.append((other.path, other.lens.header(header, 0)))
    for kind, folder in folders.wanted:
        is_sweep = any(folder == path for path, _ in sweeps)
        _remove_strays(folder, kind.suffix, kept | set(info.gaps) if is_sweep else kept)
    return sum(write_placeholders(info, there, folder) for folder, there in sweeps)


def _remove_strays(folder: Path, suffix: str, slots: set[int]) -> None:
    """Remove numbered pictures of slots that are not this run's (an earlier export of it saw other frames)."""
    for path in folder.glob(f"[0-9][0-9][0-9][0-9][0-9]{suffix}"):
        if int(path.stem) not in slots:
            path.unlink(missing_ok=True)


def _crystal(info: RunInfo, header: RunHeader) -> tuple[FoundCrystal | None, tuple[str, ...]]:
    """What was found of the crystal, where somebody has looked, and what is to be asked about it."""
    try:
        crystal = found_crystal(info)
    except DataError as error:
        return None, (str(error),)
    if crystal is None or not crystal.determined:
        return crystal, ()
    return crystal, tuple(geometry_questions(info, header, crystal))


def _other_files(source: RunSource, header: RunHeader, wanted: Sequence[str], crystal: FoundCrystal | None) -> int:
    info, run_dir = source.info, source.info.folder
    texts: dict[Path, tuple[str, str]] = {}
    files = 0
    if "xds" in wanted:
        texts[run_dir / "SMV" / "XDS.INP"] = _xds(info, header, crystal)
        files += 2 * (info.distortion_amplitude_percent != 0)
    if "dials" in wanted:
        from protocols.products.dials import dials_scripts

        scripts = dials_scripts(info, header, crystal)
        texts[run_dir / "SMV" / "dials.sh"] = (scripts.sh, "\n")
        texts[run_dir / "SMV" / "dials.bat"] = (scripts.bat, "\r\n")
        texts[run_dir / "SMV" / "dials_between.py"] = (scripts.between, "\n")
    if "redp" in wanted:
        from protocols.products.redp import ed3d

        texts[run_dir / "RED" / "1.ed3d"] = (ed3d(info, header), "\n")
    if "pets" in wanted:
        from protocols.products.pets import pts2

        texts[run_dir / "pets.pts2"] = (pts2(info, header, crystal), "\n")
    for path, (text, newline) in texts.items():
        write_text(path, text, newline)
    if "nexus" in wanted:
        _nexus(source, header)
        files += 1
    files += _on_request(source, header, wanted)
    write_text(run_dir / LOG_FILE, cred_log(info, header))  # last: programs that watch begin with it
    return files + len(texts) + 1


def _xds(info: RunInfo, header: RunHeader, crystal: FoundCrystal | None) -> tuple[str, str]:
    from protocols.products.cbf import write_cbf
    from protocols.products.distortion import tables
    from protocols.products.xds import xds_inp

    distorted = info.distortion_amplitude_percent != 0
    if distorted:
        beam = (header.beam_fast_px, header.beam_slow_px)
        x, y = tables(info.shape, beam, info.distortion_amplitude_percent, info.distortion_azimuth_deg)
        write_cbf(info.folder / "SMV" / "XCORR.cbf", x)
        write_cbf(info.folder / "SMV" / "YCORR.cbf", y)
    return xds_inp(info, header, distorted, crystal), "\n"


def _nexus(source: RunSource, header: RunHeader) -> None:
    from protocols.products.corrections import untrusted
    from protocols.products.cross import spread
    from protocols.products.nexus import write_nexus

    info, correct = source.info, run_correction(source)
    dead = correct.dead if correct.dead is not None else np.zeros(info.raw_shape, dtype=bool)
    response = None if correct.gain is None else (1 / correct.gain).astype(np.float32)
    if info.wide_cross:
        dead = spread(dead)
        response = None if response is None else spread(response)
    mask = untrusted(info.raw_shape, info.wide_cross, correct.dead)
    write_nexus(info.folder / "master.nxs", info, header, mask, dead, response)


def _on_request(source: RunSource, header: RunHeader, wanted: Sequence[str]) -> int:
    from protocols.products.autoed import write_autoed
    from protocols.products.corrections import untrusted
    from protocols.products.pyautoprocess import write_pyautoprocess

    info, files = source.info, 0
    if not set(ON_REQUEST) & set(wanted):
        return files
    mask = untrusted(info.raw_shape, info.wide_cross, run_correction(source).dead)
    if "autoed" in wanted:
        files += write_autoed(info, header, mask)
    if "pyautoprocess" in wanted:
        files += write_pyautoprocess(info, header, mask, info.folder / "SMV" / "data")
    return files


def _not_served(info: RunInfo, wanted: Sequence[str]) -> Iterator[str]:
    """What a format cannot be used for with this run's pictures."""
    from protocols.products.autoed import not_converted
    from protocols.products.pyautoprocess import not_square

    if "autoed" in wanted:
        yield from not_converted(info)
    if "pyautoprocess" in wanted:
        yield from not_square(info)


def _beam(info: RunInfo, surveys: list[FrameSurvey]) -> RunBeam:
    nominal_px = (info.nominal_beam_fast_px, info.nominal_beam_slow_px)
    return run_beam(surveys, nominal_px, asked_beam(info.plan), info.shape, info.oscillation_deg)


def _warnings(source: RunSource, surveys: list[FrameSurvey], beam: RunBeam, shadow: tuple[int, ...]) -> Iterator[str]:
    info = source.info
    if source.flatfield() is None:
        yield f"{info.folder / 'frames.h5'}: {FLATFIELD_MISSING}"
    yield from unusual_geometry(info)
    yield from beam_questions(beam, str(info.folder))
    clipped = clipped_in(surveys)
    if clipped.total:
        yield f"{clipped}: they did not fit into 16 bits; each header says how many, frames.h5 has them as they were"
    if shadow:
        yield (
            f"in slots {slot_list(shadow)} something stood in the beam, a grid bar or the holder: XDS.INP and dials.sh "
            "leave them out"
        )
    if slots := [slot for slot in faded(surveys) if slot not in shadow]:
        yield (
            f"in slots {slot_list(tuple(slots))} the spots have less than an eighth of their usual counts: did the "
            "crystal leave the beam?"
        )
    if info.status != "done":
        yield f"the run ended as {info.status!r}; what it kept was exported"


class _Steps:
    """Progress in frames looked at and frames written."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, n: int) -> None:
        self._done = min(self._done + n, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total)
