"""Damage is told by how intensities fall with time and spacing, told apart from a crystal that leaves the beam."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.livedamage import SHAPE, WIDTH_DEG, Case, Fate, made
from drivers.simulated.crystal import load_crystal
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from protocols.lattice.cell import Cell
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.lattice.symmetry import bravais
from protocols.live.damage import judged
from protocols.live.dose import Dose
from protocols.live.look import Setting, look
from protocols.live.passages import Passages, agreeing, equivalents
from protocols.live.words import line_of, summary_of
from tests.protocols.lattice.rotations import crystal

Array = NDArray[np.float64]


def passed(fate: Fate, seed: int, classes: int = 400, most: int = 4, gain: float = 300.0) -> Passages:
    """Reflections of a made-up structure in 40 deg: classes of 1 to `most` equivalents, exponential intensities."""
    random = np.random.Generator(np.random.PCG64(seed))
    group = np.repeat(np.arange(classes), random.integers(1, most + 1, classes))
    d_star = (random.uniform(0.15**3, 1.1**3, classes) ** (1 / 3))[group]
    turned = random.uniform(0, 1, len(group))
    left = np.array(
        [fate.left(np.array([g]), 40 * u, 40.0)[0] for g, u in zip(d_star.tolist(), turned.tolist(), strict=True)]
    )
    lorentz = random.uniform(1, 3, len(group))
    true = gain * random.exponential(1.0, classes)[group] * np.exp(-2 * d_star**2) * lorentz * left
    counts = random.poisson(true).astype(np.float64)
    limit = np.full(len(group), 12.0)
    way = random.standard_normal((len(group), 3))
    return Passages(
        group=group,
        d_star=d_star,
        way=way / np.linalg.norm(way, axis=1)[:, None],
        turned=turned,
        lorentz=lorentz,
        intensity=np.where(counts > limit, counts, np.nan),
        sigma=np.sqrt(np.maximum(counts, 1)),
        limit=limit,
    )


FATES = {
    "none": Fate(),
    "damage": Fate(30.0, 1.0),
    "faster damage, with the square": Fate(15.0, 2.0),
    "leaves the beam": Fate(leaves=(0.0, 0.3)),
    "leaves the beam late": Fate(leaves=(0.5, 0.3)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FATES)
def test_what_befell_the_crystal_is_told(name: str, seed: int) -> None:
    fate = FATES[name]
    told = judged(passed(fate, seed), 40.0)
    assert told["verdict"] in name
    assert (told["lost"] > 0) == bool(fate.half_deg)
    for shell in told["shells"]:
        assert shell["half_deg"] == pytest.approx(fate.half_deg * shell["at_A"] ** fate.power, rel=0.25)
        assert shell["half_sigma_deg"] < 0.12 * shell["half_deg"]


@pytest.mark.parametrize("name", ["damage", "leaves the beam"])
def test_without_equivalents_and_with_few_reflections_nothing_is_claimed(name: str) -> None:
    told = judged(passed(FATES[name], 1, classes=60, most=1), 40.0)
    assert told["verdict"] == "cannot tell"
    assert told["half_deg"] is None


def test_no_false_alarm_on_crystals_of_which_directions_differ() -> None:
    """As a layered structure does, whose anisotropic vibrations weaken the reflections of one direction."""
    for seed in range(4):
        whole = passed(FATES["none"], 10 + seed, most=2)
        weaker = np.exp(-0.8 * whole.way[:, 2] ** 2 * whole.d_star**2)
        told = judged(replace(whole, intensity=whole.intensity * weaker), 40.0)
        assert told["verdict"] in ("none", "cannot tell")


def test_both_at_once_are_not_taken_for_fast_damage() -> None:
    for seed in range(4):
        told = judged(passed(Fate(60.0, 1.0, leaves=(0.0, 0.2)), 20 + seed), 40.0)
        assert told["verdict"] in ("cannot tell", "leaves the beam")


def test_the_rotations_of_the_crystal_are_told_by_its_intensities() -> None:
    specimen = crystal(4, 1.2)
    lattice = bravais(Cell(*specimen.cell))
    hkl = specimen.hkl.astype(np.int64) @ lattice.reduction.T
    d_star = np.linalg.norm(specimen.hkl @ specimen.ub.T, axis=1)
    random = np.random.Generator(np.random.PCG64(5))
    true = agreeing(hkl, d_star, specimen.intensity + 1e-3, lattice.group)
    assert len(true) == len(lattice.group)
    assert len(np.unique(equivalents(hkl, true))) < len(hkl) / 2
    other = np.exp(random.standard_normal(len(hkl)))
    assert len(agreeing(hkl, d_star, other, lattice.group)) == 1  # the identity: of Friedel mates nothing is asked


def told_of(fate: Fate, seed: int = 6, range_deg: float = 30.0) -> dict[str, Any]:
    """A look at a rotation of mordenite with spots made from the truth."""
    settings = replace(PictureSettings(), shape=SHAPE, wide_cross=False)
    reflections, start_deg, end_deg = made(load_crystal(None, seed), settings, Case(0, 0, range_deg, fate), seed)
    return look(reflections, (start_deg, end_deg), Setting(RotationGeometry.of(GEOMETRY), SHAPE, WIDTH_DEG)).told


def test_a_look_tells_the_half_dose_of_a_damaged_crystal_and_words_say_it() -> None:
    told = told_of(Fate(20.0, 1.0), range_deg=45.0)
    assert told["damage"]["verdict"] == "damage"
    assert told["damage"]["shells"][-1]["half_deg"] == pytest.approx(
        20.0 * told["damage"]["shells"][-1]["at_A"], rel=0.25
    )
    assert "the beam has taken" in line_of(told)
    lines = summary_of(told, Dose(2.2))
    assert any("half of all intensity is lost after" in line and "s of beam)" in line for line in lines)


def test_a_look_at_an_undamaged_crystal_says_so_and_how_sure_that_is() -> None:
    told = told_of(Fate())
    assert told["damage"]["verdict"] == "none"
    assert told["damage"]["lost_at_most"] < 0.25
    assert any("none seen; the outer shell has lost" in line for line in summary_of(told))


def test_of_a_few_degrees_nothing_is_said() -> None:
    told = told_of(Fate(20.0, 1.0), range_deg=4.8)
    assert told["damage"] is None
    assert "damage by the beam: too few reflections tell it" in summary_of(told) or not told["determined"]


@pytest.mark.parametrize(
    ("dose", "words"),
    [
        (Dose(), "30.0 deg"),
        (Dose(2.0), "30.0 deg (60 s of beam)"),
        (Dose(2.0, 0.06), "30.0 deg (3.6 electrons per A^2)"),
    ],
)
def test_the_dose_is_said_in_what_is_known(dose: Dose, words: str) -> None:
    assert dose.after(30.0) == words
