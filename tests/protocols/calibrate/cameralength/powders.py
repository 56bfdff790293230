"""Camera length runs on small simulated cameras, on the virtual clock, for the tests of this room."""

from pathlib import Path
from typing import Any

from engine.run.perform import Report, Request, execute
from protocols.calibrate.cameralength.experiment import CAMERA_LENGTH_TYPE
from protocols.calibrate.cameralength.plan import CameraLengthPlan

PX = 256


def devices(folder: Path, *, instrument: str = "", microscope: str = "") -> Path:
    """A devices file of a camera of 256 x 256 pixels; `microscope`: more lines of its table."""
    path = folder / "devices.toml"
    head = f'instrument = "{instrument}"\n' if instrument else ""
    path.write_text(
        f'{head}[microscope]\ndriver = "simulated"\npictures.shape = [{PX}, {PX}]\n'
        f"geometry.beam_fast_px = {PX / 2 + 2}\ngeometry.beam_slow_px = {PX / 2 + 2}\n{microscope}\n"
    )
    return path


def performed(folder: Path, seed: int, *, microscope: str = "", **plan: Any) -> Report:
    """A run in `folder`, ended."""
    asked = CameraLengthPlan.model_validate({"frames": 2, **plan})
    named = str(devices(folder, microscope=microscope))
    return execute(Request(CAMERA_LENGTH_TYPE, asked, folder / "runs", named, virtual=True, seed=seed, draw=False))
