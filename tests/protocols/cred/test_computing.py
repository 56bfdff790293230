"""A run that computes from its own snapshots: recorded, replayed to the same bytes, computed again from its folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.commands.main import app
from engine.errors import Refused
from engine.record.spool import SPOOL_FILE
from engine.record.trace import Record, read_trace
from engine.replay.computations import recompute_run
from engine.replay.replay import first_divergence, load_run, replay
from engine.replay.whatif import Question, ask
from engine.run.compute import Computation
from engine.run.perform import Request, execute
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan
from protocols.cred.sequence import CredSequence

TOTAL = Computation("total", "tests.engine.run.computations:total", latency_s=0.7, limit_s=1.5)
EVENED = Computation("evened", "tests.engine.run.computations:evened", latency_s=0.7, limit_s=30, resolution=1e-6)
FAULTS = ("compute.total 1 late", "compute.total 2 dead", "compute.total 3 never")


Asked = tuple[dict[str, Any], list[int]]


def of_the_last(kept: list[int]) -> Asked:
    return {"of": kept[-1:]}, kept[-1:]


def of_the_last_evened(kept: list[int]) -> Asked:
    """The flatfield is the first picture in the spool."""
    return {"frame": kept[-1], "flatfield": 0}, [0, kept[-1]]


def computing_run(
    monkeypatch: pytest.MonkeyPatch,
    out: Path,
    *faults: str,
    computation: Computation = TOTAL,
    asked: Callable[[list[int]], Asked] = of_the_last,
    devices: str = "simulated-timing",
    range_deg: float = 5.0,
) -> Path:
    """A run whose refocusing has something of the frame before it computed, while it goes on."""
    begin, refocus = CredSequence.activities, CredSequence.refocus

    def activities(self: CredSequence) -> object:
        if computation not in self.run.compute.declared:
            self.run.compute.declare(computation)
        return begin(self)

    async def refocusing(self: CredSequence) -> str:
        kept = [record["index"] for record in self.run.seen if record["kind"] == "frame"]  # type: ignore[attr-defined]

        async def analyse() -> None:
            outcome = await self.run.compute.compute(computation, *asked(kept))
            self.run.trace.record("note", "analysed", good=outcome.good, total=outcome.result)

        self.run.in_background(analyse(), "analysis")
        return await refocus(self)

    made = Run.__init__

    def begun(self: Run, *args: object, **options: object) -> None:
        made(self, *args, **options)  # type: ignore[arg-type]
        self.compute.inline = True
        seen: list[Record] = []
        self.seen = seen  # type: ignore[attr-defined]
        self.trace.observe(seen.append)

    monkeypatch.setattr(Run, "__init__", begun)
    monkeypatch.setattr(CredSequence, "activities", activities)
    monkeypatch.setattr(CredSequence, "refocus", refocusing)
    plan = CredPlan(range_deg=range_deg, relax_cycles=1, snapshot_interval=3, formats=())
    request = Request(CRED, plan, out, devices, virtual=True, seed=1, draw=False, faults=faults)
    report = execute(request)
    assert report.ending.status.value == "done"
    return report.folder


def verdicts(folder: Path) -> list[str]:
    return [r["verdict"] for r in read_trace(folder) if r["kind"] == "computation"]


@pytest.mark.parametrize("faults", [(), FAULTS], ids=["calm", "late, dead, never"])
def test_a_run_that_computes_replays_to_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, faults: tuple[str, ...]
) -> None:
    folder = computing_run(monkeypatch, tmp_path, *faults)
    assert verdicts(folder)[:4] == (["late", "dead", "late", "in time"] if faults else ["in time"] * 4)
    records = load_run(folder)
    assert first_divergence(records, replay(records)) is None
    with pytest.raises(Refused, match="feeds back from data"):
        ask(records, Question())


def test_its_computations_are_made_again_from_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = computing_run(monkeypatch, tmp_path)
    answer = CliRunner().invoke(app, ["replay", str(folder), "--recompute"])
    assert answer.exit_code == 0, answer.output
    assert f"{verdicts(folder).count('in time')} computed again, 0 differ" in answer.output
    trace = folder / "trace.jsonl"
    trace.write_text(trace.read_text().replace('"result":{"total":', '"result":{"total":9', 1))
    answer = CliRunner().invoke(app, ["replay", str(folder), "--recompute"])
    assert answer.exit_code == 1
    assert "total, number 1: total was 9" in answer.output


def test_a_computation_that_corrects_its_frame_by_the_flatfield_is_made_again_from_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Frames reach it as the camera gave them, then and now; the flatfield is a picture that it names."""
    folder = computing_run(
        monkeypatch, tmp_path, computation=EVENED, asked=of_the_last_evened, devices="simulated", range_deg=2.0
    )
    computed = verdicts(folder).count("in time")
    assert computed > 0
    assert not (folder / SPOOL_FILE).exists()
    records = load_run(folder)
    assert first_divergence(records, replay(records)) is None
    assert recompute_run(records, folder) == (computed, [])
