"""Short serial runs on a small simulated camera, in this process."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Record, read_trace
from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.serialed.experiment import SERIALED
from protocols.serialed.plan import SerialedPlan

PLAN: dict[str, Any] = {
    "width_um": 26.0,
    "height_um": 26.0,
    "step_um": 13.0,
    "score": False,
    "formats": (),
}


def devices(**tables: Mapping[str, Any]) -> dict[str, Any]:
    """A simulated grid without bars, on 256 x 256 pixels; `tables` over what is usual here."""
    usual: dict[str, Any] = {
        "pictures": {"shape": [256, 256], "wide_cross": False, "magnified": 0.9465},
        "geometry": {"beam_fast_px": 130.0, "beam_slow_px": 127.0},
        "grid": {
            "seed": 5,
            "film": "continuous",
            "pitch_nm": 1e7,
            "bar_nm": 0.0,
            "crystals_um2": 0.12,
            "probe_nm": 400.0,
        },
        "stagexyz": {"xy_speed_nm_s": 8500.0, "overshoot_nm": 0.0},
        "mode": {"mode": "imaging", "magnification": 2500.0, "settling_s": 0.2, "switching_s": 0.035},
    }
    for name, table in tables.items():
        usual[name] = {**usual.get(name, {}), **table}
    return {"microscope": {"driver": "simulated", **usual}}


@dataclass(frozen=True)
class Made:
    """A run that was made, and what is on disk of it."""

    folder: Path
    document: JsonDict

    @property
    def result(self) -> JsonDict:
        result: JsonDict = self.document["result"]
        return result

    @property
    def trace(self) -> list[Record]:
        return list(read_trace(self.folder))

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        return [r for r in self.trace if r["kind"] == kind and name in (None, r["name"])]


def made(
    out: Path,
    tables: Mapping[str, Any] | None = None,
    *,
    seed: int = 2,
    on: Callable[[Record, Run], None] | None = None,
    faults: Sequence[str] = (),
    continued: JsonObject | None = None,
    **plan: Any,
) -> Made:
    """Make one: tables as of `devices`, keys of the plan over `PLAN`. on: called with every record as it is made."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "devices.toml"
    file.write_text(toml(devices(**(tables or {}))), encoding="utf-8")

    def watch(run: Run, _: object) -> None:
        run.compute.inline = True
        if on is not None:
            run.trace.observe(lambda record: on(record, run))

    asked = Request(
        *(SERIALED, SerialedPlan(**{**PLAN, **plan}), out, str(file)),
        virtual=True,
        seed=seed,
        draw=False,
        faults=faults,
        continued=continued,
    )
    report = execute(asked, watch)
    return Made(report.folder, report.document)


def toml(tables: Mapping[str, Any], *path: str) -> str:
    """The text of a devices file."""
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in tables.items() if not isinstance(value, Mapping)]
    return "\n".join([*lines, *(toml(v, *path, k) for k, v in tables.items() if isinstance(v, Mapping))])
