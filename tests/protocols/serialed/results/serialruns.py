"""Small folders of serial runs as the engine leaves them, made by hand: fields on a raster, crystals, scores."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.record.document import RunDocument
from engine.record.framekinds import Column, FrameKind
from engine.record.frametable import write_frames
from engine.record.spoolformat import FrameInfo
from protocols.serialed.finding.computation import _row
from protocols.serialed.finding.crystals import FoundCrystal
from tests.gaussians import gaussians

IMAGE = FrameKind(
    "image",
    arrival=(*(Column("field", "<i4", ""), Column("x_nm", "<f8", ""), Column("y_nm", "<f8", "")),
             Column("nm_per_px", "<f8", "")),
)  # fmt: skip
PATTERN = FrameKind(
    "pattern",
    arrival=(
        *(Column(name, "<i4", "") for name in ("field", "crystal")),
        *(Column(name, "<f8", "") for name in ("fast_px", "slow_px", "x_nm", "y_nm", "beam_x", "beam_y", "length_nm")),
        Column("is_isolated", "u1", ""),
    ),
)
NM_PER_PX = 46.0
IMAGE_PX, PATTERN_PX = 128, 96
TURN = math.radians(30.0)
STAGE_PX = (
    math.cos(TURN) / NM_PER_PX,
    math.sin(TURN) / NM_PER_PX,
    math.sin(TURN) / NM_PER_PX,
    -math.cos(TURN) / NM_PER_PX,
)
"""px along (fast, slow) that a nm of the stage moves the image, by rows."""
BEAM = (50.25, 46.75)
Pair = tuple[float, float]


@dataclass
class Crystal:
    """In an image. score: None where its pattern was not scored; visited: whether it has a pattern."""

    fast_px: float
    slow_px: float
    score: float | None = 0.9
    visited: bool = True
    length_px: float = 8.0
    neighbour_nm: float = 2000.0
    border_nm: float = 1000.0

    @property
    def is_isolated(self) -> bool:
        return self.neighbour_nm >= 1500 and self.border_nm >= 500


@dataclass
class Made:
    """A run as it was made. places_nm: of each field's crystals."""

    folder: Path
    fields: Mapping[int, Sequence[Crystal]]
    records: list[dict[str, Any]] = field(default_factory=list)
    frames: list[FrameInfo] = field(default_factory=list)
    places_nm: dict[tuple[int, int], Pair] = field(default_factory=dict)


