"""Frames from every container are scored, in their order; what cannot be read is said and spoils no other."""

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
from PIL import Image

from engine.errors import Refused
from protocols.screening.contactsheet import COLUMNS, contact_sheet
from protocols.screening.generation import generate
from protocols.screening.patternfile import scales_of, write_patterns
from protocols.screening.scoredfiles import GEOMETRY, NO_SCALE, Piece, Row, pieces, score_piece, without_scale
from protocols.screening.scoring import Score
from protocols.screening.tables import write_instamatic, write_scores
from tests.protocols.screening.madescores import lattice_frame

PER_PX = 0.00488
FRAMES = [lattice_frame(300, 18.0), np.random.default_rng(2).poisson(3.0, (300, 300)).astype(np.uint16)]


def tiff(folder: Path) -> list[Path]:
    first, second = (Image.fromarray(frame) for frame in FRAMES)
    first.save(folder / "s.tif", save_all=True, append_images=[second])
    return [folder / "s.tif"]


def mrc(folder: Path) -> list[Path]:
    with mrcfile.new(folder / "s.mrcs") as file:
        file.set_data(np.stack(FRAMES))
    return [folder / "s.mrcs"]


def smv(folder: Path) -> list[Path]:
    for number, frame in enumerate(FRAMES):
        words = (
            "HEADER_BYTES=  512",
            "DIM=2",
            "BYTE_ORDER=little_endian",
            "TYPE=unsigned_short",
            "SIZE1=300",
            "SIZE2=300",
        )
        head = "{\n" + "".join(f"{each};\n" for each in words) + "}\n"
        (folder / f"{number}.img").write_bytes(head.encode().ljust(512) + frame.astype("<u2").tobytes())
    return [folder / "0.img", folder / "1.img"]


def instamatic(folder: Path) -> list[Path]:
    """As SerialED of Instamatic writes them: one file for each crystal, in a folder."""
    for number, frame in enumerate(FRAMES):
        with h5py.File(folder / f"image_0003_{number:04}.h5", "w") as file:
            file["data"] = frame
    return [folder]


def cxi(folder: Path) -> list[Path]:
    with h5py.File(folder / "s.cxi", "w") as file:
        file["entry_1/data_1/data"] = np.stack(FRAMES)
    return [folder / "s.cxi"]


def by_geometry(paths: list[Path], per_px: float | None = PER_PX) -> list[Row]:
    done = [score_piece(piece) for piece in pieces(paths, per_px, None, GEOMETRY)]
    assert not any(one.refused for one in done)
    return [row for one in done for row in one.rows]


@pytest.mark.parametrize("write", [tiff, mrc, smv, instamatic, cxi])
def test_frames_of_any_container_have_their_scores_in_order(
    tmp_path: Path, write: Callable[[Path], list[Path]]
) -> None:
    lattice, noise = by_geometry(write(tmp_path))
    assert lattice.score is not None
    assert noise.score is not None
    assert lattice.score.good > 0.5 > noise.score.good
    assert "on one lattice" in lattice.score.why


