"""Cameras of any type of counts through whole virtual runs: kept as they came, exported clipped, replayed, refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest

from drivers.simulated.detector import Timepix
from engine.frame import Picture
from engine.record.frametable import FramesFile
from engine.replay.replay import first_divergence, load_run, replay
from engine.testing.plugin import RecordedRun, RecordRun
from protocols.products.dials import import_arguments
from protocols.products.export import export_run
from protocols.products.metadata import run_header
from protocols.products.source import RunInfo, open_run
from tests.protocols.products.processing import import_each, need_dials

TYPES = ["|i1", "|u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", "<i8", ">u8", "<f4", ">f4"]
SHAPE = (64, 64)
PLAN: dict[str, Any] = {"range_deg": 3.0, "relax_cycles": 0, "snapshot_interval": 5, "exposure_s": 0.5, "formats": ()}


def camera(dtype: str) -> dict[str, Any]:
    """The tables of a devices file: a small camera whose pixels all answer alike."""
    return {
        "microscope": {
            "driver": "simulated",
            "geometry": {"beam_fast_px": 31.0, "beam_slow_px": 33.0},
            "pictures": {"shape": list(SHAPE), "wide_cross": False, "pixel_response_sigma": 0.0},
            "detector": {"dtype": dtype},
        }
    }


def extremes(kind: "np.dtype[Any]") -> list[float]:
    """Counts at the ends of a type, and what is no number where it has that."""
    if kind.kind == "f":
        return [-7.5, 1e9, np.nan]
    return [np.iinfo(kind).min, np.iinfo(kind).max, 5]


@pytest.fixture
def with_extremes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated camera's first pixels hold the ends of its type."""
    as_declared = Timepix._as_declared

    def changed(self: Timepix, counts: Any) -> Picture:
        picture = as_declared(self, counts).copy()
        picture[0, :3] = extremes(picture.dtype)
        return picture

    monkeypatch.setattr(Timepix, "_as_declared", changed)


def clipped(counts: Picture) -> np.ndarray:
    """What 16 bits hold of a picture, pixel by pixel, in Python's own numbers."""
    whole = [[0 if count != count else min(max(round(count), 0), 65535) for count in row] for row in counts.tolist()]
    return np.array(whole, np.uint16)


@pytest.mark.usefixtures("with_extremes")
@pytest.mark.parametrize("dtype", TYPES)
def test_a_run_keeps_the_type_and_its_smv_pictures_hold_what_fits_into_16_bits(
    record_run: RecordRun, dtype: str
) -> None:
    run = record_run("cred", devices=camera(dtype), **PLAN)
    assert run.document["status"] == "done"
    assert run.trace[0]["instrument"]["detector"]["dtype"] == dtype
    summary = export_run(run.folder, ["smv"])
    with FramesFile(run.folder / "frames.h5") as file:
        assert file.dtype("diffraction") == file.dtype("snapshot") == np.dtype(dtype).newbyteorder("<")
        slots = file.table("diffraction")["slot"]
        pictures = [file.picture("diffraction", row) for row in range(len(slots))]
    assert len(pictures) == run.result["frames"] > 5
    for slot, counts in zip(slots, pictures, strict=True):
        assert np.array_equal(counts[0, :3], np.array(extremes(counts.dtype), counts.dtype), equal_nan=True)
        assert counts.max(initial=0, where=counts < 60_000) > 20  # a diffraction pattern, and no empty picture
        with fabio.open(str(run.folder / "SMV" / "data" / f"{slot:05d}.img")) as image:
            assert np.array_equal(image.data, clipped(counts))
    frames, ends = len(pictures), extremes(np.dtype(dtype))
    below, above = sum(end < 0 for end in ends), sum(end > 65535 for end in ends)
    no_number = sum(end != end for end in ends)
    found = (summary.clipped.below, summary.clipped.above, summary.clipped.no_number)
    assert found == (frames * below, frames * above, frames * no_number)


@pytest.mark.usefixtures("with_extremes")
@pytest.mark.parametrize("with_pictures", [False, True])
@pytest.mark.parametrize("dtype", ["|i1", ">i2", ">u8", "<f4"])
def test_a_run_of_any_type_replays(record_run: RecordRun, dtype: str, with_pictures: bool) -> None:
    run = record_run("cred", devices=camera(dtype), **PLAN)
    records = load_run(run.folder)
    again = replay(records, folder=run.folder) if with_pictures else replay(records)
    assert first_divergence(records, again) is None


@pytest.mark.parametrize("with_pictures", [False, True])
@pytest.mark.parametrize("dtype", ["<u2", "<i4"])
def test_a_trace_from_before_types_were_declared_replays(
    record_run: RecordRun, dtype: str, with_pictures: bool
) -> None:
    run = record_run("cred", devices=camera(dtype), **PLAN)
    records = load_run(run.folder)
    del records[0]["instrument"]["detector"]["dtype"]
    assert first_divergence(records, replay(records, run.folder if with_pictures else None)) is None


