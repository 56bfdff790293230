"""A session's folder as a night leaves it, written without one: trace and run.json."""

import json
from pathlib import Path

import numpy as np

from engine.record.document import RunDocument
from engine.record.remains import Remains
from protocols.session.finish import finish_session
from protocols.session.judging.coverage import Reach, Stage
from protocols.session.judging.dataset import DataSet, data_set
from protocols.session.judging.judgement import judgement
from protocols.session.judging.phases import phases_of
from tests.protocols.session.judging.nights import CHABAZITE, FERRIERITE, LATTICES, MORDENITE, result_of

NS = 10**9


class Trace:
    """Records in order."""

    def __init__(self) -> None:
        self.lines: list[dict] = []
        self.t_s = 0.0

    def add(self, kind: str, name: str, **fields) -> None:
        if kind == "state":
            fields = {"trigger": "", **fields}
        self.lines.append({"seq": len(self.lines), "t_ns": int(self.t_s * NS), "kind": kind, "name": name, **fields})

    def child(
        self, name: str, protocol: str, took_s: float, result: dict, status: str = "done", reason: str = ""
    ) -> None:
        begin_ns = int(self.t_s * NS)
        self.add("child", name, event="begin", protocol=protocol, digest="0" * 16)
        self.t_s += took_s
        self.add(
            "child",
            name,
            event="end",
            protocol=protocol,
            digest="0" * 16,
            begin_ns=begin_ns,
            end_ns=int(self.t_s * NS),
            status=status,
            reason=reason,
            alarms=[],
            result=result,
        )


def written_session(folder: Path, stage: Stage, data_sets: int = 12, seed: int = 0, judge_each: int = 4) -> Path:
    """`data_sets` of mordenite and chabazite, one of ferrierite; each fifth crystal is set aside; one device fault."""
    rng = np.random.default_rng(seed)
    trace = Trace()
    trace.add("header", "credline", schema=2, protocol="session", version="0", clock="virtual", plan={}, seed=seed)
    trace.add("state", "begin")
    trace.add("note", "region", centre_nm=[0.0, 0.0])
    trace.add("state", "screen")
    count = 6 * data_sets
    columns = [
        "x_nm",
        "y_nm",
        "length_nm",
        "width_nm",
        "neighbour_nm",
        "border_nm",
        "is_isolated",
        "score_good",
        "score_several",
        "d_min_A",
    ]
    places = rng.uniform(-100_000, 100_000, (count, 2)).round(1)
    rows = [
        [x, y, 900.0, 400.0, 3000.0, 2000.0, True, round(float(rng.beta(2, 2)), 3), 0.1, 0.9]
        for x, y in places.tolist()
    ]
    bars = [[-100_000.0 + 10_000 * k, 50_000.0, "bar"] for k in range(21)]
    screened = {
        "crystals": {"columns": columns, "rows": rows},
        "field_table": {"columns": ["x_nm", "y_nm", "how"], "rows": bars},
        "patterns": count,
        "beam_on_s": 60.0,
    }
    trace.child("1_screening", "serialed", 600.0, screened)
    trace.add("note", "block", block=1, how="done")
    sets: list[DataSet] = []
    over = 0
    cells = [FERRIERITE if n == data_sets // 2 else (MORDENITE, CHABAZITE)[n % 2] for n in range(data_sets)]
    for cell in cells:
        over += 1
        trace.add("state", "rank")
        trace.add("note", "chosen", crystal=over)
        trace.add("state", "recall")
        if over % 5 == 0:
            trace.child(f"{over}_recall", "serialed-recall", 20.0, {"found": False, "beam_on_s": 2.0})
            reason = "the crystal is not where it was, and not within 3 um"
            trace.add("note", "crystal over", crystal=over, how="set aside", reason=reason, stage="recall")
            over += 1
            trace.add("note", "chosen", crystal=over)
        trace.child(f"{over}_recall", "serialed-recall", 12.0, {"found": True, "beam_on_s": 2.0})
        trace.add("state", "collect")
        if len(sets) == 3:
            trace.add("note", "device fault", device="camera", reason="it does not answer", how="began", waited_s=0.0)
            trace.t_s += 180
            trace.add("note", "device fault", device="camera", reason="it answers", how="over", waited_s=180.0)
        number = len(sets) + 1
        six = np.array(cell.parameters) * (1 + np.array([0.003] * 3 + [0.002] * 3) * rng.normal(size=6))
        own = type(cell)(*six.tolist())
        sigma = np.concatenate([0.003 * six[:3], np.full(3, 0.2)])
        turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turned *= np.sign(np.linalg.det(turned))
        end_deg = float(rng.uniform(20, 55))
        result = result_of(own, turned @ own.reciprocal_basis, sigma, LATTICES[cell], -55.0, end_deg)
        result["live"] |= {"resolution_A": round(float(rng.uniform(0.8, 1.1)), 3)}
        if number == 2:
            result["live"] |= {
                "determined": False,
                "reasons": ["no lattice is found in 812 reflections"],
                "indexed": 0.0,
            }
        result |= {"range_deg": end_deg + 55, "beam_on_s": (end_deg + 55) / 0.45}
        trace.child(f"{over}_crystal", "cred", 30 + result["beam_on_s"], result, reason="range covered")
        sets.append(data_set(result, number, over, f"{over}_crystal"))
        trace.add("note", "data set", number=number, crystal=over, run_dir=f"{over}_crystal", result=result)
        trace.add("note", "crystal over", crystal=over, how="collected", reason="range covered", stage="collect")
        if number % judge_each == 0 or number == data_sets:
            trace.add("state", "judge")
            now_ns = int(trace.t_s * NS)
            times = {"asked_ns": now_ns, "begin_ns": now_ns, "end_ns": now_ns, "verdict": "in time"}
            judged = judgement(sets, [Reach(phase, stage, 1.0) for phase in phases_of(sets)])
            trace.add(
                "computation", "judge", number=1, arguments={}, pictures=[], earlier=number, result=judged, **times
            )
            row = {"number": 1, "data_sets": [1, 3], "left_out": [], "group": "C m m m", "completeness": 0.884}
            merged = {"phases": [row | {"multiplicity": 4.4, "r_meas": 0.0891, "cc_half": None}]}
            trace.add(
                "computation", "merge", number=1, arguments={}, pictures=[], earlier=number, result=merged, **times
            )
            row = {"number": 1, "data_sets": [1], "why_not": "", "completeness": 0.71, "multiplicity": 2.0}
            dials = {"phases": [row | {"r_meas": 0.101, "cc_half": 0.99}]}
            trace.add(
                "computation", "dials_scale", number=1, arguments={}, pictures=[], earlier=number, result=dials, **times
            )
    trace.add("state", "finalize")
    trace.add("state", "done")
    folder.mkdir()
    (folder / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in trace.lines))
    told = [{"number": each.number, "crystal": each.crystal, "run_dir": each.run_dir} for each in sets]
    remains = Remains(trace.lines[0], {}, trace.lines[1:], (), ())
    document = RunDocument(
        result=finish_session(remains).result,
        protocol="session",
        run_id=f"{folder.name}-1",
        label="night",
        status="done",
        reason="12 data sets",
        plan={"goal": {"flux_e_A2_s": 0.05, "d_min_A": 1.0}},
        own={"session": {"data_sets": told}},
    )
    document.write(folder)
    return folder