def stage_of(number: int) -> Pair:
    """Where the stage stands for a field: two columns, 13 um apart."""
    return 13000.0 * ((number - 1) % 2) + 1000.0, 13000.0 * ((number - 1) // 2) - 4000.0


def place_of(number: int, px: Pair) -> Pair:
    """On the specimen."""
    middle = np.array([IMAGE_PX / 2, IMAGE_PX / 2])
    away = np.linalg.solve(np.reshape(STAGE_PX, (2, 2)), middle - px)
    stage = stage_of(number)
    return stage[0] + float(away[0]), stage[1] + float(away[1])


def some_fields(seed: int = 1, fields: int = 6, most: int = 6) -> dict[int, list[Crystal]]:
    """Crystals here and there, almost binary scores."""
    rng = np.random.default_rng(seed)
    made: dict[int, list[Crystal]] = {}
    for number in range(1, fields + 1):
        places = 10 + rng.random((int(rng.integers(0, most)), 2)) * (IMAGE_PX - 20)
        made[number] = [
            Crystal(float(f), float(s), float(np.clip(rng.beta(0.2, 0.25), 0.001, 0.999)),
                    length_px=float(rng.uniform(4, 12)), neighbour_nm=float(rng.choice([300.0, 2500.0])))
            for f, s in places.round(2)
        ]  # fmt: skip
    return made


def found_result(crystals: Sequence[Crystal]) -> dict[str, Any]:
    """What the finder answers, as `protocols.serialed.finding.computation.answered` reads it."""
    found = [
        FoundCrystal(
            fast_px=c.fast_px, slow_px=c.slow_px, length_px=c.length_px, width_px=c.length_px / 2, turned_deg=30.0,
            area_px=c.length_px**2 / 2, contrast=0.4, neighbour_nm=c.neighbour_nm, border_nm=c.border_nm,
            is_isolated=c.is_isolated, outline_px=((c.fast_px - 2, c.slow_px), (c.fast_px + 2, c.slow_px)),
        )
        for c in crystals
    ]  # fmt: skip
    return {"crystals": [_row(each, 16) for each in found], "left_out": 0, "film": 0.8, "note": ""}


def score_result(score: float) -> dict[str, Any]:
    """What the screening answers."""
    return {"good": score, "d_min_A": 1.05, "several": 0.03, "why": "one lattice to 1.05 A", "note": ""}


def write_run(
    folder: Path,
    fields: Mapping[int, Sequence[Crystal]] | None = None,
    *,
    left_out: Mapping[int, str] | None = None,
    changes: Mapping[str, Any] | None = None,
    without_images: bool = False,
    drop: Sequence[str] = (),
) -> Made:
    """Write a whole run folder. left_out: fields without an image, and why. drop: names of computations that have no
    result. changes: of run.json, keys with dots.
    """
    folder.mkdir(parents=True)
    made = Made(folder, fields if fields is not None else some_fields())
    pictures: dict[str, list[NDArray[np.uint16]]] = {"image": [], "pattern": []}
    instant = 1_000_000_000

    def record(kind: str, name: str, **told: Any) -> None:
        made.records.append({"seq": len(made.records), "t_ns": instant, "kind": kind, "name": name, **told})

    def keep(kind: FrameKind, columns: dict[str, Any], picture: NDArray[np.uint16], exposure_s: float) -> int:
        nonlocal instant
        index, start = len(made.frames), instant
        instant += round(exposure_s * 1e9) + 12_000_000
        end = start + round(exposure_s * 1e9)
        made.frames.append(FrameInfo(index, kind.name, columns, index, start, end, (start, start), (end, end)))
        record("frame", kind.name, **columns, number=index, start_ns=start, end_ns=end, arrived_ns=instant, index=index,
               crc=0)  # fmt: skip
        pictures[kind.name].append(picture)
        return index

    def computed(name: str, picture: int, result: Any) -> None:
        told = {"verdict": "late", "error": f"{name}: took too long"} if name in drop else {
            "verdict": "in time", "result": result}  # fmt: skip
        record("computation", name, number=picture, arguments={}, pictures=[picture], asked_ns=instant,
               begin_ns=instant, end_ns=instant, **told)  # fmt: skip

    geometry = {
        "wavelength_A": 0.02508, "camera_length_mm": 250.0, "pixel_size_mm": 0.055, "rotation_axis_deg": -38.5,
        "beam_fast_px": 48.0, "beam_slow_px": 48.0, "distortion_amplitude_percent": 2.43,
        "distortion_azimuth_deg": 83.37,
    }  # fmt: skip
    detector = {"shape": [PATTERN_PX, PATTERN_PX], "saturation": 11810, "wide_cross": False, "name": "a camera"}
    instrument = {"geometry": geometry, "detector": detector}
    plan = {"width_um": 26.0, "magnification": 2500.0}
    record("header", "header", schema=2, protocol="serialed", plan=plan, instrument=instrument, version="0.1.0")
    for number, crystals in sorted(made.fields.items()):
        x_nm, y_nm = stage_of(number)
        record("state", "move", trigger="restored")
        instant += 2_500_000_000
        record("state", "image", trigger="arrived")
        if not without_images:
            columns = {"field": number, "x_nm": x_nm, "y_nm": y_nm, "nm_per_px": NM_PER_PX}
            image = keep(IMAGE, columns, picture_of(crystals, number), 0.5)
            computed("find", image, found_result(crystals))
        record("state", "expose", trigger="aimed")
        for crystal, each in enumerate(crystals, 1):
            made.places_nm[number, crystal] = place = place_of(number, (each.fast_px, each.slow_px))
            if not each.visited:
                continue
            columns = {
                "field": number, "crystal": crystal, "fast_px": each.fast_px, "slow_px": each.slow_px,
                "x_nm": place[0], "y_nm": place[1], "beam_x": 10.0 * crystal, "beam_y": -3.0,
                "length_nm": each.length_px * NM_PER_PX, "is_isolated": int(each.is_isolated),
            }  # fmt: skip
            index = keep(PATTERN, columns, pattern_of(each.score or 0.0, number + crystal), 0.1)
            if each.score is not None:
                computed("screen", index, score_result(each.score))
        record("note", "field", field=number, how="visited" if crystals else "no crystals", found=len(crystals),
               visited=0, left=0)  # fmt: skip
    for number, how in (left_out or {}).items():
        record("note", "field", field=number, how=how, found=0, visited=0, left=0)
    record("state", "done", trigger="end_done")
    (folder / "trace.jsonl").write_text("".join(json.dumps(each) + "\n" for each in made.records), encoding="utf-8")
    tables = {kind.name: kind.table([f for f in made.frames if f.kind == kind.name]) for kind in (IMAGE, PATTERN)}
    if made.frames:
        write_frames(folder / "frames.h5", tables, lambda kind: pictures[kind], {})
    document = RunDocument(
        protocol="serialed", status="done", reason="all fields done", run_id=folder.name, label="grid",
        version="0.1.0", created_at="2026-11-21T01:02:03+01:00", plan=plan, instrument=instrument,
    ).to_json()  # fmt: skip
    for dotted, value in (changes or {}).items():
        *path, last = dotted.split(".")
        target: Any = document
        for key in path:
            target = target[key]
        target[last] = value
    (folder / "run.json").write_text(json.dumps(document), encoding="utf-8")
    return made


def picture_of(crystals: Sequence[Crystal], seed: int) -> NDArray[np.uint16]:
    """Film that gets darker to one side, and dark crystals on it."""
    y, x = np.mgrid[:IMAGE_PX, :IMAGE_PX] + 0.5
    light = 900.0 - 1.5 * x
    for each in crystals:
        inside = np.hypot(x - each.fast_px, (y - each.slow_px) * 2) < each.length_px
        light = np.where(inside, 0.5 * light, light)
    return np.random.default_rng(seed).poisson(light).astype(np.uint16)


def pattern_of(score: float, seed: int) -> NDArray[np.uint16]:
    """A primary beam on its halo, and a square lattice of spots for a good one."""
    y, x = np.mgrid[:PATTERN_PX, :PATTERN_PX] + 0.5
    away = np.hypot(x - BEAM[0], y - BEAM[1])
    light = 8000 * np.exp(-((away / 1.8) ** 2) / 2) + 60 * np.exp(-away / 9) + 0.5
    if score > 0.5:
        net = np.array([(h, k) for h in range(-3, 4) for k in range(-3, 4) if h or k])
        light += gaussians(light.shape, BEAM + 11.0 * net, 1.3, 250 / (1 + np.abs(net).sum(axis=1)))
    return np.random.default_rng(seed).poisson(light).astype(np.uint16)
