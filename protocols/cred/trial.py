"""cRED for the soak: random plans and troubles, and the rules that every run must keep, whatever befalls it.

The rules are judged by what the simulated instrument knows to be true, not by what the run believes.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.calls import HARD_LIMIT_S
from engine.clock import NS_PER_S, ns
from engine.framesfile import FRAME_ROW
from engine.run import LET_GO_S
from engine.soak import Ordeal
from engine.trace import Record
from protocols.cred.agreement import check_run
from protocols.cred.machine import TRANSITIONS, State
from protocols.cred.sequence import FRAME_OVERDUE_S, SAFE_LIMIT_S, STOP_LIMIT_S

EXPOSING = (State.EXPOSE.value, State.DEFOCUS_SNAPSHOT.value)
WAYS = {(source.value, t.trigger, t.dest.value) for t in TRANSITIONS for source in t.sources}
# What a stage may be off without being noticed: the scatter of readings, and moves below what is_astray looks for.
UNNOTICED_DEG = 0.03


class CredTrial:
    """Implements `engine.soak.Trial`."""

    def draw(self, rng: random.Random) -> tuple[dict[str, Any], list[str]]:
        """A run of 3 to 40 slots and up to five troubles."""
        exposure_s = rng.choice([0.05, 0.1, 0.2, 0.5, 0.5, 1.0])
        period_s = exposure_s + 0.012
        slots = rng.randint(3, 40)
        speed_deg_s = rng.choice([0.2, 0.45, 1.0, 2.0])
        range_deg = round(slots * period_s * speed_deg_s, 3) * rng.choice([1, 1, -1])
        settling_slots = int(0.55 / period_s) + 1
        interval = rng.choice([0, 0, rng.randint(settling_slots + 2, settling_slots + 9)])
        plan: dict[str, Any] = {
            "exposure_s": exposure_s,
            "speed_deg_s": speed_deg_s,
            "start_deg": rng.choice([-30.0, 0.0, 12.5]),
            "range_deg": range_deg,
            "rotation": rng.choice(["pedal", "commanded"]),
            "snapshot_interval": interval,
            "relax_cycles": rng.choice([0, 0, 1, 2]),
            "unblank": rng.random() < 0.8,
            "rotation_timeout_s": rng.choice([20.0, 120.0]),
            "formats": [],
        }
        duration_s = slots * period_s + 5.0
        troubles = [self._trouble(rng, slots, duration_s) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 5]))]
        return plan, troubles

    def _trouble(self, rng: random.Random, slots: int, duration_s: float) -> str:
        at_s = round(rng.uniform(0.0, duration_s), 3)
        call = rng.choice(
            [
                f"stage.angle {rng.randint(1, 60)}",
                f"stage.{rng.choice(['rotate', 'stop', 'release_to_pedal'])} {rng.randint(1, 2)}",
                f"beam.{rng.choice(['blank', 'blank', 'unblank', 'is_blanked'])} {rng.randint(1, 3)}",
                f"optics.{rng.choice(['focus', 'set_focus'])} {rng.randint(1, 8)}",
                f"detector.{rng.choice(['arm', 'disarm'])} 1",
                f"detector.start {rng.randint(1, slots)}",
            ]
        )
        order = rng.choice(
            ["stage.rotate", "stage.stop", "beam.blank", "beam.unblank", "optics.set_focus", "detector.disarm"]
        )
        value = round(rng.choice([rng.uniform(0.02, 1.0), rng.uniform(1.0, 12.0)]), 3)
        sign = rng.choice([-1, 1])
        return rng.choice(
            [
                f"{call} error",
                f"{call} hang",
                f"{order} {rng.randint(1, 3)} ignored",
                f"{call} slow {value}",
                f"{call} away {value}",
                f"stage.angle {rng.randint(1, 60)} wrong {sign * value}",
                f"optics.focus {rng.randint(1, 4)} wrong {sign * 500}",
                f"beam.is_blanked {rng.randint(1, 3)} wrong 1",
                f"detector.frames {rng.randint(1, slots)} {rng.choice(['drop', 'double', 'torn'])}",
                f"detector.frames {rng.randint(1, slots)} late {value}",
                f"detector.frames 1 late {rng.choice([1.0, 1.2])}",
                f"stage.motion {at_s} {rng.choice(['stop', 'reverse'])}",
                f"stage.motion {at_s} jump {sign * value}",
                f"stage.motion {at_s} slip {value}",
                f"host {at_s} {rng.choice(['starve', 'leap'])} {value}",
                f"disk.write {rng.randint(1, 4 * slots)} {rng.choice(['full', 'error'])}",
                f"disk.sync {rng.randint(1, 2 * slots)} error",
                f"disk.{rng.choice(['write', 'sync'])} {rng.randint(1, 2 * slots)} slow {value}",
                f"operator {at_s} {rng.choice(['stop', 'abort'])}",
            ]
        )

    def simpler(self, plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Half the range, and one key after the other as in the plainest run."""
        plain = {
            "snapshot_interval": 0,
            "relax_cycles": 0,
            "rotation": "commanded",
            "unblank": True,
            "exposure_s": 0.5,
            "speed_deg_s": 0.45,
            "start_deg": 0.0,
        }
        slot_deg = (plan["exposure_s"] + 0.012) * plan["speed_deg_s"]
        if abs(plan["range_deg"]) > 4 * slot_deg:
            yield {**plan, "range_deg": round(plan["range_deg"] / 2, 3)}
        if plan["range_deg"] < 0:
            yield {**plan, "range_deg": -plan["range_deg"]}
        for key, value in plain.items():
            if plan[key] != value:
                yield {**plan, key: value}

    def watch(self, record: Record, before: Sequence[Record]) -> str | None:
        """Every step: states follow one another as drawn, frames come in exposing states and in order."""
        kind = record["kind"]
        if kind not in ("state", "frame", "call"):
            return None
        state = next((r["name"] for r in reversed(before) if r["kind"] == "state"), None)
        if kind == "state":
            if state is not None and (state, record["trigger"], record["name"]) not in WAYS:
                return f"states follow the machine: {record['name']} came after {state} by {record['trigger']}"
        elif kind == "frame":
            last = next((r for r in reversed(before) if r["kind"] == "frame" and r["name"] == record["name"]), None)
            if last is not None and record["slot"] <= last["slot"]:
                return f"slots of frames rise: {record['slot']} came after {last['slot']}"
        elif record["name"] == "detector.start" and state not in EXPOSING:
            return f"exposures are made while exposing: one was begun in state {state}"
        elif record["name"] == "beam.unblank" and state != State.DELAY.value and "error" not in record:
            return f"the beam is unblanked when rotation was seen: it was in state {state}"
        return None

    def judge(self, ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
        """The rules of cRED."""
        yield from _left_safe(ordeal)
        yield from _in_time(ordeal)
        yield from _nothing_lost(ordeal)
        yield from _on_the_grid(ordeal)
        yield from _angles_true(ordeal)
        disagreements = check_run(ordeal.folder)
        yield "the files of the run agree", not disagreements, "; ".join(disagreements[:3])


def _left_safe(ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
    truth, alarms = ordeal.microscope.truth, " ".join(ordeal.alarms)
    befallen = {fault.what.split(".")[0] for fault in ordeal.came_about}
    yield "the beam is off, or the alarm says so", truth.is_blanked() or "THE BEAM MAY" in alarms, alarms
    now_ns = ordeal.run.clock.now_ns()
    turning = truth.is_rotating(now_ns)
    if any((f.what, f.kind) == ("stage.stop", "ignored") for f in ordeal.came_about):
        # One that stands by itself for a moment and ignores the stop cannot be told from one that was stopped.
        turning = turning and truth.angle_deg(now_ns) != truth.angle_deg(now_ns - NS_PER_S // 10)
    yield "the stage stands, or the alarm says so", not turning or "THE STAGE MAY" in alarms, alarms
    misread = sum(f.what == "optics.focus" and f.kind == "wrong" for f in ordeal.came_about)
    if misread < 2:  # where the focus is, is read three times; that two of them are wrong is beyond what is promised
        yield "the lens is in focus, or the alarm says so", truth.is_in_focus() or "the lens may" in alarms, alarms
    for device, alarm in (("beam", "THE BEAM MAY"), ("stage", "THE STAGE MAY"), ("optics", "the lens may")):
        # A host that stands still cannot tell a device that does not answer from one that it did not hear.
        doubt = device in befallen or "host" in befallen
        yield f"no false alarm about the {device}", alarm not in alarms or doubt, alarms


def _in_time(ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
    """Safe within 2 s, and what devices that do not answer may cost; found out within their limits."""
    began, safe = ordeal.time_of("state", State.FINALIZE.value), ordeal.time_of("note", "safe state")
    yield "the safe state is reached", safe is not None, ""
    host_s = sum(fault.value for fault in ordeal.came_about if fault.what == "host")
    silent = {fault.what.split(".")[0] for fault in ordeal.came_about} & {"beam", "stage", "optics", "detector"}
    if began is not None and safe is not None:
        limit_s = 2.0 + host_s + sum((STOP_LIMIT_S if d == "stage" else SAFE_LIMIT_S) + LET_GO_S for d in silent)
        limit_s += SAFE_LIMIT_S + LET_GO_S if "beam" in silent else 0.0  # it is asked twice
        took_s = (safe - began) / NS_PER_S
        yield "the safe state is reached in time", took_s <= limit_s, f"{took_s:.2f} s of {limit_s:.2f} s"
    for record in ordeal.of("injected"):
        if record["fault"].endswith(" hang") and began is not None and record["t_ns"] < began:
            found_s = (began - record["t_ns"]) / NS_PER_S
            limit_s = max(HARD_LIMIT_S, FRAME_OVERDUE_S) + 2.0 + host_s
            yield "a device that hangs is found out", found_s <= limit_s, f"after {found_s:.2f} s of {limit_s:.2f} s"


def _nothing_lost(ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
    """Every exposure that was read out is in the trace, save the one in flight at the end, or a fault took it."""
    told = {(r["start_ns"], r["end_ns"]) for r in ordeal.trace if r["kind"] in ("frame", "refused")}
    untold = [exposure for exposure in ordeal.microscope.truth.exposures() if exposure not in told]
    taken = sum(f.what == "detector.frames" and f.kind in ("drop", "late", "torn") for f in ordeal.came_about)
    in_flight = int(bool(ordeal.of("command")) or ordeal.ending.status.value in ("failed", "stopped"))
    yield "no frame is lost without a name", len(untold) <= taken + in_flight, f"{len(untold)} read out and not told"
    noticed = ordeal.run.writer.error is None or ordeal.ending.status.value in ("failed", "aborted")
    yield "a run whose disk failed is no success", noticed, ordeal.ending.status.value


def _on_the_grid(ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
    """A frame of slot k begins where slot k does; the period changes only when most frames really were late."""
    stretched = ordeal.of("slot", "stretched")
    late = sum(f.what == "detector.frames" and f.kind == "late" for f in ordeal.came_about)
    yield "some late frames do not move the grid", not stretched or late >= 6, f"{late} late frames stretched it"
    rows = _kept(ordeal)
    if len(rows) and not stretched:
        period_ns = ns(ordeal.case.plan["exposure_s"] + 0.012)
        grids = {int(row["start_ns"] - row["late_ns"] - int(row["slot"]) * period_ns) for row in rows}
        yield "slots lie on one grid", len(grids) == 1, f"{len(grids)} grids"
        worst_ms = int(np.abs(rows["late_ns"]).max()) / 1e6
        yield "frames begin where their slots do", worst_ms <= 0.1 * period_ns / 1e6, f"{worst_ms:.3f} ms off"
    # What the stored intervals say must be what the shutter did.
    exposures = set(ordeal.microscope.truth.exposures())
    untrue = [int(row["slot"]) for row in rows if (int(row["start_ns"]), int(row["end_ns"])) not in exposures]
    yield "stored frames are exposures that were made", not untrue, f"slots {untrue[:5]}"


def _angles_true(ordeal: Ordeal) -> Iterator[tuple[str, bool, str]]:
    """The angles of kept frames are those of the stage, within what the result says of their uncertainty."""
    rows, result, truth = _kept(ordeal), ordeal.document["result"], ordeal.microscope.truth
    if not len(rows) or result["rate_deg_s"] is None:
        return
    # A move before the first reading has ended is part of it: nothing tells where the stage was before.
    first_ns = min((r["t_after_ns"] for r in ordeal.document["stage_readings"]), default=0)
    if any(f.what == "stage.motion" and ns(f.when) < first_ns for f in ordeal.came_about):
        rows = rows[rows["start_ns"] >= first_ns]
    if not len(rows):
        return
    true_deg = np.array([[truth.angle_deg(int(t)) for t in (row["start_ns"], row["end_ns"])] for row in rows])
    off_deg = float(np.abs(np.stack([rows["start_deg"], rows["end_deg"]], axis=1) - true_deg).max())
    bound_deg = result["offset_uncertainty_deg"] + UNNOTICED_DEG
    if result["rate_uncertainty_deg_s"] is not None:
        bound_deg += 3 * result["rate_uncertainty_deg_s"] * (rows["end_ns"].max() - rows["start_ns"].min()) / NS_PER_S
    else:
        bound_deg += 0.01 * abs(result["range_deg"])  # the speed is the plan's: 1 % is what the simulation is off
    moves = sum(f.what == "stage.motion" or f.kind == "leap" for f in ordeal.came_about)
    if moves:  # what a reading leaves open, by its time and by five times its scatter, is not noticed
        bound_deg += abs(result["rate_deg_s"]) * 0.1
    if moves > 1 or (moves and len(ordeal.document["stage_readings"]) < 4):
        # Two moves may hide one another, and a line through two or three points shows no bend: docs/reliability.md.
        return
    yield "angles of kept frames are true", off_deg <= bound_deg, f"{off_deg:.4f} deg off, {bound_deg:.4f} deg told"


def _kept(ordeal: Ordeal) -> NDArray[np.void]:
    """The rows of frames.h5 that are for use; none without the file."""
    path = ordeal.folder / "frames.h5"
    if not path.exists():
        return np.empty(0, FRAME_ROW)
    with h5py.File(path) as file:
        rows: NDArray[np.void] = file["frames"][()]
    kept: NDArray[np.void] = rows[rows["kept"].astype(bool)]
    return kept
