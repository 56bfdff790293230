"""Short sessions on a small simulated camera, in this process; toy children where only the session itself is tried."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.record.jsonobject import JsonObject
from engine.record.trace import Record
from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.session.experiment import SESSION
from protocols.session.plan import SessionPlan
from tests.protocols.serialed.runs import Made, devices, toml

PLAN: dict[str, Any] = {
    "report": False,
    "width_um": 13.0,
    "height_um": 13.0,
    "set_height": False,
    "choose": {"crystals": 2, "score_least": 0.0, "several_most": 1.0, "isolated": False},
    "screening": {"crystals_per_field": 4, "step_um": 13.0},
    "cred": {
        "range_deg": 3.0,
        "start_deg": -1.5,
        "speed_deg_s": 1.0,
        "relax_cycles": 0,
        "snapshot_interval": 0,
        "tracking": "off",
        "live": False,
    },
}
SMALL: dict[str, Any] = {
    "pictures": {"shape": [192, 192], "wide_cross": False, "magnified": 0.71},
    "geometry": {"beam_fast_px": 96.0, "beam_slow_px": 96.0},
}


class Night(Made):
    """A session that was made, and what is on disk of it."""

    @property
    def children(self) -> list[str]:
        return [r["protocol"] for r in self.of("child") if r["event"] == "end"]


def night(
    out: Path,
    tables: Mapping[str, Any] | None = None,
    *,
    seed: int = 2,
    on: Callable[[Record, Run], None] | None = None,
    faults: Sequence[str] = (),
    continued: JsonObject | None = None,
    **plan: Any,
) -> Night:
    """Make one: tables as of `devices`, keys of the plan over `PLAN`. on: called with every record, those of children
    too.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / "devices.toml"
    file.write_text(toml(devices(**{**SMALL, **(tables or {})})), encoding="utf-8")

    def watch(run: Run, _: object) -> None:
        run.compute.inline = True
        if on is not None:
            run.trace.observe(lambda record: on(record, run))

    asked = Request(
        *(SESSION, SessionPlan(**{**PLAN, **plan}), out, str(file)),
        virtual=True,
        seed=seed,
        draw=False,
        accept_gaps=True,
        faults=faults,
        continued=continued,
    )
    report = execute(asked, watch)
    return Night(report.folder, report.document)
