"""Simulated instruments with small cameras for the tests of calibrations, and runs on them on the virtual clock."""

from pathlib import Path
from typing import Any

from engine.run.perform import Report, Request, execute
from protocols.calibrate.calibrations import CALIBRATIONS, Calibration
from protocols.calibrate.measured import Analysed

PX = 96
GEOMETRY = {"beam_fast_px": PX / 2, "beam_slow_px": PX / 2}
PICTURES = {"shape": f"[{PX}, {PX}]", "wide_cross": "false", "disc_radius_px": "28.0"}
LENS = {"shift_px": "[3.2, 2.4]"}


def calibration(what: str) -> Calibration:
    """The calibration of this name."""
    return next(each for each in CALIBRATIONS if each.what == what)


def analysed(what: str, folder: Path) -> Analysed:
    """What a calibration makes of a run folder, its plan the usual one."""
    one = calibration(what)
    return one.analyse(folder, one.plan(one.load_kind(), None, []))


def devices(folder: Path, *, instrument: str = "", microscope: str = "", **pictures: Any) -> Path:
    """A devices file of a camera of 96 x 96 pixels. microscope: more lines; pictures: of that table."""
    path = folder / "devices.toml"
    head = f'instrument = "{instrument}"\n' if instrument else ""
    tables: dict[str, dict[str, Any]] = {
        "geometry": GEOMETRY,
        "pictures": {**PICTURES, **pictures},
        **({} if "lens" in microscope else {"lens": LENS}),
    }
    lines = [f"{table}.{key} = {value}" for table, values in tables.items() for key, value in values.items()]
    path.write_text(f'{head}[microscope]\ndriver = "simulated"\n' + "\n".join([*lines, microscope]) + "\n")
    return path


def performed(
    what: str, folder: Path, seed: int, plan: dict[str, Any], microscope: str = "", **pictures: Any
) -> Report:
    """A run in `folder`, ended."""
    kind = calibration(what).load_kind()
    named = str(devices(folder, microscope=microscope, **pictures))
    asked = kind.plan_type(**plan)
    return execute(Request(kind, asked, folder / "runs", named, virtual=True, seed=seed, draw=False), lambda *_: None)
