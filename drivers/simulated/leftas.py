"""How a simulated instrument was left by the program before: where stage and lenses stand stays so, as on a real one.

With `left_as = "FILE"` it is read when the instrument is switched on and written when it is let go, so that one command
may go on where another one ended. What nobody may rely on is left out: a rotation under way, the blanker (`register`).
"""

import json
from pathlib import Path

from drivers.parts import OpticalMode
from drivers.simulated.deflectors import Coils
from drivers.simulated.goniometer import Goniometer
from drivers.simulated.illumination import Condenser
from drivers.simulated.lensmode import LensMode
from drivers.simulated.stagexyz import Translation
from engine.clock import Clock
from engine.errors import DeviceError

WORDS = "credline simulated instrument, left as"


class LeftAs:
    """The parts of one instrument, and the file."""

    def __init__(
        self,
        path: Path,
        goniometer: Goniometer,
        translation: Translation,
        deflectors: Coils,
        mode: LensMode,
        illumination: Condenser,
    ) -> None:
        self._path = path
        self._goniometer, self._translation, self._deflectors = goniometer, translation, deflectors
        self._mode, self._illumination = mode, illumination

    def resume(self) -> None:
        """All parts as the file says; as the options say where there is none. Raises DeviceError for another file."""
        try:
            told = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else None
            if told is None:
                return
            if told["what"] != WORDS:
                raise ValueError("other words")
            self._goniometer.leave(float(told["tilt_deg"]))
            self._translation.resume(told["stagexyz"])
            self._deflectors.resume(told["deflectors"])
            mode, magnifications, length_mm = told["mode"]
            steps = {OpticalMode(key): float(value) for key, value in magnifications.items()}
            self._mode.leave(OpticalMode(mode), steps, float(length_mm))
            self._illumination.leave(*told["illumination"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeviceError(
                f"left_as {self._path}: does not tell how a simulated instrument was left ({error}); nothing was "
                "started, it is left as it is. Name another file."
            ) from error

    def write(self, clock: Clock) -> None:
        """How all parts stand now."""
        now_ns = clock.now_ns()
        told = {
            "what": WORDS,
            "tilt_deg": self._goniometer.angle_deg(now_ns),
            "stagexyz": self._translation.kept(now_ns),
            "deflectors": self._deflectors.kept(now_ns),
            "mode": self._mode.kept,
            "illumination": list(self._illumination.state),
        }
        try:
            self._path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise DeviceError(
                f"left_as {self._path}: cannot be written ({error.strerror or error}); the next program finds the "
                "instrument as the options say. Name another file."
            ) from error
