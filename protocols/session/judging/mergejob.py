"""From run folders to merged phases: look, sort, integrate, merge, write; the batch parts through an executor."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from drivers.facts import Geometry
from engine.executor import Executor
from engine.record.jsonobject import JsonDict
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.look import STAGE_DEG
from protocols.products.source import open_run
from protocols.session.judging.coverage import Reach, Stage
from protocols.session.judging.dataset import DataSet
from protocols.session.judging.dialsjobs import (
    DialsJob,
    DialsOutcome,
    PhaseJob,
    is_processed,
    processed,
    scaled,
    write_list,
)
from protocols.session.judging.gathered import Gathered, data_set_of, looked_at
from protocols.session.judging.integrated import Integrated, Job, integrated
from protocols.session.judging.mergedfiles import told_of, write_merged, write_phase
from protocols.session.judging.merging import MergedPhase, merge_phase
from protocols.session.judging.phases import Phase, phases_of, unplaced

Progress = Callable[[str, int, int], None]
"""What is done, how many are done, of how many."""
KEPT = "integrated"


def merge_all(
    runs: Sequence[Gathered],
    folder: Path,
    d_min_A: float,
    executor: Callable[[], Executor],
    progress: Progress,
    with_dials: bool = False,
) -> JsonDict:
    """Merge all of them into files in `folder`; what stands in `merged.json`, and `folder`. Each use of an executor
    begins a new one.
    """
    base = folder.parent
    sets: list[DataSet] = []
    for run, result in executor().each(looked_at, runs):
        sets.append(data_set_of(run, result, base))
        progress("looked at", len(sets), len(runs))
    sets.sort(key=lambda each: each.number)
    folder_of = {run.number: run.folder for run in runs}
    phases = phases_of(sets)
    measured = _integrated(phases, folder_of, folder, d_min_A, executor, progress)
    outcomes = _processed(phases, folder_of, d_min_A, executor, progress) if with_dials else {}
    told: list[JsonDict] = []
    scripts: list[PhaseJob] = []
    for phase in phases:
        merged = merge_phase(phase, measured, d_min_A)
        stage, wavelength_A = _stage(folder_of[phase.data_sets[0].number], phase)
        reach = Reach(phase, stage, d_min_A)
        files = write_phase(folder, base.resolve().name, wavelength_A, merged)
        script, why_not = _list(folder, merged, folder_of, outcomes, d_min_A)
        scripts.append(PhaseJob(phase.number, script))
        told.append(told_of(merged, reach, [*files, script]) | {"dials_missing": why_not})
        progress("merged", len(told), len(phases))
    if with_dials:
        by_number = {each["number"]: each for each in told}
        for outcome in executor().each(scaled, scripts):
            by_number[outcome.number]["dials"] = asdict(outcome)
    missing = unplaced(sets, phases)
    write_merged(folder, told, missing, sets)
    unplaced_rows = [{"number": number, "why": why} for number, why in missing.items()]
    return {"folder": str(folder), "phases": told, "unplaced": unplaced_rows, "data_sets": len(sets)}


def _integrated(
    phases: Sequence[Phase],
    folder_of: dict[int, Path],
    folder: Path,
    d_min_A: float,
    executor: Callable[[], Executor],
    progress: Progress,
) -> dict[int, Integrated]:
    jobs = [
        Job(data.number, folder_of[data.number], folder / KEPT / f"{data.number:04d}.npz", d_min_A)
        for phase in phases
        for data in phase.data_sets
    ]
    found: dict[int, Integrated] = {}
    if jobs:
        for job, result in executor().each(integrated, jobs):
            found[job.number] = result
            progress("integrated", len(found), len(jobs))
    return found


def _processed(
    phases: Sequence[Phase],
    folder_of: dict[int, Path],
    d_min_A: float,
    executor: Callable[[], Executor],
    progress: Progress,
) -> dict[int, DialsOutcome]:
    jobs = [
        DialsJob(data.number, folder_of[data.number], d_min_A)
        for phase in phases
        for data in phase.data_sets
    ]  # fmt: skip
    found: dict[int, DialsOutcome] = {}
    if jobs:
        for outcome in executor().each(processed, jobs):
            found[outcome.number] = outcome
            progress("processed by DIALS", len(found), len(jobs))
    return found


def _list(
    folder: Path,
    merged: MergedPhase,
    folder_of: dict[int, Path],
    outcomes: dict[int, DialsOutcome],
    d_min_A: float,
) -> tuple[Path, list[JsonDict]]:
    """The script of a phase, and which of its data sets DIALS has not processed, and why."""
    numbers = [each.number for each in merged.placed] or [each.number for each in merged.phase.data_sets]
    there = [number for number in numbers if is_processed(folder_of[number])]
    without = [number for number in numbers if number not in there]
    script = write_list(
        folder, merged.phase, [folder_of[n] for n in there], [folder_of[n] for n in without], d_min_A
    )  # fmt: skip
    why = {n: outcomes[n].why_not if n in outcomes else "DIALS was not asked (--dials)" for n in without}
    return script, [{"number": n, "why": text} for n, text in why.items()]


def _stage(run: Path, phase: Phase) -> tuple[Stage, float]:
    """The camera of a run of the phase, and how far the stage was tilted for any of them; the wavelength in A."""
    with open_run(run) as source:
        info = source.info
    angles = [angle for each in phase.data_sets for angle in (each.start_deg, each.end_deg)]
    low, high = min([-STAGE_DEG, *angles]), max([STAGE_DEG, *angles])
    told = Geometry(
        wavelength_A=info.wavelength_A,
        camera_length_mm=info.camera_length_mm,
        pixel_size_mm=info.pixel_size_mm,
        rotation_axis_deg=info.rotation_axis_deg,
        rotation_axis_tilt_deg=info.rotation_axis_tilt_deg,
        beam_fast_px=info.nominal_beam_fast_px,
        beam_slow_px=info.nominal_beam_slow_px,
        distortion_amplitude_percent=info.distortion_amplitude_percent,
        distortion_azimuth_deg=info.distortion_azimuth_deg,
    )
    return Stage(RotationGeometry.of(told), info.shape, (low, high)), info.wavelength_A
