"""What pictures of a simulated grid cost: CPU time of images and patterns, and memory of 10,000 crystals.

python benchmarks/simulatedgrid.py
"""

import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from drivers.facts import Geometry
from drivers.simulated.crystalgrid import CrystalGrid
from drivers.simulated.gridpictures import GridMaker
from drivers.simulated.gridsettings import GridSettings
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY, SMALL, SMALL_GEOMETRY

FIELD_NM, STEP_NM = 5950.0, 13_000.0
FIELDS, PATTERNS = 6, 60


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time of a call."""
    began = time.process_time()
    work()
    return 1e3 * (time.process_time() - began)


def image_ms(film: str, pixels: int) -> tuple[float, float]:
    """Medians of images of new fields, and of the same fields again."""
    grid, step = CrystalGrid(GridSettings(seed=3, film=film)), FIELD_NM / pixels

    def image(number: int) -> None:
        corner = np.array([STEP_NM * number, 2_000.0]) - FIELD_NM / 2
        grid.transmission(step * np.eye(2), corner, (pixels, pixels))

    image(-1)
    new, again = ([cpu_ms(lambda k=k: image(k)) for k in range(FIELDS)] for _ in range(2))  # type: ignore[misc]
    return float(np.median(new)), float(np.median(again))


def pattern_ms(film: str, geometry: Geometry, pictures: PictureSettings) -> tuple[float, float]:
    """Median and largest of patterns of crystals, each with the beam elsewhere on the camera."""
    maker = GridMaker(GridSettings(seed=3, film=film), geometry, pictures)
    crystals = maker.grid.crystals_in(np.full(2, -9_000.0), np.full(2, 9_000.0))

    def pattern(k: int) -> None:
        at = float(crystals.x_nm[k % len(crystals)]), float(crystals.y_nm[k % len(crystals)])
        maker.diffraction(0.0, 0.0, 0.1, (0.01 * k, 1.0), noise_seed=k, on_grid_nm=at)

    pattern(0)
    times = [cpu_ms(lambda k=k: pattern(k)) for k in range(1, PATTERNS)]  # type: ignore[misc]
    return float(np.median(times)), max(times)


def main() -> None:
    """Print the tables."""
    print("| image, CPU in ms | film | a new field | the same again |\n|---|---|---|---|")
    for pixels in (128, 512, 2048):
        for film in ("continuous", "lacey"):
            new, again = image_ms(film, pixels)
            print(f"| {pixels} px | {film} | {new:.0f} | {again:.0f} |")
    print("\n| pattern, CPU in ms | film | median | most |\n|---|---|---|---|")
    for pixels, geometry, pictures in ((128, SMALL_GEOMETRY, SMALL), (512, GEOMETRY, PictureSettings())):
        for film in ("continuous", "lacey"):
            median, most = pattern_ms(film, geometry, pictures)
            print(f"| {pixels} px | {film} | {median:.0f} | {most:.0f} |")
    tracemalloc.start()
    grid = CrystalGrid(GridSettings(seed=3, crystals_um2=1.0))
    began = time.process_time()
    number = len(grid.crystals_in(np.full(2, -70_000.0), np.full(2, 70_000.0)))
    held = tracemalloc.get_traced_memory()[0] / 1e6
    print(f"\n{number} crystals: {time.process_time() - began:.1f} s of CPU to draw (traced), {held:.0f} MB held")


if __name__ == "__main__":
    main()
