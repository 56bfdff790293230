"""dials.sh and dials.bat: the SMV pictures beside them through DIALS, from import to export, without a hand edit.

One sweep with zero pictures in the gaps (the way of Cichocka et al., 2018): the gaps are left out of spot finding by
`scan_range` and of integration by `exclude_images`. The syntax of the latter has changed between 3.12 and 3.28;
the script asks the installed dials.integrate which one it explains. The axis is always given, for DIALS' class of
the Timepix camera has one built in. The camera length correlates with the cell and is kept. Elliptical distortion is
not corrected: DIALS has maps for it, but 3.12 does not read them when it indexes and refines (tried), and reads them
when it integrates.
"""

from dataclasses import dataclass

from protocols.products.cross import wide_range
from protocols.products.metadata import RunHeader
from protocols.products.source import RunInfo, ranges

OLD_SYNTAX_HINT = "1,2,3,4,5"
"""Stands in the help of exclude_images where single numbers are asked for."""

D_MIN_A = 0.8

MIN_SPOT_PX = 6
"""Smaller spots are mostly ends of reflections that a gap has cut; their angles are off, and spoil refinement."""

HALO_PX = 25
"""Spots this near to the primary beam are not looked for: on the steep halo noise passes for spots."""


@dataclass(frozen=True, slots=True)
class DialsScripts:
    """The texts of dials.sh and of dials.bat (to be written with CR LF)."""

    sh: str
    bat: str


def dials_scripts(info: RunInfo, run: RunHeader) -> DialsScripts:
    """Both scripts for one run; they write into the folder `dials` beside them."""
    gaps = info.gaps
    # 3.12 counts from 0 here, from the first image: 9 is image 10 (its help does not say so; tried).
    old = ["exclude_images=" + ",".join(str(k - info.first_slot) for k in gaps)] if gaps else []
    new = ["exclude_images=" + ",".join(f"0:{a}:{b}" for a, b in ranges(gaps))] if gaps else []
    return DialsScripts(_shell(info, run, old, new), _batch(info, run, old, new))


def import_arguments(run: RunHeader) -> list[str]:
    """What dials.import has to be told beyond the headers, for any version."""
    axis = ",".join(f"{c:.6f}" for c in run.rotation.axis)
    arguments = [f"geometry.goniometer.axes={axis}"]
    if not run.timepix_516:
        # Newer readings of ADSC pictures trust 1 .. 65534 only, which would mask pixels without a count.
        arguments += ["geometry.detector.panel.trusted_range=-1,65534", "geometry.detector.panel.gain=1"]
    return arguments


def _steps(info: RunInfo, run: RunHeader, d_min: str, nproc: str, exclude: str) -> list[list[str]]:
    """The programs and their arguments, in order; the three texts are variables of the script's language."""
    masked = "imported.expt"
    steps = [["dials.import", "template=../data/#####.img", *import_arguments(run), "output.experiments=imported.expt"]]
    if info.wide_cross:
        rows, columns = run.shape
        (top, below), (left, right) = wide_range(info.raw_shape[0]), wide_range(info.raw_shape[1])
        steps += [
            [
                "dials.generate_mask",
                "imported.expt",
                f"untrusted.rectangle={left},{right},0,{rows}",
                f"untrusted.rectangle=0,{columns},{top},{below}",
                "output.mask=cross.mask",
            ],
            ["dials.apply_mask", "imported.expt", "input.mask=cross.mask", "output.experiments=masked.expt"],
        ]
        masked = "masked.expt"
    kept = [f"scan_range={a},{b}" for a, b in ranges(info.slot.tolist())] if info.gaps else []
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
        ["dials.index", masked, "strong.refl", "detector.fix=distance", "index_assignment.method=local"],
        ["dials.refine", "indexed.expt", "indexed.refl", "detector.fix=distance"],
        [
            "dials.integrate",
            "refined.expt",
            "refined.refl",
            *([exclude] if info.gaps else []),
            f"prediction.d_min={d_min}",
            f"nproc={nproc}",
        ],
        ["dials.symmetry", "integrated.expt", "integrated.refl"],
        ["dials.scale", "symmetrized.expt", "symmetrized.refl", f"d_min={d_min}"],
        ["dials.export", "scaled.expt", "scaled.refl"],
    ]
    return steps


def _shell(info: RunInfo, run: RunHeader, old: list[str], new: list[str]) -> str:
    lines = [
        "#!/bin/sh",
        f"# {run.program}: run {run.run_id}, sample {run.sample}",
        "# Processes this run with DIALS 3.12 or newer; results in the folder dials.",
        "# Settings, for example: D_MIN=0.9 NPROC=4 sh dials.sh",
        "set -e",
        'cd "$(dirname "$0")"',
        "mkdir -p dials",
        "cd dials",
        f"D_MIN=${{D_MIN:-{D_MIN_A}}}",
        "NPROC=${NPROC:-2}",
        "dials.version",
    ]
    if info.gaps:
        lines += [
            f"if dials.integrate -c -a 2 | grep -q '{OLD_SYNTAX_HINT}'; then",
            f"  EXCLUDE='{old[0]}'",
            "else",
            f"  EXCLUDE='{new[0]}'",
            "fi",
        ]
    for step in _steps(info, run, "$D_MIN", "$NPROC", "$EXCLUDE"):
        lines.append(" \\\n  ".join(_shell_word(word) for word in step))
    return "\n".join(lines) + "\n"


def _shell_word(word: str) -> str:
    return f'"{word}"' if any(c in word for c in "#$ ") else word


def _batch(info: RunInfo, run: RunHeader, old: list[str], new: list[str]) -> str:
    lines = [
        "@echo off",
        f"rem {run.program}: run {run.run_id}, sample {run.sample}",
        "rem Processes this run with DIALS 3.12 or newer; results in the folder dials.",
        "setlocal",
        'cd /d "%~dp0"',
        "if not exist dials mkdir dials",
        "cd dials",
        f"if not defined D_MIN set D_MIN={D_MIN_A}",
        "if not defined NPROC set NPROC=2",
        "call dials.version || exit /b 1",
    ]
    if info.gaps:
        lines += [
            f'set "EXCLUDE={new[0]}"',
            f'call dials.integrate -c -a 2 | findstr /C:"{OLD_SYNTAX_HINT}" >nul && set "EXCLUDE={old[0]}"',
        ]
    for step in _steps(info, run, "%D_MIN%", "%NPROC%", "%EXCLUDE%"):
        words = [f'"{word}"' if any(c in word for c in "#%=, ") else word for word in step]
        lines.append("call " + " ^\n  ".join(words) + " || exit /b 1")
    return "\n".join(lines) + "\n"
