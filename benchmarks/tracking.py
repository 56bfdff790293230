"""How often tracking finds the crystal in a snapshot, how well, and how often it is wrong; on drawn scenes.

.venv/bin/python -m benchmarks.tracking --scenes 10000 --seed 1 --out FOLDER      # an hour of one busy core

One line a scene in a file of the folder; a scene that stands there is not made again. Half of the scenes are a first
look, half the second of two snapshots 2.3 deg apart. Cameras of 512 px and of 128 px, apertures of 1500 and 700 nm, 1e5
electrons a snapshot. Wrong: off by more than 100 nm and more than 4 sigma, or an answer where there is no crystal. How
often there is an answer is told of crystals that lie wholly inside of the aperture, 50 nm from its edge; all count for
what is wrong.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.scenedrawing import draw_scene
from drivers.simulated.snapshotdisc import disc_light
from drivers.simulated.snapshotscene import SnapshotScene
from protocols.tracking.locating import Earlier, Located, Optics, Refusal, Told, locate
from protocols.tracking.place import Place

GROUPS = 8 * ("clean",) + 3 * ("low contrast",) + 3 * ("neighbours",) + 3 * ("film edge",) + 2 * ("empty",) + ("bars",)
KINDS = ("plate", "needle", "brick", "agglomerate")
HARD = ("low contrast", "neighbours", "film edge")
ELECTRONS = 1e5
FLATFIELD_LEFT = 0.01
"""Differences between pixels that a correction leaves."""
OFF_SHARE = 1 / 15
"""Of the aperture: how far crystals lie off its middle in a first look."""
STEP_DEG, MOVED_NM, PREDICTED_NM = 2.314, 40.0, 45.0
MARGIN_NM, WRONG_NM, WRONG_SIGMAS = 50.0, 100.0, 4.0


@dataclass(frozen=True, slots=True)
class Camera:
    """Pixels of a square picture, radius of the disc, widening of its edge, where its middle lies."""

    pixels: int
    radius_px: float
    soft_px: float
    middle_px: tuple[float, float]

    def settings(self, aperture_nm: float, azimuth_deg: float) -> PictureSettings:
        """Of the simulation. azimuth_deg: of the stage's x in its pictures, which show it mirrored."""
        cosine, sine = float(np.cos(np.radians(azimuth_deg))), float(np.sin(np.radians(azimuth_deg)))
        return PictureSettings(
            shape=(self.pixels, self.pixels), wide_cross=False, aperture_nm=aperture_nm, disc_radius_px=self.radius_px,
            beam_sigma_px=self.soft_px, snapshot=(cosine, sine, sine, -cosine),
        )  # fmt: skip


CAMERAS = (Camera(516, 80.0, 1.3, (262.3, 250.7)), Camera(128, 20.0, 0.4, (63.6, 65.1)))


def snapshot(
    camera: Camera, settings: PictureSettings, scene: SnapshotScene, at_nm: NDArray[np.float64], tilt_deg: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint16], Optics]:  # fmt: skip
    """A picture, and what a run would know of it."""
    at = float(at_nm[0]), float(at_nm[1])
    electrons = ELECTRONS * disc_light(settings, scene, 1.0, camera.middle_px, at, tilt_deg)
    electrons *= 1.0 + FLATFIELD_LEFT * rng.standard_normal(electrons.shape)
    px_per_nm = 2.0 * camera.radius_px / settings.aperture_nm
    a, b, c, d = (px_per_nm * value for value in settings.snapshot)
    return rng.poisson(electrons).astype(np.uint16), Optics(camera.middle_px, camera.radius_px, (a, b, c, d), tilt_deg)


