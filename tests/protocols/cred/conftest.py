"""cRED runs on the simulated microscope under virtual time, for the tests of this folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from engine.execute import Request, execute
from engine.experiment import Prepared
from engine.run import Run
from engine.trace import Record
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

SHORT = {"range_deg": 12.0, "relax_cycles": 1}  # 52 slots at the default speed


@dataclass
class Finished:
    """A run folder, read."""

    folder: Path
    document: dict[str, Any]
    trace: list[Record]

    @property
    def result(self) -> dict[str, Any]:
        return self.document["result"]

    def states(self) -> list[str]:
        return [record["name"] for record in self.trace if record["kind"] == "state"]

    def calls(self, name: str) -> list[Record]:
        return [record for record in self.trace if record["kind"] == "call" and record["name"] == name]

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        return [r for r in self.trace if r["kind"] == kind and (name is None or r["name"] == name)]

    def frames(self) -> np.ndarray:
        with h5py.File(self.folder / "frames.h5") as file:
            return file["frames"][:]

    def truth_deg(self) -> np.ndarray:
        with h5py.File(self.folder / "truth.h5") as file:
            return file["frame_angle_deg"][:]


Perform = Callable[..., Finished]


@pytest.fixture
def perform(tmp_path: Path) -> Perform:
    """Perform a run: plan keys as keywords; `devices` = tables of a devices file; `on` = commands at trace records."""

    def performing(
        devices: dict[str, Any] | None = None,
        on: Callable[[Record, Run], None] | None = None,
        driver: str = "simulated-timing",
        seed: int = 1,
        **plan: Any,
    ) -> Finished:
        name = driver
        if devices:
            file = tmp_path / "devices.toml"
            lines = [f'[microscope]\ndriver = "{driver}"']
            for table, values in devices.items():
                if isinstance(values, dict):
                    lines += [f"[microscope.{table}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
                else:
                    lines.insert(1, f"{table} = {json.dumps(values)}")
            file.write_text("\n".join(lines), encoding="utf-8")
            name = str(file)

        def watch(run: Run, _: Prepared) -> None:
            if on is not None:
                run.trace.observe(lambda record: on(record, run))

        request = Request(CRED, CredPlan(**{**SHORT, **plan}), tmp_path / "out", name, True, seed, draw=False)
        report = execute(request, watch)
        trace = [json.loads(line) for line in (report.folder / "trace.jsonl").read_text().splitlines()]
        return Finished(report.folder, json.loads((report.folder / "run.json").read_text()), trace)

    return performing
