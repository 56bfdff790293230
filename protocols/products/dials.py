"""dials.sh and dials.bat: the SMV pictures beside them through DIALS, from import to export, without a hand edit.

One sweep with zero pictures in the gaps (the way of Cichocka et al., 2018): gaps and frames in a shadow are left out of
spot finding by `scan_range` and of integration by `exclude_images`. The axis is always given, for DIALS' class of the
Timepix camera has one built in. The camera length correlates with the cell and is kept. Where the lens has an ellipse,
DIALS gets pictures without it (`undistorted.py`): it has maps for this, but 3.12 does not read them when it indexes and
refines (tried), and reads them when it integrates.

What no option of a DIALS program does is done between them by `dials_between.py`, which is written beside the scripts:
reflections cut by a gap, and no more corrections than the data determine.
"""

from dataclasses import dataclass
from pathlib import Path

from protocols.products.cross import wide_range
from protocols.products.foundcrystal import FoundCrystal
from protocols.products.metadata import RunHeader
from protocols.products.source import RunInfo, ranges
from protocols.products.undistorted import UNDISTORTED, Undistortion, undistortion

D_MIN_A = 0.8

MIN_SPOT_PX = 6
"""Smaller spots are mostly ends of reflections that a gap has cut; their angles are off, and spoil refinement."""

HALO_PX = 25
"""Spots this near to the primary beam are not looked for: on the steep halo noise passes for spots."""


BETWEEN = "../dials_between.py"
"""Stands in the steps for a call of that program, by DIALS' Python."""


@dataclass(frozen=True, slots=True)
class DialsScripts:
    """The texts of dials.sh, of dials.bat (to be written with CR LF) and of dials_between.py, which both call."""

    sh: str
    bat: str
    between: str


def dials_scripts(info: RunInfo, run: RunHeader, crystal: FoundCrystal | None = None) -> DialsScripts:
    """All for one run; they write into the folder `dials` beside them. crystal: what was found of it, if anything."""
    between = Path(__file__).with_name("dials_between.py").read_text(encoding="utf-8")
    return DialsScripts(_shell(info, run, known := _known(crystal)), _batch(info, run, known), between)


def import_arguments(run: RunHeader) -> list[str]:
    """What dials.import has to be told beyond the headers, for any version."""
    axis = ",".join(f"{c:.6f}" for c in run.rotation.axis)
    # Pixels without a count are measured (newer readings of ADSC pictures would mask them), saturated ones are not.
    # DIALS' class for the Timepix does not know where that one saturates.
    trusted = f"geometry.detector.panel.trusted_range=-1,{run.saturation - 1}"
    arguments = [f"geometry.goniometer.axes={axis}", trusted]
    if not run.timepix_516:
        arguments.append("geometry.detector.panel.gain=1")
    return arguments


def _known(crystal: FoundCrystal | None) -> str:
    """The setting matrix at angle 0 for dials_between.py; empty where none is determined."""
    if crystal is None or not crystal.determined:
        return ""
    return ",".join(f"{x:.6f}" for x in crystal.ub_as_told.reshape(-1))


