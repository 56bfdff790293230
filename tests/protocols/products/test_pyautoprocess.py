"""The program autoprocess itself on its folder in a run: pictures and XDS.INP that it makes, beside ours."""

from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from protocols.products.corrections import untrusted
from protocols.products.export import export_run
from tests.protocols.products.readers import keywords, performed
from tests.protocols.products.runs import disc, write_run

WORDS = ("autoprocess", "pyautoprocess", "--config-file", "pyautoprocess/microscope.json", "--microscope-config")
# Those that say where things are; the rest is its own choice.
GEOMETRY = ("NX", "NY", "QX", "QY", "ORGX", "ORGY", "DETECTOR_DISTANCE", "OSCILLATION_RANGE", "X-RAY_WAVELENGTH")
VECTORS = ("ROTATION_AXIS", "DIRECTION_OF_DETECTOR_X-AXIS", "DIRECTION_OF_DETECTOR_Y-AXIS", "INCIDENT_BEAM_DIRECTION")
TASTE = ("SIGNAL_PIXEL", "BACKGROUND_PIXEL", "MINIMUM_NUMBER_OF_PIXELS_IN_A_SPOT")


def exported(folder: Path, **options: Any) -> Path:
    write_run(folder, slots=23, interval=10, shape=(128, 128), picture=disc((128, 128), 40.25, 90.75), **options)
    export_run(folder, ["xds", "pyautoprocess"])
    return folder


@pytest.mark.counterpart
@pytest.mark.parametrize("oscillation_deg", [0.2314, -0.2314])
def test_it_reads_the_geometry_of_our_own_instructions(tmp_path: Path, oscillation_deg: float) -> None:
    folder = exported(tmp_path / "run", oscillation_deg=oscillation_deg)
    done = performed([*WORDS, "credline"], folder)
    assert done.returncode == 1  # for want of XDS, and that it says
    assert "No such file or directory: 'xds'" in done.stdout + done.stderr
    theirs = keywords(folder / "pyautoprocess" / "mordenite" / "auto_process" / "XDS.INP")
    ours = keywords(folder / "SMV" / "XDS.INP")
    for keyword in GEOMETRY:
        assert float(theirs[keyword][0]) == pytest.approx(float(ours[keyword][0]), abs=1e-4), keyword
    assert float(theirs["OSCILLATION_RANGE"][0]) == pytest.approx(0.2314, abs=1e-8)
    for keyword in VECTORS:
        numbers = [[float(c) for c in file[keyword][0].split()] for file in (theirs, ours)]
        assert numbers[0] == pytest.approx(numbers[1]), keyword
    assert theirs["DATA_RANGE"] == ["1 23"]
    assert [theirs[keyword] for keyword in TASTE] == [["3"], ["6"], ["6"]]
    assert [float(v) for v in theirs["VALUE_RANGE_FOR_TRUSTED_DETECTOR_PIXELS"][0].split()] == [10, 30000]


@pytest.mark.counterpart
def test_what_holds_no_counts_is_not_valid_in_its_pictures(tmp_path: Path) -> None:
    bright = disc((128, 128), 40.25, 90.75)

    def picture(start_deg: float, end_deg: float, slot: int) -> np.ndarray:
        counts = bright(start_deg, end_deg, slot)
        counts[3, 5] = 11810  # saturated
        return counts

    folder = tmp_path / "run"
    write_run(folder, slots=13, interval=10, lost=[1, 5], shape=(128, 128), picture=picture)
    export_run(folder, ["pyautoprocess"])
    done = performed([*WORDS, "credline"], folder)
    assert "Converted 12 frames" in done.stderr
    theirs = keywords(folder / "pyautoprocess" / "mordenite" / "auto_process" / "XDS.INP")
    valid, overload = (int(theirs[keyword][0]) for keyword in ("MINIMUM_VALID_PIXEL_VALUE", "OVERLOAD"))
    cross = untrusted((128, 128), True, None)
    for number, slot in enumerate(range(2, 14), 1):
        image = fabio.open(folder / "pyautoprocess" / "mordenite" / "images" / f"mordenite_{number:03d}.tif").data
        if slot in (5, 10):
            assert image.max() < valid
            continue
        ours = fabio.open(folder / "SMV" / "data" / f"{slot:05d}.img").data
        assert image[cross].max() < valid
        assert image[3, 5] > overload
        image[3, 5] = ours[3, 5] + 1
        np.testing.assert_array_equal(image[~cross], ours[~cross] + 1)


def test_pictures_that_are_not_square_are_not_for_it_and_the_export_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=3, shape=(64, 128), wide_cross=False, picture=disc((64, 128), 60, 30))
    summary = export_run(folder, ["pyautoprocess"])
    assert any("pyautoprocess knows square pictures only" in warning for warning in summary.warnings)
    assert not (folder / "pyautoprocess").exists()
