"""How bright a crystal was over a rotation is told by its equivalents, and only what they tell is corrected."""

from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.madecrystals import made
from protocols.integration.laue import Axes
from protocols.integration.merging import merge
from protocols.integration.prediction import Widths
from protocols.integration.scaling import fitted_scale
from protocols.integration.structurefactors import StructureFactors, structure_factors, words_of
from protocols.lattice.cell import Cell
from protocols.lattice.symmetry import bravais
from tests.protocols.integration.turned import Turned, true_intensity, turned

Array = NDArray[np.float64]
CELL = Cell(9.0, 12.0, 15.0, 90, 90, 90)
PMMM = gemmi.SpaceGroup("P m m m")
SHAPES: dict[str, Callable[[Array], Array]] = {
    "always alike": np.ones_like,
    "leaves the beam": lambda angle: 0.2 + 0.8 / (1 + np.exp((angle - 8) / 2)),
    "thicker when tilted": lambda angle: 1 / np.cos(np.radians(2 * angle)),
    "in and out": lambda angle: 1 + 0.3 * np.sin(angle / 5),
}


def observed(shape: str, seed: int = 1, times: float = 2.5) -> tuple[NDArray[np.int64], Array, Array, Array, Array]:
    """Indices, intensities with errors, their sigmas, angles, and how bright the crystal was: about `times` of each."""
    rng = np.random.default_rng(seed)
    every = np.array(gemmi.make_miller_array(gemmi.UnitCell(*CELL.parameters), PMMM, 1.1), dtype=np.int64)
    row = np.repeat(np.arange(len(every)), rng.poisson(times, len(every)))
    hkl = every[row] * rng.choice([-1, 1], (len(row), 3))
    angle_deg = rng.uniform(-22.5, 22.5, len(row))
    lit = SHAPES[shape](angle_deg)
    value = rng.exponential(100.0, len(every))[row] * lit
    sigma = np.sqrt(9 + value + (0.03 * value) ** 2)
    return hkl, value + sigma * rng.standard_normal(len(row)), sigma, angle_deg, lit


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "always alike"])
def test_a_crystal_of_another_brightness_is_told_and_corrected(shape: str) -> None:
    hkl, value, sigma, angle_deg, lit = observed(shape)
    scale = fitted_scale(PMMM, hkl, value, sigma, angle_deg)
    assert scale is not None
    assert scale.used
    off = np.interp(angle_deg, scale.knots_deg, scale.log) - np.log(lit)
    assert off.std() < min(3 * scale.doubt, 0.03)
    before, after = (
        merge(CELL, PMMM, hkl, *each, 1.1).whole for each in ((value, sigma), scale.apply(angle_deg, value, sigma))
    )
    even = observed("always alike")
    best = merge(CELL, PMMM, *even[:3], 1.1).whole.r_meas
    assert before.r_meas is not None
    assert after.r_meas is not None
    assert best is not None
    assert before.r_meas > 1.4 * after.r_meas
    assert after.r_meas < 1.3 * best + 0.02


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("times", [0.4, 2.5])
def test_a_crystal_that_is_always_alike_is_not_scaled(seed: int, times: float) -> None:
    hkl, value, sigma, angle_deg, _ = observed("always alike", seed, times)
    scale = fitted_scale(PMMM, hkl, value, sigma, angle_deg)
    assert scale is not None
    assert not scale.used
    assert scale.rms < 3 * scale.doubt


def test_without_equivalents_nothing_is_told() -> None:
    hkl, value, sigma, angle_deg, _ = observed("leaves the beam")
    _, first = np.unique(np.abs(hkl), axis=0, return_index=True)
    assert fitted_scale(PMMM, hkl[first], value[first], sigma[first], angle_deg[first]) is None


def test_equivalents_that_passed_together_do_not_tell_it() -> None:
    hkl, value, sigma, angle_deg, _ = observed("leaves the beam")
    order = np.lexsort(np.abs(hkl).T)
    _, row = np.unique(np.abs(hkl), axis=0, return_inverse=True)
    together = np.random.default_rng(2).uniform(-22.5, 22.5, row.max() + 1)[row.reshape(-1)]
    lit = SHAPES["leaves the beam"](together) / SHAPES["leaves the beam"](angle_deg)
    scale = fitted_scale(PMMM, hkl[order], (value * lit)[order], sigma[order], together[order])
    assert scale is not None
    assert not scale.used
    assert scale.doubt > 0.5


def test_what_is_not_known_of_the_brightness_is_in_the_sigmas() -> None:
    hkl, value, sigma, angle_deg, _ = observed("leaves the beam", times=0.4)
    scale = fitted_scale(PMMM, hkl, value, sigma, angle_deg)
    assert scale is not None
    scaled, wider = scale.apply(angle_deg, value, sigma)
    alone = sigma * scaled / value
    strong = value > 10 * sigma
    assert np.all(wider > alone)
    doubt = np.sqrt(wider**2 - alone**2)[strong] / scaled[strong]
    assert np.sqrt(np.mean(doubt**2)) == pytest.approx(scale.doubt, rel=0.4)


@pytest.fixture(scope="module")
def cif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made("hexagonal1").write(tmp_path_factory.mktemp("made") / "made.cif")


def measured(rotation: Turned) -> StructureFactors:
    found = bravais(Cell(*rotation.crystal.cell))
    axes = Axes(found, found.cell, np.zeros(6))
    return structure_factors(
        rotation.series, rotation.crystal.ub, rotation.geometry, Widths(0.08, 2e-4), [axes], 0.9, "6/m"
    )


def agreement(rotation: Turned, found: StructureFactors) -> float:
    """Correlation with the truth."""
    true = true_intensity(rotation.crystal, found.observations)[found.observations.kept]
    return float(np.corrcoef(found.intensity, true)[0, 1])


def test_frames_of_a_crystal_that_leaves_the_beam_give_its_intensities_all_the_same(cif: Path) -> None:
    leaving = turned(30.0, cif=cif, lit=lambda angle_deg: round(0.25 + 0.75 / (1 + np.exp((angle_deg - 6) / 3)), 2))
    found = measured(leaving)
    assert found.scale is not None
    assert found.scale.used
    unscaled = found.observations.intensity[found.observations.kept]
    true = true_intensity(leaving.crystal, found.observations)[found.observations.kept]
    assert np.corrcoef(unscaled, true)[0, 1] < 0.98
    assert agreement(leaving, found) > 0.99
    assert found.r_meas_unscaled is not None
    assert found.merged.whole.r_meas is not None
    assert found.merged.whole.r_meas < found.r_meas_unscaled - 0.02
    assert found.symmetry.disagreement is not None
    assert found.symmetry.disagreement < 0.15
    assert words_of(found)[-1].startswith("scaled between frames: the crystal was 0.")


def test_frames_of_a_crystal_that_stays_are_left_as_they_are(cif: Path) -> None:
    staying = turned(30.0, cif=cif)
    found = measured(staying)
    assert found.intensity.tolist() == found.observations.intensity[found.observations.kept].tolist()
    assert found.merged.whole.r_meas == found.r_meas_unscaled
    assert agreement(staying, found) > 0.99
    assert words_of(found)[-1].startswith("not scaled between frames: equivalents do not say")
