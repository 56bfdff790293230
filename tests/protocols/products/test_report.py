"""The report: self-contained, and its figures say what the frames say."""

import re
from pathlib import Path

import numpy as np
import pytest

from protocols.products.corrections import Clipped
from protocols.products.export import export_run
from protocols.products.report import angle_residuals_deg, scale_of
from protocols.products.source import open_run
from protocols.products.survey import survey
from tests.protocols.products.runs import write_run


def test_one_page_without_links_outside_and_pngs_beside_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", slots=12, changes={"sample": "<b>&mordenite"})
    export_run(folder, ["report"])
    page = (folder / "report" / "index.html").read_text()
    assert "&lt;b&gt;&amp;mordenite" in page
    assert "<b>" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert page.count("data:image/png;base64,") == 5
    pngs = sorted(p.name for p in (folder / "report").glob("*.png"))
    assert pngs == ["beam.png", "frame-timing.png", "frames.png", "rotation.png", "scale.png"]
    for png in (folder / "report").glob("*.png"):
        assert png.read_bytes().startswith(b"\x89PNG")
    assert "Rotation rate" in page


def spots(height: float, rng: np.random.Generator) -> np.ndarray:
    counts = rng.poisson(4, (256, 256)).astype(float)
    for y, x in rng.integers(10, 246, (40, 2)):
        counts[y - 1 : y + 2, x - 1 : x + 2] += height
    y, x = np.mgrid[:256, :256] + 0.5
    counts += 4000 * np.exp(-((x - 128) ** 2 + (y - 128) ** 2) / (2 * 3.0**2))
    return np.rint(counts).astype(np.uint16)


def test_the_scale_follows_a_crystal_that_leaves_the_aperture() -> None:
    rng = np.random.default_rng(9)
    heights = [200.0] * 8 + [100.0] * 4
    seen = [survey(k, spots(h, rng), Clipped(), (128.0, 128.0), None) for k, h in enumerate(heights, start=1)]
    scale = scale_of(seen)
    assert scale[:8] == pytest.approx(1.0, abs=0.06)
    assert scale[8:] == pytest.approx(0.5, abs=0.06)
    assert all(s.beam_fast_px == pytest.approx(128.0, abs=0.5) for s in seen)


def test_a_frame_without_spots_has_no_scale() -> None:
    seen = [survey(1, np.zeros((64, 64), dtype=np.uint16), Clipped(), (32.0, 32.0), None)]
    assert np.isnan(scale_of(seen)).all()
    assert np.isnan(seen[0].beam_fast_px)


def test_even_rotation_has_no_residuals(tmp_path: Path) -> None:
    with open_run(write_run(tmp_path / "run", slots=23)) as source:
        assert np.abs(angle_residuals_deg(source.info)).max() < 1e-9
