"""Long runs: whether memory stays flat and the slot grid stays where it is, on a virtual hour and on the real clock.

.venv/bin/python benchmarks/longrun.py virtual              # 7000 slots of 0.512 s, under virtual time
.venv/bin/python benchmarks/longrun.py virtual --culprits   # the same, slower: what the memory went to
.venv/bin/python benchmarks/longrun.py real --minutes 10    # a machine with nothing else to do gives the best figures

Runs with `simulated-timing`: the real engine and files, small empty pictures. The stage turns slowly, for no holder
lets it turn through so many degrees at the usual speed. Exit status 1 when a slot left the grid under virtual time,
when a slot is missing without a name, when a run did not end as done, or when a task, thread or open file is left
behind; never for a slow machine.
"""

import argparse
import asyncio
import gc
import json
import math
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.clock import NS_PER_S
from engine.record.trace import Record, read_trace
from engine.run.perform import Report, Request, execute
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan

PERIOD_BEYOND_EXPOSURE_S = 0.012
"""Readout and overhead that the simulated camera declares."""
WARM_UP = 0.2
"""This share of a run is left out of the slope of memory: caches and buffers fill there."""
SAMPLE_SLOTS = 25
MEGA = 1e6


def memory_bytes() -> int:
    """What this process occupies of the machine's memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Left:
    """What is open in this process: names of threads, targets of file descriptors."""

    threads: tuple[str, ...]
    files: tuple[str, ...]

    @classmethod
    def now(cls) -> "Left":
        """As it is."""
        gc.collect()
        files = []
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                files.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            except OSError:  # the one with which the list was read
                continue
        return cls(tuple(sorted(thread.name for thread in threading.enumerate())), tuple(sorted(files)))


@dataclass(slots=True)
class Watch:
    """Samples memory every few slots while a run goes on, and looks at what is left when its files are closed.

    Memory is what the process occupies, or, while allocations are traced, what Python's objects do: then a leak of a
    hundred bytes a slot shows within a minute.
    """

    culprits: bool = False
    slots: list[int] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    tasks_left: list[str] = field(default_factory=list)
    snapshot_slots: int = 1
    allocations: list[tuple[int, tracemalloc.Snapshot]] = field(default_factory=list)

    def begin(self, run: Run, prepared: Any) -> None:
        """Observe a run."""
        begun = time.perf_counter()
        self.snapshot_slots = prepared.slot_plan.snapshot_slots

        def sample(record: Record) -> None:
            if record["kind"] == "frame" and record["slot"] >= SAMPLE_SLOTS * (len(self.slots) + 1):
                self.slots.append(record["slot"])
                self.at_s.append(time.perf_counter() - begun)
                self.bytes.append(tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else memory_bytes())
                self.pending.append(run.trace.pending)
                if self.culprits and len(self.slots) % 40 == 0:
                    self.allocations.append((record["slot"], tracemalloc.take_snapshot()))

        def look() -> None:
            current = asyncio.current_task()
            self.tasks_left += [task.get_name() for task in asyncio.all_tasks() if task is not current]

        run.trace.observe(sample)
        run.files.callback(look)


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per unit of x, with one standard deviation. Neighbouring samples are alike, which widens it."""

    value: float
    uncertainty: float

    @classmethod
    def of(cls, x: Sequence[float], y: Sequence[float]) -> "Slope":
        """A straight line by least squares; nan with fewer than four points."""
        if len(x) < 4:
            return cls(math.nan, math.nan)
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        away = xs - xs.mean()
        value = float(away @ ys / (away @ away))
        rest = ys - ys.mean() - value * away
        alike = float(rest[1:] @ rest[:-1] / (rest @ rest)) if rest.any() else 0.0
        widened = (1 + max(0.0, alike)) / (1 - min(max(0.0, alike), 0.99))
        return cls(value, math.sqrt(float(rest @ rest) / (len(xs) - 2) / float(away @ away) * widened))

    def __str__(self) -> str:
        return f"{self.value:.3g} +- {self.uncertainty:.2g}"


