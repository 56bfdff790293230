"""What a calibration has found, put into the instrument file that the devices file names.

Used by every command of `credline calibrate`, so that all store the same way and tell it in the same words.
"""

from collections.abc import Mapping
from pathlib import Path

from drivers.calibration.calibratedvalue import KINDS, CalibratedValue, Holds
from drivers.calibration.calibrationarrays import CameraArrays
from drivers.calibration.instrumentfile import store
from drivers.geometry import high_tension_v
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.run.devicesfile import instrument_file
from protocols.calibrate.measured import Measured

NO_FILE = (
    'not stored: the devices file names no instrument file. Write instrument = "NAME.toml" into it, above all tables, '
    "and store the values of this run: credline calibrate {what} --from {folder}"
)


def store_measured(
    devices: str, folder: Path, values: Mapping[str, Measured], arrays: CameraArrays | None = None
) -> Path | None:
    """Store values that were made from a run folder; the instrument file, or None where the devices file names none.

    What they hold for is read from the run. Raises Refused, DataError or StorageError; nothing was stored then.
    """
    path = instrument_file(devices)
    if path is None:
        return None
    run = RunDocument.read(folder)
    try:
        tension_kV = high_tension_v(float(run.instrument["geometry"]["wavelength_A"])) / 1000
        length_mm = float(run.instrument["geometry"]["camera_length_mm"])
        made_on = (run.created_at or "")[:10]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"{folder}: does not tell high tension and camera length ({error}); nothing was stored. `credline recover "
            f"{folder}` rewrites run.json"
        ) from error
    conditions = {
        Holds.INSTRUMENT: {},
        Holds.HIGH_TENSION: {"high_tension_kV": tension_kV},
        Holds.CAMERA_LENGTH: {"high_tension_kV": tension_kV, "camera_length_mm": length_mm},
    }
    kept = [
        CalibratedValue.model_validate(
            {
                "name": name,
                "value": measured.value,
                "sigma": measured.sigma,
                "unit": measured.unit,
                "date": made_on,
                "data": folder.name,
                "program": f"credline {run.version}",
                **conditions[KINDS[name].holds],
            }
        )
        for name, measured in values.items()
    ]
    store(path, kept, arrays)
    return path