def _steps(info: RunInfo, run: RunHeader, d_min: str, nproc: str, gaps: str, lattice: str = "") -> list[list[str]]:
    """The programs and their arguments, in order; the four texts are variables of the script's language.

    lattice: empty where none is known.
    """
    masked, lens = "imported.expt", undistortion(info)
    pictures = f"template=../{'data' if lens is None else UNDISTORTED}/#####.img"
    steps = [["dials.import", pictures, *import_arguments(run), "output.experiments=imported.expt"]]
    if untrusted := _untrusted(info, run, lens):
        steps += [
            ["dials.generate_mask", "imported.expt", *untrusted, "output.mask=cross.mask"],
            ["dials.apply_mask", "imported.expt", "input.mask=cross.mask", "output.experiments=masked.expt"],
        ]
        masked = "masked.expt"
    without_data = run.without_data(info)
    kept = [f"scan_range={a},{b}" for a, b in ranges(run.measured(info))] if without_data else []
    steps += [
        [
            "dials.find_spots",
            masked,
            *kept,
            f"filter.d_min={d_min}",
            f"filter.min_spot_size={MIN_SPOT_PX}",
            f"filter.d_max={1 / (HALO_PX * run.angstrom_per_px):.3f}",
            f"nproc={nproc}",
            "output.reflections=strong.refl",
        ],
        # A reflection that passes during a gap is found in two parts, of which simple assignment drops one.
        *([[BETWEEN, "lattice", masked, lattice]] if lattice else []),
        [
            "dials.index",
            "known.expt" if lattice else masked,
            "strong.refl",
            "detector.fix=distance",
            "index_assignment.method=local",
        ],
        ["dials.refine", "indexed.expt", "indexed.refl", "detector.fix=distance"],
        *([[BETWEEN, "exclude", "refined.expt", gaps]] if without_data else []),
        [
            "dials.integrate",
            "refined.expt",
            "refined.refl",
            *(["exclude.phil"] if without_data else []),
            f"prediction.d_min={d_min}",
            f"nproc={nproc}",
        ],
        [BETWEEN, "correct", "integrated.expt", "integrated.refl", *([gaps] if without_data else [])],
        # Its default scales intensities by three directions first, for which a few hundred are too few; ml_iso fails
        # for cells of a few atoms.
        ["dials.symmetry", "integrated.expt", "whole.refl", "normalisation=kernel"],
        [BETWEEN, "scaling", "symmetrized.expt", "symmetrized.refl"],
        ["dials.scale", "symmetrized.expt", "symmetrized.refl", f"d_min={d_min}", "scaling.phil"],
        [BETWEEN, "level", "symmetrized.expt", "symmetrized.refl", "scaled.refl"],
        ["dials.export", "scaled.expt", "scaled.refl"],
        [BETWEEN, "told", "scaled.expt", "scaled.refl"],
    ]
    return steps


def _untrusted(info: RunInfo, run: RunHeader, lens: Undistortion | None) -> list[str]:
    """What dials.generate_mask is told: the cross, and edges that are empty since the pictures were moved."""
    rows, columns = run.shape
    strips = []
    if info.wide_cross:
        (top, below), (left, right) = wide_range(info.raw_shape[0]), wide_range(info.raw_shape[1])
        strips = [(left, right, 0, rows), (0, columns, top, below)]
    if lens is None:
        return [f"untrusted.rectangle={','.join(map(str, strip))}" for strip in strips]
    outlines = [lens.outline(left, top, right, bottom) for left, right, top, bottom in strips]
    polygons = [f"untrusted.polygon={','.join(map(str, outline))}" for outline in outlines]
    return [f"border={lens.border_px}", *polygons]


def _gap_words(info: RunInfo, run: RunHeader) -> str:
    """The slots without a picture, or with one in a shadow: 10 20-21."""
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges(run.without_data(info)))


MISSING = "DIALS is not installed, or not on the PATH; nothing was done. See dials.github.io/installation.html"
NO_PYTHON = "found no Python that has DIALS (dials.python, libtbx.python, cctbx.python); nothing was done"

SHELL_BEGIN = rf"""set -e
cd "$(dirname "$0")"
if ! command -v dials.import >/dev/null 2>&1; then
  echo "dials.sh: {MISSING}" >&2
  exit 1
fi
# DIALS' own Python: dials_between.py reads and writes DIALS' files.
ITS="$(sed -n '1s/^#! *\(\/usr\/bin\/env  *\)*\(.*python[0-9.]*\)$/\2/p' "$(command -v dials.import)" || true)"
for PYTHON in dials.python libtbx.python cctbx.python "$ITS" none; do
  if [ -n "$PYTHON" ] && "$PYTHON" -c 'import dials.util' >/dev/null 2>&1; then break; fi
done
if [ "$PYTHON" = none ]; then
  echo "dials.sh: {NO_PYTHON}" >&2
  exit 1
fi
step() {{
  echo "dials.sh: $*"
  if "$@"; then return; fi
  echo "dials.sh: this step failed: $*" >&2
  echo "dials.sh: the steps before it are done, no step after it; their files and logs are in $(pwd)" >&2
  exit 1
}}
mkdir -p dials
cd dials
"""


