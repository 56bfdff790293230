"""The primary beam as it stands in the files of a run: of a beam stop, of a beam that moves, as somebody asks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabio
import h5py
import mrcfile
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from protocols.products.export import export_run
from tests.protocols.products.runs import Picture, write_run
from tests.protocols.spots.beams import CLEAN, Scene, draw

SIZE = 128
BEAM = (64.9, 63.2)
SHIFT_SLOT = 9
RUN: dict[str, Any] = {"wide_cross": False, "shape": (SIZE, SIZE), "slots": 16, "interval": 6}


def pictures(scene: Scene, jump_px: float = 0.0) -> Picture:
    def picture(start_deg: float, end_deg: float, slot: int) -> np.ndarray:
        off_px = jump_px if slot >= SHIFT_SLOT else 0.0
        beam = ((BEAM[0] + off_px) / SIZE, BEAM[1] / SIZE)
        return draw(replace(scene, beam=beam), SIZE, seed=slot)[0]

    return picture


def nominal(fast_px: float, slow_px: float) -> dict[str, float]:
    return {"beam_fast_px": fast_px, "beam_slow_px": slow_px}


def description(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        assert isinstance(image, TiffImageFile)
        told: dict[str, Any] = json.loads(image.tag_v2[270])
    return told


def origin(folder: Path) -> tuple[float, float]:
    (line,) = [line for line in (folder / "SMV" / "XDS.INP").read_text().splitlines() if line.startswith("ORGX=")]
    _, fast, _, slow = line.split()
    return float(fast) - 0.5, float(slow) - 0.5


def test_a_run_with_a_beam_stop_keeps_the_centre_that_was_given(tmp_path: Path) -> None:
    # The report: a rod from the left, its tip 12 px right of the beam; ORGX was 25 px off, and nothing said so.
    halo = ((130.0, 45.0), (20.0, 150.0))
    rod = Scene(
        (162.3 / 320, 158.1 / 320),
        peak=0.0,
        halo=halo,
        background=10.0,
        rod=22.0,
        tip=19.0,
        spots=30,
        spot=30.0,
        full=65534,
    )

    def picture(start_deg: float, end_deg: float, slot: int) -> np.ndarray:
        return draw(rod, 320, seed=slot)[0]

    folder = write_run(
        tmp_path / "run", shape=(320, 320), wide_cross=False, picture=picture, geometry=nominal(162.3, 158.1), slots=24
    )
    summary = export_run(folder, ["xds", "pets", "nexus", "report"])
    assert origin(folder) == pytest.approx((162.3, 158.1))
    assert "center 162.30 158.10" in (folder / "pets.pts2").read_text()
    with h5py.File(folder / "master.nxs") as file:
        assert file["entry/instrument/detector/beam_center_x"][()] == pytest.approx(162.3)
    (said,) = [line for line in summary.warnings if "primary beam" in line]
    assert "seen in 0 of 22 frames" in said
    assert "as beside a beam stop" in said
    assert "the nominal centre, 162.30, 158.10 px, stands in all files" in said
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "the nominal centre, 162.30, 158.10 px, stands in all files" in page
    assert "162.30, 158.10 px (fast, slow), the nominal one; seen in 0 of 22 frames" in page


def test_each_picture_says_where_its_own_beam_is(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", **RUN, picture=pictures(CLEAN, 4.0), geometry=nominal(64.0, 64.0))
    summary = export_run(folder, ["xds", "tiff", "mrc", "nexus"])
    (said,) = [line for line in summary.warnings if "moved" in line]
    assert "jumps at slot 9 by 4.0 px" in said
    for slot, fast_px in ((2, 64.9), (11, 68.9)):
        header = fabio.open(folder / "SMV" / "data" / f"{slot:05d}.img").header
        assert [float(each) for each in header["FRAME_BEAM_PX"].split()] == pytest.approx((fast_px, 63.2), abs=0.2)
        assert float(header["BEAM_CENTER_Y"]) == pytest.approx(summary.beam_px[0] * 0.055, abs=1e-4)
        told = description(folder / "tiff" / f"{slot:05d}.tiff")
        assert told["frame_beam_px"] == pytest.approx((fast_px, 63.2), abs=0.2)
        assert told["beam_fast_px"] == pytest.approx(summary.beam_px[0], abs=1e-4)
        with mrcfile.open(folder / "RED" / f"{slot:05d}.mrc") as image:
            labels = b"".join(image.header.label.tolist()).decode()
        assert f"frame: {told['frame_beam_px'][0]:.2f}" in labels
    assert "FRAME_BEAM_PX" not in fabio.open(folder / "SMV" / "data" / "00006.img").header  # of a gap
    with h5py.File(folder / "master.nxs") as file:
        notes = file["entry/credline"]
        slots, fast = notes["slot"][()], notes["frame_beam_fast"][()]
        assert notes["beam_told"].asstr()[()].startswith("primary beam at ")
        assert file["entry/instrument/detector/beam_center_x"].shape == ()  # one number, by NXmx
    np.testing.assert_allclose(fast, np.where(slots >= SHIFT_SLOT, 68.9, 64.9), atol=0.2)
    row = next(line for line in (folder / "cRED_log.txt").read_text().splitlines() if line.startswith("   11 "))
    assert float(row.split()[-2]) == pytest.approx(68.9, abs=0.2)


def test_a_picture_in_which_the_beam_is_not_seen_does_not_say_where_it_is(tmp_path: Path) -> None:
    def picture(start_deg: float, end_deg: float, slot: int) -> np.ndarray:
        return np.full((SIZE, SIZE), 3, np.uint16) if slot == 4 else pictures(CLEAN)(start_deg, end_deg, slot)

    folder = write_run(tmp_path / "run", **RUN, picture=picture, geometry=nominal(64.0, 64.0))
    export_run(folder, ["smv", "tiff", "nexus"])
    assert "FRAME_BEAM_PX" not in fabio.open(folder / "SMV" / "data" / "00004.img").header
    assert description(folder / "tiff" / "00004.tiff")["frame_beam_px"] is None
    with h5py.File(folder / "master.nxs") as file:
        assert np.isnan(file["entry/credline/frame_beam_fast"][()]).tolist() == [k == 4 for k in range(1, 17) if k % 6]
    row = next(line for line in (folder / "cRED_log.txt").read_text().splitlines() if line.startswith("    4 "))
    assert row.split()[-2:] == ["-", "-"]


@pytest.mark.parametrize(
    ("asked", "place_px"), [("found", BEAM), ("nominal", (60.0, 66.0)), ([62.5, 61.5], (62.5, 61.5))]
)
def test_a_plan_says_which_centre_stands_in_the_files(
    tmp_path: Path, asked: object, place_px: tuple[float, float]
) -> None:
    changes = {"plan.beam": asked}
    folder = write_run(tmp_path / "run", **RUN, picture=pictures(CLEAN), geometry=nominal(60.0, 66.0), changes=changes)
    export_run(folder, ["xds"])
    assert origin(folder) == pytest.approx(place_px, abs=0.2)


def test_nexus_and_dials_trust_the_same_counts(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", **RUN, picture=pictures(CLEAN))
    export_run(folder, ["nexus", "dials"])  # it saturates at 11810
    with h5py.File(folder / "master.nxs") as file:
        assert file["entry/instrument/detector/saturation_value"][()] == 11809  # NXmx: valid up to this, inclusive
    assert "trusted_range=-1,11809" in (folder / "SMV" / "dials.sh").read_text()
