"""What a calibration has measured, as its command shows it and as the instrument file keeps it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its standard uncertainty. unit: as `drivers.calibration.calibratedvalue.KINDS` has it."""

    value: float
    sigma: float
    unit: str
