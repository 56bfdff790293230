"""Instamatic's own camera server on Linux, run by the counterparts' Python, which has it (see instamaticprocess.py).

    python tests/drivers/instamaticserver.py CAMERA

Its modules import what only Windows has (`msvcrt`, `ctypes.WinDLL`), which is stubbed first; nothing of Instamatic is
changed. CAMERA is the name of one of its cameras ("simulate": it comes as it is), or of a configuration of a test's own
with `interface: credline`: a camera whose shutter and types are as that configuration says, and which writes down when
it really exposed.
"""

import ctypes
import sys
import time
import types
from importlib import import_module
from pathlib import Path
from typing import Any


class _Windows:
    """Stands for a library of Windows: has every function, and each does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: 0


def stub_windows() -> None:
    """Stand in for what Instamatic imports and Linux does not have. Before anything of Instamatic is imported."""
    import asyncio  # before the stub: these choose by whether msvcrt is there
    import multiprocessing.shared_memory
    import subprocess

    del asyncio, multiprocessing, subprocess
    sys.modules.setdefault("msvcrt", types.ModuleType("msvcrt"))
    for name in ("WinDLL", "windll"):
        if not hasattr(ctypes, name):
            setattr(ctypes, name, _Windows)


def exposing_camera(base: Any) -> Any:
    """A class of camera on Instamatic's own simulated one."""
    import numpy as np

    class Exposing(base):
        """As its configuration says: `exposes_s` long, whatever is asked for, where it is not 0; `setup_s` before the
        shutter opens where the exposure is another than that of the picture before, `readout_s` after it closes, counts
        of type `dtype`. Each exposure's length, begin and end (seconds of time.perf_counter, which all processes share)
        are a line of the file `exposures`.
        """

        _last_exposure: float | None = None
        _pictures = 0

        def get_image(self, exposure: float | None = None, binsize: int | None = None, **_: Any) -> Any:
            exposure_s = self.exposes_s or exposure or self.default_exposure
            if self._last_exposure not in (None, exposure_s):
                time.sleep(self.setup_s)
            self._last_exposure = exposure_s
            begin_s = time.perf_counter()
            time.sleep(exposure_s)
            end_s = time.perf_counter()
            time.sleep(self.readout_s)
            with Path(self.exposures).open("a", encoding="ascii") as file:
                file.write(f"{exposure_s} {begin_s:.6f} {end_s:.6f}\n")
            side_x, side_y = (side // (binsize or self.default_binsize) for side in self.get_camera_dimensions())
            picture = np.full((side_x, side_y), 20, self.dtype)
            picture[0, 0] = self._pictures % 100
            self._pictures += 1
            return picture

    return Exposing


def register_camera() -> None:
    """Let Instamatic find the class of cameras with `interface: credline`."""
    cameras: Any = import_module("instamatic.camera.camera")
    theirs = cameras.get_camera_class

    def get_camera_class(interface: str) -> Any:
        if interface != "credline":
            return theirs(interface)
        return exposing_camera(import_module("instamatic.camera.camera_simu").CameraSimu)

    cameras.get_camera_class = get_camera_class


def main() -> None:
    """Serve until the process is ended."""
    stub_windows()
    register_camera()
    server = import_module("instamatic.server.cam_server")
    sys.argv = [sys.argv[0], "--camera", sys.argv[1]]
    server.main()


if __name__ == "__main__":
    main()
