"""A user's own labels: folders for the classes, or a CSV; and what is refused, with what to do."""

import h5py
import numpy as np
import pytest
from PIL import Image

from engine.errors import DataError, Refused
from protocols.screening.labelled import read_labelled
from protocols.screening.labels import Verdict

GOOD, BAD = Verdict.GOOD, Verdict.BAD


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((64, 64), value, dtype=np.uint16)).save(path)


def stack(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["data"] = np.stack([np.full((64, 64), value, dtype=np.uint16) for value in values])


def test_a_folder_for_each_class(tmp_path):
    picture(tmp_path / "good/one.tiff", 1)
    stack(tmp_path / "good/some.h5", [2, 3])
    picture(tmp_path / "bad/crystal_7/a.tiff", 4)
    picture(tmp_path / "bad/crystal_7/b.tiff", 5)
    made = read_labelled(tmp_path, per_px=0.005)
    read = [(int(p.counts[0, 0]), p.verdict, p.inverse_A_per_px) for p in made]
    assert read == [(1, GOOD, 0.005), (2, GOOD, 0.005), (3, GOOD, 0.005), (4, BAD, 0.005), (5, BAD, 0.005)]
    # A file is of one crystal, and so is a folder below that of the class.
    assert made.crystals == [0, 1, 1, 2, 2]


def test_a_csv_that_says_what_its_columns_are(tmp_path):
    picture(tmp_path / "a.tiff", 1)
    stack(tmp_path / "sub/b.h5", [2, 3])
    (tmp_path / "labels.csv").write_text(
        "File;Label;crystal\na.tiff;good;x\nsub/b.h5#1;bad;y\nsub/b.h5#0;borderline;x\n", encoding="utf-8"
    )
    made = read_labelled(tmp_path / "labels.csv")
    assert [(int(p.counts[0, 0]), p.verdict, p.crystal) for p in made] == [
        (1, GOOD, 0),
        (3, BAD, 1),
        (2, Verdict.BORDERLINE, 0),
    ]


def test_instamatics_learning_csv_also_from_another_computer(tmp_path):
    """file, frame, number, prediction, size, x, y, without a first line, and with paths of Windows."""
    stack(tmp_path / "data/image_0001_0002.h5", [8])
    stack(tmp_path / "image_0001_0003.h5", [9])
    (tmp_path / "learning.csv").write_text(
        "C:\\work\\run\\data\\image_0001_0002.h5,1,2,0.9931,0.41,1200,-340\n"
        "C:\\work\\run\\data\\image_0001_0003.h5,1,3,0.2,0.3,1200,-340\n",
        encoding="utf-8",
    )
    made = read_labelled(tmp_path / "learning.csv")
    assert [(int(p.counts[0, 0]), p.verdict) for p in made] == [(8, GOOD), (9, BAD)]


REFUSED = {
    "no class folders": ({}, "no folders 'good' and 'bad'"),
    "no column of labels": ("file,size\na.tiff,3\n", "does not say which columns"),
    "an unknown label": ("file,label\na.tiff,perhaps\n", "line 2: 'perhaps' is no label"),
    "a number that is no share": ("file,label\na.tiff,7\n", "is no label"),
    "a file that is missing": ("file,label\nc.tiff,good\n", "line 2: no file c.tiff"),
    "a line cut off": ("file,label\na.tiff\n", "line 2 has 1 columns only"),
    "two labels for one picture": ("file,label\na.tiff,good\n./a.tiff,bad\n", "labelled twice"),
    "a name that no file can have": (f"file,label\n{'a' * 5000},good\n", "line 2: no file"),
    "a cell without an end": (f"file,label\n{'a' * 140_000},good\n", "cannot be read"),
    "nothing": ("", "empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_says_that_nothing_was_read(case, tmp_path):
    text, cause = REFUSED[case]
    picture(tmp_path / "a.tiff", 1)
    path = tmp_path
    if isinstance(text, str):
        path = tmp_path / "labels.csv"
        path.write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=r"Nothing was read\.") as refused:
        read_labelled(path)
    assert cause in str(refused.value)


def test_a_number_that_the_file_has_not_is_said_when_it_is_read(tmp_path):
    stack(tmp_path / "b.h5", [2, 3])
    (tmp_path / "labels.csv").write_text("file,label\nb.h5#5,good\n", encoding="utf-8")
    made = read_labelled(tmp_path / "labels.csv")
    with pytest.raises(DataError, match="has no such picture"):
        list(made)
