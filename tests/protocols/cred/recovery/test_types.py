"""Frames of any type are recovered; those of another type than the first are kept, and not called damaged."""

import json
import zlib
from pathlib import Path

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
