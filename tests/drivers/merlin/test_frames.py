"""Commands, replies, headers and pixels of a Merlin detector, in all depths and formats."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.merlin import frames as merlinframes
from drivers.merlin.frames import FrameHeader, Reply
from tests.drivers import mibdata
from tests.drivers.counterparts import program

# As a quad sends it (LiberTEM's tests quote this one); 514 columns, for the gap between the chips is filled.
QUAD_HEADER = (
    b"MQ1,000001,00768,04,0514,0514,U16,  2x2G,0F,2024-06-14 11:31:30.060732,0.001000,0,0,0,3.500000E+1,5.110000E+2,"
    b"0.000000E+0,0.000000E+0,0.000000E+0,0.000000E+0,0.000000E+0,0.000000E+0,3RX,052,511,MQ1A,"
    b"2024-06-14T11:31:30.060732000Z,1000000ns,12,"
)

FORMATS = [
    *((depth, False, "1x1", (8, 64)) for depth in merlinframes.DEPTHS),
    *((depth, True, "1x1", (8, 64)) for depth in merlinframes.DEPTHS),
    *((depth, True, "2x2", (128, 128)) for depth in (1, 6, 12)),
    (12, False, "2x2", (128, 128)),
]


def a_picture(shape: tuple[int, int], depth: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(0, 2**depth, shape, np.uint32)


@pytest.mark.parametrize(("depth", "raw", "layout", "shape"), FORMATS)
def test_a_picture_comes_through_every_format(depth: int, raw: bool, layout: str, shape: tuple[int, int]) -> None:
    picture = a_picture(shape, depth)
    message = mibdata.frame(picture, 17, depth, raw=raw, layout=layout, shutter_s=0.0025)
    head = merlinframes.frame_header(message)
    assert (head.sequence, head.shape, head.depth, head.shutter_s) == (17, shape, depth, 0.0025)
    counts = merlinframes.counts(head, message)
    assert np.array_equal(counts, picture)
    assert counts.dtype.isnative
    assert counts.flags.writeable
    assert counts.max() <= np.iinfo(counts.dtype).max


@pytest.mark.parametrize("raw", [False, True])
def test_software_without_the_extended_header_is_understood(raw: bool) -> None:
    picture = a_picture((8, 64), 12)
    message = mibdata.frame(picture, 3, 12, raw=raw, shutter_s=0.25, extension=False)
    head = merlinframes.frame_header(message)
    assert (head.shutter_s, head.depth) == (0.25, None)
    assert np.array_equal(merlinframes.counts(head, message), picture)


def test_the_header_of_a_real_quad_is_read() -> None:
    message = QUAD_HEADER.ljust(768, b" ") + bytes(514 * 514 * 2)
    head = merlinframes.frame_header(message)
    assert head == FrameHeader(1, 768, (514, 514), "U16", "2x2", 0.001, 12)
    assert merlinframes.counts(head, message).shape == (514, 514)


def test_numbers_above_six_digits_are_read() -> None:
    assert merlinframes.frame_header(mibdata.frame(a_picture((8, 64), 6), 1, 6)).sequence == 1
    message = mibdata.frame(a_picture((8, 64), 6), 999_999, 6).replace(b",999999,", b",000007,")
    assert merlinframes.frame_header(message).sequence == 7


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda message: b"PR1" + message[3:], "header cannot be read"),
        (lambda message: message[:200], "header cannot be read"),
        (lambda message: message.replace(b",U16,", b",U99,"), "U99"),
        (lambda message: message.replace(b",U16,", b",U64,"), "U64"),
        (lambda message: message[:-1], "bytes of pixels"),
        (lambda message: message.replace(b",0064,", b",0000,"), "makes no sense"),
        (lambda message: message.replace(b",0064,", b",-064,"), "makes no sense"),
        (lambda message: message.replace(b"ns,12,", b"ns,13,"), "makes no sense"),
        (lambda message: message.replace(b",U16,   1x1", b",R64,   Nx1"), "Nx1"),
    ],
)
def test_what_is_no_frame_is_refused_and_never_a_picture(change: Any, reason: str) -> None:
    message = change(mibdata.frame(a_picture((8, 64), 12), 1, 12))
    with pytest.raises(ValueError, match=reason):
        merlinframes.counts(merlinframes.frame_header(message), message)


@given(st.binary(max_size=600))
def test_noise_is_refused_with_a_text(noise: bytes) -> None:
    for read in (merlinframes.frame_header, merlinframes.payload_size, merlinframes.reply):
        with pytest.raises(ValueError, match=r"^[a-z]"):
            read(noise)


def test_a_command_counts_its_own_bytes_and_the_comma_before_them() -> None:
    assert merlinframes.command("SET", "COUNTERDEPTH", "12") == b"MPX,0000000020,SET,COUNTERDEPTH,12"
    assert merlinframes.command("CMD", "SOFTTRIGGER") == b"MPX,0000000016,CMD,SOFTTRIGGER"


@pytest.mark.parametrize(
    ("payload", "meaning"),
    [
        (b"GET,IMAGEX,512,0", Reply("GET", "IMAGEX", "512", 0)),
        (b"GET,FILEDIRECTORY,C:\\a,b,0", Reply("GET", "FILEDIRECTORY", "C:\\a,b", 0)),
        (b"SET,COUNTERDEPTH,3", Reply("SET", "COUNTERDEPTH", "", 3)),
        (b"CMD,SOFTTRIGGER,0", Reply("CMD", "SOFTTRIGGER", "", 0)),
    ],
)
def test_replies_are_read(payload: bytes, meaning: Reply) -> None:
    assert merlinframes.reply(payload) == meaning


@pytest.mark.parametrize(
    "prefix", [b"MPX,0000000000,", b"MPX,0000000001,", b"MPX,9999999999,", b"MPX,00000000a1,", b"XPM"]
)
def test_a_length_that_cannot_be_is_refused(prefix: bytes) -> None:
    with pytest.raises(ValueError, match="a message"):
        merlinframes.payload_size(prefix)


def test_the_acquisition_header_is_a_table_of_lines() -> None:
    lines = merlinframes.acquisition_header(mibdata.acquisition_header(1000, 6))
    assert lines["Frames in Acquisition (Number)"] == "1000"
    assert lines["Counter Depth (number)"] == "6"


LIBERTEM_READS = """
import json, sys, numpy
from libertem.api import Context
from libertem.io.dataset.base import BufferedBackend
from libertem.udf.raw import PickUDF
read = {}
with Context.make_with("inline") as context:
    for path in sys.argv[2:]:
        data = context.load("mib", path=path, nav_shape=(1, 2), io_backend=BufferedBackend())
        picked = context.run_udf(dataset=data, udf=PickUDF(), roi=numpy.ones((1, 2), bool))["intensity"].data
        read[path] = picked.astype(int).tolist()
json.dump(read, open(sys.argv[1], "w"))
"""


@pytest.mark.counterpart
def test_libertem_reads_the_same_pictures(tmp_path: Path) -> None:
    """So writer and decoder do not only agree with one another."""
    written = {}
    for depth, raw, layout, shape in FORMATS:
        folder = tmp_path / f"{depth}-{'raw' if raw else 'plain'}-{layout}"
        folder.mkdir()
        pictures = [a_picture(shape, depth, seed) for seed in (1, 2)]
        written[mibdata.write(folder, pictures, depth, raw=raw, layout=layout)] = pictures
    words: list[str | Path] = [program("python"), "-W", "ignore", "-c", LIBERTEM_READS]
    words += [tmp_path / "read.json", *written]
    done = subprocess.run(words, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read = json.loads((tmp_path / "read.json").read_text())
    for header, pictures in written.items():
        if header.parent.name.startswith("24-raw"):
            # LiberTEM 0.16.0 chooses 16 bits for the result of this format, and by that size it looks for the second.
            assert np.array_equal(read[str(header)][0], pictures[0] & 0xFFFF), header
        else:
            assert np.array_equal(read[str(header)], pictures), header
