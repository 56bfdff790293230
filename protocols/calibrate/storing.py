"""What a calibration has found, put into the instrument file that the devices file names.

Used by every command of `credline calibrate`, so that all store the same way and tell it in the same words.
"""

from pathlib import Path

from drivers.calibration.calibratedvalue import KINDS, CalibratedValue, Holds
from drivers.calibration.instrumentfile import store
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.run.devicesfile import instrument_file
from protocols.calibrate.measured import Analysed, kind_of
from protocols.calibrate.setting import setting_of

NO_FILE = (
    'not stored: the devices file names no instrument file. Write instrument = "NAME.toml" into it, above all tables, '
    "and store the values of this run: credline calibrate {what} --from {folder}"
)


def store_measured(devices: str, folder: Path, found: Analysed) -> Path | None:
    """Store values that were made from a run folder; the instrument file, or None where the devices file names none.

    What they hold for is what they say, or the setting of the run. Raises Refused, DataError or StorageError; nothing
    was stored then.
    """
    path = instrument_file(devices)
    if path is None:
        return None
    run = RunDocument.read(folder)
    setting = setting_of(folder, run)
    kept = []
    for name, measured in found.values.items():
        holds = KINDS[kind_of(name)].holds
        told: dict[str, object] = {
            "name": kind_of(name),
            "value": measured.value,
            "sigma": measured.sigma,
            "unit": measured.unit,
            "covariance": measured.covariance,
            "date": (run.created_at or "")[:10],
            "data": folder.name,
            "program": f"credline {run.version}",
        }
        if holds is not Holds.INSTRUMENT:
            told["high_tension_kV"] = setting.high_tension_kV
        if holds is Holds.CAMERA_LENGTH:
            told["camera_length_mm"] = measured.camera_length_mm or setting.camera_length_mm
        if holds is Holds.MAGNIFICATION:
            told["magnification"] = measured.magnification or setting.magnification
        if holds is Holds.ILLUMINATION:
            told |= {"spot_size": measured.spot_size, "brightness": measured.brightness}
        try:
            kept.append(CalibratedValue.model_validate(told))
        except ValueError as error:
            first = str(error).splitlines()[-2].strip() if "\n" in str(error) else str(error)
            raise DataError(f"{folder}: {name} cannot be stored ({first}); nothing was stored.") from error
    store(path, kept, found.arrays)
    return path
