"""master.nxs: one even sweep over the raw pictures, gaps zero, modules in their places. Read by plain h5py."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from protocols.products.cross import cross_mask
from protocols.products.export import export_run
from protocols.products.nexus import _blocks
from protocols.products.source import open_run
from tests.protocols.products.runs import write_run


def test_image_k_is_slot_k_and_gaps_are_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run", slots=23, interval=10, lost=[4], not_kept=[13])
    export_run(folder, ["nexus"])
    monkeypatch.chdir("/")  # the link is relative to the file, not to where one stands
    with h5py.File(folder / "master.nxs") as file:
        data = file["entry/data/data"]
        assert data.shape == (23, 516, 516)
        assert data.dtype == np.uint16
        for slot in range(1, 24):
            if slot in (4, 10, 13, 20):
                assert not data[slot - 1].any()
            else:
                assert data[slot - 1, 0, 0] == slot
        alpha = file["entry/sample/transformations/alpha"]
        np.testing.assert_allclose(alpha[()], -5 + 0.2314 * np.arange(23))
        np.testing.assert_allclose(file["entry/sample/transformations/alpha_end"][()] - alpha[()], 0.2314)
        np.testing.assert_array_equal(file["entry/credline/gap_slots"][()], [4, 10, 13, 20])
        assert file["entry/credline/raw"].shape == (20, 512, 512)
        assert file["entry/source/probe"].asstr()[()] == "electron"
        assert file["entry/start_time"].asstr()[()] == "2026-11-21T01:02:03.456789+01:00"


def test_the_modules_stand_where_they_are(tmp_path: Path) -> None:
    raw = np.random.default_rng(8).integers(1, 60000, (512, 512), dtype=np.uint16)
    flat = np.ones((512, 512), dtype=np.float32)
    flat[40, 50] = 0
    folder = write_run(tmp_path / "run", slots=2, picture=lambda *_: raw, flatfield=flat)
    export_run(folder, ["nexus"])
    with h5py.File(folder / "master.nxs") as file:
        image = file["entry/data/data"][0]
        detector = file["entry/instrument/detector"]
        mask, flatfield = detector["pixel_mask"][()], detector["flatfield"][()]
    np.testing.assert_array_equal(image[:255, :255], raw[:255, :255])
    np.testing.assert_array_equal(image[261:, :255], raw[257:, :255])
    np.testing.assert_array_equal(image[261:, 261:], raw[257:, 257:])
    assert image[256, 0] == raw[255, 0]
    assert image[259, 0] == raw[256, 0]
    np.testing.assert_array_equal((mask == 1), cross_mask((512, 512)))
    assert mask[40, 50] == 2
    assert flatfield.shape == (516, 516)
    assert (image[mask == 0] > 0).all()


# Of each axis: kind, direction, and what it stands on; McStas axes, seen from the detector (docs/products.md).
TRANSFORMATIONS = "/entry/instrument/detector/transformations"
AXES = {
    f"{TRANSFORMATIONS}/distance": ("translation", (0, 0, 1), "."),
    "/entry/instrument/detector/module/fast_pixel_direction": (
        "translation",
        (-1, 0, 0),
        "/entry/instrument/detector/module/module_offset",
    ),
    "/entry/instrument/detector/module/slow_pixel_direction": (
        "translation",
        (0, -1, 0),
        "/entry/instrument/detector/module/module_offset",
    ),
}


def test_the_axes_are_those_of_the_geometry(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=2)
    export_run(folder, ["nexus"])
    with h5py.File(folder / "master.nxs") as file:
        for name, (kind, vector, on) in AXES.items():
            axis = file[name].attrs
            assert axis["transformation_type"] == kind
            assert axis["depends_on"] == on
            np.testing.assert_allclose(axis["vector"], vector, atol=1e-6, err_msg=name)
        assert [float(np.ravel(file[name][()])[0]) for name in AXES] == pytest.approx([250.0, 0.055, 0.055])
        detector = file["entry/instrument/detector"]
        corner_mm = 0.055 * np.array([detector[f"beam_center_{name}"][()] for name in "xy"])
        offset = detector["module/module_offset"]
        np.testing.assert_allclose(offset[()][0] * offset.attrs["vector"], [*corner_mm, 0.0])
        assert offset.attrs["depends_on"] == f"{TRANSFORMATIONS}/distance"


@pytest.mark.parametrize(
    ("lost", "blocks"),
    [
        ((), [((1, 9), 0), ((11, 12), 9)]),
        ((1,), [((2, 9), 0), ((11, 12), 8)]),
        ((4, 5, 12), [((1, 3), 0), ((6, 9), 3), ((11, 11), 7)]),
    ],
)
def test_frames_that_follow_one_another_are_one_piece(tmp_path: Path, lost: tuple[int, ...], blocks: object) -> None:
    with open_run(write_run(tmp_path / "run", slots=12, lost=lost)) as source:
        assert _blocks(source.info) == blocks


def test_without_the_spool_it_reads_as_zeros_which_is_why_both_must_move_together(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=2)
    export_run(folder, ["nexus"])
    (folder / "frames.h5").rename(tmp_path / "elsewhere.h5")
    with h5py.File(folder / "master.nxs") as file:
        assert not file["entry/data/data"][0].any()


def test_the_lean_of_the_axis_and_how_sure_calibrated_figures_are_stand_in_it(tmp_path: Path) -> None:
    figure = {"sigma": 0.5, "unit": "mm", "made_on": "2026-11-20", "data": "camera-length_001"}
    calibration = {"file": "a.toml", "stale_after_days": 180.0, "figures": {"geometry.camera_length_mm": figure}}
    origins = {"camera_length_mm": "calibrated", "rotation_axis_deg": "typed"}
    folder = write_run(
        tmp_path / "run",
        slots=3,
        geometry={"rotation_axis_tilt_deg": 1.5},
        changes={"origins": origins, "calibration": calibration},
    )
    export_run(folder, ["nexus"])
    with h5py.File(folder / "master.nxs") as file:
        axis = file["entry/sample/transformations/alpha"].attrs["vector"]
        figures = file["entry/credline/geometry"]
        length, lean = figures["camera_length_mm"], figures["rotation_axis_tilt_deg"]
        assert file["entry/instrument/detector/distance_errors"][()] == 0.5
        assert (length["value"][()], length["value_errors"][()], length["value"].attrs["units"]) == (250.0, 0.5, "mm")
        assert length["method"].asstr()[()] == "calibrated"
        assert length["data"].asstr()[()] == "camera-length_001"
        assert figures["rotation_axis_deg/method"].asstr()[()] == "typed"
        assert (lean["value"][()], lean["method"].asstr()[()], "value_errors" in lean) == (1.5, "default", False)
    out = np.radians(1.5)
    w = np.radians(-38.505)
    np.testing.assert_allclose(axis, [-np.cos(w) * np.cos(out), np.sin(w) * np.cos(out), -np.sin(out)], atol=1e-12)


@pytest.mark.parametrize(("hand", "words"), [(-1.0, "mirror image, so invert it"), (1.0, "as it comes out")])
def test_a_camera_that_mirrors_is_said_for_the_absolute_structure(tmp_path: Path, hand: float, words: str) -> None:
    calibration = {"file": "a.toml", "stale_after_days": 180.0, "figures": {}, "camera_hand": hand}
    folder = write_run(tmp_path / "run", slots=3, changes={"calibration": calibration})
    export_run(folder, ["nexus"])
    with h5py.File(folder / "master.nxs") as file:
        assert file["entry/credline/camera_hand"][()] == hand
        assert words in file["entry/credline/camera_hand"].attrs["meaning"]


def test_the_lean_stands_in_the_axis_of_xds(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=3, geometry={"rotation_axis_tilt_deg": 1.5}, oscillation_deg=-0.2)
    export_run(folder, ["xds"])
    words = next(line for line in (folder / "SMV" / "XDS.INP").read_text().splitlines() if "ROTATION_AXIS" in line)
    out, w = np.radians(1.5), np.radians(-38.505)
    # About the opposite axis, for the stage's angle falls; y and z of XDS the other way round.
    expected = -np.array([np.cos(w) * np.cos(out), -np.sin(w) * np.cos(out), -np.sin(out)])
    np.testing.assert_allclose([float(each) for each in words.split()[1:]], expected, atol=1e-6)
