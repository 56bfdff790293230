"""Runs with the simulated microscope's pictures: the input of the DIALS tests."""

import dataclasses
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from tests.protocols.products.runs import write_run

GEOMETRY = Geometry(0.02508, 250.0, 0.055, -38.505, 258.0, 258.0)
SETTINGS = PictureSettings()


def crystal_run(
    folder: Path,
    *,
    slots: int,
    interval: int = 10,
    start_deg: float = -60.0,
    oscillation_deg: float = 0.2314,
    cif: Path | None = None,
    orientation_seed: int = 1,
    geometry: Geometry = GEOMETRY,
    settings: PictureSettings = SETTINGS,
    **changes: Any,
) -> tuple[Path, Crystal]:
    """Write a run of a rotating crystal; returns its folder and the true crystal."""
    crystal = load_crystal(cif, orientation_seed)
    maker = PictureMaker(crystal, geometry, settings)
    spans = [
        (start_deg + k * oscillation_deg, start_deg + k * oscillation_deg + oscillation_deg * 0.5 / 0.512, k + 1)
        for k in range(slots)
        if not interval or (k + 1) % interval
    ]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        pictures = dict(pool.map(partial(_picture, maker), spans, chunksize=16))
    write_run(
        folder,
        slots=slots,
        interval=interval,
        start_deg=start_deg,
        oscillation_deg=oscillation_deg,
        shape=settings.shape,
        wide_cross=settings.wide_cross,
        picture=lambda _start, _end, slot: pictures[slot],
        flatfield=maker.flatfield,
        geometry=dataclasses.asdict(geometry),
        changes=changes,
    )
    return folder, crystal


def _picture(maker: PictureMaker, span: tuple[float, float, int]) -> tuple[int, NDArray[np.uint16]]:
    begin, end, slot = span
    return slot, maker.diffraction(begin, end, 0.5, noise_seed=slot)
