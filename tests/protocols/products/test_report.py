"""The report: one page with everything inside, what went wrong first, and its figures are those of the run."""

import base64
import json
import re
from io import BytesIO
from pathlib import Path

import fabio.tifimage
import numpy as np
import pytest
from PIL import Image

from protocols.cred import CRED
from protocols.cred.summary import rows_of
from protocols.products.export import export_run
from protocols.products.plots import angle_residuals_deg
from protocols.products.source import open_run
from protocols.products.thumbnails import lit_part
from tests.engine.traces import record_run
from tests.protocols.products.runs import AT_THE_BEAM, write_run


def page_of(folder: Path) -> str:
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


def images_of(page: str) -> dict[str, Image.Image]:
    """The pictures of a page by their names."""
    found = re.findall(r'<img alt="([^"]*)" src="data:image/\w+;base64,([^"]*)">', page)
    return {name: Image.open(BytesIO(base64.b64decode(data))) for name, data in found}


def warnings_of(page: str) -> list[str]:
    listed = re.search(r'<ul class="warnings">(.*?)</ul>', page, re.DOTALL)
    return re.findall("<li>(.*?)</li>", listed[1]) if listed else []


def cells_of(page: str) -> list[tuple[str, str]]:
    return re.findall("<tr><td>(.*?)</td><td>(.*?)</td></tr>", page)


def with_snapshots(folder: Path, slots: list[int], clock_ns: int = 0) -> None:
    """Give a run snapshots: a bright disc on the camera with a dark crystal in it; their times and angles."""
    (folder / "snapshots").mkdir()
    y, x = np.mgrid[:512, :512]
    for slot in slots:
        counts = np.where(np.hypot(x - 300, y - 200) < 60, 400, 1).astype(np.uint16)
        counts[195:205, 295:305] = 100
        fabio.tifimage.TifImage(data=counts).write(str(folder / "snapshots" / f"{slot:05d}.tiff"))
    run = json.loads((folder / "run.json").read_text())
    run["snapshots"] = [
        {"slot": k, "start_ns": clock_ns + k * 512_000_000, "start_deg": -5.0 + 0.25 * k} for k in slots
    ]
    (folder / "run.json").write_text(json.dumps(run))


def test_one_page_with_all_pictures_inside_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=12, changes={"sample": "<b>&mordenite"})
    export_run(folder, ["report"])
    page = page_of(folder)
    assert "&lt;b&gt;&amp;mordenite" in page
    assert "<b>" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert [p.name for p in (folder / "report").iterdir()] == ["index.html"]
    pictures = images_of(page)
    assert {"Rotation", "Timing", "Primary beam", "Scale", "slot 1", "slot 12"} <= pictures.keys()
    assert all(picture.width > 100 for picture in pictures.values())


def test_what_went_wrong_stands_before_everything_else(tmp_path: Path) -> None:
    changes = {
        "status": "failed",
        "reason": "the stage <stopped>",
        "alarms": ["BEAM ON: blank it by hand"],
        "warnings": ["the camera sees nothing"],
        "result.frames_not_kept": 2,
        "result.period_changes": 1,
    }
    folder = write_run(tmp_path / "run", slots=12, lost=[3, 4, 7], not_kept=[11, 12], changes=changes)
    summary = export_run(folder, ["report"])
    page = page_of(folder)
    wrong = warnings_of(page)
    assert '<p class="ended badly">failed: the stage &lt;stopped&gt;</p>' in page
    assert wrong[:3] == [
        "ALARM: BEAM ON: blank it by hand",
        "WARNING: the camera sees nothing",
        "3 of 12 slots lost: 3-4, 7",
    ]
    assert any(line.startswith("2 frames not kept") for line in wrong)
    assert any(line.startswith("the period was lengthened 1 times") for line in wrong)
    assert summary.warnings
    assert set(summary.warnings) <= {line.replace("&#x27;", "'") for line in wrong}
    assert page.index('class="warnings"') < page.index("<h2>")


def test_a_run_without_trouble_has_no_warnings(tmp_path: Path) -> None:
    flat = np.ones((512, 512), dtype=np.float32)
    folder = write_run(tmp_path / "run", slots=6, flatfield=flat, geometry=AT_THE_BEAM)
    assert export_run(folder, ["report"]).warnings == ()
    assert warnings_of(page_of(folder)) == []


def test_lost_slots_have_the_reasons_of_the_trace_and_the_strip_is_there(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=12, lost=[3, 4, 7])
    header = {"seq": 0, "t_ns": 5, "kind": "header", "name": "credline", "schema": 2}
    header |= {"instrument": {"timing": {"api_call_s": 0.06}, "optics": {"settling_s": 0.35}}}
    reasons = {3: "the lens was late", 4: "the lens was late", 7: "the camera was late"}
    lost = [
        {"seq": seq, "t_ns": 9, "kind": "slot", "name": "lost", "slot": slot, "reason": reasons[slot]}
        for seq, slot in enumerate(reasons, start=1)
    ]
    (folder / "trace.jsonl").write_text("".join(json.dumps(record) + "\n" for record in (header, *lost)))
    export_run(folder, ["report"])
    page = page_of(folder)
    assert "3 of 12" not in "".join(warnings_of(page))
    assert "2 of 12 slots lost: 3-4 (the lens was late)" in warnings_of(page)
    assert "1 of 12 slots lost: 7 (the camera was late)" in warnings_of(page)
    assert images_of(page)["Timing strip"].width == 1320
    assert {("timing.api_call_s", "0.06"), ("optics.settling_s", "0.35")} <= set(cells_of(page))