def test_a_damaged_picture_has_no_score_and_says_why(tmp_path: Path) -> None:
    instamatic(tmp_path)
    (tmp_path / "image_0003_0000.h5").rename(tmp_path / "image_0003_0002.h5")
    tiff(tmp_path)
    whole = (tmp_path / "s.tif").read_bytes()
    (tmp_path / "s.tif").write_bytes(whole[: len(whole) // 3])
    rows = by_geometry([tmp_path])
    unread = [row for row in rows if row.score is None]
    assert unread
    assert all("s.tif" in row.error for row in unread)
    assert sum(row.score is not None for row in rows) >= 2


def test_without_a_scale_a_frame_is_scored_and_its_resolution_not_told(tmp_path: Path) -> None:
    done = score_piece(pieces(cxi(tmp_path), None, None, GEOMETRY)[0])
    assert done.note == NO_SCALE
    assert done.rows[0].score is not None
    assert done.rows[0].score.good > 0.5
    assert done.rows[0].score.d_min_A is None
    assert " A" not in done.rows[0].score.why
    assert without_scale(Score(0.9, 1.0, 0.1, "one lattice to 1.00 A")).why == "one lattice"


def test_simulated_patterns_have_each_its_own_scale(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    labels = write_patterns(path, generate(3, 0, 10, shape=(128, 96)), 10, (128, 96), {"camera": "counting"})
    assert len(labels) == 10
    scales = scales_of(path)
    assert scales is not None
    assert len(scales) == 10
    assert len({round(float(scale), 7) for scale in scales}) > 1
    with h5py.File(path) as file:
        assert file["images"].shape == (10, 96, 128)
        assert file["truth/kind"].asstr()[0] == labels[0].kind.value
    assert scales_of(cxi(tmp_path)[0]) is None


@pytest.mark.long
def test_a_model_that_cannot_be_used_is_refused_by_the_process_that_needs_it(tmp_path: Path) -> None:
    (path,) = cxi(tmp_path)
    done = score_piece(Piece(path, 0, 2, PER_PX, tmp_path / "none"))
    assert done.rows == []
    assert "no model of credline" in done.refused


def test_a_list_of_peaks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("name,x_per_A,y_per_A\na,0.1,0.2\n")
    with pytest.raises(Refused, match="a list of peaks"):
        pieces([tmp_path / "p.csv"])


ROWS = [
    Row("a/image_0007_0002.tiff", Score(0.6, 1.25, 0.1, "one lattice to 1.25 A")),
    Row("b.img", Score(0.2, None, 0.9, "several lattices")),
    Row("c.img", None, "c.img: cannot be read"),
    Row("d.tif#3", Score(0.99, 0.8, 0.0, "one lattice to 0.80 A")),
]


def test_all_scores_are_a_table_and_the_good_ones_what_instamatic_reads(tmp_path: Path) -> None:
    write_scores(tmp_path / "new" / "scores.csv", ROWS)
    with (tmp_path / "new" / "scores.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == [row.name for row in ROWS]
    assert table[0]["d_min_A"] == "1.250"
    assert table[2] == {"name": "c.img", "good": "", "d_min_A": "", "several": "", "why": "c.img: cannot be read"}
    write_instamatic(tmp_path / "learning.csv", ROWS)
    with (tmp_path / "learning.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["d.tif#3", "0", "3", "0.990000", "", "", ""],
            ["a/image_0007_0002.tiff", "7", "2", "0.600000", "", "", ""],
        ]


def test_what_serialed_of_instamatic_wrote_beside_a_frame_comes_along(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["data"] = FRAMES[0]
        told = {"exp_image_number": 12, "exp_pattern_number": 4, "total_area_micrometer": 0.31}
        file["data"].attrs.update(told | {"exp_stage_position": [1500, -2500, 0, 0, 0]})
    write_instamatic(tmp_path / "learning.csv", [Row(str(path), Score(0.9, 1.0, 0.1, ""))])
    assert (tmp_path / "learning.csv").read_text() == f"{path},12,4,0.900000,0.31,1500,-2500\n"


def test_the_contact_sheet_holds_the_best_frames(tmp_path: Path) -> None:
    (path,) = cxi(tmp_path)
    names = [f"{path}#0", f"{path}#1"]
    best = [(name, Score(good, 1.0, 0.0, "")) for name, good in zip(names, (0.9, 0.1), strict=True)]
    contact_sheet(tmp_path / "contact.png", best, [path], PER_PX)
    with Image.open(tmp_path / "contact.png") as sheet:
        assert sheet.width == COLUMNS * 162
        colours = {colour for _, colour in sheet.getcolors(1 << 20) or []}
    assert {(40, 140, 60), (190, 60, 50)} <= colours
