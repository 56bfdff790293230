"""cRED runs on the simulated microscope under virtual time, for the tests of this folder."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from engine.record.trace import Record
from engine.run.run import Run
from engine.testing.plugin import RecordedRun, RecordRun

SHORT = {"range_deg": 12.0, "relax_cycles": 1}  # 52 slots at the default speed


class Finished(RecordedRun):
    """A run folder, read, with what is particular to cRED."""

    def calls(self, name: str) -> list[Record]:
        return self.of("call", name)

    def frames(self) -> np.ndarray:
        with h5py.File(self.folder / "frames.h5") as file:
            return file["diffraction/frames"][:]

    def truth_deg(self) -> np.ndarray:
        with h5py.File(self.folder / "truth.h5") as file:
            return file["frame_angle_deg"][:]


Perform = Callable[..., Finished]


@pytest.fixture
def perform(record_run: RecordRun) -> Perform:
    """Perform a run: plan keys as keywords; `devices` = options of the driver; `on` = called at every record."""

    def performing(
        devices: dict[str, Any] | None = None,
        on: Callable[[Record, Run], object] | None = None,
        driver: str = "simulated-timing",
        seed: int = 1,
        **plan: Any,
    ) -> Finished:
        tables = {"microscope": {"driver": driver, **devices}} if devices else driver
        run = record_run("cred", devices=tables, seed=seed, on=on, **{**SHORT, **plan})
        return Finished(run.folder, run.document, run.trace)

    return performing
