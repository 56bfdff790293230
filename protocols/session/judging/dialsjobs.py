"""DIALS on the data sets of a session, where it is installed: each run's own `dials.sh`, and what follows of a phase.

The jobs leave the processors to everything else (nice). What `dials.sh` leaves is kept: a run whose integrated
reflections stand there is not processed again. Of each phase a script is written with the paths of all its data sets:
`dials.cosym` (index alike) and `dials.scale`; xia2.multiplex takes the same files. It can be run by hand, elsewhere, or
here.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.clock import NS_PER_S, RealClock
from engine.errors import shown
from protocols.products.atomic import make_folder, write_text
from protocols.session.judging.mergedfiles import name_of
from protocols.session.judging.phases import Phase

SCRIPT = "SMV/dials.bat" if sys.platform == "win32" else "SMV/dials.sh"
RESULTS = "SMV/dials"
EXPERIMENTS, REFLECTIONS = "integrated.expt", "whole.refl"
"""Of a run, before symmetry and scaling; in `whole.refl` gaps and partial reflections are corrected for."""
LONGEST_S = 3600.0
"""A job that takes longer is ended."""
LOG = "dials.log"


@dataclass(frozen=True, slots=True)
class DialsJob:
    """folder: of the run. d_min_A: how far it integrates."""

    number: int
    folder: Path
    d_min_A: float


@dataclass(frozen=True, slots=True)
class DialsOutcome:
    """why_not: in words, empty where its files are there. seconds: that it took; 0 where they were there before."""

    number: int
    folder: Path
    why_not: str
    seconds: float = 0.0

    @property
    def files(self) -> tuple[Path, Path]:
        """Experiments and reflections."""
        return files_of(self.folder)


def files_of(run: Path) -> tuple[Path, Path]:
    """Where DIALS leaves the experiments and reflections of a run."""
    return run / RESULTS / EXPERIMENTS, run / RESULTS / REFLECTIONS


def is_processed(run: Path) -> bool:
    """Whether DIALS has integrated it."""
    return all(path.is_file() for path in files_of(run))


def is_installed() -> bool:
    """Whether the programs of DIALS are on the PATH."""
    return shutil.which("dials.import") is not None


def processed(job: DialsJob) -> DialsOutcome:
    """For an executor: runs `dials.sh` of a run. Does not raise. A minute or some."""
    if is_processed(job.folder):
        return DialsOutcome(job.number, job.folder, "")
    script = job.folder / SCRIPT
    if not script.is_file():
        why = f"it has no {SCRIPT}; credline export {job.folder} --formats dials,smv writes it"
        return DialsOutcome(job.number, job.folder, why)
    said, seconds = _ran(script, {"D_MIN": f"{job.d_min_A:g}", "NPROC": "1"}, job.folder / "SMV" / LOG)
    why = "" if is_processed(job.folder) else (said or f"it left no {REFLECTIONS}; see {job.folder / 'SMV' / LOG}")
    return DialsOutcome(job.number, job.folder, why, seconds)


@dataclass(frozen=True, slots=True)
class PhaseJob:
    """script: of a phase, as `write_list` made it."""

    number: int
    script: Path


@dataclass(frozen=True, slots=True)
class PhaseOutcome:
    """What dials.scale says of a phase: by its log, of all shells together; None where it does not say it."""

    number: int
    why_not: str
    seconds: float
    completeness: float | None = None
    multiplicity: float | None = None
    r_meas: float | None = None
    cc_half: float | None = None


def scaled(job: PhaseJob) -> PhaseOutcome:
    """For an executor: runs the script of a phase. Does not raise."""
    folder = job.script.with_suffix("")
    said, seconds = _ran(job.script, {}, folder / LOG)
    try:
        text = (folder / "dials.scale.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return PhaseOutcome(job.number, said or f"it left no log; see {folder / LOG}", seconds)
    told = statistics_in(text)
    return PhaseOutcome(job.number, said if not told else "", seconds, **told)


ROWS = {"Completeness": "completeness", "Multiplicity": "multiplicity", "Rmeas(I)": "r_meas", "CC half": "cc_half"}


def statistics_in(log: str) -> dict[str, float]:
    """The overall figures of the last summary in a log of dials.scale. Completeness as a share."""
    found: dict[str, float] = {}
    for line in log.splitlines():
        for head, name in ROWS.items():
            if match := re.match(rf"\s*{re.escape(head)}\s+(-?[\d.]+)", line):
                value = float(match.group(1))
                found[name] = round(value / 100, 6) if name == "completeness" else value
    return found


def write_list(folder: Path, phase: Phase, runs: Sequence[Path], without: Sequence[Path], d_min_A: float) -> Path:
    """NAME.sh: paths of the data sets that DIALS has processed, and the commands that merge them. without: runs that it
    has not.
    """
    make_folder(folder)
    path = folder / f"{name_of(phase)}.sh"
    pairs = [file for run in runs for file in files_of(run)]
    arguments = " \\\n  ".join(_quoted(_seen_from(file, folder / name_of(phase))) for file in pairs)
    lines = [
        "#!/bin/sh",
        f"# {phase.words}",
        f"# {len(runs)} of them processed by DIALS. xia2.multiplex takes the same files: DATA below.",
        *(f"# not processed by DIALS yet: {run}" for run in without),
        "set -e",
        f'cd "$(dirname "$0")" && mkdir -p {name_of(phase)} && cd {name_of(phase)}',
    ]
    if pairs:
        lines += [
            f"set -- \\\n  {arguments}",
            'if [ "$MULTIPLEX" = yes ]; then exec xia2.multiplex "$@"; fi',
            'dials.cosym "$@"',
            f'dials.scale symmetrized.expt symmetrized.refl "d_min=${{D_MIN:-{d_min_A:g}}}"',
            "dials.export scaled.expt scaled.refl",
        ]
    else:
        lines.append('echo "no data set of this phase was processed by DIALS yet" >&2; exit 1')
    write_text(path, "\n".join(lines) + "\n")
    return path


def _seen_from(file: Path, folder: Path) -> str:
    """A relative path where both are on one disk: the session's folder may be moved."""
    try:
        return PurePosixPath(Path(os.path.relpath(file, folder)).as_posix()).as_posix()
    except ValueError:
        return str(file)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _ran(script: Path, settings: dict[str, str], log: Path) -> tuple[str, float]:
    """Run a script at the lowest priority; what is wrong, in words, and how long it took."""
    clock = RealClock()
    try:
        make_folder(log.parent)
        with log.open("wb") as file:
            done = subprocess.run(
                _command(script.resolve()),
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=LONGEST_S,
                check=False,
                creationflags=getattr(subprocess, "IDLE_PRIORITY_CLASS", 0),
            )
    except subprocess.TimeoutExpired:
        return f"it was ended after {LONGEST_S:.0f} s", clock.now_ns() / NS_PER_S
    except OSError as error:
        return f"{script}: {shown(error)}", clock.now_ns() / NS_PER_S
    said = "" if done.returncode == 0 else f"{script} failed (status {done.returncode}): {_last_line(log)}"
    return said, clock.now_ns() / NS_PER_S


def _command(script: Path) -> list[str]:
    if sys.platform == "win32":
        return ["cmd", "/c", str(script)]
    nice = ["nice", "-n", "19"] if shutil.which("nice") else []
    return [*nice, "sh", str(script)]


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return shown(lines[-1] if lines else "it said nothing", 300)
