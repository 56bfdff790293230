"""The part of a simulated instrument that outlives the program that drives it: a file that stands for its electronics.

A real blanker stays as it was set when the program that set it dies, and some instruments let a second program set it
again. With `register = "FILE"` the simulated microscope keeps its blanker there. No time passes in here, and nothing is
forced to the disk: it is memory of an instrument, not data. Only the blanker is kept, the stage is not.
"""

from pathlib import Path

from engine.errors import DeviceError

TEXT = b"credline simulated instrument, beam blanked: "
YES, NO = b"1", b"0"


class Register:
    """The register file: what one program writes is at once read by every other.

    It is opened for each access, 20 us, so there is nothing to close.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def switch_on(self, *, blanked: bool) -> bool:
        """Make the instrument if there is none, with the blanker like this; else it stays as it was left. Whether it
        was made.

        Raises DeviceError when the file cannot be made, or is no register (it is left as it is).
        """
        try:
            if is_new := not self._path.exists():
                self._path.write_bytes(TEXT + (YES if blanked else NO) + b"\n")
        except OSError as error:
            raise self._unreachable(error) from error
        self.is_blanked()
        return is_new

    def is_blanked(self) -> bool:
        """Whether the blanker is closed, whoever closed it. Raises DeviceError when the file is no register."""
        try:
            text = self._path.read_bytes()[: len(TEXT) + 1]
        except OSError as error:
            raise self._unreachable(error) from error
        if text not in (TEXT + YES, TEXT + NO):
            raise DeviceError(
                f"register {self._path}: is no register of a simulated instrument; left as it is. Name another file."
            )
        return text == TEXT + YES

    def set_blanked(self, blanked: bool) -> None:
        """Close or open the blanker; one byte, so nobody ever reads a half. Raises as `is_blanked`, nothing done."""
        self.is_blanked()
        try:
            with self._path.open("r+b", buffering=0) as file:
                file.seek(len(TEXT))
                file.write(YES if blanked else NO)
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> DeviceError:
        return DeviceError(
            f"register {self._path}: cannot be reached ({error.strerror or error}); the blanker is as it was. Check "
            "the option register of the simulated instrument."
        )


def blank_beam(path: str) -> bool:
    """Blank the beam through a connection of its own, for the watchdog; whether it is off."""
    register = Register(Path(path))
    register.set_blanked(True)
    return register.is_blanked()
