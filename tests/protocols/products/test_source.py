"""A run folder is read as the contract says, and what is wrong with it is said with the file's name."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.facts import DetectorFacts, PacedFacts
from engine.errors import DataError
from engine.record.framekinds import Column, FrameKind
from engine.record.frametable import FramesFile, write_frames
from protocols.products.export import export_run
from protocols.products.source import open_run, ranges
from tests.protocols.products.runs import write_run


def test_slots_gaps_and_angles(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=23, interval=10, lost=[5], not_kept=[22, 23], start_deg=-5.0)
    with open_run(folder) as source:
        info = source.info
        assert (info.first_slot, info.last_slot, info.slots) == (1, 21, 23)
        assert info.gaps == (5, 10, 20)
        assert info.shape == (516, 516)
        assert info.slot_start_deg(1) == -5.0
        assert info.slot_start_deg(11) == pytest.approx(-5.0 + 10 * 0.2314)
        np.testing.assert_allclose(info.frame_start_deg, [info.slot_start_deg(int(k)) for k in info.slot])
        assert source.raw(5)[0, 0] == 7  # slots 1 2 3 4 6 7: the picture says its slot
        assert info.created_at.utcoffset() == timedelta(hours=1)
        assert source.flatfield() is None


def test_reading_changes_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=5)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with open_run(folder) as source:
        source.raw(0)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_pixel_size_in_reciprocal_space(tmp_path: Path) -> None:
    with open_run(write_run(tmp_path / "run", slots=3)) as source:
        # lambda L d* = r, so one pixel is 0.055 / (250 * 0.02508) per A.
        assert source.info.angstrom_per_px == pytest.approx(0.0087719, rel=1e-4)


@pytest.mark.parametrize(("top", "most"), [(100, 5000), (4095, 65535), (None, 65535)])
def test_a_sum_of_parts_is_saturated_when_each_of_them_is(tmp_path: Path, top: int | None, most: int) -> None:
    """As the camera's own facts say it, which the products cannot ask: they import no driver."""
    facts = DetectorFacts((512, 512), "<u2", 65535, (0.01, 10.0), paced=PacedFacts(0.01, 0.012, 2, top))
    told = {"part_s": 0.01, "period_s": 0.012, "spare": 2, "saturation": top}
    changes = {"detector.saturation": 65535, "detector.paced": told}
    with open_run(write_run(tmp_path / "run", slots=3, changes=changes)) as source:
        assert source.info.saturation == facts.saturation_of(source.info.exposure_s) == most


@pytest.mark.parametrize(("slots", "joined"), [((), []), ((3,), [(3, 3)]), ((3, 4, 5, 9), [(3, 5), (9, 9)])])
def test_ranges(slots: tuple[int, ...], joined: list[tuple[int, int]]) -> None:
    assert ranges(slots) == joined


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 3}, "schema 3"),
        ({"status": "running"}, "recover"),
        (
            {"geometry.wavelength_A": 0.0},
            "wavelength_A = 0: a wavelength is .*credline export .* --set geometry.KEY=VALUE",
        ),
        ({"geometry.camera_length_mm": 0.25}, "If 0.25 m was meant, write camera_length_mm = 250."),
        ({"geometry.pixel_size_mm": "wide"}, "wrong type"),
        ({"result.oscillation_deg": 0.0}, "did not rotate"),
        ({"result.start_deg": -4.7686}, r"-1\.00 slots"),
        ({"result.oscillation_deg": -0.2314}, "slots from start_deg"),
        ({"result.slots": 4}, "slots 1 to 4"),
        ({"result.start_deg": None, "result.oscillation_deg": None}, "no angles"),
        ({"created_at": "2026-11-21T01:02:03"}, "no UTC offset"),
        ({"created_at": "yesterday"}, "ValueError"),
        ({"detector.shape": [512, 500]}, "run.json says"),
    ],
)
def test_a_wrong_run_file_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    folder = write_run(tmp_path / "run", slots=23, changes=changes)
    with pytest.raises(DataError, match=says) as caught:
        open_run(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["geometry", "result", "sample", "created_at"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    folder = write_run(tmp_path / "run", slots=3)
    run = json.loads((folder / "run.json").read_text())
    del run[key]
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(DataError, match=rf"run\.json.*{key}"):
        open_run(folder)


@pytest.mark.parametrize("result", [{"z_nm": 171.3}, {"crystals": {"path": "crystals.csv"}, "images": 26}])
def test_a_run_without_a_rotation_is_not_taken_for_a_damaged_one(tmp_path: Path, result: dict[str, Any]) -> None:
    """A height, a screening: nothing that could be recovered, nor the crystals of one rotation."""
    folder = write_run(tmp_path / "run", slots=3)
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"protocol": "eucentric-height", "result": result}))
    with pytest.raises(DataError, match=r"a run of eucentric-height, whose frames are of no rotation; .* cRED"):
        open_run(folder)


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json: no such file"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        open_run(tmp_path)


