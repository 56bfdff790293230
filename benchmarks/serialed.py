"""Serial runs on a simulated grid with the times of the first paper's hardware: how many patterns an hour, how near to
what the hardware can do, and whether the probe was on the crystal.

    python benchmarks/serialed.py [--seed 101] [--um 200] [--only NAME ...] [--score] [--json FILE]

Every case is a whole run on the virtual clock, with the finder in it, over a square of `--um`, 13 um from field to
field. What the simulation truly did tells where the probe was. The times are those of `examples/serialed.toml`; how
they follow from the paper's totals is in docs/serialed.md. Runs go into a folder that is removed, or into --keep.
"""

import argparse
import json
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import tomlkit  # noqa: E402

from drivers.calibration.calibratedvalue import CalibratedValue  # noqa: E402
from drivers.calibration.imagefacts import ImageScale  # noqa: E402
from drivers.calibration.instrumentfile import store  # noqa: E402
from drivers.geometry import high_tension_v  # noqa: E402
from drivers.simulated.settings import GEOMETRY, InstrumentSettings  # noqa: E402
from engine.record.jsonobject import JsonDict  # noqa: E402
from engine.run.perform import Request, execute  # noqa: E402
from protocols.serialed.experiment import SERIALED  # noqa: E402
from protocols.serialed.plan import SerialedPlan  # noqa: E402

EXAMPLE = ROOT / "examples" / "serialed.toml"
FIELD_UM2 = 35.6
NO_BARS = {"pitch_nm": 1e7, "bar_nm": 0.0}
FEW, MANY = 3.7 / FIELD_UM2, 12.0 / FIELD_UM2


@dataclass(frozen=True)
class Case:
    """One run. tables: of the devices file, over those of the example. calibrated: so many times what is true."""

    words: str
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    calibrated: float = 0.0


CASES = {
    "paper": Case(
        "3.7 crystals a field, as in the first paper (2167 an hour)", {"grid": {**NO_BARS, "crystals_um2": FEW}}
    ),
    "dense": Case("12 crystals a field, as in its companion (3500)", {"grid": {**NO_BARS, "crystals_um2": MANY}}),
    "bars": Case("lacey film, with the bars of the mesh", {"grid": {"film": "lacey", "crystals_um2": 0.23}}),
    "calibration": Case(
        "beam shift and stage calibrated 5 % wrong", {"grid": {**NO_BARS, "crystals_um2": FEW}}, calibrated=1.05
    ),
    "drift": Case(
        "the beam drifts by 60 nm a minute",
        {"grid": {**NO_BARS, "crystals_um2": FEW}, "illumination": {"drift_nm_min": [50.0, -33.0]}},
    ),
    "overshoot": Case(
        "a stage that goes 3 um too far and settles in 0.3 s",
        {"grid": {**NO_BARS, "crystals_um2": FEW}, "stagexyz": {"overshoot_nm": 3000.0, "settling_s": 0.3}},
        {"stage_settling_s": 2.0},
    ),
    "empty": Case("no crystal at all", {"grid": {**NO_BARS, "crystals_um2": 0.0, "dirt_um2": 0.0}}),
}


def devices_of(case: Case, seed: int, folder: Path) -> Path:
    """A devices file for a case."""
    told = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    options = told["microscope"]
    for table, values in case.tables.items():
        options[table] = {**options.get(table, {}), **values}
    options["grid"]["seed"] = seed
    if case.calibrated:
        told["instrument"] = "instrument.toml"
        plain = {key: value for key, value in options.items() if key != "driver"}
        images = InstrumentSettings.read("simulated", True, plain).images
        assert images is not None  # noqa: S101
        scale = images.at(2500.0)
        assert scale is not None  # noqa: S101
        store(folder / "instrument.toml", values_of(scale, case.calibrated, images.beam_shift_hysteresis))
    path = folder / "devices.toml"
    path.write_text(tomlkit.dumps(told), encoding="utf-8")
    return path


def values_of(scale: ImageScale, times: float, lag: float | None) -> list[CalibratedValue]:
    """Of the images, `times` what is true."""
    tension_kV = high_tension_v(GEOMETRY.wavelength_A) / 1000
    common = {"date": date(2026, 11, 1), "data": "made_001", "program": "benchmark", "high_tension_kV": tension_kV}
    zero = tuple((0.0,) * 4 for _ in range(4))
    matrices = {
        "stage": ("px per nm", scale.stage_px),
        "beam_shift": ("px per unit", scale.beam_shift_px or (0.0,) * 4),
    }
    values = [
        CalibratedValue.model_validate(
            {
                "name": name,
                "value": tuple(times * each for each in matrix),
                "sigma": (0.0,) * 4,
                "covariance": zero,
                "unit": unit,
                "magnification": scale.magnification,
                **common,
            }
        )
        for name, (unit, matrix) in matrices.items()
    ]
    del common["high_tension_kV"]
    lag_value = {"name": "beam_shift_hysteresis", "value": lag or 0.0, "sigma": 0.0, "unit": "units", **common}
    return [*values, CalibratedValue.model_validate(lag_value)]


def measured(case: Case, seed: int, um: float, score: bool, out: Path) -> JsonDict:
    """One run."""
    folder = out / f"{seed}"
    folder.mkdir(parents=True)
    plan = SerialedPlan(width_um=um, height_um=um, score=score, formats=(), **case.plan)
    report = execute(
        Request(SERIALED, plan, folder, str(devices_of(case, seed, folder)), virtual=True, seed=seed, draw=False)
    )
    result: JsonDict = report.document["result"]
    return {"status": report.ending.status.value, "wall_s": round(report.wall_s, 1), **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--um", type=float, default=200.0, help="side of the region")
    parser.add_argument("--only", nargs="*", choices=sorted(CASES), help="these cases only")
    parser.add_argument("--score", action="store_true", help="score the patterns as well (loads TensorFlow)")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    parser.add_argument("--json", type=Path, help="also write the results into this file")
    asked = parser.parse_args()
    told: dict[str, JsonDict] = {}
    print("| case | images | patterns | patterns/h | of the limit | on target | beam | skipped | min |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        out = asked.keep or Path(made)
        for name in asked.only or CASES:
            case = CASES[name]
            got = told[name] = measured(case, asked.seed, asked.um, asked.score, out / name)
            ratio, hit, beam = got["limit_ratio"], got["on_target"], got["beam"]
            skipped = ", ".join(f"{number} {why}" for why, number in got["fields_skipped"].items()) or "-"
            print(
                f"| {case.words} | {got['images']} | {got['patterns']} | {got['patterns_per_hour']:.0f} "
                f"| {'-' if ratio is None else format(ratio, '.3f')} | {'-' if hit is None else format(hit, '.4f')} "
                f"| off {beam.get('calibration_off_percent')} %, {beam.get('largest_move_nm')} nm | {skipped} "
                f"| {got['elapsed_s'] / 60:.1f} |",
                flush=True,
            )
    if asked.json is not None:
        asked.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
