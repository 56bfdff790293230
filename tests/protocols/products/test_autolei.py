"""AutoLEI's own programs on a run folder: found by log and pictures, prepared for XDS, other pictures left alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocols.products.export import export_run
from tests.protocols.products.readers import keywords, performed
from tests.protocols.products.runs import disc, write_run

pytestmark = pytest.mark.counterpart

MONITOR = Path(__file__).with_name("autoleimonitor.py")
RUN = "mordenite_001"


def exported(project: Path, **options: Any) -> Path:
    folder = write_run(
        project / RUN, slots=23, interval=10, shape=(128, 128), picture=disc((128, 128), 40.25, 90.75), **options
    )
    export_run(folder)
    return folder


def monitored(project: Path, work: str) -> dict[str, Any]:
    done = performed(["python", "-P", MONITOR, project, work], project)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_run_folder_is_ready_when_its_pictures_are_there(tmp_path: Path) -> None:
    folder = exported(tmp_path / "project", lost=[7])
    assert monitored(tmp_path / "project", "look") == {RUN: {"status": "instamatic-ready", "source_type": "instamatic"}}
    # It counts pictures, and is content with one fewer than the 20 frames that the log speaks of.
    for slot in range(1, 6):
        (folder / "SMV" / "data" / f"{slot:05d}.img").unlink()
    assert monitored(tmp_path / "project", "look")[RUN]["status"] == "instamatic-collecting"


@pytest.mark.parametrize("lost", [(7,), (1, 2, 7)])
def test_it_sets_the_cell_and_finds_our_figures_in_the_pictures(tmp_path: Path, lost: tuple[int, ...]) -> None:
    folder = exported(tmp_path / "project", lost=lost)
    xds_inp = folder / "SMV" / "XDS.INP"
    before = keywords(xds_inp)
    told = monitored(tmp_path / "project", "prepare")[RUN]
    assert told["xds_inputs"] == [str(xds_inp)]
    # 90.75 lies beyond the cross. It gives the middle of a pixel the pixel's number, counted from 0.
    assert told["beam"] == pytest.approx([40.25 - 0.5, 94.75 - 0.5], abs=0.1)
    after = keywords(xds_inp)
    assert after.pop("SPACE_GROUP_NUMBER") == ["63"]
    assert after.pop("UNIT_CELL_CONSTANTS") == ["18.256 20.534 7.542 90 90 90"]
    # STARTING_ANGLE becomes the angle in the first picture's header, so STARTING_FRAME has to be that picture.
    first = min(set(range(1, 24)) - set(lost))
    assert after["STARTING_FRAME"] == [f"{first}"]
    assert float(after.pop("STARTING_ANGLE")[0]) == pytest.approx(float(before.pop("STARTING_ANGLE")[0]))
    assert after.pop("NAME_TEMPLATE_OF_DATA_FRAMES") == ["data/000??.img SMV"]
    # Its own taste, with a run of Instamatic too: all images for the background, corners, no air, no sensor.
    for keyword in ("BACKGROUND_RANGE", "TRUSTED_REGION", "AIR", "SENSOR_THICKNESS"):
        after.pop(keyword, None)
    assert after.items() <= before.items()
    assert before.keys() - after.keys() == {
        *("SPACE_GROUP_NUMBER", "NAME_TEMPLATE_OF_DATA_FRAMES", "BACKGROUND_RANGE"),
        *("TRUSTED_REGION", "AIR", "SENSOR_THICKNESS"),
    }


def test_its_programs_take_our_instructions_and_leave_the_pictures_for_redp_alone(tmp_path: Path) -> None:
    folder = exported(tmp_path / "project")
    done = performed(["autolei-process", "--json", "convert", ".", "mrc"], tmp_path / "project")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images_after"] == 23
    assert not list((folder / "RED").glob("*.img"))
    (tmp_path / "project" / "Input_parameters.txt").write_text((folder / "SMV" / "XDS.INP").read_text())
    text = (folder / "SMV" / "XDS.INP").read_text()
    done = performed(["autolei-process", "--json", "xds-generate", "."], tmp_path / "project")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"count": 1, "paths": [str(folder / "SMV" / "XDS.INP")]}
    assert (folder / "SMV" / "XDS.INP").read_text() == text