def _shell(info: RunInfo, run: RunHeader, known: str) -> str:
    lines = [
        "#!/bin/sh",
        f"# {run.program}: run {run.run_id}, sample {run.sample}",
        "# Processes this run with DIALS 3.12 or newer; results in the folder dials.",
        "# Settings, for example: D_MIN=0.9 NPROC=4 sh dials.sh",
        SHELL_BEGIN.rstrip(),
        f"D_MIN=${{D_MIN:-{D_MIN_A}}}",
        "NPROC=${NPROC:-2}",
        *(
            [f"GAPS='{gaps}' # slots without a picture, or with one in a shadow"]
            if (gaps := _gap_words(info, run))
            else []
        ),
        *(
            [
                "# The lattice that these frames have told; LATTICE=none has dials.index look for one.",
                f"LATTICE=${{LATTICE:-{known}}}",
            ]
            if known
            else []
        ),
        "dials.version",
    ]
    for step in _steps(info, run, "$D_MIN", "$NPROC", "$GAPS", "$LATTICE" if known else ""):
        words = ['"$PYTHON"', *step] if step[0] == BETWEEN else step
        lines.append("step " + " \\\n  ".join(_shell_word(word) for word in words))
    return "\n".join(lines) + "\n"


def _shell_word(word: str) -> str:
    if word == "$GAPS":  # several words
        return word
    return f'"{word}"' if any(c in word for c in "#$ ") and not word.startswith('"') else word


BATCH_BEGIN = f"""setlocal
cd /d "%~dp0"
where dials.import >nul 2>nul
if errorlevel 1 (echo dials.bat: {MISSING}& exit /b 1)
rem DIALS' own Python: dials_between.py reads and writes DIALS' files.
set PYTHON=
for %%P in (dials.python libtbx.python cctbx.python python) do (
  if not defined PYTHON call %%P -c "import dials.util" >nul 2>nul && set PYTHON=%%P
)
if not defined PYTHON (
  echo dials.bat: {NO_PYTHON.replace("(", "^(").replace(")", "^)")}
  exit /b 1
)
if not exist dials mkdir dials
cd dials
"""


def _batch(info: RunInfo, run: RunHeader, known: str) -> str:
    lines = [
        "@echo off",
        f"rem {run.program}: run {run.run_id}, sample {run.sample}",
        "rem Processes this run with DIALS 3.12 or newer; results in the folder dials.",
        BATCH_BEGIN.rstrip(),
        f"if not defined D_MIN set D_MIN={D_MIN_A}",
        "if not defined NPROC set NPROC=2",
        *([f"set GAPS={gaps}"] if (gaps := _gap_words(info, run)) else []),
        *(
            [
                "rem The lattice that these frames have told; with LATTICE=none dials.index looks for one.",
                f"if not defined LATTICE set LATTICE={known}",
            ]
            if known
            else []
        ),
        "call dials.version || goto failed",
    ]
    for step in _steps(info, run, "%D_MIN%", "%NPROC%", "%GAPS%", "%LATTICE%" if known else ""):
        name = step[0] if step[0] != BETWEEN else f"dials_between.py {step[1]}"
        words = ["%PYTHON%", *step] if step[0] == BETWEEN else step
        lines += [f"set STEP={name}", "call " + " ^\n  ".join(map(_batch_word, words)) + " || goto failed"]
    lines += [
        "exit /b 0",
        ":failed",
        "echo dials.bat: the step %STEP% failed; the steps before it are done, no step after it. See the logs in %CD%",
        "exit /b 1",
    ]
    return "\n".join(lines) + "\n"


def _batch_word(word: str) -> str:
    if word in ("%GAPS%", "%PYTHON%"):  # several words, and a command
        return word
    return f'"{word}"' if any(c in word for c in "#%=, ") else word
