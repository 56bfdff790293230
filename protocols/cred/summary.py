"""The result of a cRED run in figures for people: rows of the table at its end, columns of a what-if."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.record.trace import Record
from protocols.cred.crystalslots import SEVERAL

LISTED = 15


def rows_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of the table that `credline run` shows when a run is over."""
    rows = [("frames, snapshots", f"{result['frames']}, {result['snapshots']} in {result['slots']} slots")]
    if result["lost_slots"]:
        rows.append(("lost slots", f"{result['lost_slots']}: {_listed(result['lost_slot_numbers'])}"))
    if result["period_changes"]:
        changes = f"{result['period_changes']} times: the camera took longer than it declares"
        rows.append(("period lengthened", changes))
    if result["frames_not_kept"]:
        why = "late on their slots, exposed nobody knows when, of another period, or without a known angle"
        rows.append(("not kept", f"{result['frames_not_kept']} frames: {why}"))
    if result["range_deg"] is not None:
        uncertainty = result["offset_uncertainty_deg"]
        rows.append(
            ("range", f"{result['range_deg']:.2f} deg, {result['start_deg']:.2f} to {result['end_deg']:.2f} deg")
        )
        oscillation = f"{result['oscillation_deg']:.5f} deg per slot, angles +-{uncertainty:.3f} deg"
        rows.append(("oscillation angle", oscillation))
    if result["frames"]:  # else it is the planned one
        rows.append(("period", f"{result['period_s']:.6f} s"))
    if (tracking := result.get("tracking")) is not None:
        away = tracking["away_median_nm"]
        where = "" if away is None else f", {away:.0f} nm from the middle (95 %: {tracking['away_p95_nm']:.0f} nm)"
        found = f"found in {tracking['snapshots_found']} of {result['snapshots']} snapshots{where}"
        name = "crystals" if SEVERAL in result else "crystal"
        rows.append((name, f"{found}, {tracking['corrections']} corrections"))
        rows += [_turns_row(each) for each in result.get(SEVERAL, ())]
        if "looks" in tracking:
            rows.append(("pre-scan", f"found in {tracking['looks_found']} of {tracking['looks']} looks"))
    if (live := result.get("live")) is not None:
        rows += _cell_rows(live)
    for key, name in (("lateness_ms", "frame starts late"), ("gap_error_ms", "gap error")):
        spread = result[key]
        if spread["median"] is not None:
            rows.append((name, f"median {spread['median']:.3f}, p99 {spread['p99']:.3f}, max {spread['max']:.3f} ms"))
    slack = result["slack_ms"]
    if slack["min"] is not None:
        rows.append(("slack", f"min {slack['min']:.2f}, median {slack['median']:.2f} ms"))
    return rows


def _turns_row(crystal: Mapping[str, Any]) -> tuple[str, str]:
    """Of one of several crystals."""
    seen = f"found in {crystal['snapshots_found']} snapshots"
    return (
        f"crystal {crystal['crystal']}",
        f"{crystal['path']}: {crystal['frames']} frames in {len(crystal['slots'])} turns, {seen}",
    )


def _cell_rows(live: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the last look at the crystal told (`protocols.cred.liveresult`)."""
    after = f"after {live['deg']:.1f} deg"
    if not live["determined"]:
        return [("cell", f"not determined {after}: {'; '.join(live['reasons'])}")]
    numbers = [f"{value:.3f} +-{sigma:.3f}" for value, sigma in zip(live["cell"][:3], live["cell_sigma"], strict=False)]
    angles = [f"{value:.2f}" for value in live["cell"][3:]]
    phases = f" ({', '.join(live['phases'])})" if live["phases"] else ""
    kind = live["bravais"] or "type not known,"
    rows = [("cell", f"{kind} {', '.join(numbers)} A, {' '.join(angles)} deg{phases}, {after}")]
    told = [f"{live['indexed']:.0%} of the reflections are on its lattice", f"{live['completeness']:.0%} complete"]
    if live["lattices"] > 1:
        told.append(f"{live['lattices']} lattices")
    if live["resolution_A"] is not None:
        told.append(f"seen to {live['resolution_A']:.2f} A")
    return [*rows, ("indexed", ", ".join(told))]


def _listed(slots: Sequence[int]) -> str:
    """The first of them by number, as many as two lines of a terminal hold; run.json has all."""
    more = f" and {len(slots) - LISTED} more" if len(slots) > LISTED else ""
    return f"{', '.join(map(str, slots[:LISTED]))}{more}"


def columns_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What `credline runs list` shows of a run: the range, the frames in it, slots that were lost."""
    if not result:  # of a run that goes on
        return []
    covered = "-" if result["range_deg"] is None else f"{result['range_deg']:.2f}"
    return [("range deg", covered), ("frames", str(result["frames"])), ("lost", str(result["lost_slots"]))]


def figures_of(records: Sequence[Record], result: Mapping[str, Any]) -> dict[str, Any]:
    """What a what-if shows of a run, from its records and its result."""
    frames = sorted(r["slot"] for r in records if r["kind"] == "frame" and r["name"] == "diffraction")
    shots = [r["slot"] for r in records if r["kind"] == "frame" and r["name"] == "snapshot"]
    after = {slot: next((f for f in frames if f > slot), None) for slot in shots}
    cycles = [end - slot for slot, end in after.items() if end is not None]
    missing = result["slots"] - len(frames)
    return {
        "period_s": result["period_s"],
        "slots": result["slots"],
        "frames": len(frames),
        "snapshot_slots": min(cycles, default=0),
        "lost_slots": result["lost_slots"],
        "lost_slot_numbers": result["lost_slot_numbers"],
        "gap_slots": sorted(set(range(1, result["slots"] + 1)) - set(frames)),
        "missing_deg": round(abs(missing * (result["oscillation_deg"] or 0.0)), 3),
        "slack_min_ms": result["slack_ms"]["min"],
        "slack_median_ms": result["slack_ms"]["median"],
        "overruns": sum(r["kind"] == "step" and r["verdict"] in ("over", "underflow") for r in records),
    }


def held_by(result: Mapping[str, Any]) -> str:
    """What a recovered run holds, for a person."""
    frames = result["frames"] + result["frames_not_kept"]
    spare = f" ({result['frames_not_kept']} of them not kept)" if result["frames_not_kept"] else ""
    taken = result["snapshot_slots"]
    each = f"; a snapshot takes {taken} of them" if result["snapshots"] and taken else ""
    angles = " They have no angles: no stage reading of this run is left." if _no_angles(result) else ""
    return f"{frames} frames{spare} and {result['snapshots']} snapshots in {result['slots']} slots{each}.{angles}"


def _no_angles(result: Mapping[str, Any]) -> bool:
    return bool(result["oscillation_deg"] is None and result["frames"] + result["frames_not_kept"])
