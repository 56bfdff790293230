"""Pictures are kept around their disc: places and lengths are those of the camera, whatever was cut and summed."""

import numpy as np
import pytest

from protocols.calibrate.disc.discfit import Disc, fit_disc
from protocols.calibrate.disc.window import MOST_PX, Window


def disc(shape: tuple[int, int], fast_px: float, slow_px: float, radius_px: float) -> np.ndarray:
    rows, columns = np.indices(shape) + 0.5
    return 5.0 + 95.0 / (1 + np.exp(np.hypot(columns - fast_px, rows - slow_px) - radius_px))


# Shape of the camera, where the disc lies, its radius, and how many pixels become one.
CASES = {
    "a small camera": ((128, 128), (60.2, 70.7), 30.0, 1),
    "one of the usual size": ((512, 512), (240.3, 300.4), 70.0, 2),
    "a large one that is not square": ((1030, 1500), (800.3, 500.4), 250.0, 5),
    "a disc that leaves the camera": ((200, 200), (30.0, 100.0), 60.0, 2),
}


@pytest.mark.parametrize(("shape", "middle_px", "radius_px", "times"), CASES.values(), ids=CASES)
def test_what_is_found_in_a_window_is_where_it_is_on_the_camera(
    shape: tuple[int, int], middle_px: tuple[float, float], radius_px: float, times: int
) -> None:
    window = Window.around(Disc(*middle_px, radius_px, 0.01, 95.0, 1.0), shape)
    part = window.cut(disc(shape, *middle_px, radius_px))
    assert window.times == times
    assert max(part.shape) <= MOST_PX
    assert part.max() == pytest.approx(100.0, abs=0.5)  # counts of a pixel of the camera
    rows, columns = part.shape
    assert window.distance_px(*middle_px).shape == part.shape
    near = np.unravel_index(int(window.distance_px(*middle_px).argmin()), part.shape)
    assert window.on_camera(np.array([near[1] + 0.5, near[0] + 0.5])) == pytest.approx(middle_px, abs=0.75 * times)
    left, right, bottom, top = window.extent_px
    assert (right - left, bottom - top) == (columns * times, rows * times)
    if middle_px[0] > radius_px:
        found = window.disc_on_camera(fit_disc(part.astype(np.float64)))
        assert (found.fast_px, found.slow_px) == pytest.approx(middle_px, abs=0.03 * times)
        assert found.radius_px == pytest.approx(radius_px, abs=0.05 * times)


def test_a_camera_without_a_disc_is_kept_whole() -> None:
    window = Window.whole((512, 700))
    assert window.cut(np.ones((512, 700))).shape == (512 // 5, 700 // 5)
    assert window.on_camera(np.array([0.0, 0.0])).tolist() == [0.0, 0.0]
