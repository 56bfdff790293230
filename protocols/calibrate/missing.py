"""What is calibrated of an instrument, and what is not yet: for which experiment, by which command, in which order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from drivers.calibration.calibratedvalue import CalibratedValue
from drivers.calibration.instrumentfile import read_camera_arrays, read_instrument
from engine.run.devicesfile import instrument_file
from engine.run.planbasis import declared_basis
from protocols.calibrate.calibrations import CALIBRATIONS, Calibration

SETUP = "setup"
"""`data` of a value that `credline setup` was told, and that nobody measured."""
EXPERIMENTS = ("cRED", "tracking", "SerialED")


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with one calibration. experiments: that want it. lacks: parts that the instrument would need and
    has not. made_on: the oldest of its values; None where one was never measured. is_old: older than the instrument
    file allows.
    """

    calibration: Calibration
    experiments: tuple[str, ...]
    lacks: tuple[str, ...]
    made_on: date | None
    is_old: bool

    @property
    def is_wanted(self) -> bool:
        """Whether it is to be made, and can be."""
        return not self.lacks and (self.made_on is None or self.is_old)

    @property
    def state(self) -> str:
        """In words."""
        if self.made_on is not None:
            return f"{self.made_on.isoformat()}{', old' if self.is_old else ''}"
        return f"needs {', '.join(self.lacks)}" if self.lacks else "not made"


def standings(devices: str, today: date) -> list[Standing]:
    """How it stands with every calibration, in the order in which they are best made. Nothing is asked.

    Raises Refused for a devices file or an instrument file that cannot be read.
    """
    facts = declared_basis(devices, {}).facts
    path = instrument_file(devices)
    values: Mapping[str, list[CalibratedValue]] = {}
    arrays_on, stale_after_days = None, 0.0
    if path is not None:
        file, arrays = read_instrument(path), read_camera_arrays(path)
        stale_after_days = file.stale_after_days
        values = {value.name: [each for each in file.values if each.name == value.name] for value in file.values}
        arrays_on = None if arrays is None else arrays.made_on
    found = []
    for calibration in CALIBRATIONS:
        made = list(_made_on(calibration, values))
        if "flatfield" in calibration.measures:
            made.append(arrays_on)
        made_on = None if None in made else min((day for day in made if day is not None), default=None)
        is_old = made_on is not None and (today - made_on).days > stale_after_days
        lacks = tuple(part for part in calibration.parts if getattr(facts, part) is None)
        found.append(Standing(calibration, calibration.serves, lacks, made_on, is_old))
    return found


def _made_on(calibration: Calibration, values: Mapping[str, list[CalibratedValue]]) -> Iterator[date | None]:
    """Of each value that it measures, when the newest was; None for one that was never measured."""
    for name in calibration.measures:
        if name != "flatfield":
            yield max((value.made_on for value in values.get(name, []) if value.data != SETUP), default=None)


def command_of(standing: Standing, devices: str) -> str:
    """The command that makes it."""
    return f"credline calibrate {standing.calibration.what} --devices {devices}"


def lines_of(found: Sequence[Standing], devices: str) -> Iterator[str]:
    """For a person: each calibration with how it stands, then the commands for those to be made."""
    for each in found:
        serves = f" (for {', '.join(each.experiments)})" if each.experiments else ""
        yield f"{each.calibration.what}: {each.state}{serves}"
    wanted = [each for each in found if each.is_wanted]
    if wanted:
        minutes = sum(each.calibration.minutes for each in wanted)
        yield f"To be made, in this order, some {minutes:.0f} minutes:"
        for each in wanted:
            yield f"  {command_of(each, devices)}  # {each.calibration.minutes:g} min"
