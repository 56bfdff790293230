"""Spots of a still of a simulated crystal, as a screening would see them, and collected phases to try them on."""

from pathlib import Path

import numpy as np

from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.pattern import spots
from protocols.lattice.cell import Cell
from protocols.session.judging.coverage import Reach
from protocols.session.judging.phases import phases_of
from tests.protocols.lattice.rotations import geometry_of
from tests.protocols.session.judging.nights import measured
from tests.protocols.session.judging.test_session_coverage import STAGE

GEOMETRY = geometry_of(-38.5)
PER_PX = GEOMETRY.pixel_size_mm / GEOMETRY.camera_length_mm / GEOMETRY.wavelength_A
CHABAZITE_CIF = Path(__file__).parent / "chabazite.cif"


def seen(crystal: Crystal, rng: np.random.Generator, false: float = 0.0) -> np.ndarray:
    """(n, 2) 1/A along fast and slow: the 15 to 60 brightest, placed to 0.0012 1/A, the beam to 0.001; a share of
    more is anywhere."""
    still = spots(crystal, GEOMETRY, 0, 0, 0.006)
    brightest = np.argsort(-still.rate)[: int(rng.integers(15, 60))]
    off = np.column_stack([still.fast_px - GEOMETRY.beam_fast_px, still.slow_px - GEOMETRY.beam_slow_px])[brightest]
    xy = off * PER_PX + rng.normal(0, 0.0012, off.shape) + rng.normal(0, 0.001, 2)
    return np.concatenate([xy, rng.uniform(-0.9, 0.9, (int(false * len(xy)), 2))])


def zeolite(name: str, seed: int) -> Crystal:
    """In some orientation."""
    return load_crystal(CHABAZITE_CIF if name == "chabazite" else None, seed, 0.8)


def reached(cells: list[Cell], each: int = 4, d_min_A: float = 1.0, **live) -> list[Reach]:
    """Phases of which so many crystals were measured, cells to 0.4 %."""
    rng = np.random.default_rng(1)
    sets = [measured(cell, n, rng, 0.004, **live) for n, cell in enumerate([c for c in cells for _ in range(each)], 1)]
    return [Reach(phase, STAGE, d_min_A) for phase in phases_of(sets)]
