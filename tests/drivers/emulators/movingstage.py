"""temscript's own server with its own null microscope, whose stage takes its time: run with the counterparts' Python.

    python movingstage.py PORT MOTION_PORT

The null microscope of temscript 2.1.0 jumps to any angle. This one turns at 30 deg/s times the speed it is given, says
MOVING meanwhile and returns from the call when it has arrived, as TEM scripting's GoTo does. Both ports serve the same
microscope, as two processes on a real one's computer do.
"""

import math
import sys
import threading
import time

from temscript.null_microscope import NullMicroscope
from temscript.server import MicroscopeServer

FULL_SPEED = math.radians(30)


class MovingStage(NullMicroscope):
    """Tilts continuously."""

    def __init__(self):
        super().__init__()
        self._motion = (0.0, 0.0, 0.0, 1.0)  # begin, from, to, speed
        self.set_projection_mode("DIFFRACTION")

    def _now(self):
        begin, start, target, speed = self._motion
        step = speed * (time.perf_counter() - begin)
        return max(start - step, target) if target < start else min(start + step, target)

    def get_stage_position(self):
        return {**super().get_stage_position(), "a": self._now()}

    def get_stage_status(self):
        return "READY" if self._now() == self._motion[2] else "MOVING"

    def _set_stage_position(self, pos=None, method="GO", speed=None):
        start, target = self._now(), pos["a"]
        if start != self._motion[2]:
            raise RuntimeError("the stage is moving")
        if not 0 < (speed or 1.0) <= 1:
            raise ValueError("speed out of range")
        self._motion = (time.perf_counter(), start, target, FULL_SPEED * (speed or 1.0))
        while self._now() != target:
            time.sleep(0.002)


if __name__ == "__main__":
    microscope = MovingStage()
    servers = [MicroscopeServer(("127.0.0.1", int(port)), lambda: microscope) for port in sys.argv[1:]]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
