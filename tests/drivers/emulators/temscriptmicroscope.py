"""temscript's own server with its own null microscope, made a little more like one: run with the counterparts' Python.

    python temscriptmicroscope.py PORT MOTION_PORT

The null microscope of temscript 2.1.0 jumps to any place and has one magnification index for all modes. The stage of
this one takes its time, at 30 deg/s times the speed it is given and 100 um/s, says MOVING meanwhile and returns from
the call when it has arrived, as TEM scripting's GoTo does. Its projector has low magnification (LM) at the lower
indices, of which the diffraction is low-angle (LAD), with the steps of Instamatic's config/microscope/fei_themisZ.yaml.
Both ports serve the same microscope, as two processes on a real one's computer do.
"""

import math
import sys
import threading
import time

from temscript.null_microscope import NullMicroscope
from temscript.server import MicroscopeServer

FULL_SPEED = math.radians(30)
METRES_S = 100e-6
LM = (45, 58, 73, 89, 115, 145, 185, 235, 300, 380, 470, 600, 760, 950, 1200, 1550)
SA = (3400, 4400, 5600, 7200, 8800, 11500, 14500, 18500, 24000, 30000, 38000, 49000)
D_M = (0.034, 0.042, 0.053, 0.068, 0.09, 0.115, 0.14, 0.175, 0.215, 0.265, 0.33, 0.42)
LAD_M = (5.1, 10.2)


class Axis:
    """Where an axis is, and where it goes."""

    def __init__(self):
        self._begin, self._from, self.to, self._speed = 0.0, 0.0, 0.0, 1.0

    @property
    def at(self):
        step = self._speed * (time.perf_counter() - self._begin)
        return max(self._from - step, self.to) if self.to < self._from else min(self._from + step, self.to)

    def go(self, to, speed):
        self._begin, self._from, self.to, self._speed = time.perf_counter(), self.at, to, speed


class Microscope(NullMicroscope):
    """Moves continuously, one motion at a time; has low magnification."""

    def __init__(self):
        super().__init__()
        self._axes = {name: Axis() for name in "xyza"}
        self._index = {"IMAGING": len(LM) + 1, "DIFFRACTION": 3}
        self.set_projection_mode("DIFFRACTION")

    def _moving(self):
        return any(axis.at != axis.to for axis in self._axes.values())

    def get_stage_position(self):
        return {**super().get_stage_position(), **{name: axis.at for name, axis in self._axes.items()}}

    def get_stage_status(self):
        return "MOVING" if self._moving() else "READY"

    def _set_stage_position(self, pos=None, method="GO", speed=None):
        if self._moving():
            raise RuntimeError("the stage is moving")
        if not 0 < (speed or 1.0) <= 1:
            raise ValueError("speed out of range")
        if speed is not None and len(pos) > 1:
            raise ValueError("GotoWithSpeed takes one axis")  # as on a Titan 1.1, temscript's docs/restrictions.rst
        limits = self.get_stage_limits()
        if not all(limits[name][0] <= to <= limits[name][1] for name, to in pos.items()):
            raise ValueError("out of range")
        for name, to in pos.items():
            self._axes[name].go(to, (FULL_SPEED if name == "a" else METRES_S) * (speed or 1.0))
        while self._moving():
            time.sleep(0.002)

    def _low(self):
        return self._index["IMAGING"] <= len(LM)

    def _steps(self):
        if self.get_projection_mode() == "IMAGING":
            return LM + SA
        return LAD_M if self._low() else D_M

    def get_projection_sub_mode(self):
        if self.get_projection_mode() == "IMAGING":
            return "LM" if self._low() else "SA"
        return "LAD" if self._low() else "D"

    def get_magnification_index(self):
        return min(self._index[self.get_projection_mode()], len(self._steps()))

    def set_magnification_index(self, index):
        if not 1 <= index <= len(self._steps()):
            raise ValueError("out of range")
        self._index[self.get_projection_mode()] = index

    def _indicated(self, mode):
        return self._steps()[self.get_magnification_index() - 1] if self.get_projection_mode() == mode else 0

    def get_indicated_magnification(self):
        return self._indicated("IMAGING")

    def get_indicated_camera_length(self):
        return self._indicated("DIFFRACTION")


if __name__ == "__main__":
    microscope = Microscope()
    servers = [MicroscopeServer(("127.0.0.1", int(port)), lambda: microscope) for port in sys.argv[1:]]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
