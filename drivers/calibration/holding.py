"""What of an instrument file holds for an instrument as it is put together: figures of geometry and timing, its camera.

Used where parts become a microscope (`drivers.contract`) and where a plan is made without one (`drivers.declared`). A
value of another high tension, camera length or camera is not used, and it is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from drivers.calibration.calibratedvalue import KINDS, CalibratedValue, Holds, near
from drivers.calibration.calibrationarrays import CameraArrays
from drivers.calibration.calibrationfacts import CalibratedFigure, CalibrationFacts
from drivers.calibration.imagefacts import ImageFacts, image_values
from drivers.calibration.instrumentfile import read_camera_arrays, read_instrument
from drivers.calibration.trackingfacts import TrackingFacts
from drivers.calibration.trackingvalues import tracking_values
from drivers.geometry import high_tension_v

FLATFIELD, HAND = "detector.flatfield", "camera_hand"


@dataclass(frozen=True, slots=True)
class Holding:
    """What holds. geometry, timing: figures by their names. sigmas: of those of the geometry. arrays: of the camera,
    None where there are none of it. tracking: what follows a crystal, images: how stage and beam shift stand to images,
    each None where that is not calibrated. facts: the same for the header; None where no instrument file was named.
    """

    geometry: Mapping[str, float] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    sigmas: Mapping[str, float] = field(default_factory=dict)
    arrays: CameraArrays | None = None
    tracking: TrackingFacts | None = None
    images: ImageFacts | None = None
    facts: CalibrationFacts | None = None


def holding(
    path: Path | None,
    wavelength_A: float | None,
    camera_length_mm: float | None,
    shape: tuple[int, int] | None,
) -> Holding:
    """What of an instrument file holds. wavelength_A, camera_length_mm: the nominal ones that the instrument is set to;
    shape: rows and columns of the camera's raw pictures. Each None where nobody knows it.

    Without a camera length values are used where there are some of one only. Raises Refused or DataError for files that
    cannot be read.
    """
    if path is None:
        return Holding()
    if not path.exists():
        nothing = f"calibration: {path.name} does not exist, so nothing is calibrated yet."
        return Holding(facts=CalibrationFacts(path.name, read_instrument(path).stale_after_days, {}, (nothing,)))
    file, arrays = read_instrument(path), read_camera_arrays(path)
    tension_kV = None if wavelength_A is None else high_tension_v(wavelength_A) / 1000
    found: dict[str, CalibratedValue] = {}
    said: list[str] = []
    for name, kind in KINDS.items():
        values = [value for value in file.values if value.name == name]
        if not values or not kind.fact:
            continue
        fitting = [v for v in values if near(v.high_tension_kV, tension_kV)]
        if kind.holds is Holds.CAMERA_LENGTH:
            fitting = [v for v in fitting if near(v.camera_length_mm, camera_length_mm)]
        if len(fitting) == 1:
            found[kind.fact] = fitting[0]
        else:
            said.append(_not_used(name, values, fitting, tension_kV, camera_length_mm))
    figures = {fact: _figure(value) for fact, value in found.items()}
    if arrays is not None:
        if other := _of_another(arrays, tension_kV, shape):
            said.append(f"calibration: the flatfield of {path.name} {other}; it is not used.")
            arrays = None
        else:
            figures[FLATFIELD] = CalibratedFigure(arrays.accuracy, "1", arrays.made_on.isoformat(), arrays.data)
    tracking = tracking_values(file.values, tension_kV, camera_length_mm)
    if tracking is not None:
        figures |= {f"tracking.{fact}": _figure(value) for fact, value in tracking.used.items()}
        for fact, sigma_nm in tracking.shift_sigmas_nm.items():
            name = f"tracking.{fact}"
            figures[name] = replace(figures[name], sigma=sigma_nm, unit="nm per unit")
    numbers = {fact: float(value.value) for fact, value in found.items() if not isinstance(value.value, tuple)}
    return Holding(
        geometry=dict(_of_table("geometry", numbers)),
        timing=dict(_of_table("timing", numbers)),
        sigmas=dict(_of_table("geometry", {fact: figure.sigma for fact, figure in figures.items()})),
        arrays=arrays,
        tracking=None if tracking is None else tracking.facts,
        images=image_values(file.values, tension_kV),
        facts=CalibrationFacts(
            path.name,
            file.stale_after_days,
            figures,
            tuple(dict.fromkeys(said)),
            next((float(v.value) for v in file.values if v.name == HAND and not isinstance(v.value, tuple)), None),
        ),
    )


def not_overruled(facts: CalibrationFacts | None, origins: Mapping[str, str], holds: str) -> CalibrationFacts | None:
    """The same facts without figures of the geometry that something typed went before. holds: the origin of those that
    hold.
    """
    if facts is None:
        return None
    figures = {
        name: figure
        for name, figure in facts.figures.items()
        if not name.startswith("geometry.") or origins.get(name.removeprefix("geometry.")) == holds
    }
    return replace(facts, figures=figures)


def _figure(value: CalibratedValue) -> CalibratedFigure:
    """How sure a value is; of a matrix, the number that is known worst. What stands among the facts is not repeated."""
    sigma = max(value.sigma) if isinstance(value.sigma, tuple) else value.sigma
    stands = not value.kind.fact or value.kind.fact.startswith(("geometry.", "timing."))
    number = None if stands or isinstance(value.value, tuple) else value.value
    return CalibratedFigure(sigma, value.unit, value.made_on.isoformat(), value.data, number, value.camera_length_mm)


def _of_table(table: str, numbers: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    return ((fact.partition(".")[2], number) for fact, number in numbers.items() if fact.startswith(f"{table}."))


def _of_another(arrays: CameraArrays, tension_kV: float | None, shape: tuple[int, int] | None) -> str:
    if shape is not None and arrays.flatfield.shape != shape:
        rows, columns = arrays.flatfield.shape
        return f"is of a camera of {rows} x {columns} pixels, this one has {shape[0]} x {shape[1]}"
    if not near(arrays.high_tension_kV, tension_kV):
        return f"was made at {arrays.high_tension_kV:g} kV, the microscope is at {tension_kV:.4g} kV"
    return ""


def _not_used(
    name: str,
    values: Sequence[CalibratedValue],
    fitting: Sequence[CalibratedValue],
    tension_kV: float | None,
    camera_length_mm: float | None,
) -> str:
    """Why none of these values is used: they are of other settings, or nobody knows of which one to take."""
    settings = ", ".join(
        f"{value.high_tension_kV:g} kV" + (f" {value.camera_length_mm:g} mm" if value.camera_length_mm else "")
        for value in values
        if value.high_tension_kV is not None
    )
    if fitting:
        return f"calibration: {name} is known for {settings}; which is set nobody tells yet, so none is used."
    now = [f"{number:.4g} {unit}" for number, unit in ((tension_kV, "kV"), (camera_length_mm, "mm")) if number]
    return f"calibration: {name} is known for {settings}, not for {' '.join(now)}; it is not used."
