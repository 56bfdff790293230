"""The rules that every cRED run must keep, whatever befalls it.

They are judged by what the simulated instrument knows to be true, not by what the run believes.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from drivers.parts import OpticalMode
from engine.clock import NS_PER_S, ns
from engine.record.frametable import DATA_FILE, FramesFile
from engine.record.spool import SPOOL_FILE, read_spool
from engine.record.warned import WARNING
from engine.run.gate import HARD_LIMIT_S
from engine.run.safety import LET_GO_S
from engine.run.series import FRAME_OVERDUE_S
from engine.run.trial import OPERATOR, SoakedRun, command_of
from protocols.cred.machine import State
from protocols.cred.records import DIFFRACTION
from protocols.cred.sequence import SAFE_LIMIT_S, STOP_LIMIT_S
from protocols.cred.soak.agreement import check_run
from protocols.cred.trackingcalls import BACK_S, STAGE_BACK_S

# What a stage may be off without being noticed: the scatter of readings, and moves below what is_astray looks for.
UNNOTICED_DEG = 0.03
# By more than these readings contradict one speed: more than a pedal's is off, and five times their scatter.
UNSTEADY_SHARE, UNSTEADY_DEG = 0.2, 0.05
# A lens within this of its focus shows spots where they belong: a twentieth of a snapshot's defocus.
IN_FOCUS = 75
BACK_WITHIN_S = {"deflectors": BACK_S, "stagexyz": STAGE_BACK_S}
"""What brought a crystal back goes back where it was, last of all; so long one that does not answer is waited for."""
STUCK = ("dark", "saturated", "same")
"""What frames of a camera are like from some frame on."""
SEEN_WITHIN_NS = ns(1.5)
"""Of frames so short that not each is looked at, two looks at them."""
LOOK_TAKES_NS = ns(0.1)

Rules = Iterator[tuple[str, bool, str]]
"""Of each rule: its name, whether it holds, and what was found."""


def rules_of(soaked: SoakedRun) -> Rules:
    """All of them."""
    rows = _kept(soaked)
    yield from _left_safe(soaked, rows)
    yield from _in_time(soaked)
    yield from _heard(soaked)
    yield from _nothing_lost(soaked)
    yield from _kept_on_a_failing_disk(soaked)
    yield from _on_the_grid(soaked, rows)
    yield from _angles_true(soaked, rows)
    yield from _steady(soaked)
    yield from _seen(soaked)
    yield from _decided(soaked)
    yield from _same_mode(soaked)
    yield from _shifts_back(soaked)
    yield from _stage_back(soaked)
    disagreements = check_run(soaked.folder)
    yield "the files of the run agree", not disagreements, "; ".join(disagreements[:3])


def _shifts_back(soaked: SoakedRun) -> Rules:
    """Deflectors that were set stand where they were found; or an alarm says that they may not."""
    alarms, moved = " ".join(soaked.alarms), soaked.microscope.truth.shifts_moved()
    if any(f.what == "deflectors.read" and f.kind == "wrong" for f in soaked.came_about):
        return  # where they were found is read once: that it was misread is beyond what is promised
    for which in sorted({call["args"][0] for call in soaked.of("call", "deflectors.set")}):
        words = which.replace("_", " ")
        back = which not in moved or f"THE {words.upper()} IS NOT BACK" in alarms
        yield f"the {words} is back where it was, or an alarm says so", back, alarms


def _stage_back(soaked: SoakedRun) -> Rules:
    """A stage that tracking has moved in x and y stands where it was found; or an alarm says that it may not."""
    alarms = " ".join(soaked.alarms)
    stood = next((call["result"] for call in soaked.of("call", "stagexyz.position") if "error" not in call), None)
    moves = soaked.of("call", "stagexyz.move_xy")
    if stood is not None and moves and "error" not in moves[0]:
        back = list(moves[-1]["args"]) == [stood["x_nm"], stood["y_nm"]] or "THE STAGE IS NOT BACK" in alarms
        yield "the stage is back in x and y, or an alarm says so", back, f"{moves[-1]['args']} for {stood}"


def _left_safe(soaked: SoakedRun, rows: NDArray[np.void]) -> Rules:
    truth, alarms = soaked.microscope.truth, " ".join(soaked.alarms)
    befallen = {fault.what.split(".")[0] for fault in soaked.came_about}
    yield "the beam is off, or the alarm says so", truth.is_blanked() or "THE BEAM MAY" in alarms, alarms
    now_ns = soaked.run.clock.now_ns()
    turning = truth.is_rotating(now_ns)
    finalizing_ns = soaked.since_ns(State.FINALIZE.value)
    if any((f.what, f.kind) == ("stage.stop", "ignored") for f in soaked.came_about):
        # One that stands by itself while it is looked at, as before its pedal is pressed, and ignores the stop cannot
        # be told from one that was stopped.
        looks = [
            r["end_ns"] for r in soaked.of("call", "stage.angle") if r["begin_ns"] >= finalizing_ns and "result" in r
        ]
        if len(looks) > 2:  # it is read twice, and twice again
            turning = turning and abs(truth.angle_deg(looks[-3]) - truth.angle_deg(looks[-1])) > UNNOTICED_DEG
    yield "the stage stands, or the alarm says so", not turning or "THE STAGE MAY" in alarms, alarms
    misread = sum(f.what == "optics.focus" and f.kind == "wrong" for f in soaked.came_about)
    if misread < 2:  # where the focus is, is read three times; that two of them are wrong is beyond what is promised
        blurred = [int(row["slot"]) for row in rows if abs(truth.defocus(int(row["start_ns"]))) > IN_FOCUS]
        yield "kept frames were taken in focus", not blurred, f"slots {blurred[:5]}"
        yield "the lens is in focus, or the alarm says so", truth.is_in_focus() or "the lens may" in alarms, alarms
    disarmed = any("error" not in record for record in soaked.of("call", "detector.disarm"))
    yield "the detector is disarmed, or the alarm says so", disarmed or "may still be armed" in alarms, alarms
    for device, alarm in (("beam", "THE BEAM MAY"), ("stage", "THE STAGE MAY"), ("optics", "the lens may")):
        # A host that stands still cannot tell a device that does not answer from one that it did not hear.
        doubt = device in befallen or "host" in befallen
        yield f"no false alarm about the {device}", alarm not in alarms or doubt, alarms


def _in_time(soaked: SoakedRun) -> Rules:
    """Safe within 2 s, and what devices that do not answer may cost; found out within their limits."""
    began, safe = soaked.time_of("state", State.FINALIZE.value), soaked.time_of("note", "safe state")
    yield "the safe state is reached", safe is not None, ""
    host_s = sum(fault.value for fault in soaked.came_about if fault.what == "host")
    silent = {fault.what.split(".")[0] for fault in soaked.came_about} & {"beam", "stage", "optics", "detector"}
    if began is not None and safe is not None:
        limit_s = 2.0 + host_s + sum((STOP_LIMIT_S if d == "stage" else SAFE_LIMIT_S) + LET_GO_S for d in silent)
        limit_s += SAFE_LIMIT_S + LET_GO_S if "beam" in silent else 0.0  # it is asked twice
        befallen = {fault.what.split(".")[0] for fault in soaked.came_about}
        limit_s += sum(back_s + LET_GO_S for device, back_s in BACK_WITHIN_S.items() if device in befallen)
        took_s = (safe - began) / NS_PER_S
        yield "the safe state is reached in time", took_s <= limit_s, f"{took_s:.2f} s of {limit_s:.2f} s"
    for record in soaked.of("injected"):
        if record["fault"].endswith(" hang") and began is not None and record["t_ns"] < began:
            found_s = (began - record["t_ns"]) / NS_PER_S
            limit_s = max(HARD_LIMIT_S, FRAME_OVERDUE_S) + 2.0 + host_s
            yield "a device that hangs is found out", found_s <= limit_s, f"after {found_s:.2f} s of {limit_s:.2f} s"


def _heard(soaked: SoakedRun) -> Rules:
    """The beam before everything else, an operator at once, and what is cancelled lets go."""
    began = soaked.time_of("state", State.FINALIZE.value)
    host_ns = ns(sum(fault.value for fault in soaked.came_about if fault.what == "host"))
    if began is not None:
        blanked = min((record["begin_ns"] for record in soaked.of("call", "beam.blank")), default=2**62)
        # A host that stands still at that very instant blanks nothing.
        yield "the beam is blanked before anything else", blanked <= began + host_ns, ""
        for words in soaked.case.troubles:
            if words.startswith(OPERATOR):
                command = command_of(words)
                name = "told" if command.status is None else command.status.value
                given_ns = soaked.since_ns(command.state) + ns(command.when_s)
                heard = [r for r in soaked.of("command", name) if given_ns <= r["t_ns"] <= given_ns + host_ns]
                yield "an operator is heard at once", bool(heard) or given_ns > began, words
    clinging = [record["name"] for record in soaked.of("fault") if "did not let go" in record["reason"]]
    yield "what is cancelled lets go", not clinging, ", ".join(clinging)


def _kept_on_a_failing_disk(soaked: SoakedRun) -> Rules:
    """What was written before the disk failed is still there."""
    slow = any(f.what.startswith("disk.") and f.kind == "slow" for f in soaked.came_about)
    if "disk_failed" not in soaked.document or slow:
        return
    failed_ns = min((r["t_ns"] for r in soaked.of("command") if r.get("source") == "disk"), default=2**62)
    before = sum(record["t_ns"] < failed_ns for record in soaked.of("frame"))
    spool = soaked.folder / SPOOL_FILE
    stored = before if (soaked.folder / DATA_FILE).exists() else 0
    if spool.exists():
        stored = sum(frame.kind != "flatfield" for frame in read_spool(spool))
    yield "a disk that fails costs no frame written before", stored >= before - 1, f"{stored} of {before}"


def _nothing_lost(soaked: SoakedRun) -> Rules:
    """Every exposure that was read out is in the trace, save the one in flight at the end, or a fault took it."""
    told = [r for r in soaked.trace if r["kind"] in ("frame", "refused")]
    exact = {(r["start_ns"], r["end_ns"]) for r in told}
    untold = [exposure for exposure in soaked.microscope.truth.exposures() if exposure not in exact]
    if _shutters(soaked):  # a camera that tells only between which instants: it is the one that had begun and had come
        untold = [(b, e) for b, e in untold if not any(r["start_ns"] <= b and e <= r["arrived_ns"] for r in told)]
    taken = sum(f.what == "detector.frames" and f.kind in ("drop", "late", "torn") for f in soaked.came_about)
    in_flight = int(bool(soaked.of("command")) or soaked.ending.status.value in ("failed", "stopped"))
    yield "no frame is lost without a name", len(untold) <= taken + in_flight, f"{len(untold)} read out and not told"
    noticed = soaked.run.writer.error is None or soaked.ending.status.value in ("failed", "aborted")
    yield "a run whose disk failed is no success", noticed, soaked.ending.status.value


def _on_the_grid(soaked: SoakedRun, rows: NDArray[np.void]) -> Rules:
    """A frame of slot k begins where slot k does; the period changes only when most frames really were late."""
    stretched = soaked.of("slot", "stretched")
    late = sum(f.kind in ("late", "shutter") for f in soaked.came_about)
    yield "some late frames do not move the grid", not stretched or late >= 4, f"{late} late frames stretched it"
    worst, row_of_late, longest_ns = 0, 0, 1.1 * ns(soaked.case.plan["exposure_s"] + 0.012)
    for record in soaked.trace:
        if (record["kind"], record["name"]) == ("slot", "stretched"):
            row_of_late, longest_ns = 0, 1.1 * record["period_ns"]
        elif (record["kind"], record["name"]) == ("frame", "diffraction"):
            too_long = record["arrived_ns"] - record["start_ns"] > longest_ns
            row_of_late = row_of_late + 1 if too_long else 0
            worst = max(worst, row_of_late)
    yield "a camera that became slow gets a longer period", worst <= 11, f"{worst} late frames in a row"
    if len(rows) and not stretched:
        period_ns = ns(soaked.case.plan["exposure_s"] + 0.012)
        grids = {int(row["start_ns"] - row["late_ns"] - int(row["slot"]) * period_ns) for row in rows}
        yield "slots lie on one grid", len(grids) == 1, f"{len(grids)} grids"
        worst_ms = int(np.abs(rows["late_ns"]).max()) / 1e6
        yield "frames begin where their slots do", worst_ms <= 0.1 * period_ns / 1e6, f"{worst_ms:.3f} ms off"
    # What the stored intervals say must be what the shutter did.
    _, made = _exposed(soaked, rows)
    untrue = rows["slot"][~made].tolist()
    yield "stored frames are exposures that were made", not untrue, f"slots {untrue[:5]}"


def _angles_true(soaked: SoakedRun, rows: NDArray[np.void]) -> Rules:
    """The angles of kept frames are those of the stage, within what the result says of their uncertainty."""
    result, truth = soaked.document["result"], soaked.microscope.truth
    if not len(rows) or result["rate_deg_s"] is None:
        return
    # A move before the first reading has ended is part of it: nothing tells where the stage was before.
    first_ns = min((r["t_after_ns"] for r in soaked.document["stage_readings"]), default=0)
    moves = [f for f in soaked.came_about if f.what == "stage.motion" or f.kind == "leap"]
    if any(soaked.since_ns(f.state) + ns(f.when) < first_ns for f in moves):
        rows = rows[rows["start_ns"] >= first_ns]
    if not len(rows):
        return
    exposed_ns, made = _exposed(soaked, rows)
    rows, exposed_ns = rows[made], exposed_ns[made]
    true_deg = np.array([[truth.angle_deg(int(t)) for t in interval] for interval in exposed_ns]).reshape(-1, 2)
    offs_deg = np.abs(np.stack([rows["start_deg"], rows["end_deg"]], axis=1) - true_deg).max(axis=1, initial=0.0)
    bound_deg = result["offset_uncertainty_deg"] + UNNOTICED_DEG
    if result["rate_uncertainty_deg_s"] is not None:
        bound_deg += 3 * result["rate_uncertainty_deg_s"] * (rows["end_ns"].max() - rows["start_ns"].min()) / NS_PER_S
    else:
        bound_deg += 0.01 * abs(result["range_deg"])  # the speed is the plan's: 1 % is what the simulation is off
    if moves:  # what a reading leaves open, by its time and by five times its scatter, is not noticed
        bound_deg += abs(result["rate_deg_s"]) * 0.1
    if len(moves) > 1 or (moves and len(soaked.document["stage_readings"]) < 4):
        # Two moves may hide one another, and a line through two or three points shows no bend: docs/reliability.md.
        return
    # Frames since the last reading but one before a stage was found astray leave more open, and say so themselves.
    doubtful_ns = min((r["doubtful_from_ns"] for r in soaked.of("note") if "doubtful_from_ns" in r), default=2**62)
    doubtful, own_deg = rows["end_ns"] > doubtful_ns, rows["uncertainty_deg"]
    usual_deg = own_deg[~doubtful].max() if (~doubtful).any() else own_deg.min()
    off_deg = float((offs_deg - np.where(doubtful, np.maximum(own_deg - usual_deg, 0.0), 0.0)).max(initial=0.0))
    if not _shutters(soaked):  # what is said of all frames together says nothing of one whose shutter was slow
        yield "angles of kept frames are true", off_deg <= bound_deg, f"{off_deg:.4f} deg off, {bound_deg:.4f} deg told"
    beyond_deg = offs_deg - rows["uncertainty_deg"]
    if moves:  # of a move that no reading shows, no frame says anything
        beyond_deg = beyond_deg - UNNOTICED_DEG - abs(result["rate_deg_s"]) * 0.1
    worst = int(beyond_deg.argmax()) if len(rows) else 0
    found = f"slot {rows['slot'][worst]}: {offs_deg[worst]:.4f} deg off" if len(rows) else ""
    yield "each kept frame says how far its angle may be off", not len(rows) or beyond_deg[worst] <= 0.0, found


def _steady(soaked: SoakedRun) -> Rules:
    """A stage that turns otherwise than it should ends the run: no two of the readings that it went by contradict the
    planned speed. It may be off as much as a pedal sets it wrong.
    """
    plan = soaked.document["plan"]
    rate_deg_s = plan["speed_deg_s"] * (1 if plan["range_deg"] > 0 else -1)
    until_ns = min((r["kept_until_ns"] for r in soaked.of("note") if "kept_until_ns" in r), default=2**62)
    taken = [r for r in soaked.document["stage_readings"] if r["t_before_ns"] < until_ns]
    before_ns, after_ns, angle_deg = (
        np.array([r[key] for r in taken], np.float64) for key in ("t_before_ns", "t_after_ns", "angle_deg")
    )
    middle_s, half_s = (before_ns + after_ns) / 2 / NS_PER_S, (after_ns - before_ns) / 2 / NS_PER_S
    apart_s = middle_s[None, :] - middle_s[:, None]
    away_deg = np.abs(angle_deg[None, :] - angle_deg[:, None] - rate_deg_s * apart_s)
    open_deg = abs(rate_deg_s) * (half_s[None, :] + half_s[:, None] + UNSTEADY_SHARE * np.abs(apart_s)) + UNSTEADY_DEG
    found = f"readings contradict one another by {(away_deg - open_deg).max(initial=0.0):.3f} deg"
    yield "a stage that strays is noticed", bool((away_deg <= open_deg).all()), found


def _seen(soaked: SoakedRun) -> Rules:
    """Frames that show nothing, too much or always the same are said while the run goes on, or end it as planned."""
    stuck = [r for r in soaked.of("injected") if r["fault"].split()[2] in STUCK]
    if not stuck:
        return
    finalizing_ns = soaked.time_of("state", State.FINALIZE.value) or 2**62
    frames = [r for r in soaked.of("frame", DIFFRACTION.name) if stuck[0]["t_ns"] <= r["t_ns"] < finalizing_ns]
    # Looked at are the frames of each half second, once they are on the disk: of short ones not every one, and none
    # while the host stands still or the disk is slow.
    held_s = sum(f.value for f in soaked.came_about if f.what == "host" or f.what.startswith("disk"))
    within_ns = SEEN_WITHIN_NS + ns(held_s)
    due_ns = [r["t_ns"] for r in frames[3:] if r["t_ns"] - frames[0]["t_ns"] > within_ns]
    warned_ns = soaked.time_of("note", WARNING)
    in_time = not due_ns or (warned_ns is not None and warned_ns <= due_ns[0] + LOOK_TAKES_NS)
    yield "a camera that shows nothing is noticed", in_time, f"warned at {warned_ns}, due by {due_ns[:1]}"
    if warned_ns is None or soaked.case.plan.get("bad_frames") != "stop":
        return
    begun = [r["slot"] for r in soaked.of("frame", DIFFRACTION.name) if r["start_ns"] > warned_ns]
    yield "bad_frames = stop ends the run", len(begun) <= 1, f"slots {begun[:5]} were exposed after it was said"
    if soaked.ending.reason.startswith("bad_frames"):
        counts = soaked.document["result"]
        with_data = soaked.ending.status.value == "stopped" and counts["frames"] + counts["frames_not_kept"] > 0
        yield "a run that bad frames end is stopped, with data", with_data, soaked.ending.status.value


def _decided(soaked: SoakedRun) -> Rules:
    """A look ends the run where the plan asks for it, with at most one frame more, and nowhere else."""
    plan = soaked.case.plan
    wishes = {f"{part}.{key}" for part in ("stop_at", "stop_if") for key in plan.get(part, ())}
    finalizing_ns = soaked.time_of("state", State.FINALIZE.value) or 2**62
    decided = soaked.of("note", "decision")
    keys = [record["key"] for record in decided]
    yield "only what the plan asks for is decided, once", len(keys) <= 1 and wishes.issuperset(keys), ", ".join(keys)
    limit_deg = plan.get("stop_if", {}).get("no_lattice_after_deg")
    looks = [r for r in soaked.of("computation", "live") if r["end_ns"] < finalizing_ns and "result" in r]
    hopeless = [r for r in looks if not r["result"]["determined"] and r["result"]["deg"] >= (limit_deg or 2**62)]
    yield "a look that shows no lattice decides", bool(decided) or not hopeless, f"{len(hopeless)} looks showed none"
    if not decided or decided[0]["t_ns"] >= finalizing_ns:
        return
    decided_ns = decided[0]["t_ns"]
    begun = [r["slot"] for r in soaked.of("frame", DIFFRACTION.name) if r["start_ns"] > decided_ns]
    yield "a decision ends the run", len(begun) <= 1, f"slots {begun[:5]} were exposed after it"
    if soaked.ending.status.value == "done":
        # One that comes while the last frame waits for the disk is too late to be the reason.
        told = soaked.ending.reason in (decided[0]["text"], "range covered")
        yield "a run that a look ends says why", told, soaked.ending.reason


def _same_mode(soaked: SoakedRun) -> Rules:
    """A mode that somebody changed while the run went on is said at its end, and none that nobody changed."""
    ended_ns = max((r["t_ns"] for r in soaked.of("state")), default=0)
    changes = [r for r in soaked.of("injected", "mode.changed") if r["t_ns"] < ended_ns]
    other = bool(changes) and changes[-1]["fault"].split()[2] != OpticalMode.DIFFRACTION
    said = [text for text in soaked.document.get("warnings", ()) if "mode at its end" in text]
    late = len(soaked.of("injected", "mode.changed")) > len(changes)
    # One that comes while it is looked at again is seen or is not.
    yield "a changed mode is said, and no other", bool(said) == other or late, "; ".join(said) or "nothing is said"


def _shutters(soaked: SoakedRun) -> list[float]:
    """By how much shutters opened late."""
    return [fault.value for fault in soaked.came_about if fault.kind == "shutter"]


def _exposed(soaked: SoakedRun, rows: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Begin and end of the exposure that each frame really is, and whether there was one within its bounds."""
    made_ns = np.array([*soaked.microscope.truth.exposures(), (2**62, 2**62)], np.int64)
    exposed_ns = made_ns[np.searchsorted(made_ns[:, 0], rows["start_min_ns"])]
    begin_ns, end_ns = exposed_ns.T
    within = (begin_ns <= rows["start_max_ns"]) & (rows["end_min_ns"] <= end_ns) & (end_ns <= rows["end_max_ns"])
    return exposed_ns, within


def _kept(soaked: SoakedRun) -> NDArray[np.void]:
    """The rows of frames.h5 that are for use; none without the file."""
    path = soaked.folder / DATA_FILE
    if not path.exists():
        return np.empty(0, DIFFRACTION.row)
    with FramesFile(path) as file:
        rows = file.table(DIFFRACTION.name)
    kept: NDArray[np.void] = rows[rows["kept"].astype(bool)]
    return kept
