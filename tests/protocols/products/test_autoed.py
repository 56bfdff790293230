"""AutoED's own programs on the folder ED of a run: found, read, and with the pictures of its camera converted."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from protocols.products.autoed import SINGLA_SHAPE
from protocols.products.export import export_run
from tests.protocols.products.processing import need_dials
from tests.protocols.products.readers import performed
from tests.protocols.products.runs import Picture, write_run

ASKED = ("wavelength", "angle_increment", "start_angle", "detector_distance", "sample_type", "unit_cell", "space_group")
LOOK = """
import json, logging, sys
from autoed.dataset import SinglaDataset
from autoed.beam_position.beam_center import BeamCenterCalculator
from autoed.utility.filesystem import gather_master_files
(master,) = gather_master_files(sys.argv[1])
dataset = SinglaDataset.from_basename(master.removesuffix("_master.h5"))
dataset.search_and_update_data_files()
print(json.dumps({
    "complete": dataset.all_files_present(),
    "read": dataset.fetch_metadata(),
    "metadata": dataset.metadata,
    "images": BeamCenterCalculator(dataset.data_files[0]).dataset.shape,
    "output": dataset.output_path,
}))
"""

SCRIPT = """
import sys
import hdf5plugin
from autoed.dataset import SinglaDataset
from autoed.process.pipeline import LocalPipeline
dataset = SinglaDataset.from_basename(sys.argv[1])
dataset.fetch_metadata()
dataset.dummy = True
line = "dials.import {nexus_file} goniometer.axis={m.rotation_axis} mosflm_beam_centre={m.mosflm_beam_centre}"
ours = {"pipeline_name": "ours", "type": "dials", "run_condition": True, "script": [line + ";"]}
print(LocalPipeline(dataset, ours).bash_file)
print(hdf5plugin.PLUGINS_PATH)
"""
BEAM_PX = (505.25, 480.75)


def halo(shape: tuple[int, int], fast_px: float, slow_px: float) -> Picture:
    """A primary beam with the wide halo that a film of carbon makes."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    squared = (x - fast_px) ** 2 + (y - slow_px) ** 2
    counts = np.rint(4000 * np.exp(-squared / (2 * 3.0**2)) + 400 / (1 + squared / 60.0**2)).astype(np.uint16)

    def picture(start_deg: float, end_deg: float, slot: int) -> np.ndarray:
        return counts

    return picture


@pytest.mark.counterpart
@pytest.mark.parametrize("oscillation_deg", [0.2314, -0.2314])
def test_a_run_of_any_camera_is_found_and_read(tmp_path: Path, oscillation_deg: float) -> None:
    folder = write_run(
        tmp_path / "run", slots=12, interval=5, lost=[1], shape=(128, 128), oscillation_deg=oscillation_deg
    )
    summary = export_run(folder, ["autoed"])
    assert any("stops at their conversion" in warning for warning in summary.warnings)
    done = performed(["python", "-c", LOOK, folder], folder)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (told["complete"], told["read"], told["output"]) == (True, True, str(folder / "processed"))
    assert told["images"] == [12, 132, 132]  # image k is slot k, gaps read as zeros
    read = told["metadata"]
    turned = 1 if oscillation_deg > 0 else -1
    assert [read[key] for key in ASKED] == [0.02508, 0.2314, turned * -5.0, 250.0, "mordenite", None, None]
    assert read["rotation_speed"] == pytest.approx(0.2314 / 0.512)
    assert read["frame_rate"] == pytest.approx(1 / 0.512)
    axis = [float(c) for c in read["rotation_axis"].split(",")]
    assert axis == pytest.approx([turned * 0.782554, turned * -0.622583, 0])
    assert read["empty_images"] == [1, 5, 10]
    slow_mm, fast_mm = map(float, read["mosflm_beam_centre"].split(","))
    assert (fast_mm / 0.055, slow_mm / 0.055) == pytest.approx(summary.beam_px, abs=1e-3)