def grid_errors_ns(records: Sequence[Record], period_ns: int) -> list[tuple[int, int]]:
    """For each diffraction frame: its slot, and by how much it began off the grid laid through the first slot.

    Where the period was lengthened, the grid begins anew, as the trace says.
    """
    first_ns, first_slot, errors = None, 1, []
    changes = {r["slot"]: r for r in records if r["kind"] == "slot" and r["name"] == "stretched"}
    for record in sorted((r for r in records if r["kind"] == "frame" and r["name"] == "diffraction"), key=slot_of):
        if first_ns is None:
            step = next(r for r in records if r["kind"] == "step" and r["slot"] == record["slot"])
            first_ns, first_slot = step["planned_ns"], record["slot"]
        for slot in [slot for slot in changes if slot <= record["slot"]]:
            change = changes.pop(slot)
            first_ns, first_slot, period_ns = change["start_ns"], slot, change["period_ns"]
        errors.append((record["slot"], record["start_ns"] - first_ns - (record["slot"] - first_slot) * period_ns))
    return errors


def drift(errors: Sequence[tuple[int, int]], period_ns: int) -> Slope:
    """Of the slot grid, in ns/s: how the usual lateness changes in time, by medians of parts of the run.

    A mean would follow the few frames that a busy machine began late, which says nothing of the grid.
    """
    parts = np.array_split(np.asarray(errors), min(40, len(errors)))
    return Slope.of(
        [float(np.median(part[:, 0])) * period_ns / NS_PER_S for part in parts],
        [float(np.median(part[:, 1])) for part in parts],
    )


def slot_of(record: Record) -> int:
    """The slot of a record."""
    return int(record["slot"])


@dataclass(frozen=True, slots=True)
class Figures:
    """What a long run showed."""

    status: str
    slots: int
    frames: int
    frames_not_kept: int
    snapshots: int
    lost: dict[str, list[int]]
    unaccounted: list[int]
    period_changes: int
    elapsed_s: float
    wall_s: float
    memory_first_mb: float
    memory_last_mb: float
    memory_per_slot_bytes: Slope
    memory_per_hour_mb: Slope
    most_pending_records: int
    grid_error_max_ns: int
    grid_error_p99_us: float
    grid_drift_ns_per_s: Slope
    faults: int
    trace_mb: float
    document_mb: float
    tasks_left: list[str]
    threads_left: list[str]
    files_left: list[str]


def long_run(plan: CredPlan, *, virtual: bool, watch: Watch, seed: int = 1) -> Figures:
    """Carry out one run in a folder that goes afterwards, and judge it."""
    with tempfile.TemporaryDirectory(prefix="longrun-") as folder:
        before = Left.now()
        request = Request(
            CRED,
            plan,
            Path(folder),
            "simulated-timing",
            virtual,
            seed,
            accept_timing=True,
            accept_gaps=True,
            draw=False,
        )
        report = execute(request, watch.begin)
        after = Left.now()
        return figures(report, watch, before, after)


def figures(report: Report, watch: Watch, before: Left, after: Left) -> Figures:
    """The figures of a run that is over."""
    records = list(read_trace(report.folder))
    result = report.document["result"]
    period_ns = round((result["exposure_s"] + PERIOD_BEYOND_EXPOSURE_S) * NS_PER_S)
    errors = grid_errors_ns(records, period_ns)
    lost: dict[str, list[int]] = {}
    for record in records:
        if record["kind"] == "slot" and record["name"] == "lost":
            lost.setdefault(record["reason"], []).append(record["slot"])
    accounted = {slot for slots in lost.values() for slot in slots}
    for record in records:
        if record["kind"] == "frame":
            taken = watch.snapshot_slots if record["name"] == "snapshot" else 1
            accounted.update(range(record["slot"], record["slot"] + taken))
    warm = round(WARM_UP * len(watch.slots))
    off = np.abs([error for _, error in errors])
    return Figures(
        status=f"{report.ending.status.value} ({report.ending.reason})",
        slots=result["slots"],
        frames=result["frames"],
        frames_not_kept=result["frames_not_kept"],
        snapshots=result["snapshots"],
        lost=lost,
        unaccounted=sorted(set(range(1, result["slots"] + 1)) - accounted),
        period_changes=result["period_changes"],
        elapsed_s=round(result["elapsed_s"], 1),
        wall_s=round(report.wall_s, 1),
        memory_first_mb=round(watch.bytes[warm] / MEGA, 2),
        memory_last_mb=round(watch.bytes[-1] / MEGA, 2),
        memory_per_slot_bytes=Slope.of(watch.slots[warm:], watch.bytes[warm:]),
        memory_per_hour_mb=Slope.of(
            [slot * period_ns / NS_PER_S / 3600 for slot in watch.slots[warm:]], [b / MEGA for b in watch.bytes[warm:]]
        ),
        most_pending_records=max(watch.pending),
        grid_error_max_ns=int(off.max()),
        grid_error_p99_us=round(float(np.percentile(off, 99)) / 1000, 3),
        grid_drift_ns_per_s=drift(errors, period_ns),
        faults=sum(record["kind"] == "fault" for record in records),
        trace_mb=round((report.folder / "trace.jsonl").stat().st_size / MEGA, 2),
        document_mb=round((report.folder / "run.json").stat().st_size / MEGA, 3),
        tasks_left=watch.tasks_left,
        threads_left=sorted((Counter(after.threads) - Counter(before.threads)).elements()),
        files_left=sorted((Counter(after.files) - Counter(before.files)).elements()),
    )