def test_no_spool(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=3)
    (folder / "frames.h5").unlink()
    with pytest.raises(DataError, match=r"frames\.h5: no such file\. There is no spool beside it"):
        open_run(folder)
    (folder / "frames.spool").touch()
    with pytest.raises(DataError, match=r"frames\.h5: no such file\. `credline recover .*` makes it anew"):
        open_run(folder)


def test_a_run_that_failed_before_its_first_frame_says_so(tmp_path: Path) -> None:
    """And not that a file is missing, of which a copy is to be found."""
    nothing = {"result": {"frames": 0, "frames_not_kept": 0, "start_deg": None}, "reason": "beam.unblank: no answer"}
    folder = write_run(tmp_path / "run", slots=3)
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | nothing))
    (folder / "frames.h5").unlink()
    with pytest.raises(DataError, match=r"the run has no frames \(beam\.unblank: no answer\); nothing was done"):
        open_run(folder)


def test_a_run_without_kept_frames(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=3, not_kept=[1, 2, 3])
    with pytest.raises(DataError, match=r"frames\.h5: the run kept no frames"):
        open_run(folder)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.6, 0.97])
def test_a_truncated_spool(tmp_path: Path, part: float) -> None:
    folder = write_run(tmp_path / "run", slots=8)
    spool = folder / "frames.h5"
    whole = spool.read_bytes()
    spool.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(DataError, match=r"frames\.h5: damaged or truncated"):
        open_run(folder)


def test_a_damaged_chunk_is_named_by_its_slot(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=6)
    with h5py.File(folder / "frames.h5") as file:
        place = file["data"].id.get_chunk_info(3)
    with (folder / "frames.h5").open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(b"\xff" * 200)
    with open_run(folder) as source:
        source.raw(2)
        with pytest.raises(DataError, match=r"frames\.h5.*slot 4"):
            source.raw(3)


def test_a_flatfield_of_another_detector(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=3, flatfield=np.ones((256, 256), dtype=np.float32))
    with open_run(folder) as source, pytest.raises(DataError, match=r"/flatfield is \(256, 256\)"):
        source.flatfield()


def test_fewer_pictures_than_the_table_says(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=5)
    with h5py.File(folder / "frames.h5", "r+") as file:
        data = file["data"][:3]
        del file["data"]
        file["data"] = data
    with pytest.raises(DataError, match="5 frames in the table, 3 pictures"):
        open_run(folder)


@pytest.mark.parametrize("pixel", ["i1", "u1", "<i2", ">i2", ">u2", "<i4", ">i4", "<u4", "<i8", ">u8", "<f4"])
def test_pictures_of_any_type_in_a_file_of_schema_2_become_products(tmp_path: Path, pixel: str) -> None:
    folder = write_run(tmp_path / "run", slots=3, interval=0, shape=(64, 64), wide_cross=False)
    with FramesFile(folder / "frames.h5") as file:
        old = file.table("diffraction")
        pictures = [np.minimum(file.picture("diffraction", k), 100).astype(pixel) for k in range(3)]
    if np.dtype(pixel).kind in "if":
        pictures[1][5, 5] = -3
    own = [Column(name, old.dtype[name].str, "") for name in ("slot", "kept", "start_deg", "end_deg", "late_ns")]
    rows = np.zeros(3, FrameKind("diffraction", tuple(own)).row)
    for name in old.dtype.names or ():
        rows[name] = old[name]
    write_frames(folder / "frames.h5", {"diffraction": rows}, lambda _: pictures, {})
    with open_run(folder) as source:
        assert np.array_equal(source.raw(1), pictures[1])
    summary = export_run(folder, ("smv", "nexus"))
    assert summary.frames == 3
    assert summary.clipped.below == summary.clipped.total == (1 if np.dtype(pixel).kind in "if" else 0)
    with h5py.File(folder / "master.nxs") as master:
        assert np.array_equal(master["entry/data/data"][1], pictures[1])
