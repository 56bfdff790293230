"""Instamatic's own cRED on its own servers, without its window; run by benchmarks/peer.py in the counterparts' Python.

    python -P benchmarks/peercred.py SECONDS EXPOSURE_S INTERVAL

Connects as Instamatic does with `use_tem_server` and `use_cam_server`, rotates ("footfree"), stops after so many
seconds, writes no files, and prints the numbers of its diffraction frames as JSON in the last line. Nothing of
Instamatic is changed, but for what tests/drivers/instamaticserver.py stands in for.
"""

import json
import logging
import sys
import tempfile
import threading
from importlib import import_module
from typing import Any

from tests.drivers.instamaticserver import register_camera, stub_windows

ROTATE_TO_DEG = 60.0
DEFOCUS = 1500
SNAPSHOT_S = 0.01
SWITCH_S = 0.001  # as its window sets it


def main(seconds: float, exposure_s: float, interval: int) -> None:
    """One run."""
    stub_windows()
    register_camera()
    sys.setswitchinterval(SWITCH_S)
    ctrl = import_module("instamatic.controller").initialize(stream=True)
    cred: Any = import_module("instamatic.experiments.cred.experiment")
    frames: list[int] = []

    class Timed(cred.Experiment):
        """Notes its frames instead of writing them."""

        def write_data(self, buffer: list[Any]) -> None:
            frames.extend(number for number, _, _ in buffer)

        def write_image_data(self, buffer: list[Any]) -> None:
            pass

    over = threading.Event()
    experiment = Timed(
        ctrl,
        path=tempfile.mkdtemp(),
        log=logging.getLogger("peer"),
        exposure_time=exposure_s,
        unblank_beam=True,
        mode="footfree",
        footfree_rotate_to=ROTATE_TO_DEG,
        enable_image_interval=True,
        image_interval=interval,
        diff_defocus=DEFOCUS,
        exposure_time_image=SNAPSHOT_S,
        write_tiff=False,
        write_xds=False,
        write_dials=False,
        write_red=False,
        stop_event=over,
    )
    timer = threading.Timer(seconds, over.set)
    timer.start()
    try:
        experiment.start_collection()
    finally:
        timer.cancel()
    print(json.dumps(frames), flush=True)
    import os

    os._exit(0)  # its threads of the live view do not end


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
