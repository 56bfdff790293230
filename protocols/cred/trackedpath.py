"""What tracking saw and did in a run, from its records: for run.json, the file of the path and the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import StorageError
from engine.record.trace import Record
from protocols.tracking.path import CrystalPath, PathPoint
from protocols.tracking.pathfile import path_text
from protocols.tracking.place import Place

FOUND, NOT_FOUND, ASSUMED, CORRECTED, AIMED = "found", "not found", "assumed", "corrected", "aimed"
FILE = "path.csv"


@dataclass(frozen=True, slots=True)
class Tracked:
    """snapshots: one object each, as run.json has it: slot, angle_deg, and x_nm, y_nm, sigma_nm, seen, or the reason
    why it was not found; aim_nm: where an operator wanted it, if not in the middle. corrections: slot, and how far they
    were meant to move the crystal. points: the path of the crystal itself, without what corrections did.
    """

    snapshots: list[dict[str, Any]]
    corrections: list[dict[str, Any]]
    points: list[PathPoint]

    @property
    def summary(self) -> dict[str, Any]:
        """For the result of the run: how often it was found, and how far from where it was wanted."""
        found = [each for each in self.snapshots if "x_nm" in each]
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
        }


def tracked_in(records: Sequence[Record]) -> Tracked | None:
    """None of a run that was not tracked. Records that say too little, as of a damaged trace, are left out."""
    mine = [record for record in records if record["kind"] == "tracking"]
    if not mine:
        return None
    path = CrystalPath(foreshortened=any(record.get("by") == "stage" for record in mine))
    told, aim_nm = Tracked([], [], []), (0.0, 0.0)
    seen: list[tuple[float, float]] = []
    for record in mine:
        try:
            if record["name"] == FOUND:
                place = _place_in(record)
                at = float(record["angle_deg"]), float(record["t_s"])
                verdict = path.see(*at, place)
                seen.append(at)
                told.snapshots.append(
                    {
                        "slot": record["slot"],
                        "angle_deg": record["angle_deg"],
                        "x_nm": place.x_nm,
                        "y_nm": place.y_nm,
                        "sigma_nm": round(place.sigma_nm, 2),
                        "seen": verdict.value,
                        **({"aim_nm": list(aim_nm)} if any(aim_nm) else {}),
                    }
                )
            elif record["name"] in (NOT_FOUND, ASSUMED):
                if record["name"] == ASSUMED:
                    path.see(float(record["angle_deg"]), float(record["t_s"]), _place_in(record))
                told.snapshots.append({key: record[key] for key in ("slot", "angle_deg", "reason")})
            elif record["name"] == AIMED:
                aim_nm = float(record["x_nm"]), float(record["y_nm"])
            elif record["name"] == CORRECTED:
                path.correct(float(record["x_nm"]), float(record["y_nm"]))
                told.corrections.append({key: record[key] for key in ("slot", "x_nm", "y_nm")})
        except (KeyError, TypeError, ValueError):
            continue
    told.points.extend(path.point(*at) for at in seen)
    return told


def _place_in(record: Record) -> Place:
    xx, xy, yy = (float(value) for value in record["covariance_nm2"])
    return Place(float(record["x_nm"]), float(record["y_nm"]), (xx, xy, yy))


def write_path(folder: Path, tracked: Tracked) -> Path | None:
    """Write snapshots/path.csv; None where the crystal was never found. Raises StorageError."""
    if not tracked.points:
        return None
    file = folder / "snapshots" / FILE
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(path_text(tracked.points), encoding="utf-8", newline="")
    except OSError as error:
        raise StorageError(
            f"{file}: could not be written ({error}); the trace has what stands in it. Free some space, then run "
            "'credline recover' on the run folder."
        ) from error
    return file
