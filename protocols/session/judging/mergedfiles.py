"""What merging leaves on the disk: of each phase the merged and the single intensities, and `merged.json` of all.

`merged.json` is what the report and other programs read: `phases`, each with its figures, shells, data sets, and
what was left out and why; `unplaced`; `data_sets`. Every file is whole or as it was.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.record.jsonobject import JsonDict
from protocols.integration.merging import Shell
from protocols.integration.reflectionfiles import cif_text, write_mtz
from protocols.integration.shelx import hkl_text, ins_text
from protocols.products.atomic import make_folder, replacing, write_file, write_text
from protocols.session.judging.coverage import Reach
from protocols.session.judging.dataset import DataSet
from protocols.session.judging.merging import MergedPhase
from protocols.session.judging.phases import Phase

Array = NDArray[np.float64]

FOLDER = "merged"
"""In the folder of the session."""
FILE = "merged.json"
SCHEMA = 1


def name_of(phase: Phase) -> str:
    """Of its files."""
    return f"phase_{phase.number}"


def write_phase(folder: Path, title: str, wavelength_A: float, told: MergedPhase) -> list[Path]:
    """NAME.mtz, .cif (merged) and .hkl, .ins (every observation, scaled, for SHELX). None where nothing was merged."""
    if told.merged is None or told.observed is None:
        return []
    make_folder(folder)
    phase, name = told.phase, name_of(told.phase)
    cell = phase.bravais.cell
    about = (wavelength_A, cell, conventional_sigma(phase), told.group)
    hkl, intensity, sigma = told.observed
    texts = {
        "cif": cif_text(f"{title} {name}", *about, told.merged),
        "hkl": hkl_text(hkl, intensity, sigma),
        "ins": ins_text(f"{title} {name}", *about, None),
    }
    for ending, text in texts.items():
        write_file(folder / f"{name}.{ending}", text.encode())
    with replacing(folder / f"{name}.mtz") as part:
        write_mtz(part, f"{title} {name}", wavelength_A, cell, told.group, told.merged)
    return [folder / f"{name}.{ending}" for ending in ("mtz", *texts)]


def conventional_sigma(phase: Phase) -> Array:
    """(6,) standard deviations of the conventional cell, as if those of the primitive one were independent."""
    numbers = np.array(phase.cell.parameters)
    whole = np.zeros(6)
    for place, sigma in enumerate(phase.sigma.tolist()):
        moved = [numbers + way * sigma * np.eye(6)[place] for way in (1, -1)]
        more, less = (
            np.array(phase.bravais.conventional(type(phase.cell)(*each.tolist()).metric).parameters) for each in moved
        )
        whole += ((more - less) / 2) ** 2
    return np.asarray(np.sqrt(whole))


def told_of(told: MergedPhase, reach: Reach, files: Sequence[Path]) -> JsonDict:
    """A phase as `merged.json` has it."""
    phase, attainable = told.phase, reach.attainable
    return {
        "number": phase.number,
        "words": phase.words,
        "lattice": phase.bravais.symbol,
        "cell": [round(value, 4) for value in phase.bravais.cell.parameters],
        "cell_sigma": [round(value, 4) for value in conventional_sigma(phase).tolist()],
        "data_sets": [each.number for each in phase.data_sets],
        "merged": [each.number for each in told.placed],
        "left_out": [{"number": number, "why": why} for number, why in sorted(told.left_out.items())],
        "doubts": [*phase.doubts, *told.words],
        "group": told.group.xhm(),
        "laue": told.group.laue_str(),
        "d_min_A": told.d_min_A,
        "passed": round(reach.share(reach.together), 4),
        "attainable": round(attainable.share, 4),
        "attainable_words": attainable.words,
        **(_shell(told.whole) if told.whole is not None else {}),
        "shells": [] if told.merged is None else [_shell(each) for each in told.merged.shells],
        "scales": [
            {"number": each.number, "scale": round(each.scale, 4), "b_A2": round(each.b_A2, 3), "cc": _rounded(each.cc)}
            for each in told.placed
        ],
        "files": [path.name for path in files],
    }


def _shell(shell: Shell) -> JsonDict:
    return {
        "from_A": round(min(shell.from_A, 99.0), 3),
        "to_A": round(shell.to_A, 3),
        "observations": shell.observations,
        "unique": shell.unique,
        "completeness": round(shell.completeness, 4),
        "multiplicity": round(shell.multiplicity, 2),
        "i_over_sigma": round(shell.i_over_sigma, 2),
        "r_meas": _rounded(shell.r_meas),
        "cc_half": _rounded(shell.cc_half),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)


def set_row(data: DataSet) -> JsonDict:
    """A data set as `merged.json` has it."""
    return {
        "number": data.number,
        "crystal": data.crystal,
        "run_dir": data.run_dir,
        "cell": None if data.cell is None else [round(value, 4) for value in data.cell.parameters],
        "lattice": data.lattice or None,
        "start_deg": _rounded(data.start_deg),
        "end_deg": _rounded(data.end_deg),
        "shadowed_deg": [[_rounded(begin), _rounded(end)] for begin, end in data.shadowed],
        "absent_deg": [[_rounded(begin), _rounded(end)] for begin, end in data.absent],
        "d_min_A": data.d_min_A,
        "completeness": data.completeness,
        "indexed": data.indexed_share,
        "damage": data.damage or None,
        "ended": data.ended,
    }


def write_merged(folder: Path, phases: Sequence[JsonDict], unplaced: dict[int, str], sets: Sequence[DataSet]) -> Path:
    """`merged.json`."""
    make_folder(folder)
    told: JsonDict = {
        "schema": SCHEMA,
        "phases": list(phases),
        "unplaced": [{"number": number, "why": why} for number, why in sorted(unplaced.items())],
        "data_sets": [set_row(each) for each in sets],
    }
    write_text(folder / FILE, json.dumps(told, indent=1) + "\n")
    return folder / FILE
