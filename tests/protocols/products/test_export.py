"""A whole export: folders, numbers, repeatability, interruption, a full disk. The run itself is never touched."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import fabio
import mrcfile
import numpy as np
import pytest

from engine.errors import DataError, Refused, StorageError
from protocols.products import atomic
from protocols.products.corrections import Clipped
from protocols.products.export import FORMATS, ON_REQUEST, export_run
from protocols.products.source import RunSource
from tests.protocols.products.runs import AT_THE_BEAM, disc, write_run
from tests.quickly import quick


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_format_in_its_place_under_its_slot_number(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "mordenite_001", slots=12, interval=5)
    raw = contents(folder)
    summary = export_run(folder)
    kept = [k for k in range(1, 13) if k % 5]
    assert names(folder / "tiff") == [f"{k:05d}.tiff" for k in kept]
    assert names(folder / "RED") == sorted(["1.ed3d", *(f"{k:05d}.mrc" for k in kept)])
    assert names(folder / "SMV" / "data") == [f"{k:05d}.img" for k in range(1, 13)]
    assert names(folder / "SMV") == ["XDS.INP", "data", "dials.bat", "dials.sh", "dials_between.py"]
    assert {"cRED_log.txt", "master.nxs", "pets.pts2", "report", "run.json", "frames.h5"} <= set(names(folder))
    assert summary.formats == FORMATS
    assert (summary.frames, summary.gaps, summary.clipped.total) == (10, 2, 0)
    assert summary.files == len(contents(folder)) - len(raw)
    assert {name: contents(folder)[name] for name in raw} == raw


def test_frames_in_a_shadow_are_said_and_left_out_by_the_instructions(tmp_path: Path) -> None:
    lit = disc((512, 512), 240.25, 230.75)
    folder = write_run(
        tmp_path / "run", interval=10, picture=lambda a, b, slot: lit(a, b, slot) // (1 if slot < 18 else 100)
    )
    summary = export_run(folder, ["xds", "dials", "pets", "redp"])
    assert any("in slots 18-19, 21-23 something stood in the beam" in words for words in summary.warnings)
    assert "EXCLUDE_DATA_RANGE= 18 23" in (folder / "SMV" / "XDS.INP").read_text()
    assert "GAPS='10 18-23'" in (folder / "SMV" / "dials.sh").read_text()
    assert "00017" in (folder / "pets.pts2").read_text() > ""
    for name in ("pets.pts2", "RED/1.ed3d"):
        assert "00018" not in (folder / name).read_text()
    export_run(folder, ["autoed", "pyautoprocess"])
    assert json.loads((folder / "ED" / "run.json").read_text())["empty_images"] == [10, *range(18, 24)]
    (movie,) = (folder / "pyautoprocess").glob("*.mrc")
    with mrcfile.mmap(movie) as pictures:
        assert [slot for slot in range(1, 24) if (pictures.data[slot - 1] == -1).all()] == [10, *range(18, 24)]


def test_all_pictures_of_a_slot_are_the_same_and_carry_their_slot(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=12, interval=5)
    export_run(folder, ["smv", "tiff", "mrc"])
    for slot in (1, 4, 6, 12):
        smv = fabio.open(folder / "SMV" / "data" / f"{slot:05d}.img")
        tiff = fabio.open(folder / "tiff" / f"{slot:05d}.tiff")
        with mrcfile.open(folder / "RED" / f"{slot:05d}.mrc") as mrc:
            np.testing.assert_array_equal(mrc.data[::-1], smv.data)
        np.testing.assert_array_equal(smv.data, tiff.data)
        assert smv.data[0, 0] == slot
        assert int(smv.header["SLOT"]) == slot
        assert float(smv.header["OSC_START"]) == pytest.approx(-5 + (slot - 1) * 0.2314)
        assert float(smv.header["STAGE_START"]) == pytest.approx(-5 + (slot - 1) * 0.2314)


def test_gaps_are_zeros_for_dials_and_say_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=12, interval=5, lost=[7])
    export_run(folder, ["smv"])
    for slot in (5, 7, 10):
        image = fabio.open(folder / "SMV" / "data" / f"{slot:05d}.img")
        assert not image.data.any()
        assert image.header["PLACEHOLDER"] == "1"
        assert float(image.header["OSC_START"]) == pytest.approx(-5 + (slot - 1) * 0.2314)


def test_the_measured_beam_stands_in_every_header(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=6, picture=disc((512, 512), 200.25, 330.75))
    summary = export_run(folder, ["smv"])
    # 200.25 lies before the cross, 330.75 four pixels further on the corrected grid.
    assert summary.beam_px == pytest.approx((200.25, 334.75), abs=0.02)
    header = fabio.open(folder / "SMV" / "data" / "00003.img").header
    assert float(header["BEAM_CENTER_X"]) == pytest.approx(200.25, abs=0.02)
    assert float(header["BEAM_CENTER_Y"]) == pytest.approx(334.75, abs=0.02)


def test_instruction_files_bring_their_pictures(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=4)
    assert export_run(folder, ["pets"]).formats == ("tiff", "pets")
    assert not (folder / "SMV").exists()
    assert export_run(folder, ["dials"]).formats == ("smv", "dials")


@pytest.mark.long
def test_formats_for_single_programs_are_made_where_they_are_named_and_the_same_again(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=12, interval=5, shape=(128, 128))
    raw = contents(folder)
    summary = export_run(folder, ["report", *ON_REQUEST])
    assert summary.formats == ("smv", "report", *ON_REQUEST)
    once = contents(folder)
    assert summary.files == len(once) - len(raw)
    assert {name: once[name] for name in raw} == raw
    assert names(folder / "ED") == ["run.json", "run_data_000001.h5", "run_master.h5"]
    assert names(folder / "pyautoprocess") == ["microscope.json", "mordenite_250.0000_0.451953125_0.512000.mrc"]
    export_run(folder, ["report", *ON_REQUEST])
    assert contents(folder) == once


def test_a_program_that_waits_for_the_log_finds_all_the_rest(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=12, interval=5, shape=(128, 128))
    export_run(folder, [*(f for f in FORMATS if f != "report"), *ON_REQUEST])
    written = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    assert written[folder / "cRED_log.txt"] == max(written.values())


@pytest.mark.long
@pytest.mark.parametrize("workers", [2, 3])
def test_worker_processes_write_the_same_bytes_and_a_second_export_too(tmp_path: Path, workers: int) -> None:
    first = write_run(tmp_path / "a" / "run", slots=40, interval=7)
    second = write_run(tmp_path / "b" / "run", slots=40, interval=7)
    formats = [f for f in FORMATS if f != "report"]
    seen: list[tuple[int, int]] = []
    export_run(first, formats, workers, progress=lambda done, total: seen.append((done, total)))
    export_run(second, formats)
    once = contents(second)
    export_run(second, formats)
    assert contents(second) == once
    written = contents(first)
    assert {k: v for k, v in written.items() if k != "frames.h5"} == {k: v for k, v in once.items() if k != "frames.h5"}
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_pictures_of_other_slots_from_an_earlier_export_go(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=4, interval=0)
    (folder / "SMV" / "data").mkdir(parents=True)
    (folder / "SMV" / "data" / "00009.img").write_bytes(b"stray")
    (folder / "SMV" / "data" / "notes.txt").write_bytes(b"mine")
    export_run(folder, ["smv"])
    assert names(folder / "SMV" / "data") == ["00001.img", "00002.img", "00003.img", "00004.img", "notes.txt"]


def test_three_slots_non_square_no_snapshots_falling_angles(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run",
        slots=3,
        interval=0,
        shape=(128, 256),
        wide_cross=False,
        oscillation_deg=-0.5,
        picture=disc((128, 256), 100.5, 70.25),
    )
    summary = export_run(folder)
    assert (summary.frames, summary.gaps) == (3, 0)
    assert summary.beam_px == pytest.approx((100.5, 70.25), abs=0.02)
    image = fabio.open(folder / "SMV" / "data" / "00003.img")
    assert image.data.shape == (128, 256)
    assert float(image.header["OSC_START"]) == pytest.approx(5 + 2 * 0.5)
    assert float(image.header["STAGE_START"]) == pytest.approx(-5 - 2 * 0.5)


def test_a_run_of_one_frame(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=1, interval=0)
    assert export_run(folder).frames == 1


def test_a_distorted_run_brings_its_tables_about_the_measured_beam(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run",
        slots=9,
        geometry={"distortion_amplitude_percent": 2.43, "distortion_azimuth_deg": 83.37},
        picture=disc((512, 512), 150.5, 180.5),
    )
    summary = export_run(folder, ["xds"])
    table = fabio.open(folder / "SMV" / "XCORR.cbf").data
    assert table.shape == (516, 516)
    assert table[180, 150] == 0
    assert "X-GEO_CORR= XCORR.cbf" in (folder / "SMV" / "XDS.INP").read_text()
    assert summary.files == len(contents(folder)) - 2


def test_without_a_flatfield_the_summary_says_so(tmp_path: Path) -> None:
    bare = export_run(write_run(tmp_path / "a", slots=3), ["tiff"])
    assert any("frames.h5: no flatfield" in w for w in bare.warnings)
    response = np.ones((512, 512), dtype=np.float32)
    flat = export_run(write_run(tmp_path / "b", slots=3, flatfield=response, geometry=AT_THE_BEAM), ["tiff"])
    assert not flat.warnings


def test_clipped_pixels_are_counted_and_said(tmp_path: Path) -> None:
    def bright(start_deg: float, end_deg: float, slot: int) -> np.ndarray:
        counts = np.full((64, 64), 10, dtype=np.uint16)
        counts[5, slot] = 60000
        return counts

    flat = np.ones((64, 64), dtype=np.float32)
    flat[5] = 0.5
    folder = write_run(
        tmp_path / "run",
        slots=3,
        shape=(64, 64),
        wide_cross=False,
        picture=bright,
        flatfield=flat,
        changes={"detector.saturation": 65535},
    )
    summary = export_run(folder, ["smv", "report"])
    assert summary.clipped == Clipped(above=3)
    assert any("3 pixels clipped (3 above 65535)" in w for w in summary.warnings)
    assert "3 pixels clipped (3 above 65535)" in (folder / "report" / "index.html").read_text()
    image = fabio.open(folder / "SMV" / "data" / "00002.img")
    assert image.header["CLIPPED_PIXELS"] == "1"
    assert image.data[5, 2] == 65535


@pytest.mark.parametrize(("formats", "workers"), [(["smv", "jpeg"], 1), ([], 1), (["smv"], 0)])
def test_a_wrong_request_writes_nothing(tmp_path: Path, formats: list[str], workers: int) -> None:
    folder = write_run(tmp_path / "run", slots=3)
    before = contents(folder)
    with pytest.raises(Refused, match=r"[Nn]othing was exported"):
        export_run(folder, formats, workers)
    assert contents(folder) == before


# (how far an export came that is stopped, whether it has named pictures by then)
STOPPED = {"while pictures are made": (0.5, False), "while they get their names": (0.95, True)}


@pytest.mark.parametrize("when", STOPPED)
@pytest.mark.parametrize("workers", quick(1, [2, 1]))
def test_stopped_half_way_and_taken_up_again(tmp_path: Path, when: str, workers: int) -> None:
    folder = write_run(tmp_path / "run", slots=40, interval=0)
    far, named = STOPPED[when]

    def stop(done: int, total: int) -> None:
        if done > far * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_run(folder, ["smv", "tiff"], workers, progress=stop)
    written = names(folder / "SMV" / "data")
    assert bool(written) == named
    assert all(name.endswith(".img") for name in written)
    for name in written:
        assert fabio.open(folder / "SMV" / "data" / name).data.shape == (516, 516)
    export_run(folder, ["smv", "tiff"])
    assert len(names(folder / "SMV" / "data")) == 40


def test_until_all_pictures_are_made_those_of_an_earlier_export_stay(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=4, interval=0)
    export_run(folder, ["smv", "tiff", "mrc"])
    before = contents(folder)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_run(folder, ["smv", "tiff", "mrc"], progress=stop)
    assert contents(folder) == before


def test_what_a_killed_export_has_put_aside_is_removed_by_the_next(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=4, interval=0)
    (folder / "SMV" / "data").mkdir(parents=True)
    (folder / "SMV" / "data" / ".00002.img.part4711").write_bytes(b"half a picture")
    export_run(folder, ["smv"])
    assert names(folder / "SMV" / "data") == ["00001.img", "00002.img", "00003.img", "00004.img"]


def test_each_picture_is_read_once_whatever_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run", slots=12, interval=5)
    read: list[int] = []
    real = RunSource.raw

    def raw(source: RunSource, index: int) -> np.ndarray:
        read.append(index)
        return real(source, index)

    monkeypatch.setattr(RunSource, "raw", raw)
    export_run(folder, [name for name in FORMATS if name != "report"])  # which shows some of them again
    assert read == list(range(10))


def test_a_full_disk_names_the_file_and_leaves_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run", slots=8, interval=0)
    before = contents(folder)
    real, calls = os.replace, iter(range(100))

    def full(source: str, target: str) -> None:
        if next(calls) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match=r"00003\.img: No space left on device.*before is whole") as caught:
        export_run(folder, ["smv", "tiff"])
    assert "\n" not in str(caught.value)
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if "part" in name]
    for name in set(after) - set(before):
        assert fabio.open(folder / name).data.shape == (516, 516)


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of Unix")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path, workers: int) -> None:
    import resource

    folder = write_run(tmp_path / "run", slots=40, interval=0)
    before = contents(folder)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, usual[1]))  # a picture has 533 560 bytes
    try:
        with pytest.raises(StorageError, match=r"\.img: File too large; this file was not written") as caught:
            export_run(folder, ["smv"], workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert "\n" not in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize("head", [b"as long", b"a bit longer", b"less"])
def test_a_file_put_aside_is_named_with_a_head_of_any_length(tmp_path: Path, head: bytes) -> None:
    pixels = np.arange(1000, dtype="<u2")
    path = tmp_path / "a.tiff"
    atomic.put_aside(str(path), "part1", b"7 bytes", pixels)
    assert names(tmp_path) == [".a.tiff.part1"]
    atomic.name_put_aside(str(path), "part1", head, pixels.nbytes)
    assert path.read_bytes() == head + pixels.tobytes()
    assert names(tmp_path) == ["a.tiff"]


@pytest.mark.skipif(sys.platform == "win32", reason="/dev/full is a Linux device")
def test_the_kernel_s_own_full_disk(tmp_path: Path) -> None:
    def write() -> None:
        with atomic.replacing(tmp_path / "x.img"), Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(StorageError, match=r"x\.img: No space left"):
        write()
    assert names(tmp_path) == []


def test_something_in_the_way(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=3)
    (folder / "tiff").write_text("not a folder")
    with pytest.raises(StorageError, match="tiff"):
        export_run(folder, ["tiff"])


def test_a_damaged_frame_in_the_middle_is_an_error_from_a_worker_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=40, interval=0)
    whole = (folder / "frames.h5").read_bytes()
    import h5py

    with h5py.File(folder / "frames.h5") as file:
        place = file["data"].id.get_chunk_info(30).byte_offset
    (folder / "frames.h5").write_bytes(whole[:place] + b"\xff" * 300 + whole[place + 300 :])
    for workers in (1, 2):
        with pytest.raises(DataError, match="slot 31"):
            export_run(folder, ["tiff"], workers)


def test_importing_the_products_is_cheap() -> None:
    code = (
        "import sys, protocols.products.export; "
        "print([m for m in ('h5py', 'fabio', 'mrcfile', 'matplotlib', 'scipy', 'PIL') if m in sys.modules], "
        "sorted(m for m in sys.modules if m.startswith('drivers.')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    numbers = [
        "calibration",
        "calibration.calibratedvalue",
        "calibration.calibrationfacts",
        "calibration.imagefacts",
        "calibration.trackingfacts",
        "facts",
        "geometry",
        "judged",
        "origins",
        "parts",
    ]
    numbers.append("plausible")
    assert out.stdout.strip() == f"[] {[f'drivers.{name}' for name in numbers]}"  # numbers, no driver
