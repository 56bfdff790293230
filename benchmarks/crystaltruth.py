"""What DIALS made of a simulated run, against the run's truth.h5: lattice, symmetry, intensities, completeness.

Intensities are compared by the reflections of the true crystal: the orientations of the found and the true cell give
the matrix between their indices, whatever setting DIALS has chosen.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import gemmi
import h5py
import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.simulated.crystal import Crystal
from drivers.simulated.pattern import rotation_axis, spots
from drivers.simulated.picturesettings import PictureSettings

CROSS_PX = 5.0
"""Half the width of the strip about the wide cross on which a spot is not measured."""
BORDER_PX = 4.0
HALO_PX = 25.0
SIGMAS = 3.0
"""Counts of a measurable reflection stand out from the noise by so much."""
RECORDED = 0.5
"""The part of a measurable reflection that falls into frames, at least."""
SLOWEST = 0.1
"""A reflection that passes through the sphere at less than this share of the fastest is not expected."""
SPOT_AREA_PX = 45.0
LARGEST_STRAIN = 0.02
"""A found cell that is farther off is another lattice."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A run's crystal and what of it could be measured: (m,) for each row of crystal.hkl."""

    crystal: Crystal
    group: gemmi.SpaceGroup
    measurable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """One run. cell_percent: largest strain of the found lattice, 100 for another lattice.

    laue: right, subgroup or wrong.
    kept_percent: of the measurable unique reflections. unique: compared ones. multiplicity: observations of each.
    """

    indexed_percent: float
    cell_percent: float
    laue: str
    found_group: str
    cc: float
    r: float
    kept_percent: float
    unique: int
    multiplicity: float


def read_truth(run_dir: Path, group: str, settings: PictureSettings) -> Truth:
    """From truth.h5 and run.json."""
    run = json.loads((run_dir / "run.json").read_text())
    instrument = run.get("instrument", run)
    known = instrument["geometry"]
    geometry = Geometry(**{name: known[name] for name in Geometry.__dataclass_fields__ if name in known})
    with h5py.File(run_dir / "truth.h5") as file:
        cell = gemmi.UnitCell(*file["cell"][:])
        orientation, hkl, intensity = file["orientation"][:], file["hkl"][:], file["intensity"][:]
        angles_deg, d_min_A, size_nm = file["frame_angle_deg"][:], file.attrs["d_min_A"], file.attrs["size_nm"]
    ub = orientation @ np.array(cell.frac.mat.tolist()).T
    crystal = Crystal("truth", cell.parameters, orientation, ub, hkl, intensity, float(d_min_A), float(size_nm))
    measurable = _measurable(crystal, geometry, settings, angles_deg, float(run["plan"]["exposure_s"]))
    return Truth(crystal, gemmi.SpaceGroup(group), measurable)


def _measurable(
    crystal: Crystal,
    geometry: Geometry,
    settings: PictureSettings,
    angles_deg: NDArray[np.float64],
    exposure_s: float,
) -> NDArray[np.bool_]:
    """Which reflections fall into frames with enough counts, whole enough, on pixels that count."""
    rate, position = np.zeros((2, len(crystal.hkl))), np.zeros((len(crystal.hkl), 2))
    for start_deg, end_deg in angles_deg.tolist():
        found = spots(crystal, geometry, start_deg, end_deg, settings.rocking_sigma_invA, 1.0, settings.mosaicity_deg)
        np.add.at(rate[0], found.index, found.rate)
        np.add.at(rate[1], found.index, found.weight)
        position[found.index] = np.stack([found.fast_px, found.slow_px], axis=1)
    scale = geometry.wavelength_A**2 * 10.0 * crystal.size_nm / crystal.volume_A3**2
    counts = rate[0] * scale * settings.flux_s * settings.diffracting_share * exposure_s
    # A whole passage collects intensity * L, with L of the rotation method (see pattern.Spots.weight).
    k = 1.0 / geometry.wavelength_A
    length = np.linalg.norm(crystal.hkl @ crystal.ub.T, axis=1)
    speed = _speed(geometry, position)
    with np.errstate(divide="ignore", invalid="ignore"):
        recorded = rate[1] * speed / (crystal.intensity * k**2)
    beam = np.array([geometry.beam_fast_px, geometry.beam_slow_px])
    distance_px = np.linalg.norm(position - beam, axis=1)
    size = np.array(settings.shape[::-1]) + (4 if settings.wide_cross else 0)
    inside = np.all((position > BORDER_PX) & (position < size - BORDER_PX), axis=1) & (distance_px > HALO_PX)
    if settings.wide_cross:
        inside &= np.all(np.abs(position - size / 2) > CROSS_PX, axis=1)
    halo = sum(
        share / (2 * np.pi * sigma**2) * np.exp(-(distance_px**2) / (2 * sigma**2)) for share, sigma in settings.halo
    )
    background = (settings.constant_s + settings.flux_s * halo) * exposure_s * SPOT_AREA_PX
    frames = np.maximum(1.0, 4 * settings.mosaicity_deg / abs(float(np.median(np.diff(angles_deg[:, 0])))))
    enough = counts > SIGMAS * np.sqrt(counts + background * frames)
    return inside & enough & (recorded > RECORDED) & (speed > SLOWEST * k * length)


