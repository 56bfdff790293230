"""Frames of Serval: header lines, pixels in both byte orders, TIFF pictures."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.serval.frames import ImageHeader, image_counts, image_header, tiff_counts
from tests.drivers.emulators.serval import jsonimage, tiff


def a_picture(kind: Any, shape: tuple[int, int] = (6, 10)) -> Any:
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_a_picture_comes_through_the_stream(kind: Any) -> None:
    picture = a_picture(kind)
    line, _, pixels = jsonimage(picture, 12).partition(b"\n")
    header = image_header(line)
    assert (header.number, header.shape, header.size) == (12, (6, 10), len(pixels))
    counts = image_counts(header, pixels)
    assert np.array_equal(counts, picture)
    assert counts.dtype.isnative


def test_the_other_byte_order_can_be_asked_for() -> None:
    picture = a_picture(np.uint16)
    header = ImageHeader(0, (6, 10), "uint16", 0)
    assert np.array_equal(image_counts(header, picture.astype("<u2").tobytes(), "little"), picture)


def test_a_header_line_as_serval_writes_it_is_read() -> None:
    line = (
        b'{"thresholdID":1,"bitDepth":16,"width":512,"height":512,"pixelFormat":"uint16","frameNumber":12345,'
        b'"timeAtFrame":1234567890.123456,"integrationSize":1}'
    )
    assert image_header(b"\x00\x00" + line) == ImageHeader(12345, (512, 512), "uint16", 1)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b'{"width": 5}',
        b'{"width": 5, "height": 5}',
        b'{"width": 0, "height": 5, "frameNumber": 1}',
        b'{"width": 5.5, "height": 5, "frameNumber": 1}',
        b'{"width": 99999999, "height": 5, "frameNumber": 1}',
        b'{"width": 5, "height": 5, "frameNumber": -1}',
        b'{"width": 5, "height": 5, "frameNumber": 1, "pixelFormat": "float"}',
    ],
)
def test_what_is_no_header_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="a frame's header line"):
        image_header(line)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("strips", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_a_tiff_picture_is_read(kind: Any, strips: int, order: Literal["<", ">"]) -> None:
    picture = a_picture(kind)
    assert np.array_equal(tiff_counts(tiff(picture, order, strips)), picture)


def test_a_tiff_picture_of_another_program_is_read(tmp_path: Any) -> None:
    fabio = pytest.importorskip("fabio")
    picture = a_picture(np.uint16, (33, 17))
    fabio.tifimage.TifImage(data=picture).write(str(tmp_path / "picture.tif"))
    assert np.array_equal(tiff_counts((tmp_path / "picture.tif").read_bytes()), picture)


@pytest.mark.parametrize("length", [0, 1, 4, 9, 60, 200, -1])
def test_a_damaged_tiff_picture_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="a TIFF picture cannot be read"):
        tiff_counts(tiff(a_picture(np.uint16))[:length])


@given(st.binary(max_size=300))
def test_noise_is_refused_with_a_text(noise: bytes) -> None:
    for read in (image_header, tiff_counts):
        with pytest.raises(ValueError, match=r"^a "):
            read(noise)
    with pytest.raises(ValueError, match=r"^a TIFF"):
        tiff_counts(b"II*\x00" + noise)