@pytest.fixture(scope="module")
def no_pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """AutoED as it is, but that it hands nothing to DIALS."""
    config = tmp_path_factory.mktemp("autoed") / "autoed_config.json"
    config.write_text(json.dumps({"local": True, "run_pipelines": {}}))
    return {"AUTOED_CONFIG_FILE": str(config)}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, no_pipelines: dict[str, str]) -> Path:
    """A run of AutoED's own camera, the stage turning backwards, after `autoed_process`."""
    folder = write_run(
        tmp_path_factory.mktemp("singla") / "singla_001",
        slots=12,
        interval=5,
        shape=SINGLA_SHAPE,
        wide_cross=False,
        oscillation_deg=-0.2314,
        picture=halo(SINGLA_SHAPE, *BEAM_PX),
        geometry={"pixel_size_mm": 0.075},
        changes={"detector.name": "Dectris SINGLA 1M"},
    )
    summary = export_run(folder, ["autoed"])
    assert not [warning for warning in summary.warnings if "AutoED" in warning]
    raw = (folder / "frames.h5").read_bytes()
    done = performed(["autoed_process", "."], folder, no_pipelines)
    assert done.returncode == 0, done.stderr
    assert (folder / "frames.h5").read_bytes() == raw
    return folder


@pytest.mark.counterpart
def test_a_run_of_its_camera_is_converted(converted: Path) -> None:
    log = (converted / "ED" / "singla_001.autoed.log").read_text()
    assert "Created Nexus file" in log
    assert "ERROR" not in log
    with h5py.File(converted / "ED" / "singla_001.nxs") as file:
        entry = file["entry"]
        detector = entry["instrument/detector"]
        assert entry["data/data"].shape == (12, *SINGLA_SHAPE)
        np.testing.assert_array_equal(entry["data/data"][3], halo(SINGLA_SHAPE, *BEAM_PX)(0, 0, 4))
        assert not entry["data/data"][4].any()
        assert entry["instrument/beam/incident_wavelength"][()] == pytest.approx(0.02508)
        assert detector["count_time"][()] == pytest.approx(0.5)
        assert entry["start_time"][()].decode().startswith("2026-11-21T01:02:03")
        angles = entry["sample/transformations/alpha"][()]
        np.testing.assert_allclose(angles, 5 + 0.2314 * np.arange(12), atol=1e-6)
        assert detector["distance"][()] == pytest.approx(0.25)  # m
        found = detector["beam_center_x"][()], detector["beam_center_y"][()]
        assert found == pytest.approx(BEAM_PX, abs=1.5)  # by its own finder


@pytest.mark.counterpart
@pytest.mark.dials
@pytest.mark.long
def test_its_script_hands_our_axis_and_beam_to_dials(converted: Path) -> None:
    need_dials()
    done = performed(["python", "-c", SCRIPT, converted / "ED" / "singla_001"], converted)
    assert done.returncode == 0, done.stderr
    script, plugins = done.stdout.splitlines()
    environment = {**os.environ, "HDF5_PLUGIN_PATH": plugins}  # nexgen compresses by bitshuffle
    environment.pop("PYTHONPATH", None)
    imported = subprocess.run(
        ["bash", script], cwd=converted, env=environment, capture_output=True, text=True, check=False
    )
    (experiment,) = converted.glob("imported.expt")
    told = json.loads(experiment.read_text())
    assert told["goniometer"][0]["rotation_axis"] == pytest.approx([-0.782554, 0.622583, 0], abs=1e-6), imported.stderr
    assert told["scan"][0]["image_range"] == [1, 12]
    assert told["beam"][0]["wavelength"] == pytest.approx(0.02508)
    detector = told["detector"][0]
    (panel,) = detector["panels"]
    pixel_mm = panel["pixel_size"][0]
    assert pixel_mm == pytest.approx(0.075)
    x, y, z = (a + b for a, b in zip(panel["origin"], detector["hierarchy"]["origin"], strict=True))
    assert (-x / pixel_mm, y / pixel_mm, -z) == pytest.approx((*BEAM_PX, 250), abs=0.02)


@pytest.mark.counterpart
def test_a_run_of_another_camera_is_not_converted_as_the_export_says(
    tmp_path: Path, no_pipelines: dict[str, str]
) -> None:
    folder = write_run(tmp_path / "run", slots=12, shape=(128, 128))
    export_run(folder, ["autoed"])
    done = performed(["autoed_process", "."], folder, no_pipelines)
    assert done.returncode == 0, done.stderr
    assert "Failed to process data with nexgen" in (folder / "ED" / "run.autoed.log").read_text()
    assert not (folder / "ED" / "run.nxs").exists()