def failed(record_run: RecordRun, dtype: str) -> RecordedRun:
    run = record_run("cred", devices=camera(dtype), **PLAN)
    records = load_run(run.folder)
    assert first_divergence(records, replay(records)) is None
    return run


def delivering(monkeypatch: pytest.MonkeyPatch, *types: str) -> None:
    """The simulated camera gives frames of these types, one after the other, whatever it declares."""
    left = list(types)

    def changed(self: Timepix, counts: Any) -> Picture:
        return np.asarray(counts.astype(left.pop(0) if len(left) > 1 else left[0]))

    monkeypatch.setattr(Timepix, "_as_declared", changed)


def test_a_first_frame_of_another_type_than_declared_ends_the_run_before_more_is_spent(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivering(monkeypatch, "<i4")
    run = failed(record_run, "<u2")
    assert run.document["status"] == "failed"
    assert "a frame of int32 counts came where it declared uint16" in run.document["reason"]
    assert len(run.of("call", "detector.start")) == 1
    assert [record["dtype"] for record in run.of("refused")] == ["<i4"]
    assert not run.of("frame")


def test_the_order_of_bytes_is_no_other_type(record_run: RecordRun, monkeypatch: pytest.MonkeyPatch) -> None:
    delivering(monkeypatch, "<u2", ">u2")
    assert record_run("cred", devices=camera("<u2"), **PLAN).document["status"] == "done"


class TestWhereNothingWasDeclared:
    @pytest.fixture(autouse=True)
    def undeclared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begin = Timepix.__init__

        def silent(self: Timepix, *arguments: Any, **named: Any) -> None:
            begin(self, *arguments, **named)
            self.facts = replace(self.facts, dtype="")

        monkeypatch.setattr(Timepix, "__init__", silent)

    @pytest.mark.parametrize("dtype", ["<u2", ">i4", "<f4"])
    def test_the_first_frame_settles_the_type(self, record_run: RecordRun, dtype: str) -> None:
        run = failed(record_run, dtype)
        assert run.document["status"] == "done"
        assert [note["dtype"] for note in run.of("note", "type of counts")] == [dtype]
        again = replay(run.trace, folder=run.folder)
        assert first_divergence(run.trace, again) is None

    def test_a_later_frame_of_another_type_ends_the_run(
        self, record_run: RecordRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        delivering(monkeypatch, "<i4", "<i4", "<u2")
        run = failed(record_run, "<i4")
        assert run.document["status"] == "failed"
        assert "a frame of uint16 counts came where its first frame had int32" in run.document["reason"]
        assert len(run.of("frame")) == 2

    @pytest.mark.parametrize("dtype", ["<f8", "<c8"])
    def test_a_type_that_cannot_be_kept_ends_the_run_at_its_first_frame(
        self, record_run: RecordRun, monkeypatch: pytest.MonkeyPatch, dtype: str
    ) -> None:
        delivering(monkeypatch, dtype)
        run = failed(record_run, "<u2")
        assert f"its counts are {np.dtype(dtype).name}, and only integers" in run.document["reason"]
        assert len(run.of("call", "detector.start")) == 1


@pytest.mark.parametrize(("dtype", "pixel_bytes"), [("|u1", 1), ("<u2", 2), ("<f4", 4), (">u8", 8)])
def test_the_disk_space_of_a_plan_counts_the_bytes_of_a_pixel(
    record_run: RecordRun, monkeypatch: pytest.MonkeyPatch, dtype: str, pixel_bytes: int
) -> None:
    from protocols.cred.experiment import DISK_FACTOR, DISK_RESERVE_BYTES, PreparedCred

    asked: list[tuple[int, int]] = []
    size: Callable[[PreparedCred], int] = vars(PreparedCred)["size_bytes"].fget

    def noted(self: PreparedCred) -> int:
        asked.append((size(self), self.total))
        return asked[-1][0]

    monkeypatch.setattr(PreparedCred, "size_bytes", property(noted))
    record_run("cred", devices=camera(dtype), **PLAN)
    found, slots = asked[0]
    assert found == round(DISK_FACTOR * slots * SHAPE[0] * SHAPE[1] * pixel_bytes) + DISK_RESERVE_BYTES


@pytest.mark.long
@pytest.mark.dials
@pytest.mark.usefixtures("with_extremes")
def test_dials_reads_the_pictures_of_any_type(record_run: RecordRun) -> None:
    need_dials()
    infos: dict[Path, RunInfo] = {}
    folders: dict[Path, list[str]] = {}
    for dtype in ("|i1", ">i2", "<i8", ">u8", "<f4"):
        folder = record_run("cred", devices=camera(dtype), **PLAN).folder
        beam_px = export_run(folder, ["dials"]).beam_px
        with open_run(folder) as source:
            infos[folder] = source.info
        folders[folder] = ["template=SMV/data/#####.img", *import_arguments(run_header(source.info, beam_px))]
    import_each(folders)
    for folder, info in infos.items():
        found = json.loads((folder / "imported.expt").read_text())
        assert found["scan"][0]["image_range"] == [1, info.last_slot]
        assert found["detector"][0]["panels"][0]["image_size"] == list(SHAPE)
