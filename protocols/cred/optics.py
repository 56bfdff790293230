"""The mode of the lenses below the specimen, where the instrument tells it: a rotation is for diffraction.

It is read before the run and once more when that has ended and is safe, never in between: no slot waits for it.
"""

from drivers.contract import Microscope
from drivers.parts import OpticalMode
from engine.errors import DeviceError, Refused
from engine.record.jsonobject import JsonDict, JsonObject

MODE = "mode"
NOT_READ = "mode_not_read"


async def looked_at(microscope: Microscope) -> JsonDict:
    """What is read before a run. Raises Refused outside diffraction; of a mode that cannot be read, holds why."""
    if microscope.mode is None:
        return {}
    try:
        mode = await microscope.mode.mode()
    except DeviceError as error:
        return {NOT_READ: str(error)}
    if mode is not OpticalMode.DIFFRACTION:
        raise Refused(
            f"cred: the microscope is in {mode} mode, and its frames are to show diffraction; nothing was started. Go "
            "to diffraction at the microscope."
        )
    return {MODE: mode.value}


async def changed_since(before: JsonObject, microscope: Microscope) -> str:
    """What is otherwise at the end of a run than it was before it, as a sentence; empty where nothing is, or nobody
    knows how it was. Raises DeviceError for a mode that cannot be read now.
    """
    if microscope.mode is None or MODE not in before:
        return ""
    mode = await microscope.mode.mode()
    if mode.value == before[MODE]:
        return ""
    return (
        f"the microscope was in {before[MODE]} mode before the run and is in {mode.value} mode at its end: some of "
        "its frames may show no diffraction. Look at them, and at who else uses the microscope."
    )
