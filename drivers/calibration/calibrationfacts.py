"""What of an instrument file holds for the instrument as it is now, as facts: which figures, how sure, how old.

Frozen data beside the other facts of an instrument, written into the header of a trace with them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from pydantic import Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]


@dataclass(frozen=True, slots=True)
class CalibratedFigure:
    """How sure a figure is. made_on: ISO date. data: the run folder that it was made from. value: where it stands
    nowhere else among the facts. camera_length_mm: the nominal one that it holds for, where it holds for one.
    """

    sigma: Number
    unit: str
    made_on: Day
    data: str
    value: Number | None = None
    camera_length_mm: Number | None = None


@dataclass(frozen=True, slots=True)
class CalibrationFacts:
    """file: the name of the instrument file. figures: those that hold, by the name of the fact (`geometry.x`,
    `detector.flatfield`). said: what of the file does not hold, and why, one line each. camera_hand: 1 where pictures
    show the specimen as seen from the source, -1 where they are mirrored; None where that was not measured.
    """

    file: str
    stale_after_days: Number
    figures: Mapping[str, CalibratedFigure]
    said: tuple[str, ...] = ()
    camera_hand: Number | None = None

    def questions(self, today: date) -> tuple[str, ...]:
        """What to say before a run: what does not hold, and what has become old; one line each."""
        return (*self.said, *self._stale(today))

    def _stale(self, today: date) -> Iterator[str]:
        for name, figure in self.figures.items():
            age_days = (today - date.fromisoformat(figure.made_on)).days
            if age_days > self.stale_after_days:
                yield (
                    f"calibration: {name} is of {figure.made_on}, {age_days} days old, and {self.file} says that after "
                    f"{self.stale_after_days:g} it is to be made again."
                )
