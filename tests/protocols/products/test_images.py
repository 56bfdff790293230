"""The picture formats, read back by programs that are not ours: fabio, mrcfile, Pillow."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import fabio
import mrcfile
import numpy as np
import pytest

from protocols.products.cbf import write_cbf
from protocols.products.metadata import FrameHeader, RunHeader
from protocols.products.picturefiles import MRC, SMV, TIFF, write_picture
from protocols.products.rotation import Rotation
from protocols.products.smv import HEADER_BYTES, smv_header

RUN = RunHeader(
    run_id="mordenite_001-0123abcd",
    sample="mordenite",
    detector="Timepix",
    program="credline 0.1.0",
    shape=(516, 516),
    wavelength_A=0.02508,
    camera_length_mm=250.0,
    pixel_size_mm=0.055,
    angstrom_per_px=0.0087719,
    beam_fast_px=257.25,
    beam_slow_px=260.5,
    exposure_s=0.5,
    saturation=11810,
    rotation=Rotation((0.782554, -0.622583, 0.0), -60.0, 0.2314, 1),
    timepix_516=True,
)
FRAME = FrameHeader(17, -56.2976, -56.0716, datetime(2026, 11, 21, 1, 2, 3, 456789, tzinfo=UTC), clipped=2)
SHAPES = [(516, 516), (516, 1028), (64, 33), (2048, 2048)]


def picture(shape: tuple[int, int]) -> np.ndarray:
    counts = np.random.default_rng(6).integers(0, 65536, shape, dtype=np.uint16)
    counts[0, :3] = (1, 2, 65535)
    return counts


def run(shape: tuple[int, int]) -> RunHeader:
    return replace(RUN, shape=shape, timepix_516=shape == (516, 516))


@pytest.mark.parametrize("shape", SHAPES)
def test_smv_pixels_and_every_key_to_the_last(tmp_path: Path, shape: tuple[int, int]) -> None:
    counts = picture(shape)
    write_picture(tmp_path / "00017.img", SMV, counts, run(shape), FRAME)
    image = fabio.open(tmp_path / "00017.img")
    np.testing.assert_array_equal(image.data, counts)
    header = image.header
    assert (header["SIZE1"], header["SIZE2"]) == (str(shape[1]), str(shape[0]))
    assert float(header["OSC_START"]) == pytest.approx(-60.0 + 16 * 0.2314)
    assert float(header["PHI"]) == float(header["OSC_START"])
    assert float(header["OSC_RANGE"]) == pytest.approx(0.2314)
    assert header["TIMESTAMP"] == "2026-11-21T01:02:03.456789+00:00"
    assert header["DATE"] == "Sat Nov 21 01:02:03 2026 UTC"
    assert header["CLIPPED_PIXELS"] == "2"
    assert header["SAMPLE"] == "mordenite"  # the last one
    written = [k for k in smv_header(run(shape), FRAME).decode().split("\n") if "=" in k]
    assert len(written) == len({k.split("=")[0] for k in written})
    assert {k.split("=")[0] for k in written} <= set(header)


def test_the_timepix_reading_and_the_adsc_reading_of_the_beam_centre() -> None:
    timepix = smv_header(RUN, FRAME).decode()
    assert "BEAMLINE=TimePix_SU;" in timepix
    assert "BEAM_CENTER_X=257.2500;\nBEAM_CENTER_Y=260.5000;" in timepix  # pixels, X along fast
    adsc = smv_header(replace(RUN, timepix_516=False), FRAME).decode()
    assert f"BEAM_CENTER_X={260.5 * 0.055:.6f};\nBEAM_CENTER_Y={257.25 * 0.055:.6f};" in adsc  # mm, X along slow
    assert "DETECTOR_SN" not in adsc  # 901 would bring a gain of 2.4
    assert "BEAMLINE" not in adsc
    assert "GAIN=1.0;" in adsc


def test_the_header_begins_and_ends_as_dials_needs_it() -> None:
    header = smv_header(RUN, FRAME)
    assert header.startswith(b"{\nHEADER_BYTES= 1024;\n")
    assert len(header) == HEADER_BYTES
    assert header.rstrip(b" ").endswith(b";\n}\n")
    assert header.count(b"}") == 1
    # DIALS splits each line at '=': more than one would stop it.
    assert all(line.count(b"=") == 1 for line in header.split(b"\n") if b"=" in line)


@pytest.mark.parametrize("name", ["a=b;c}d{e", "Größe \n zeolite", "x" * 500])
def test_no_sample_name_can_break_the_smv_header(name: str) -> None:
    long = replace(RUN, sample=name, run_id=name, program=name, frame_beams={FRAME.slot: (12345.678, -1234.567)})
    header = smv_header(long, FRAME)
    assert len(header) == HEADER_BYTES
    assert header.count(b"}") == header.count(b"{") == 1
    assert all(line.count(b"=") == 1 for line in header.split(b"\n") if b"=" in line)


@pytest.mark.parametrize("shape", SHAPES)
def test_tiff_pixels_and_metadata(tmp_path: Path, shape: tuple[int, int]) -> None:
    from PIL import Image, TiffImagePlugin

    counts = picture(shape)
    write_picture(tmp_path / "00017.tiff", TIFF, counts, run(shape), FRAME)
    np.testing.assert_array_equal(fabio.open(tmp_path / "00017.tiff").data, counts)
    with Image.open(tmp_path / "00017.tiff") as image:
        np.testing.assert_array_equal(np.asarray(image), counts)
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        said = json.loads(image.tag_v2[270])
        assert image.tag_v2[305] == "credline 0.1.0"
    assert said["stage_start_deg"] == -56.2976
    assert said["stage_end_deg"] == -56.0716
    assert said["slot"] == 17
    assert said["started_at"] == "2026-11-21T01:02:03.456789+00:00"
    assert said["beam_fast_px"] == 257.25
    assert said["clipped_pixels"] == 2
    assert said["run_id"] == "mordenite_001-0123abcd"


@pytest.mark.parametrize("shape", SHAPES)
def test_mrc_pixels_upside_down_for_redp_and_metadata(tmp_path: Path, shape: tuple[int, int]) -> None:
    counts = picture(shape)
    path = tmp_path / "00017.mrc"
    frame = replace(FRAME, lowest=int(counts.min()), highest=65535, mean=float(counts.mean()))
    write_picture(path, MRC, counts, run(shape), frame)
    with mrcfile.open(path) as mrc:
        assert mrc.data.dtype == np.uint16
        np.testing.assert_array_equal(mrc.data, counts[::-1])
        assert mrc.header.dmax == 65535
        labels = "\n".join(str(label) for label in mrc.get_labels())
    assert "slot = 17" in labels
    assert "stage_start_deg = -56.297600" in labels
    assert "started_at = 2026-11-21T01:02:03.456789+00:00" in labels
    assert "beam_fast_px = 257.2500" in labels
    assert mrcfile.validate(path)


def test_cbf_tables_keep_their_sign(tmp_path: Path) -> None:
    table = np.random.default_rng(7).integers(-800, 800, (516, 516)).astype(np.int32)
    write_cbf(tmp_path / "XCORR.cbf", table)
    image = fabio.open(tmp_path / "XCORR.cbf")
    np.testing.assert_array_equal(image.data, table)
    assert b"x-CBF_BYTE_OFFSET" in (tmp_path / "XCORR.cbf").read_bytes()


def test_a_run_of_falling_angles_says_both_in_the_header() -> None:
    turned = replace(RUN, rotation=Rotation((-0.782554, 0.622583, 0.0), -60.0, 0.2314, -1))
    header = smv_header(turned, replace(FRAME, stage_start_deg=56.2976, stage_end_deg=56.0716)).decode()
    assert "OSC_START=-56.297600;" in header
    assert "OSC_RANGE=0.23140000;" in header
    assert "ROTATION_AXIS=-0.782554 0.622583 0.000000;" in header
    assert "STAGE_START=56.297600;\nSTAGE_END=56.071600;" in header
