"""Images of the simulated microscope: what moves with the stage, the image shift, the beam shift and the tilt."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from drivers.contract import Microscope
from drivers.parts import Deflector, OpticalMode
from drivers.simulated.hiddenimages import HiddenImages
from drivers.simulated.hiddeninstrument import HiddenInstrument
from drivers.simulated.illumination import IlluminationSettings
from drivers.simulated.imaging import ImageScale, LitDisc, electrons_s
from drivers.simulated.microscope import SIMULATED
from drivers.simulated.settings import InstrumentSettings
from drivers.simulated.specimengrid import SpecimenGrid
from engine.clock.virtual import VirtualClock
from tests.engine.virtually import virtual

GRID = SpecimenGrid(3, 62_000.0, 25_000.0, 0.5, 0.05)
WIDE = LitDisc(50_000.0, (0.0, 0.0), 1e9)
SHAPE = (80, 80)
TURNED = ImageScale(10.0, stage_axes=(0.6, 0.8, 0.8, -0.6))


def image(
    scale: ImageScale = TURNED,
    disc: LitDisc = WIDE,
    stage_nm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    tilt_deg: float = 0.0,
    beam: tuple[float, float] = (0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    return electrons_s(GRID, scale, disc, SHAPE, stage_nm, tilt_deg, beam, shift)


MOVES = {
    # A move, and by how many pixels along fast and slow it moves the image.
    "the stage along x": ({"stage_nm": (100.0, 0.0, 0.0)}, (6, 8)),
    "the stage along y": ({"stage_nm": (0.0, 50.0, 0.0)}, (4, -3)),
    "the image shift": ({"shift": (-30.0, 70.0)}, (-3, 7)),
    "the height at no tilt": ({"stage_nm": (0.0, 0.0, 500.0)}, (0, 0)),
    "the beam shift in a wide beam": ({"beam": (500.0, 0.0)}, (0, 0)),
}


@pytest.mark.parametrize(("move", "by_px"), MOVES.values(), ids=MOVES)
def test_the_image_moves_with(move: dict[str, Any], by_px: tuple[int, int]) -> None:
    fast, slow = by_px
    before, after = image()[10:-10, 10:-10], np.roll(image(**move), (-slow, -fast), (0, 1))[10:-10, 10:-10]
    assert np.allclose(before, after, rtol=5e-3)


def test_tilt_foreshortens_across_the_axis_of_x() -> None:
    straight = ImageScale(10.0)  # x of the stage along fast
    flat, tilted = image(straight), image(straight, tilt_deg=60.0)
    assert np.corrcoef(flat[::1, :].mean(axis=0), tilted.mean(axis=0))[0, 1] > 0.3, "columns stay where they are"
    middle = flat[40 - 20 : 40 + 20]
    squeezed = tilted[40 - 10 : 40 + 10]
    assert np.corrcoef(middle.reshape(20, 2, 80).mean(axis=1).ravel(), squeezed.ravel())[0, 1] > 0.9


def test_height_moves_the_image_of_a_tilted_specimen() -> None:
    straight = ImageScale(10.0)
    before = image(straight, tilt_deg=30.0)
    after = image(straight, tilt_deg=30.0, stage_nm=(0.0, 0.0, 100.0))
    # y of the lab is up, slow is down: z sin tilt = 50 nm against y is 5 px along slow.
    assert np.allclose(before[10:-10], np.roll(after, -5, 0)[10:-10], rtol=5e-3)


@pytest.mark.parametrize("brightness", [30_200, 29_800])
def test_the_disc_grows_on_both_sides_of_the_crossover(brightness: int) -> None:
    disc = IlluminationSettings().disc(OpticalMode.IMAGING, 1, brightness)
    assert disc.radius_nm == pytest.approx(100.0)
    lit = image(disc=disc, beam=(50.0, -70.0)) > 0
    rows, columns = np.nonzero(lit)
    assert lit.sum() == pytest.approx(np.pi * 10**2, rel=0.2)
    assert (columns.mean() - 39.5, rows.mean() - 39.5) == pytest.approx((5.0, -7.0), abs=0.3)


def test_the_current_is_that_of_the_spot_and_spread_over_the_disc() -> None:
    first, third = (IlluminationSettings().disc(OpticalMode.IMAGING, spot, 30_300) for spot in (1, 3))
    assert third.current_s == pytest.approx(0.36 * first.current_s)
    passed = image(disc=first).sum() / first.current_s
    assert 0.3 < passed <= 0.9, "what film and crystals let through"


OPTIONS: dict[str, Any] = {
    "pictures": {"shape": [64, 64], "wide_cross": False, "pixel_response_sigma": 0.0},
    "geometry": {"beam_fast_px": 32.0, "beam_slow_px": 32.0},
}


async def exposed(microscope: Microscope) -> np.ndarray:
    await microscope.beam.unblank()
    await microscope.detector.arm((0.5,))
    await microscope.detector.start(0.5)
    frame = await anext(microscope.detector.frames())
    return frame.counts.astype(float)


@virtual
async def test_only_image_modes_show_the_specimen(clock: VirtualClock) -> None:
    async with SIMULATED.connect(clock, 1, OPTIONS) as parts:
        microscope = parts.assembled()
        assert microscope.mode is not None
        pattern = await exposed(microscope)
        await microscope.mode.set_mode(OpticalMode.IMAGING)
        seen = await exposed(microscope)
    assert pattern.max() > 50 * np.median(pattern), "the primary beam"
    assert np.median(seen) == pytest.approx(1e8 * 11**2 / (np.pi * 5000**2) * 0.85 * 0.5, rel=0.2)
    assert np.std(seen) < 0.5 * np.median(seen)


@virtual
async def test_what_is_not_hidden_is_what_the_settings_say(clock: VirtualClock) -> None:
    async with SIMULATED.connect(clock, 1, OPTIONS) as parts:
        microscope = parts.assembled()
        assert microscope.mode is not None
        assert microscope.stagexyz is not None
        await microscope.mode.set_mode(OpticalMode.IMAGING)
        before = await exposed(microscope)
        await microscope.stagexyz.move_xy(110.0, 0.0)  # 10 px of 11 nm, at once less its scatter
        await clock.sleep_s(1.0)
        after = await exposed(microscope)
    same = [np.corrcoef(before[:, : 64 - k].ravel(), after[:, k:].ravel())[0, 1] for k in range(20)]
    assert int(np.argmax(same)) == pytest.approx(10, abs=4)


def hidden(seed: int) -> HiddenImages:
    told = InstrumentSettings.read("simulated", True, OPTIONS)
    return HiddenImages.draw(seed, HiddenInstrument.draw(seed, told).instrument(told))


def test_hidden_images_follow_from_their_seed() -> None:
    assert hidden(1) == hidden(1) != hidden(2)
    assert hidden(1).truth(OpticalMode.IMAGING, 5000.0) == hidden(1).truth(OpticalMode.IMAGING, 5000.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_sign_of_the_stages_determinant_tells_whether_the_camera_is_mirrored(seed: int) -> None:
    images = hidden(seed)
    for mode, magnification in ((OpticalMode.IMAGING, 5000.0), (OpticalMode.LOW_MAG, 250.0)):
        stage = np.reshape(images.truth(mode, magnification)["stage"], (2, 2))
        pixel_nm = images.truth(mode, magnification)["pixel_size_nm"]
        hand = images.truth_of_parts()["camera_hand"]
        assert np.sign(-np.linalg.det(stage)) == hand == (-1 if images.turn.flipud else 1)
        assert 1 / np.sqrt(abs(np.linalg.det(stage))) == pytest.approx(pixel_nm, rel=0.02)


@pytest.mark.parametrize("which", [Deflector.BEAM_SHIFT, Deflector.IMAGE_SHIFT])
def test_deflectors_turn_with_the_image_of_a_mode(which: Deflector) -> None:
    images = hidden(4)
    turned = dataclasses.replace(images, turned_deg=dict.fromkeys(images.turned_deg, 20.0))
    one, other = (turned.truth(mode, 5000.0) for mode in (OpticalMode.IMAGING, OpticalMode.LOW_MAG))
    ratio = one["pixel_size_nm"] / other["pixel_size_nm"]  # type: ignore[operator]
    assert np.allclose(np.array(one[which.value]) * ratio, other[which.value])
