"""Messages of the DECTRIS stream become pixels or a ValueError, whatever arrives."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.dectris.stream import SeriesBegin, SeriesEnd, StreamImage, pixels, read_message
from tests.drivers.emulators.simplon import lz4_block

compression = pytest.importorskip("dectris.compression")
decompress = compression.decompress

# 6 x 11 pixels, arange(66) * 7 % 200, compressed with bitshuffle 0.5.2 and lz4 4.4.5 (bare, as their functions return).
SHAPE = (6, 11)
BSLZ4 = {
    "uint8": (
        "0000003613aa010013660100131e0100f01954ab544bab54aba89833678c3367cc30e0c3870f3c78f0c000fc0710c07f00030000f81f0080"
        "ff033037"
    ),
    "uint16": (
        "0000004013aa010013660100131e0100ff1a54ab544bab54aba89833678c3367cc30e0c3870f3c78f0c000fc0710c07f00030000f81f0080"
        "ff030001002750000000000030003700"
    ),
    "uint32": (
        "0000004013aa010013660100131e0100ff1a54ab544bab54aba89833678c3367cc30e0c3870f3c78f0c000fc0710c07f00030000f81f0080"
        "ff03000100a75000000000003000000037000000"
    ),
}
LZ4 = (
    "f075000007000e0015001c0023002a00310038003f0046004d0054005b0062006900700077007e0085008c0093009a00a100a800af00b600bd00"
    "c40003000a00110018001f0026002d0034003b0042004900500057005e0065006c0073007a00810088008f0096009d00a400ab00b200b900c000"
    "c70006000d0014001b002200290030003700"
)
TYPES = ["uint8", "uint16", "uint32"]


def counts(dtype: str = "uint16") -> Any:
    return (np.arange(66).reshape(SHAPE) * 7 % 200).astype(dtype)


def image(blob: bytes, encoding: str, dtype: str = "uint16") -> StreamImage:
    return StreamImage(1, 0, SHAPE, dtype, encoding, blob)


def parts(**changes: Any) -> list[bytes]:
    """The four parts of an image; a change to None leaves the key out."""
    head = {"htype": "dimage-1.0", "series": 3, "frame": 17, "hash": ""}
    about = {"htype": "dimage_d-1.0", "shape": [11, 6], "type": "uint16", "encoding": "lz4<", "size": 9}
    for table in (head, about):
        table |= {key: value for key, value in changes.items() if key in table}
    times = {"htype": "dconfig-1.0", "start_time": 0, "stop_time": 1, "real_time": 1}
    return [json.dumps(head).encode(), json.dumps(about).encode(), b"pixels", json.dumps(times).encode()]


def test_an_image_says_series_number_shape_and_encoding() -> None:
    assert read_message(parts()) == StreamImage(3, 17, SHAPE, "uint16", "lz4<", b"pixels")


def test_an_appendix_does_no_harm() -> None:
    assert read_message([*parts(), b"appendix"]) == read_message(parts())


def test_begin_and_end_of_a_series_are_told_apart() -> None:
    begin = b'{"htype": "dheader-1.0", "series": 4, "header_detail": "basic"}'
    assert read_message([begin, b"{}"]) == SeriesBegin(4)
    assert read_message([b'{"htype": "dseries_end-1.0", "series": 4}']) == SeriesEnd(4)


@pytest.mark.parametrize("header", [False, True], ids=["bare", "with header"])
@pytest.mark.parametrize("dtype", TYPES)
def test_bitshuffled_images_are_what_they_were(dtype: str, header: bool) -> None:
    size = np.dtype(dtype).itemsize
    blob = bytes.fromhex(BSLZ4[dtype])
    if header:
        blob = struct.pack(">QI", 66 * size, 8192) + blob
    got = pixels(image(blob, f"bs{8 * size}-lz4<", dtype), decompress)
    assert got.dtype == dtype
    assert np.array_equal(got, counts(dtype))
    got[0, 0] = 1  # the receiver owns it


@pytest.mark.parametrize("header", [False, True], ids=["bare", "with header"])
def test_lz4_images_are_what_they_were(header: bool) -> None:
    blob = bytes.fromhex(LZ4)
    if header:
        blob = struct.pack(">QII", 132, 132, len(blob)) + blob
    assert np.array_equal(pixels(image(blob, "lz4<"), decompress), counts())


@pytest.mark.parametrize(("encoding", "order"), [("<", "<"), (">", ">"), ("lz4>", ">"), ("lz4<", "<")])
def test_the_order_of_bytes_is_heeded(encoding: str, order: str) -> None:
    raw = counts().astype(f"{order}u2").tobytes()
    blob = lz4_block(raw) if "lz4" in encoding else raw
    got = pixels(image(blob, encoding), decompress)
    assert got.dtype == np.uint16
    assert np.array_equal(got, counts())


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ([], "empty"),
        ([b"\xd9\xd9\xf7\xa4dtype"], "version 2"),
        ([b"nonsense"], "not JSON"),
        ([b"[" * 100_000], "not JSON"),
        ([b"3"], "no JSON object"),
        ([b'{"htype": "dheader-1.0"}'], "series = None"),
        ([b'{"htype": "other", "series": 1}'], "other"),
        (parts()[:3], "3 parts"),
        (parts(htype="dimage-1.0"), "described by"),
        (parts(series=-1), "series = -1"),
        (parts(frame=True), "frame = True"),
        (parts(frame="7"), "frame = '7'"),
        (parts(shape=[11]), "shape"),
        (parts(shape=[11, 0]), "shape"),
        (parts(shape=[11, 1 << 40]), "shape"),
        (parts(type="float32"), "float32"),
        (parts(type=["uint16"]), "type"),
        (parts(encoding="zip"), "zip"),
        (parts(encoding=None), "None"),
    ],
)
def test_what_is_no_message_is_said(message: list[bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_message(message)


@pytest.mark.parametrize(
    "broken",
    [
        image(b"", "lz4<"),
        image(b"", "bs16-lz4<"),
        image(bytes.fromhex(LZ4)[:40], "lz4<"),
        image(bytes.fromhex(BSLZ4["uint16"])[:30], "bs16-lz4<"),
        image(struct.pack(">QII", 132, 1 << 31, 1 << 31) + bytes(9), "lz4<"),
        image(struct.pack(">QI", 132, 1 << 31) + bytes(9), "bs16-lz4<"),
        image(bytes(131), "<"),
        image(bytes(133), "<"),
        image(bytes(132), "bs16<"),
        image(bytes.fromhex(BSLZ4["uint32"]), "bs32-lz4<"),
        image(b"", "zip"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(broken: StreamImage) -> None:
    with pytest.raises(ValueError, match=r"bytes|encoding"):
        pixels(broken, decompress)


@given(st.binary(max_size=300), st.sampled_from(["lz4<", "bs16-lz4<", "<"]))
def test_noise_is_refused_or_has_the_right_size(blob: bytes, encoding: str) -> None:
    try:
        got = pixels(image(blob, encoding), decompress)
    except ValueError:
        return
    assert got.shape == SHAPE


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_a_message_of_noise_is_refused(message: list[bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 any reason will do
        read_message(message)
