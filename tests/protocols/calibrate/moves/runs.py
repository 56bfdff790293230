"""Calibrations by moves on small simulated cameras, on the virtual clock, for the tests of this room."""

from pathlib import Path
from typing import Any

from engine.run.perform import Report, Request, execute
from protocols.calibrate.moves import kinds
from protocols.calibrate.moves.kinds import Moves

PX = 96
KINDS: dict[str, Moves[Any]] = {
    each.name: each for each in (kinds.BEAM_SHIFT, kinds.IMAGE_SHIFT, kinds.DIFFRACTION_SHIFT, kinds.STAGE)
}


def devices(folder: Path, *, instrument: str = "", microscope: str = "") -> Path:
    """A devices file of a camera of 96 x 96 pixels; `microscope`: more lines of its table."""
    path = folder / "devices.toml"
    head = f'instrument = "{instrument}"\n' if instrument else ""
    path.write_text(
        f'{head}[microscope]\ndriver = "simulated"\npictures.shape = [{PX}, {PX}]\npictures.wide_cross = false\n'
        f"geometry.beam_fast_px = {PX / 2}\ngeometry.beam_slow_px = {PX / 2}\n{microscope}\n"
    )
    return path


def performed(folder: Path, what: str, seed: int, *, microscope: str = "", **plan: Any) -> Report:
    """A run in `folder`, ended."""
    kind = KINDS[what]
    named = str(devices(folder, microscope=microscope))
    plan = {"rounds": 1, **plan}
    return execute(Request(kind, kind.plan_type(**plan), folder / "runs", named, virtual=True, seed=seed, draw=False))
