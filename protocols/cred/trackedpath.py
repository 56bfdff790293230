"""What tracking saw and did in a run, from its records: for run.json, the file of the path and the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import StorageError
from engine.record.trace import Record
from protocols.cred.givenpath import COPY
from protocols.cred.plan import CredPlan
from protocols.tracking.path import CrystalPath, PathPoint
from protocols.tracking.pathfile import path_text
from protocols.tracking.place import Place

FOUND, NOT_FOUND, ASSUMED, CORRECTED, AIMED = "found", "not found", "assumed", "corrected", "aimed"
FORGOTTEN = "forgotten"
"""What was seen is no more taken for the crystal, but at the time that is kept."""
FARTHEST_DEG = 180.0
"""No looks are so far apart, but those of a damaged trace."""
FILE, SCANNED = "path.csv", "prescan.csv"


@dataclass(frozen=True, slots=True)
class Tracked:
    """snapshots: one object each, as run.json has it: slot, angle_deg, and x_nm, y_nm, sigma_nm, seen, or the reason
    why it was not found; aim_nm: where an operator wanted it, if not in the middle. corrections: slot, and how far they
    were meant to move the crystal. What belongs to no slot, before the rotation, has slot 0; looks of the pre-scan are
    numbered.
    """

    snapshots: list[dict[str, Any]]
    corrections: list[dict[str, Any]]

    @property
    def summary(self) -> dict[str, Any]:
        """For the result of the run: how often it was found, and how far from where it was wanted."""
        looks = [each for each in self.snapshots if "look" in each]
        found = [each for each in self.snapshots if "x_nm" in each and "look" not in each]
        aims = [each.get("aim_nm", (0.0, 0.0)) for each in found]
        away_nm = [
            float(np.hypot(each["x_nm"] - x_nm, each["y_nm"] - y_nm))
            for each, (x_nm, y_nm) in zip(found, aims, strict=True)
        ]
        return {
            "snapshots_found": len(found),
            "corrections": len(self.corrections),
            "away_median_nm": round(float(np.median(away_nm)), 1) if away_nm else None,
            "away_p95_nm": round(float(np.percentile(away_nm, 95)), 1) if away_nm else None,
            **({"looks": len(looks), "looks_found": sum("x_nm" in each for each in looks)} if looks else {}),
        }


def paths_before(plan: CredPlan | None, foreshortened: bool = False) -> list[CrystalPath]:
    """What is known of each crystal's path before anything is seen: what the plan gives, or nothing. foreshortened:
    corrections move the crystal in the plane of the stage.
    """
    if plan is None or plan.path is None:
        return [CrystalPath(foreshortened=foreshortened)]
    return [CrystalPath(given.prior, given.points, foreshortened=foreshortened) for given in plan.paths]


@dataclass(frozen=True, slots=True)
class LearnedPath:
    """points: the path of the crystal itself where it was found, without what corrections did. scanned: the same over
    the range of the pre-scan, as it was known then.
    """

    points: list[PathPoint]
    scanned: list[PathPoint]


def tracked_in(records: Sequence[Record]) -> Tracked | None:
    """None of a run that was not tracked. Records that say too little, as of a damaged trace, are left out."""
    mine = [record for record in records if record["kind"] == "tracking"]
    if not mine:
        return None
    told, aim_nm = Tracked([], []), (0.0, 0.0)
    for record in mine:
        try:
            which: dict[str, Any] = {key: value for key, value in record.items() if key in ("slot", "look", "crystal")}
            if record["name"] == FOUND:
                place = _place_in(record)
                told.snapshots.append(
                    {
                        **which,
                        "angle_deg": record["angle_deg"],
                        "x_nm": place.x_nm,
                        "y_nm": place.y_nm,
                        "sigma_nm": round(place.sigma_nm, 2),
                        "seen": record["seen"],
                        **({"by": record["by"]} if "by" in record else {}),
                        **({"aim_nm": list(aim_nm)} if any(aim_nm) else {}),
                    }
                )
            elif record["name"] in (NOT_FOUND, ASSUMED):
                told.snapshots.append({**which, **{key: record[key] for key in ("angle_deg", "reason")}})
            elif record["name"] == AIMED:
                aim_nm = float(record["x_nm"]), float(record["y_nm"])
            elif record["name"] == CORRECTED:
                told.corrections.append({key: record[key] for key in ("slot", "x_nm", "y_nm")})
        except (KeyError, TypeError, ValueError):
            continue
    return told


def paths_in(records: Sequence[Record], plan: CredPlan | None) -> list[LearnedPath]:
    """What a run has learned of the path of each of its crystals, from its records as it learned it; nothing of one
    that was not tracked. plan: None where a crash has left none. 0.1 s for a rotation.
    """
    mine = [record for record in records if record["kind"] == "tracking"]
    by_stage = any(record.get("by") == "stage" for record in mine)
    paths = paths_before(plan, foreshortened=by_stage)
    if len(paths) == 1:
        return [_learned(mine, paths[0])]
    return [
        _learned([record for record in mine if record.get("crystal", number) == number], path)
        for number, path in enumerate(paths, start=1)
    ]


def _learned(mine: Sequence[Record], path: CrystalPath) -> LearnedPath:
    learned = LearnedPath([], [])
    seen: list[tuple[float, float]] = []
    scanned: list[tuple[float, float]] = []
    for record in mine:
        if scanned and not learned.scanned and record.get("slot") != 0:
            learned.scanned.extend(_every_degree(path, scanned))
        try:
            if record["name"] in (FOUND, ASSUMED):
                at = float(record["angle_deg"]), float(record["t_s"])
                path.see(*at, _place_in(record))
                if record["name"] == FOUND:
                    (scanned if "look" in record else seen).append(at)
            elif record["name"] == CORRECTED:
                path.correct(float(record["x_nm"]), float(record["y_nm"]))
            elif record["name"] == FORGOTTEN:
                kept_s = None if record["kept_s"] is None else float(record["kept_s"])
                path.forget(kept_s)
                scanned = [at for at in scanned if at[1] == kept_s]
        except (KeyError, TypeError, ValueError):
            continue
    if scanned and not learned.scanned:
        learned.scanned.extend(_every_degree(path, scanned))
    learned.points.extend(path.point(*at) for at in seen)
    return learned


def _place_in(record: Record) -> Place:
    xx, xy, yy = (float(value) for value in record["covariance_nm2"])
    return Place(float(record["x_nm"]), float(record["y_nm"]), (xx, xy, yy))


def _every_degree(path: CrystalPath, looks: Sequence[tuple[float, float]]) -> list[PathPoint]:
    """The path from the first to the last of the angles at which it was seen; none where that is one."""
    low_deg, high_deg = min(looks)[0], max(looks)[0]
    if not 1.0 <= high_deg - low_deg <= FARTHEST_DEG:
        return []
    angles_deg = np.linspace(low_deg, high_deg, round(high_deg - low_deg) + 1)
    return [path.point(float(angle_deg), looks[-1][1]) for angle_deg in angles_deg]


def write_paths(folder: Path, learned: Sequence[LearnedPath], plan: CredPlan | None) -> list[Path]:
    """Write snapshots/path.csv, prescan.csv and a copy of the path that was given, as far as there are any; of several
    crystals path_1.csv and so on. Which were written. Raises StorageError.
    """
    given = [] if plan is None else plan.paths
    points: dict[str, Sequence[PathPoint]] = {}
    for number, each in enumerate(learned, start=1):
        files = {FILE: each.points, SCANNED: each.scanned, COPY: given[number - 1].points if given else ()}
        points |= {numbered(name, number) if len(learned) > 1 else name: path for name, path in files.items()}
    written = []
    for name, path in points.items():
        if not path:
            continue
        file = folder / "snapshots" / name
        try:
            file.parent.mkdir(exist_ok=True)
            file.write_text(path_text(path), encoding="utf-8", newline="")
        except OSError as error:
            raise StorageError(
                f"{file}: could not be written ({error}); the trace has what stands in it. Free some space, then run "
                "'credline recover' on the run folder."
            ) from error
        written.append(file)
    return written


def numbered(name: str, number: int) -> str:
    """The name of a file of one of several crystals: path_2.csv."""
    return f"{Path(name).stem}_{number}{Path(name).suffix}"
