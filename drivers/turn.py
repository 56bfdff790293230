"""How pictures are turned and mirrored against those of the camera itself: eight ways, each its own.

Instamatic's calibrations say it (`rot90`, `flipud`, `fliplr`), and the axis and the hand of all that is measured are
those of the turned picture. A camera's driver turns pictures as they come; where a microscope's calibration says
something else of them, an instrument is refused (`drivers.contract`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import Refused

if TYPE_CHECKING:
    from engine.frame import Picture


@dataclass(frozen=True, slots=True)
class Turn:
    """First mirrored from top to bottom (flipud) or not, then turned by `rot90` quarters from fast (+x) to up."""

    rot90: int = 0
    flipud: bool = False

    @classmethod
    def of(cls, rot90: int, flipud: bool, fliplr: bool) -> "Turn":
        """As numpy's functions of these names do it one after the other: flipud, fliplr, rot90.

        From left to right is from top to bottom and half a turn.
        """
        return cls((rot90 + 2 * fliplr) % 4, flipud != fliplr)

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of a turned picture that has these before."""
        return (columns, rows) if self.rot90 % 2 else (rows, columns)

    def turned(self, picture: "Picture") -> "Picture":
        """The picture turned: the same one where nothing is to be done, else a copy. A transposed one of 2048 x 2048
        takes 20 ms.
        """
        if self == Turn():
            return picture
        import numpy as np

        return np.ascontiguousarray(np.rot90(picture[::-1] if self.flipud else picture, self.rot90))

    def __str__(self) -> str:
        """As the options of a devices file say it."""
        return f"rot90 = {self.rot90}, flipud = {str(self.flipud).lower()}"


def refuse_other(calibrated: Turn | None, camera: Turn | None) -> None:
    """Raise Refused where a calibration is of pictures that are turned otherwise than the camera's.

    calibrated: None where nobody knows. camera: None of a driver that takes pictures as they are.
    """
    if calibrated is not None and calibrated != (camera or Turn()):
        raise Refused(
            f"devices: the microscope's calibration is of patterns with {calibrated}, the camera's pictures have "
            f"{camera or Turn()}, so directions would be wrong or mirrored; nothing was started. Write "
            f"{calibrated} into the camera's table (driver instamatic-camera turns them). Or leave calibration out, "
            "and write camera_length_mm and rotation_axis_deg of the picture as it comes into [geometry]."
        )