def complaints(found: Figures, *, virtual: bool) -> list[str]:
    """What must never be, however slow the machine."""
    wrong = []
    if not found.status.startswith("done"):
        wrong.append(f"the run ended as {found.status}")
    if virtual and (found.grid_error_max_ns or found.period_changes):
        wrong.append("under virtual time a frame was not on the slot grid")
    if found.unaccounted:
        wrong.append(f"slots without a frame, a snapshot or a name among the lost: {found.unaccounted[:20]}")
    wrong += [f"left behind: task {name}" for name in found.tasks_left]
    wrong += [f"left behind: thread {name}" for name in found.threads_left]
    wrong += [f"left behind: open file {name}" for name in found.files_left]
    return wrong


def plan_of(exposure_s: float, slots: int, snapshot_interval: int) -> CredPlan:
    """A plan of so many slots, within 100 degrees whatever their number."""
    period_s = exposure_s + PERIOD_BEYOND_EXPOSURE_S
    speed_deg_s = min(0.45, 71.0 / (slots * period_s))
    return CredPlan(
        sample="long",
        exposure_s=exposure_s,
        speed_deg_s=speed_deg_s,
        start_deg=-35.0,
        range_deg=slots * period_s * speed_deg_s,
        rotation="commanded",
        rotation_timeout_s=600.0,
        snapshot_interval=snapshot_interval,
        relax_cycles=1,
        formats=(),
    )


def show_culprits(watch: Watch) -> None:
    """Where memory was still held at the last snapshot that was not at an earlier one."""
    (first_slot, first), (last_slot, last) = watch.allocations[0], watch.allocations[-1]
    slots = last_slot - first_slot
    print(f"allocations that grew from slot {first_slot} to slot {last_slot}, bytes per slot:")
    for line in last.compare_to(first, "lineno")[:14]:
        print(f"  {line.size_diff / slots:9.1f}  {line.count_diff / slots:6.2f} blocks  {line.traceback}")


def main() -> int:
    """Run, print the figures; as JSON in the last line with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clock", choices=("virtual", "real"))
    parser.add_argument("--slots", type=int, default=7031)
    parser.add_argument("--minutes", type=float, default=10.0, help="of a run on the real clock")
    parser.add_argument("--exposure", type=float, help="in s; default 0.5, on the real clock 0.1")
    parser.add_argument("--interval", type=int, default=10, help="snapshot every so many slots, 0 for none")
    parser.add_argument("--culprits", action="store_true", help="trace every allocation (slow) and name what grew")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    virtual = words.clock == "virtual"
    exposure_s = words.exposure or (0.5 if virtual else 0.1)
    slots = words.slots if virtual else round(words.minutes * 60 / (exposure_s + PERIOD_BEYOND_EXPOSURE_S))
    watch = Watch(culprits=words.culprits)
    # What any run opens once and for all (imports, the pipe to multiprocessing's resource tracker) is no leak.
    long_run(plan_of(0.5, 60, 10), virtual=True, watch=Watch())
    if words.culprits:
        tracemalloc.start()
    found = long_run(plan_of(exposure_s, slots, words.interval), virtual=virtual, watch=watch)
    for name in found.__dataclass_fields__:
        print(f"{name:<24} {getattr(found, name)}")
    if words.culprits:
        show_culprits(watch)
    wrong = complaints(found, virtual=virtual)
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    if words.json:
        print(json.dumps({"clock": words.clock, **asdict(found), "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