def tried(seed: int, number: int) -> dict[str, Any]:
    """One scene: what was answered, and the truth."""
    rng = np.random.default_rng([seed, number, 17])
    group, kind = GROUPS[number % len(GROUPS)], KINDS[int(rng.integers(len(KINDS)))]
    scene_seed = int(rng.integers(2**31))
    alone = draw_scene("empty" if group == "empty" else kind, scene_seed)
    words = {"clean": kind, "empty": "empty, neighbours" if rng.random() < 0.5 else "empty"}
    scene = draw_scene(words.get(group, f"{kind}, {group}"), scene_seed)
    camera = CAMERAS[int(rng.integers(len(CAMERAS)))]
    reach_nm = max((float(np.linalg.norm(body.middle_nm)) + body.reach_nm for body in alone.bodies), default=200.0)
    aperture_nm = 700.0 if reach_nm < 200.0 and rng.random() < 0.6 else 1500.0
    settings = camera.settings(aperture_nm, float(rng.uniform(0, 360)))
    tilt_deg, off_nm = float(rng.uniform(-62, 60)), OFF_SHARE * aperture_nm
    at_nm = off_nm * rng.standard_normal(2)
    picture, optics = snapshot(camera, settings, scene, at_nm, tilt_deg, rng)
    told, second = Told(optics, Place.even(0.0, 0.0, off_nm)), bool(rng.random() < 0.5)
    begin = time.process_time()
    answer = locate(picture, told)
    if second and isinstance(answer, Located):
        earlier = Earlier(optics, answer.place, answer.looks, lambda: picture)
        expected = Place.even(
            answer.place.x_nm, answer.place.y_nm, float(np.hypot(PREDICTED_NM, answer.place.sigma_nm))
        )
        at_nm, tilt_deg = at_nm + MOVED_NM * rng.standard_normal(2), tilt_deg + STEP_DEG
        now, optics = snapshot(camera, settings, scene, at_nm, tilt_deg, rng)
        begin = time.process_time()
        answer = locate(now, Told(optics, expected, (earlier,)))
    took_ms = 1e3 * (time.process_time() - begin)
    own = len(alone.bodies)
    inside = scene.shares_inside((float(at_nm[0]), float(at_nm[1])), tilt_deg, aperture_nm / 2 - MARGIN_NM)[:own]
    line: dict[str, Any] = {
        "number": number, "group": group, "kind": kind, "pixels": camera.pixels, "aperture_nm": aperture_nm,
        "second": second, "whole": bool(own) and group != "empty" and bool((inside > 0.999).all()), "ms": round(took_ms, 2),
    }  # fmt: skip
    if isinstance(answer, Refusal):
        return line | {"refused": answer.reason}
    error_nm = float(np.hypot(*(answer.place.array_nm - at_nm)))
    return line | {
        "error_nm": round(error_nm, 1),
        "sigma_nm": round(answer.place.sigma_nm, 1),
        "quality": round(answer.quality, 2),
        "wrong": group == "empty" or error_nm > max(WRONG_NM, WRONG_SIGMAS * answer.place.sigma_nm),
    }


def several(seed: int, numbers: list[int]) -> list[dict[str, Any]]:
    return [tried(seed, number) for number in numbers]


def report(lines: Iterable[dict[str, Any]]) -> None:
    """The table, and what was wrong."""
    all_lines = list(lines)
    print(
        "| scenes | number | answered | wrong | error nm: median | 95 % | sigma nm: median |\n|---|---|---|---|---|---|---|"
    )
    groups = [(name, [line for line in all_lines if line["group"] == name]) for name in dict.fromkeys(GROUPS)]
    groups.append(("all hard ones", [line for line in all_lines if line["group"] in HARD]))
    for name, every in groups:
        whole = every if name in ("empty", "bars") else [line for line in every if line["whole"]]
        _row(name, whole)
        if len(whole) < len(every):
            _row(f"{name}, reaching out of the aperture", [line for line in every if not line["whole"]])
    wrong = [line for line in all_lines if line.get("wrong")]
    print(f"\nwrong: {len(wrong)} of {len(all_lines)}")
    for line in wrong[:20]:
        print("  ", json.dumps(line))
    for pixels in (camera.pixels for camera in CAMERAS):
        took = [line["ms"] for line in all_lines if line["pixels"] == pixels]
        print(
            f"{pixels} px: {np.median(took):.1f} ms of a processor in the median, 95 %: {np.percentile(took, 95):.1f} ms"
        )
    clean = [line for line in all_lines if line["group"] == "clean" and line["whole"]]
    print("clean ones are refused for:", Counter(line["refused"] for line in clean if "refused" in line).most_common())


def _row(name: str, lines: list[dict[str, Any]]) -> None:
    answers = [line for line in lines if "error_nm" in line]
    errors, sigmas = ([line[key] for line in answers] or [np.nan] for key in ("error_nm", "sigma_nm"))
    share = len(answers) / len(lines) if lines else np.nan
    print(
        f"| {name} | {len(lines)} | {100 * share:.1f} % | {sum(line['wrong'] for line in answers)} | "
        f"{np.median(errors):.0f} | {np.percentile(errors, 95):.0f} | {np.median(sigmas):.0f} |"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / f"scenes-{asked.seed}.jsonl"
    lines = [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []
    made = {line["number"] for line in lines}
    left = [number for number in range(asked.scenes) if number not in made]
    parts = [left[k : k + 50] for k in range(0, len(left), 50)]
    with ProcessPoolExecutor(asked.workers) as pool, file.open("a") as stream:
        for more in pool.map(several, [asked.seed] * len(parts), parts):
            stream.writelines(json.dumps(line) + "\n" for line in more)
            stream.flush()
            lines += more
    report(lines)


if __name__ == "__main__":
    main()
