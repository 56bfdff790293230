"""What a calibration that was performed from elsewhere than its command has found, to be stored as the command does."""

from pathlib import Path

from pydantic import ValidationError

from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.endings import Status
from engine.run.panels import Kept
from protocols.calibrate.calibrations import CALIBRATIONS


def kept_of(folder: Path, document: RunDocument) -> Kept | None:
    """See `ExperimentType.kept`: of a run that has come to its end, the values with their uncertainties. Of an
    experiment that is not made for it (cRED), one that was stopped tells as much as it has.
    """
    calibration = next((each for each in CALIBRATIONS if each.protocol == document.protocol), None)
    if calibration is None:
        return None
    ended = (Status.DONE,) if calibration.what == calibration.protocol else (Status.DONE, Status.STOPPED)
    if document.status not in {status.value for status in ended}:
        return None
    from protocols.calibrate.measured import rows_of
    from protocols.calibrate.storing import NO_FILE, store_measured

    try:
        plan = calibration.load_kind().plan_type(**document.plan)
    except ValidationError as error:
        raise DataError(f"{folder}: its plan is that of another version; nothing was stored.") from error
    found = calibration.analyse(folder, plan)

    def store() -> str:
        path = store_measured(document.devices or "", folder, found)
        if path is None:
            return NO_FILE.format(what=calibration.what, folder=folder)
        return f"stored in {path}: the instrument goes by it from its next opening on"

    return Kept((*found.lines, *rows_of(found.values)), store)