@pytest.mark.parametrize("trace", [None, "", "junk\n"])
def test_without_a_readable_trace_the_report_says_so_in_the_place_of_the_strip(
    tmp_path: Path, trace: str | None
) -> None:
    folder = write_run(tmp_path / "run", slots=6, lost=[2])
    if trace is not None:
        (folder / "trace.jsonl").write_text(trace)
    export_run(folder, ["report"])
    page = page_of(folder)
    assert "Timing strip" not in images_of(page)
    assert "<p>Not drawn: " in page
    assert "1 of 6 slots lost: 2" in warnings_of(page)


def test_snapshots_stand_with_their_slot_time_and_angle(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=40, interval=10)
    with_snapshots(folder, [10, 20, 30, 40], clock_ns=2_000_000_000)
    header = {"seq": 0, "t_ns": 1_000_000_000, "kind": "header", "name": "credline", "schema": 2}
    (folder / "trace.jsonl").write_text(json.dumps(header) + "\n")
    (folder / "snapshots" / "00030.tiff").write_bytes(b"cut off")
    export_run(folder, ["report"])
    page = page_of(folder)
    assert "slot 10<br>6.12 s, -2.50 deg" in page  # from the header on, as the strip has it
    assert "slot 40<br>21.48 s, 5.00 deg" in page
    assert page.count("<p>not readable</p>") == 1
    pictures = images_of(page)
    assert "slot 30" not in pictures
    grey = np.asarray(pictures["slot 20"])
    assert max(grey.shape) == 180
    middle = grey.shape[1] // 2
    assert (
        grey[90, middle] < 120 < 150 < grey[90, middle + 30]
    )  # the dark crystal in the lit disc, which fills the picture
    assert grey[5, 5] < 30


def test_the_lit_part_has_room_around_it_and_a_dark_camera_is_shown_whole() -> None:
    picture = np.zeros((64, 128), np.float32)
    picture[20:30, 60:80] = 100
    top, bottom, left, right = lit_part([picture])
    assert (top * 64, bottom * 64, left * 128, right * 128) == pytest.approx((17.5, 32.5, 55, 85))
    assert lit_part([np.zeros((64, 64), np.float32)]) == (0, 1, 0, 1)
    assert lit_part([]) == (0, 1, 0, 1)


def test_the_geometry_stands_with_voltage_and_resolution(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=6)
    export_run(folder, ["report"])
    cells = dict(cells_of(page_of(folder)))
    assert cells["Wavelength"] == "0.025080 A (200.0 kV)"
    assert cells["Camera length"] == "250.0000 mm"
    assert cells["Pixel size"] == "0.00877193 1/A"
    # The beam at 240.25, 230.75 of a raw picture is before the cross: 230.75 px to the nearest edge.
    assert cells["Resolution"] == "0.495 A at the nearest edge, 0.288 A in the farthest corner"
    assert cells["exposure_s"] == "0.5"


def test_of_a_beam_beside_the_detector_no_resolution_at_its_edge_is_told(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run", slots=6, geometry={"beam_fast_px": -20.0}, changes={"plan": {"beam": "nominal"}}
    )
    export_run(folder, ["report"])
    words = dict(cells_of(page_of(folder)))["Resolution"]
    assert words.startswith("the beam is beside the detector, 0.1")
    assert "inf" not in words


@pytest.mark.long
def test_a_run_tells_the_same_in_its_table_and_in_its_report(tmp_path: Path) -> None:
    run = record_run(tmp_path, devices="simulated", formats=("report",))
    told = rows_of(json.loads((run / "run.json").read_text())["result"])
    page = page_of(run)
    cells = cells_of(page)
    assert told
    assert cells[: len(told)] == told
    shown_range = dict(told)["range"]
    assert shown_range == "{:.2f} deg, {:.2f} to {:.2f} deg".format(
        *map(float, re.findall(r"-?\d+\.\d+", dict(cells)["Rotation range"]))
    )
    assert images_of(page).keys() >= {"Timing strip", "slot 10", "slot 20"}
    assert ("devices", "simulated") in cells
    CRED.export(run, ("report",), lambda done, total: None)
    assert cells_of(page_of(run)) == cells


def test_a_run_json_that_lacks_what_the_table_needs_is_exported_without_the_table(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=6)
    with pytest.raises(KeyError):
        rows_of(json.loads((folder / "run.json").read_text())["result"])
    CRED.export(folder, ("report",), lambda done, total: None)
    page = page_of(folder)
    assert "<h2>The run</h2>" not in page
    assert "Rotation range" in page


def test_even_rotation_has_no_residuals(tmp_path: Path) -> None:
    with open_run(write_run(tmp_path / "run", slots=23)) as source:
        assert np.abs(angle_residuals_deg(source.info)).max() < 1e-9


def test_plots_of_a_single_frame_are_drawn(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=1, interval=0)
    export_run(folder, ["report"])
    assert {"Rotation", "Timing", "Primary beam", "Scale"} <= images_of(page_of(folder)).keys()
