"""Frames of any type are recovered; those of another type than the first are kept, and not called damaged."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import fabio
import numpy as np
import pytest

from engine.frame import Frame
from engine.record.frametable import FramesFile
from engine.record.spool import read_spool
from engine.record.spoolformat import MAGIC, packed
from engine.run.recovery import recover_run
from tests.protocols.cred.wrecks import copy_of, cut_off_run


@pytest.fixture(scope="module")
def wreck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_off_run(tmp_path_factory.mktemp("runs"), 8)


def retyped(folder: Path, pixel: str, odd: int | None = None) -> int:
    """Give all frames of a spool this type, save frame `odd`; how many there are."""
    content, count = MAGIC, 0
    for f in list(read_spool(folder / "frames.spool")):
        if f.kind != "flatfield":
            counts = f.counts if f.index == odd else np.minimum(f.counts, 100).astype(pixel)
            frame = Frame(counts, f.number, f.start_ns, f.end_ns)
            content += packed(f.index, frame, f.kind, f.columns, zlib.crc32(counts.tobytes())) + counts.tobytes()
            count += 1
    (folder / "frames.spool").write_bytes(content)
    return count


@pytest.mark.parametrize("pixel", ["i1", "u1", "<i2", ">i2", "<i4", ">i4", "<u4", "<i8", ">u8", "<f4", ">f4"])
def test_frames_of_any_type_are_recovered(wreck: Path, tmp_path: Path, pixel: str) -> None:
    folder = copy_of(wreck, tmp_path / "cut")
    count = retyped(folder, pixel)
    told = "\n".join(recover_run(folder))
    assert "damaged" not in told
    with FramesFile(folder / "frames.h5") as file:
        assert file.dtype("diffraction") == np.dtype(pixel).newbyteorder("<")
        assert sum(file.pictures(kind) for kind in file.kinds) == count
    assert [path.name for path in folder.glob("*.spool")] == []


def test_a_frame_of_another_type_is_kept_and_named(wreck: Path, tmp_path: Path) -> None:
    folder = copy_of(wreck, tmp_path / "cut")
    infos = [f for f in read_spool(folder / "frames.spool") if f.kind == "diffraction"]
    retyped(folder, "<i4", odd=infos[2].index)
    told = "\n".join(recover_run(folder))
    assert "damaged" not in told
    assert "another type" in told
    assert (folder / "frames.other.spool").exists()
    missing = json.loads((folder / "run.json").read_text())["recovered"]["missing"]
    assert [gap["slot"] for gap in missing if "uint16, others are" in gap["reason"]] == [infos[2].integer("slot")]


DEVICES = """
[microscope]
driver = "simulated"
geometry = {{ beam_fast_px = 31.0, beam_slow_px = 33.0 }}
pictures = {{ shape = [64, 64], wide_cross = false, pixel_response_sigma = 0.0 }}
detector = {{ dtype = "{dtype}" }}
"""
PLAN = {"exposure_s": 0.1, "range_deg": 30.0, "speed_deg_s": 2.0, "relax_cycles": 0, "formats": ["smv"]}
# Records of the trace are written fifty at a time, and without some of them no angle is known.
ENOUGH_FRAMES = 30
OVERDUE_S = 90.0


def killed_run(place: Path, dtype: str) -> Path:
    """The folder of a run on the real clock that was killed with kill -9 after some frames."""
    (place / "devices.toml").write_text(DEVICES.format(dtype=dtype), encoding="utf-8")
    words = [
        "run",
        "cred",
        "--devices",
        str(place / "devices.toml"),
        "--accept-timing",
        "--accept-gaps",
        "--out",
        str(place / "out"),
    ]
    for key, value in PLAN.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from engine.commands.main import main; main()", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        overdue = time.monotonic() + OVERDUE_S
        enough = (ENOUGH_FRAMES + 2) * 64 * 64 * np.dtype(dtype).itemsize + 64 * 64 * 4  # with the flatfield
        while time.monotonic() < overdue and process.poll() is None:
            spools = list((place / "out").glob("*_001/frames.spool"))
            if spools and spools[0].stat().st_size > enough:
                break
            time.sleep(0.01)
        assert process.poll() is None, f"the run ended by itself with status {process.returncode}"
        process.kill()
        process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: what it started
        process.wait()
    return next((place / "out").glob("*_001"))


@pytest.mark.realtime
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kill -9 as on Linux")
@pytest.mark.long
@pytest.mark.parametrize("dtype", [">i4", "<f4"])
def test_a_run_of_an_odd_type_that_was_killed_is_recovered_to_its_products(tmp_path: Path, dtype: str) -> None:
    folder = killed_run(tmp_path, dtype)
    kept = {f.integer("slot"): f.counts for f in read_spool(folder / "frames.spool") if f.kind == "diffraction"}
    assert len(kept) > ENOUGH_FRAMES // 2  # the others are snapshots
    assert {counts.dtype for counts in kept.values()} == {np.dtype(dtype)}
    told = "\n".join(recover_run(folder))
    assert "damaged" not in told
    with FramesFile(folder / "frames.h5") as file:
        assert file.dtype("diffraction") == np.dtype(dtype).newbyteorder("<")
        table = file.table("diffraction")
        assert table["slot"].tolist() == list(kept)
        for row, slot in enumerate(kept):
            assert np.array_equal(file.picture("diffraction", row), kept[slot])
            if not table["kept"][row]:  # late, on a slow machine: no product is made of it
                continue
            with fabio.open(str(folder / "SMV" / "data" / f"{slot:05d}.img")) as image:
                assert np.array_equal(image.data, kept[slot].astype(np.uint16))
    assert list(folder.glob("*.spool")) == []
