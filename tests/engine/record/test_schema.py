"""docs/trace-format.md, the schema in the program, and what runs record are one and the same."""

import re
from pathlib import Path

import pytest

from engine.clock.virtual import VirtualClock
from engine.record.schema import BASE, KINDS, problem
from engine.record.trace import SCHEMA, Trace
from engine.run.timeline import Timeline
from tests.engine.traces import CRED_LOG, merlin_log, record_run, records_of, trace
from tests.engine.virtually import virtual

PAGE = (Path(__file__).parents[3] / "docs" / "trace-format.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def documented(kind: str) -> dict[str, str]:
    return {name: type_.strip() for name, type_ in ROW.findall(section(f"`{kind}`"))}


def note_fields(name: str) -> set[str]:
    for row in section("`note`").splitlines():
        names, fields = row.split("|")[1:3] if row.startswith("| `") else ("", "")
        if f"`{name}`" in names:
            return set(re.findall(r"`(\w+)`", fields))
    raise AssertionError(f"no note {name!r} in the page")


def test_the_page_is_of_this_schema() -> None:
    assert f"schema version {SCHEMA}" in PAGE


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"note"}))
def test_every_field_stands_in_the_page_with_its_type(kind: str) -> None:
    assert documented(kind) == {**KINDS[kind].required, **KINDS[kind].optional}


def test_the_fields_of_every_record_stand_in_the_page() -> None:
    assert {name: type_.strip() for name, type_ in ROW.findall(section("Every record"))} == BASE


def test_the_page_describes_no_kind_that_is_not_there() -> None:
    assert set(re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE)) == set(KINDS)


@virtual
async def waiting_late(clock: VirtualClock, path: Path) -> None:
    """The trace of a wait that ends late, as they do on the real clock."""
    written = Trace(clock, path)
    written.header(protocol="cred")
    await clock.sleep_until(100)
    await Timeline(clock, written).wait("frame", 60)
    written.close(sync=False)


DEVICES = {
    "slow": "[detector]\nslow_first_s = [1.2, 1.0]\n",
    "slower": f"[detector]\nslow_first_s = {[0.01] * 100}\n",
    "stopping": "[stage]\nstops_at_deg = -28.0\n",
    "broken": "[stage]\npedal_wait_s = [500.0, 600.0]\n",
}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Traces that between them hold every kind of record: calm, unlucky, stopped, failing and imported runs."""
    out = tmp_path_factory.mktemp("runs")
    runs = [
        record_run(out),
        record_run(out, snapshot_interval=0, rotation="commanded"),
        record_run(out, stop_at="refocus"),
    ]
    for name, table in DEVICES.items():
        file = out / f"{name}.toml"
        file.write_text(f'[microscope]\ndriver = "simulated-timing"\n{table.replace("[", "[microscope.", 1)}')
        runs.append(record_run(out, devices=str(file), rotation_timeout_s=10.0))
    (out / "cRED_log.txt").write_text(CRED_LOG)
    (out / "day.log").write_text(merlin_log())
    for name, files in (("a", ["cRED_log.txt"]), ("b", ["cRED_log.txt", "day.log"]), ("c", [])):
        (out / name).mkdir()
        runs.append(out / name)
        if files:
            assert trace("import", *(out / file for file in files), "-o", out / name / "trace.jsonl").exit_code == 0
    waiting_late(out / "c" / "trace.jsonl")
    return runs


def test_every_field_of_a_fresh_trace_is_documented(traces: list[Path]) -> None:
    seen = set()
    for run in traces:
        for record in records_of(run):
            assert problem(record) is None, record
            kind, name = record["kind"], record["name"]
            known = {*BASE, *documented(kind), *(["source"] if "source" in record else [])}
            if kind == "note":
                known |= note_fields(name)
            assert set(record) <= known, record
            seen.add((kind, name) if kind == "slot" else kind)
    # Bad days have runs of their own: tests/drivers/faults/test_runs.py.
    assert seen == {*KINDS, ("slot", "lost"), ("slot", "stretched")} - {
        "slot",
        "injected",
        "refused",
        "computation",
        "child",
    }


def test_only_imported_records_leave_something_unknown(traces: list[Path]) -> None:
    for run in traces:
        for record in records_of(run):
            unknown = {name for name, value in record.items() if value is None} - {"result", "angle_deg"}
            assert not unknown or record["source"] == "instamatic", record