def _speed(geometry: Geometry, position: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) |axis . (s1 x s0)| of a reflection seen at this place, in 1/A^2: how fast it passes through the sphere."""
    k = 1.0 / geometry.wavelength_A
    x = (position[:, 0] - geometry.beam_fast_px) * geometry.pixel_size_mm
    y = -(position[:, 1] - geometry.beam_slow_px) * geometry.pixel_size_mm
    s1 = np.stack([x, y, np.full_like(x, -geometry.camera_length_mm)], axis=1)
    s1 *= k / np.linalg.norm(s1, axis=1)[:, None]
    return np.asarray(np.abs(np.cross(s1, np.array([0.0, 0.0, -k])) @ rotation_axis(geometry)))


def judge(run_dir: Path, truth: Truth, log: str) -> Judged:
    """Compare SMV/dials with the truth; log: what dials.sh wrote."""
    work = run_dir / "SMV" / "dials"
    mtz = gemmi.read_mtz_file(str(work / "scaled.mtz"))
    found = mtz.spacegroup
    index, strain, same = lattice(work / "scaled.expt", truth, found)
    rows = re.findall(r"\| +(\d+) \| +(\d+) \| (\S+)% +\|", log)
    indexed = float(rows[-1][2]) if rows else 0.0
    if not same:
        return Judged(indexed, 100.0, "wrong", found.hm, 0.0, 9.0, 0.0, 0, 0.0)
    mtz.switch_to_original_hkl()
    table, labels = np.array(mtz.array), mtz.column_labels()
    hkl = np.rint(table[:, :3] @ index.T).astype(int)
    measured = unique(truth.group, hkl, table[:, labels.index("I")], table[:, labels.index("SIGI")])
    cc, r, count = agreement(measured, true_intensities(truth))
    return Judged(
        indexed_percent=indexed,
        cell_percent=100 * strain,
        laue=_laue(index, found, truth.group),
        found_group=found.hm,
        cc=cc,
        r=r,
        kept_percent=kept_percent(measured, truth),
        unique=count,
        multiplicity=len(hkl) / max(len(measured), 1),
    )


Intensities = dict[tuple[int, int, int], float]


def true_intensities(truth: Truth) -> Intensities:
    """Of every reflection, equivalents too."""
    return dict(zip(map(tuple, truth.crystal.hkl.tolist()), truth.crystal.intensity.tolist(), strict=True))


def agreement(some: Intensities, others: Intensities) -> tuple[float, float, int]:
    """Correlation and R of the reflections that both have, on the scale of the others, and how many they are."""
    pairs = np.array([(i, others[h]) for h, i in some.items() if h in others]).reshape(-1, 2)
    scale = pairs[:, 0].sum() / pairs[:, 1].sum()
    r = float(np.abs(pairs[:, 0] / scale - pairs[:, 1]).sum() / pairs[:, 1].sum())
    return float(np.corrcoef(pairs.T)[0, 1]), r, len(pairs)


def kept_percent(measured: Intensities, truth: Truth) -> float:
    """Of the measurable unique reflections."""
    wanted = set(_asu(truth.group, truth.crystal.hkl[truth.measurable]))
    return 100 * len(wanted & measured.keys()) / max(len(wanted), 1)


def lattice(expt: Path, truth: Truth, found: gemmi.SpaceGroup) -> tuple[NDArray[np.float64], float, bool]:
    """The matrix from found to true indices, the largest strain, and whether the lattices are the same.

    Centred cells that differ (an I cell of half the volume for an F one) may have the same points.
    """
    told = json.loads(expt.read_text())["crystal"][0]
    reciprocal = np.linalg.inv(np.array([told["real_space_a"], told["real_space_b"], told["real_space_c"]]))
    return same_lattice(reciprocal, truth, found)


def same_lattice(
    reciprocal: NDArray[np.float64], truth: Truth, found: gemmi.SpaceGroup
) -> tuple[NDArray[np.float64], float, bool]:
    """The same of (3, 3) columns a*, b*, c* in the lab at stage angle 0, centred as the group says."""
    of_found, of_true = _primitive(found), _primitive(truth.group)
    points = np.rint(np.linalg.solve(truth.crystal.ub @ of_true, reciprocal @ of_found))
    if abs(round(float(np.linalg.det(points)))) != 1:
        return points, 1.0, False
    index = of_true @ points @ np.linalg.inv(of_found)
    stretch = np.linalg.svd(reciprocal @ np.linalg.inv(truth.crystal.ub @ index))[1]
    strain = float(np.abs(stretch - 1).max())
    return index, strain, strain < LARGEST_STRAIN


def _primitive(group: gemmi.SpaceGroup) -> NDArray[np.float64]:
    """(3, 3) indices, in columns, of a primitive basis of the reciprocal lattice."""
    # centred_to_primitive acts on coordinates, its transposed inverse on indices.
    matrix = np.array(group.centred_to_primitive().rot) / gemmi.Op.DEN
    return np.asarray(np.linalg.inv(matrix).T)


def _laue_rotations(group: gemmi.SpaceGroup) -> list[NDArray[np.float64]]:
    """Of the Laue class, acting on columns of indices."""
    seen = {tuple(map(tuple, op.rot)) for op in group.operations().sym_ops}
    rotations = [np.array(rot) / gemmi.Op.DEN for rot in seen]
    return [sign * rotation.T for rotation in rotations for sign in (1, -1)]


def _laue(index: NDArray[np.float64], found: gemmi.SpaceGroup, true: gemmi.SpaceGroup) -> str:
    """Whether the operations found are those of the true crystal, some of them, or others."""
    inverse = np.linalg.inv(index)
    found_set = {tuple(np.rint(index @ r @ inverse * 24).astype(int).ravel()) for r in _laue_rotations(found)}
    true_set = {tuple(np.rint(r * 24).astype(int).ravel()) for r in _laue_rotations(true)}
    if found_set == true_set:
        return "right"
    return "subgroup" if found_set < true_set else "wrong"


def _asu(group: gemmi.SpaceGroup, hkl: NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """One representative of each reflection's equivalents, Friedel mates included."""
    images = np.stack([hkl @ np.rint(r.T).astype(int) for r in _laue_rotations(group)], axis=1)
    code = (images[..., 0] + 512) * 2**20 + (images[..., 1] + 512) * 2**10 + images[..., 2] + 512
    best = images[np.arange(len(hkl)), code.argmax(axis=1)]
    return [(h, k, m) for h, k, m in best.tolist()]


def unique(
    group: gemmi.SpaceGroup, hkl: NDArray[np.integer], intensity: NDArray[np.floating], sigma: NDArray[np.floating]
) -> Intensities:
    """Weighted means of equivalents."""
    sums: dict[tuple[int, int, int], list[float]] = {}
    for key, i, s in zip(_asu(group, hkl), intensity.tolist(), sigma.tolist(), strict=True):
        entry = sums.setdefault(key, [0.0, 0.0])
        entry[0] += i / s**2
        entry[1] += 1 / s**2
    return {key: total / weight for key, (total, weight) in sums.items()}
