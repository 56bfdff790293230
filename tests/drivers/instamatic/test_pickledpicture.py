"""Pictures in pickles: every type of counts comes through, nothing else does, and nothing of a pickle runs."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.instamatic.codec import Unfinished
from drivers.instamatic.pickledpicture import PickledPicture, PictureCodec
from tests.drivers.instamatic.test_codec import Exploit

TYPES = ["int8", "uint8", "int16", ">i2", "uint16", ">u2", "int32", ">u4", "int64", ">u8", "float32", ">f4"]


def decoded(value: Any, protocol: int) -> Any:
    return PictureCodec().decode(pickle.dumps((200, value), protocol))[0][1]


@pytest.mark.parametrize("protocol", [4, 5])  # of the Pythons that Instamatic runs on
@pytest.mark.parametrize("dtype", TYPES)
def test_a_picture_comes_as_it_was_sent(dtype: str, protocol: int) -> None:
    sent = np.arange(7 * 5).reshape(7, 5).astype(dtype)
    for picture in (sent, np.asfortranarray(sent)):
        got = decoded(picture, protocol)
        assert isinstance(got, PickledPicture)
        assert got.counts().dtype == np.dtype(dtype)
        assert np.array_equal(got.counts(), picture)


NO_PICTURES: dict[str, Any] = {
    "numbers of another kind": np.zeros((2, 2), np.float64),
    "objects": np.array([[None, None]], dtype=object),
    "texts": np.array([["a", "b"]]),
    "one row": np.zeros(4, np.uint16),
    "nothing": np.zeros((0, 4), np.uint16),
}


@pytest.mark.parametrize("sent", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_is_refused(sent: Any) -> None:
    with pytest.raises(ValueError, match=r"not |pickle|bytes for"):
        decoded(sent, 4).counts()


def test_nothing_of_a_pickle_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not admitted"):
        decoded(Exploit(tmp_path / "victim"), 4)
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_picture_cut_short_is_not_whole_yet(protocol: int) -> None:
    data = pickle.dumps((200, np.ones((40, 30), np.uint16)), protocol)
    for length in range(1, len(data), 97):
        with pytest.raises(Unfinished):
            PictureCodec().decode(data[:length])
    assert PictureCodec().decode(data)[1] == len(data)


def test_other_answers_of_the_server_are_read_as_before() -> None:
    assert decoded([516, 516], 4) == [516, 516]
    assert PictureCodec().decode(pickle.dumps((500, ("AttributeError", ("no",))), 4))[0] == (
        500,
        ("AttributeError", ("no",)),
    )
