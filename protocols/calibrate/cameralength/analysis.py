"""From a run folder to the camera length with beam and ellipse: values, pictures; nothing is stored in the instrument
here.

A folder of powder frames is fitted by its rings, camera length after camera length; one of a cRED run by the cell of
its crystal (`crystalcell`). What tells no camera length is refused with DataError; the run folder stays as it is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.standards import standard
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.frametable import DATA_FILE, FramesFile
from protocols.calibrate.cameralength.crystalcell import of_crystal
from protocols.calibrate.cameralength.ellipse import polar
from protocols.calibrate.cameralength.finding import candidates
from protocols.calibrate.cameralength.judging import flaw, nothing_fitted
from protocols.calibrate.cameralength.pattern import Pattern, Shape
from protocols.calibrate.cameralength.plan import POWDER, CameraLengthPlan
from protocols.calibrate.cameralength.ringfit import BEGIN_SIGMA_PX, RingFit, fit_rings, observe
from protocols.calibrate.cameralength.rings import Rings, powder_rings
from protocols.calibrate.measured import Analysed, Measured, named
from protocols.calibrate.truth import truth_of
from protocols.products.corrections import correction, untrusted
from protocols.spots.beam_centre import brightest_place, even_level, filter_px
from protocols.spots.beam_seen import Unseen, unseen

if TYPE_CHECKING:
    from pydantic import BaseModel

Array = NDArray[np.float64]

LENGTH_SHARE, BEAM_PX, STRAIN = 1e-4, 0.005, 1e-5
"""No camera length, beam and ellipse is stated surer, whatever the counts: pixels are not squares of even answer."""
LONE_TIMES = 4.0


@dataclass(frozen=True, slots=True)
class Powder:
    """What is found at one camera length. nominal_mm: None where nobody told it."""

    nominal_mm: float | None
    pattern: Pattern
    rings: Rings
    fit: RingFit
    pixel_mm: float
    wavelength_A: float

    @property
    def length_mm(self) -> float:
        """The camera length, by the lattice of the standard."""
        return self.fit.shape.length_px * self.pixel_mm


def analyse(folder: Path, plan: "BaseModel") -> Analysed:
    """The camera length that a run tells. plan: of the command, for the cell of a cRED run. DataError where none is."""
    run = RunDocument.read(folder)
    if run.protocol == "cred":
        return of_crystal(folder, CameraLengthPlan.model_validate(plan.model_dump()))
    if run.protocol != "camera-length":
        raise DataError(f"{folder}: is a run of {run.protocol}, not of camera-length or cred; nothing was stored")
    from protocols.calibrate.cameralength.drawing import draw

    asked = CameraLengthPlan.model_validate(run.plan)
    of = standard(asked.standard)
    told = asked.standard_known_to_percent
    known_to = (of.known_to_percent if told is None else told) / 100
    found = [_powder(folder, run, powder_rings(of.cif), *each) for each in _patterns(folder, run)]
    several = len(found) > 1
    values: dict[str, Measured] = {}
    lines = []
    for each in found:
        at_mm = each.nominal_mm if several else None
        values |= {named(name, at_mm): value for name, value in measured(each, known_to).items()}
        lines.append(_line(each, known_to))
    picture = folder / "report" / "camera-length.png"
    draw(picture, found, asked.standard)
    return Analysed(values, (f"{picture}: rings, fit and what is left", *lines), truth=_truth(folder, values))


def measured(found: Powder, known_to: float) -> dict[str, Measured]:
    """The values of one camera length. known_to: of the lattice, share."""
    shape, sigma = found.fit.shape, np.sqrt(np.diag(found.fit.covariance))
    length = found.length_mm * math.hypot(float(sigma[0]), LENGTH_SHARE, known_to)
    beam = [math.hypot(float(each), BEAM_PX) for each in sigma[1:3]]
    numbers = {
        "camera_length_mm": (found.length_mm, length, "mm"),
        "beam_fast_px": (shape.fast_px, beam[0], "px"),
        "beam_slow_px": (shape.slow_px, beam[1], "px"),
        **polar(shape.strain, shape.shear, np.asarray(found.fit.covariance[3:, 3:] + STRAIN**2 * np.eye(2))),
    }
    return {
        name: Measured(value, error, unit, camera_length_mm=found.nominal_mm)
        for name, (value, error, unit) in numbers.items()
    }


def _powder(folder: Path, run: RunDocument, rings: Rings, nominal_mm: float | None, pattern: Pattern) -> Powder:
    geometry, detector = run.instrument["geometry"], run.instrument["detector"]
    pixel_mm, wavelength_A = float(geometry["pixel_size_mm"]), float(geometry["wavelength_A"])
    begin_mm = nominal_mm or float(geometry["camera_length_mm"])
    nominal_px = float(geometry["beam_fast_px"]), float(geometry["beam_slow_px"])
    beam_px, why_not = _beam(
        pattern, nominal_px, int(detector.get("saturation") or 65535), bool(detector["wide_cross"])
    )
    start = Shape(begin_mm / pixel_mm, *beam_px)
    best: tuple[RingFit, str] | None = None
    seen = None
    for candidate in candidates(pattern, start, rings, wavelength_A):
        fit = fit_rings(pattern, candidate, rings, wavelength_A)
        if fit is None:
            seen = seen or observe(pattern, candidate, rings, wavelength_A, BEGIN_SIGMA_PX, search=True)
            continue
        off = fit.shape.length_px * pixel_mm / begin_mm - 1
        why = flaw(pattern, fit, rings, off)
        if best is None or not why or fit.used.sum() > best[0].used.sum():
            best = fit, why
        if not why:
            return Powder(nominal_mm, pattern, rings, fit, pixel_mm, wavelength_A)
    why = nothing_fitted(seen, rings) if best is None else best[1]
    if why_not is not None and best is None:
        why = (
            f"the primary beam is not seen on the camera (what is brightest {why_not.value}), and about its "
            f"nominal place {why}"
        )
    at = "" if nominal_mm is None else f" at {nominal_mm:g} mm"
    raise DataError(f"{folder}: {why} (camera length{at}); nothing was stored")


def _beam(
    pattern: Pattern, nominal_px: tuple[float, float], saturation: int, wide_cross: bool
) -> tuple[tuple[float, float], Unseen | None]:
    """Where the primary beam is, to begin with: the brightest place, or the nominal one with why that was no beam."""
    counts = np.minimum(pattern.counts, 65535).astype(np.uint16)
    level = even_level(min(saturation, 65535), wide_cross)
    place, _ = brightest_place(counts, filter_px(counts.shape), level)
    why = Unseen.NOWHERE if place is None else unseen(counts, place, level)
    return (nominal_px, why) if why is not None or place is None else (place, None)


def _patterns(folder: Path, run: RunDocument) -> Iterator[tuple[float | None, Pattern]]:
    """The mean of the frames at each nominal camera length."""
    detector = run.instrument["detector"]
    wide_cross, saturation = bool(detector["wide_cross"]), int(detector.get("saturation") or 65535)
    with FramesFile(folder / DATA_FILE) as file:
        table = file.table(POWDER.name) if POWDER.name in file.kinds else None
        if table is None or not len(table):
            raise DataError(f"{folder}: has no powder frames ({run.status}: {run.reason}); nothing was stored")
        response = file.extra("flatfield")
        apply = correction(
            None if response is None else response.astype(np.float32), wide_cross, min(saturation, 65535)
        )
        made_up = untrusted(file.shape(POWDER.name), wide_cross, apply.dead)
        lengths = np.nan_to_num(table["nominal_mm"], nan=-1.0)
        for length_mm in dict.fromkeys(lengths.tolist()):
            rows = np.flatnonzero(lengths == length_mm)
            total, full = np.zeros(made_up.shape), np.zeros(made_up.shape, dtype=bool)
            for row in rows.tolist():
                counts = apply.apply(file.picture(POWDER.name, row))[0]
                total += counts
                full |= counts >= saturation
            mean = total / len(rows)
            good = ~(made_up | full | _defects(mean))
            yield None if length_mm < 0 else length_mm, Pattern(mean, good, full, len(rows))


def _defects(mean: Array) -> NDArray[np.bool_]:
    """Single pixels that count far more, or less, than all around them: no spot is as narrow."""
    from scipy.ndimage import maximum_filter, median_filter, minimum_filter

    around = np.ones((3, 3), dtype=bool)
    around[1, 1] = False
    most, least = maximum_filter(mean, footprint=around), minimum_filter(mean, footprint=around)
    hot = (mean > LONE_TIMES * most) & (mean > 20)
    dead = ((mean < least / LONE_TIMES) & (least > 10)) | ((mean == 0) & (median_filter(mean, 7) > 8))
    return np.asarray(hot | dead)


def _line(found: Powder, known_to: float) -> str:
    fit = found.fit
    sectors = int(fit.used.sum())
    nominal = "" if found.nominal_mm is None else f"at {found.nominal_mm:g} mm: "
    counting = math.hypot(math.sqrt(float(fit.covariance[0, 0])), LENGTH_SHARE)
    return (
        f"{nominal}{len(fit.observations.groups)} rings in {sectors} places, width {fit.sigma_px:.2f} px, left "
        f"{fit.scatter_px:.3f} px; camera length to {counting:.3%} by the rings, {known_to:.2%} by the lattice; "
        f"ellipse as strain {100 * fit.shape.strain:+.3f} %, shear {100 * fit.shape.shear:+.3f} %"
    )


def _truth(folder: Path, values: dict[str, Measured]) -> dict[str, float]:
    """The true values by their names, of what was measured; those but the camera length are the same at all lengths."""
    told = {name: value for name, value in truth_of(folder).items() if isinstance(value, float)}
    truth = {name: told.get(name, told.get(name.partition(" at ")[0], math.nan)) for name in values if told}
    truth |= {"lattice_off_percent": told["lattice_off_percent"]} if "lattice_off_percent" in told else {}
    return {name: value for name, value in truth.items() if not math.isnan(value)}
