"""What is moved, and what of the picture moves with it: the five calibrations of this room, as data."""

from dataclasses import dataclass
from enum import StrEnum

from drivers.parts import Deflector


class SeenBy(StrEnum):
    """What tells on the camera how far a move went."""

    IMAGE = "image"
    """The image of the specimen, registered against others."""
    DISC = "disc"
    """The disc that the beam lights, by its edge: the specimen stays."""
    BEAM = "beam"
    """The primary beam of a diffraction pattern."""


@dataclass(frozen=True, slots=True)
class Mover:
    """name: of the calibration and of the value (`KINDS`) with underscores. deflector: which pair; None for the stage.
    share: how far the grid reaches to each side, of the camera's smaller side. points: of the grid along each axis.
    rounds: how often it is gone through. unit, lag_unit: of the values.
    """

    name: str
    seen_by: SeenBy
    deflector: Deflector | None
    share: float
    points: int
    rounds: int
    unit: str
    lag_unit: str

    @property
    def value(self) -> str:
        """The name of its matrix."""
        return self.name.replace("-", "_")

    @property
    def lag(self) -> str:
        """The name of its hysteresis."""
        return "stage_backlash_nm" if self.deflector is None else f"{self.deflector}_hysteresis"

    @property
    def keeps_lag(self) -> bool:
        """Whether its hysteresis is kept: not that of a pair of which another calibration sees much more."""
        return self.deflector is None or self.value == self.deflector

    @property
    def words(self) -> str:
        """What is moved, in words."""
        return "stage" if self.deflector is None else self.deflector.replace("_", " ")

    @property
    def seen(self) -> str:
        """What is seen to move, in words."""
        return {SeenBy.IMAGE: "image", SeenBy.DISC: "lit disc", SeenBy.BEAM: "primary beam"}[self.seen_by]


PER_UNIT = "px per unit"
MOVERS = (
    Mover("beam-shift", SeenBy.DISC, Deflector.BEAM_SHIFT, 0.2, 3, 2, PER_UNIT, "units"),
    Mover("image-shift", SeenBy.IMAGE, Deflector.IMAGE_SHIFT, 0.16, 3, 2, PER_UNIT, "units"),
    Mover("diffraction-shift", SeenBy.BEAM, Deflector.DIFFRACTION_SHIFT, 0.2, 3, 2, PER_UNIT, "units"),
    Mover("pattern-shift", SeenBy.BEAM, Deflector.IMAGE_SHIFT, 0.2, 3, 2, PER_UNIT, "units"),
    Mover("stage", SeenBy.IMAGE, None, 0.9, 6, 1, "px per nm", "nm"),
)
"""An image that moves by much must still show enough of what it showed. The stage lands with scatter, so it goes as far
as neighbours of the grid still overlap."""
