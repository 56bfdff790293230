"""eiger-simulator as a process, set up for small images: the counterpart of the DECTRIS driver.

Its images come from a folder of pickled, compressed frames, which its own interpreter writes here. Image i holds
`counts_of(i)`; the simulator goes round through `IMAGES` of them. It knows API 1.6.0 only, ignores `trigger_mode`
(every trigger takes `nimages` images, numbered from 0 again) and the argument of a trigger.
"""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.drivers.counterparts import free_port, program, running

ROWS, COLUMNS, IMAGES = 48, 64, 8

WRITE = """
import pickle, sys
import bitshuffle, lz4.block, numpy
folder, rows, columns, images = sys.argv[1], *map(int, sys.argv[2:])
counts = [(numpy.arange(rows * columns, dtype="uint16").reshape(rows, columns) % 251) + i for i in range(images)]
with open(folder + "/a.bslz4.pickle", "wb") as file:
    pickle.dump([bitshuffle.compress_lz4(each).tobytes() for each in counts], file)
with open(folder + "/a.lz4.pickle", "wb") as file:
    pickle.dump([lz4.block.compress(each.tobytes(), store_size=False) for each in counts], file)
"""


def counts_of(image: int) -> NDArray[np.uint16]:
    """The pixels of image `image`."""
    return (np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS) % 251) + np.uint16(image % IMAGES)


class EigerSimulator:
    """A running simulator. port, stream_port: where it listens on loopback."""

    def __init__(self, folder: Path, compression: str) -> None:
        self.port, self.stream_port = free_port(), free_port()
        self._folder, self._compression = folder, compression

    @contextmanager
    def running(self) -> Iterator[None]:
        """The process is up, on the same ports each time."""
        arguments: list[str | Path] = [program("eiger-simulator"), "--host", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--zmq", f"tcp://127.0.0.1:{self.stream_port}", "--dataset", self._folder]
        arguments += ["--default-compression", self._compression, "--log-level", "warning"]
        with running(arguments, ready=self.port):
            self.set("x_pixels_in_detector", COLUMNS)
            self.set("y_pixels_in_detector", ROWS)
            yield

    def set(self, key: str, value: object) -> None:
        """Change its configuration behind the driver's back."""
        body = json.dumps({"value": value}).encode()
        url = f"http://127.0.0.1:{self.port}/detector/api/1.6.0/config/{key}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def get(self, key: str) -> Any:
        """A value of its configuration."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/detector/api/1.6.0/config/{key}", timeout=10
        ) as reply:
            return json.load(reply)["value"]

    @property
    def options(self) -> dict[str, Any]:
        """Options of the driver."""
        return {
            "port": self.port,
            "stream_port": self.stream_port,
            "series": "paced",
            "initialize": True,
            "overhead_s": 0.3,
            "longest_series_s": 60.0,  # it prepares all images of a series before the first
        }


def prepared(folder: Path, compression: str) -> EigerSimulator:
    """A simulator that can be started, its images written."""
    words = [str(program("python")), "-c", WRITE, str(folder), str(ROWS), str(COLUMNS), str(IMAGES)]
    subprocess.run(words, check=True, timeout=60)
    return EigerSimulator(folder, compression)
