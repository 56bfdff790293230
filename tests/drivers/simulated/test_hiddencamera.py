"""What a simulated camera hides: the same for the same seed, told to the truth alone; and the beam spread over it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.contract import Microscope
from drivers.parts import Deflector
from drivers.simulated.hiddencamera import HiddenCamera, SpreadBeam, SpreadState
from drivers.simulated.microscope import SIMULATED
from engine.clock.virtual import VirtualClock
from tests.engine.virtually import virtual

SMALL: dict[str, Any] = {
    "pictures": {"shape": [64, 64]},
    "geometry": {"beam_fast_px": 32.0, "beam_slow_px": 32.0},
}


def test_a_camera_follows_from_its_seed() -> None:
    one, same, other = (HiddenCamera.draw(seed, (64, 64), 1e-5) for seed in (1, 1, 2))
    assert np.array_equal(one.response, same.response)
    assert one.gain == same.gain != other.gain
    assert one.response[~one.bad].mean() == pytest.approx(1.0)
    assert 0.001 < one.bad.mean() < 0.05


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (51, 40)])
def test_a_camera_may_have_any_shape(shape: tuple[int, int]) -> None:
    assert HiddenCamera.draw(1, shape, 1e-5).response.shape == shape


def test_the_spread_beam_goes_where_the_deflector_puts_it() -> None:
    beam, rng = SpreadBeam.draw(3), np.random.default_rng(0)
    place = np.linspace(-0.5, 0.5, 101)

    def brightest(shift_nm: tuple[float, float]) -> tuple[float, float]:
        light = beam.light(place, place, SpreadState(0.0, shift_nm), rng)
        row, column = np.unravel_index(light.argmax(), light.shape)
        return float(place[column]), float(place[row])

    (x, y), (moved_x, moved_y) = brightest((0.0, 0.0)), brightest((2000.0, 0.0))
    assert np.hypot(moved_x - x, moved_y - y) == pytest.approx(2000 * beam.scale_nm, abs=0.02)


async def exposed(clock: VirtualClock, options: dict[str, Any], seed: int = 4) -> tuple[Microscope, np.ndarray]:
    """The instrument, and a frame with the beam on and shifted."""
    async with SIMULATED.connect(clock, seed, {**SMALL, **options}) as parts:
        microscope = parts.assembled()
        assert microscope.deflectors is not None
        await microscope.deflectors.set(Deflector.BEAM_SHIFT, 40_000, 32_768)
        await microscope.beam.unblank()
        await microscope.detector.arm((0.5,))
        await microscope.detector.start(0.5)
        frame = await anext(microscope.detector.frames())
        return microscope, frame.counts


@virtual
async def test_hidden_and_spread_are_off_unless_asked_for(clock: VirtualClock, tmp_path: Path) -> None:
    microscope, counts = await exposed(clock, {})
    assert microscope.detector.flatfield is not None
    assert counts.max() > 20 * np.median(counts), "a diffraction pattern"
    assert microscope.truth is not None
    microscope.truth.write_hidden(tmp_path / "truth.h5")
    assert not (tmp_path / "truth.h5").exists()


@virtual
async def test_what_is_hidden_is_told_to_the_truth_alone(clock: VirtualClock, tmp_path: Path) -> None:
    options = {"hidden": True, "spread": True}
    microscope, counts = await exposed(clock, options)
    assert microscope.detector.flatfield is None
    assert microscope.facts == microscope.facts.of(microscope.facts.as_dict())
    declared = SIMULATED.facts({**SMALL, **options}).detector
    assert declared == microscope.detector.facts
    assert microscope.truth is not None
    microscope.truth.write_hidden(tmp_path / "truth.h5")
    with h5py.File(tmp_path / "truth.h5") as file:
        response, bad = file["flatfield"][()], file["bad"][()]
    assert np.corrcoef(counts[~bad].ravel(), response[~bad].ravel())[0, 1] > 0.6, "the cross, at the least"
