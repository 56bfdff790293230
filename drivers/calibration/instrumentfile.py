"""The instrument file: all that was calibrated of one microscope with one camera, in TOML, its pictures in one HDF5.

A devices file names it (`instrument = "titan.toml"`). `credline calibrate` writes it; it is read when an instrument is
put together, and whenever a plan is made. Not meant to be written by hand, but it can be read and copied by anybody.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drivers.calibration.calibratedvalue import CalibratedValue
from drivers.calibration.calibrationarrays import CameraArrays, read_arrays, write_arrays
from engine.errors import Refused, StorageError, shown
from engine.record.folder import write_atomically

STALE_AFTER_DAYS = 180.0
HEAD = "# Calibrations of one microscope and camera, made by `credline calibrate`; see docs/calibration.md.\n"


class InstrumentFile(BaseModel):
    """What the TOML file says. stale_after_days: older values are still used, and it is said that they are old."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stale_after_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = STALE_AFTER_DAYS
    values: tuple[CalibratedValue, ...] = ()

    def with_values(self, new: Sequence[CalibratedValue]) -> "InstrumentFile":
        """The same with these, which take the place of earlier values of the same thing."""
        kept = [old for old in self.values if not any(value.replaces(old) for value in new)]
        return self.model_copy(update={"values": (*kept, *new)})


def arrays_beside(path: Path) -> Path:
    """Where the pictures of an instrument file are: `titan.h5` beside `titan.toml`."""
    return path.with_suffix(".h5")


def read_instrument(path: Path) -> InstrumentFile:
    """What an instrument file says; one that does not exist yet says nothing.

    Raises Refused for one that cannot be read, or says what cannot be: nothing was started.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return InstrumentFile()
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(
            f"{path}: the instrument file cannot be read ({shown(error)}); nothing was started. Take a copy of it, or "
            "remove it and calibrate again."
        ) from error
    try:
        return InstrumentFile.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(
            f"{path}: {shown(where)}: {shown(first['msg'])}; nothing was started. Correct the instrument file, or "
            "calibrate this value again."
        ) from error


def read_camera_arrays(path: Path) -> CameraArrays | None:
    """The pictures that belong to an instrument file; None where there are none. Raises as `read_arrays`."""
    return read_arrays(arrays_beside(path))


def store(path: Path, values: Sequence[CalibratedValue], arrays: CameraArrays | None = None) -> None:
    """Put values into an instrument file, made where there is none, and arrays beside it; each file is whole or as it
    was, and the arrays come first.

    Raises Refused for a file that is there and cannot be read, StorageError when it cannot be written.
    """
    file = read_instrument(path).with_values(values)
    if arrays is not None:
        write_arrays(arrays_beside(path), arrays)
    try:
        write_atomically(path, _toml(file).encode())
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); the values in it are as they were, the run folder "
            "is whole. Free some space or choose another place."
        ) from error


def _toml(file: InstrumentFile) -> str:
    lines = [HEAD, f"stale_after_days = {file.stale_after_days!r}"]
    for value in sorted(file.values, key=lambda each: each.name):
        lines += ["", "[[values]]"]
        told = value.model_dump(by_alias=True, exclude_none=True)
        lines += [f"{key} = {_written(item)}" for key, item in told.items()]
    return "\n".join(lines) + "\n"


def _written(item: object) -> str:
    if isinstance(item, tuple):
        return f"[{', '.join(map(_written, item))}]"
    if isinstance(item, str):
        escaped = item.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
    return repr(item) if isinstance(item, float) else str(item)
