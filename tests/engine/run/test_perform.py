"""A run from a plan to its folder: what it says of its products is what `export` says."""

from pathlib import Path
from typing import Any

import pytest

from engine.record.trace import Record
from engine.run.contract import Prepared
from engine.run.perform import Report, Request, execute
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

SHORT: dict[str, Any] = {"range_deg": 1.5, "relax_cycles": 0, "snapshot_interval": 0}


def performed(out: Path, devices: str, stop_at: int = 0, **plan: Any) -> Report:
    """A short virtual run; stop_at: the slot in which the operator ends it."""

    def watch(run: Run, _: Prepared) -> None:
        def stop(record: Record) -> None:
            if record["kind"] == "frame" and record["slot"] == stop_at:
                run.commands.stop("enough")

        run.trace.observe(stop)

    wanted = CredPlan(**{**SHORT, **plan})
    return execute(Request(CRED, wanted, out, devices, virtual=True, draw=False, signals=False), watch)


def test_what_export_says_of_a_run_the_run_says_itself(tmp_path: Path) -> None:
    report = performed(tmp_path, "simulated", stop_at=4, formats=("xds",))
    exported = CRED.export(report.folder, ["xds"], lambda done, total: None)
    assert report.products == tuple(exported)
    assert report.products[-1] == "the run ended as 'stopped'; what it kept was exported"


@pytest.mark.parametrize(
    ("devices", "formats", "told"),
    [
        ("simulated-timing", ("xds",), ("no files for other programs: the camera delivered no pictures",)),
        ("simulated-timing", (), ()),
    ],
)
def test_why_there_are_no_products_is_said_where_some_were_asked_for(
    tmp_path: Path, devices: str, formats: tuple[str, ...], told: tuple[str, ...]
) -> None:
    assert performed(tmp_path, devices, formats=formats).products == told
