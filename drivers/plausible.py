"""What microscopes and cameras have: what a figure can be, what it usually is, and in which units it is mistaken.

Data alone, with where they come from; the one place that knows them. Who puts a judgement into words is
`drivers.judged`. What is outside `possible` is refused, what is outside `usual` is asked about.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.geometry import wavelength_A

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Slip:
    """A unit that a figure is often given in by mistake. meant: the figure in its own unit, from one in this unit."""

    unit: str
    meant: Callable[[float], float]


def times(unit: str, factor: float) -> Slip:
    """A slip of a factor: so many of the figure's own units are one of this unit."""
    return Slip(unit, lambda value: value * factor)


def _of_kilovolts(voltage_kv: float) -> float:
    return wavelength_A(1000 * voltage_kv) if voltage_kv > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Plausible:
    """One figure. what: it in words, with an article. unit: as people write it, empty for a bare number.

    possible, usual: lowest and highest; slips: the likeliest first, each offered where it leads into `usual`.
    """

    what: str
    unit: str
    possible: Span
    usual: Span
    slips: tuple[Slip, ...] = ()


MILLISECONDS = times("ms", 1e-3)
MICROSECONDS = times("us", 1e-6)

# 10 kV: the lowest of a scanning column; 3.5 MV: above the highest that was built (Osaka, 3 MV). Usual are 60 to
# 300 kV, the range of all that is sold today.
WAVELENGTH = Plausible(
    "a wavelength",
    "A",
    (wavelength_A(3.5e6), wavelength_A(1e4)),
    (wavelength_A(3.05e5), wavelength_A(5.9e4)),
    (times("pm", 0.01), times("nm", 10.0), Slip("kV", _of_kilovolts), Slip("V", lambda v: _of_kilovolts(v / 1000))),
)

GEOMETRY: Mapping[str, Plausible] = {
    "wavelength_A": WAVELENGTH,
    # Diffraction modes of JEOL, Thermo Fisher and Zeiss columns: 80 mm to 6 m at the screen.
    "camera_length_mm": Plausible(
        "a camera length",
        "mm",
        (10.0, 50_000.0),
        (100.0, 8000.0),
        (times("m", 1000.0), times("cm", 10.0), times("um", 1e-3)),
    ),
    # CMOS 5 to 15 um, CCD up to 50 binned, Medipix and Timepix 55, EIGER 75, JUNGFRAU 75, PILATUS 172 (with X-rays).
    "pixel_size_mm": Plausible(
        "a pixel",
        "mm",
        (0.001, 1.0),
        (0.005, 0.15),
        (times("um", 1e-3), times("m", 1000.0), times("nm", 1e-6)),
    ),
    "rotation_axis_deg": Plausible("a direction", "deg", (-360.0, 360.0), (-360.0, 360.0)),
    # How far goniometer and camera are out of true.
    "rotation_axis_tilt_deg": Plausible("a lean of the axis", "deg", (-45.0, 45.0), (-3.0, 3.0)),
    # Projector lenses: 0 to 5 % (2.4 % in Cichocka et al., 2018).
    "distortion_amplitude_percent": Plausible("a distortion", "%", (-50.0, 50.0), (-10.0, 10.0)),
    "distortion_azimuth_deg": Plausible("a direction", "deg", (-360.0, 360.0), (-360.0, 360.0)),
}

# One call: 1 ms over a local COM interface, 35 ms (Cichocka et al.), 78 to 277 ms for the stage of some.
CALL = Plausible("a call to a microscope", "s", (0.0, 10.0), (0.0, 1.0), (MILLISECONDS, MICROSECONDS))
TIMING: Mapping[str, Plausible] = {"api_call_s": CALL, "api_call_worst_s": CALL, "stage_read_s": CALL}

# Holders: +-30 deg by a narrow gap of the pole piece, +-80 deg for tomography, a full turn for needles.
TILT = Plausible("a tilt", "deg", (-360.0, 360.0), (-180.0, 180.0), (times("mdeg", 1e-3),))
BACKLASH = Plausible("a stage's backlash", "deg", (0.0, 10.0), (0.0, 2.0), (times("mdeg", 1e-3),))
# Goniometers rotate at 0.01 to 30 deg/s.
SPEED = Plausible(
    "a rotation",
    "deg/s",
    (1e-4, 60.0),
    (0.005, 30.0),
    (times("mdeg/s", 1e-3), Slip("deg/min", lambda v: v / 60)),
)

# A lens settles within 0.3 to 0.4 s from a small defocus, within seconds from a large one.
SETTLING = Plausible("the settling of a lens", "s", (0.0, 60.0), (0.0, 5.0), (MILLISECONDS, MICROSECONDS))
# Lens values are 16 bits with JEOL; other interfaces count in steps of their own, finer by up to a thousand.
DEFOCUS = Plausible("a change of the diffraction lens", "", (-1e7, 1e7), (-65_535.0, 65_535.0))

EXPOSURE = Plausible("an exposure", "s", (1e-5, 600.0), (0.001, 20.0), (MILLISECONDS, MICROSECONDS))
# Of an image of the crystal, that is defocused and bright: 10 ms in Cichocka et al.
SNAPSHOT = Plausible("an exposure of a snapshot", "s", (1e-5, 60.0), (0.001, 2.0), (MILLISECONDS, MICROSECONDS))
# Nothing to some ms for hybrid pixels, up to seconds for a CCD.
READOUT = Plausible("a camera's readout", "s", (0.0, 60.0), (0.0, 3.0), (MILLISECONDS, MICROSECONDS))
# Who holds the pedal needs seconds to minutes.
WAITING = Plausible("the wait for an operator", "s", (0.1, 86_400.0), (1.0, 3600.0), (MILLISECONDS,))

# The same microscopes as of WAVELENGTH, by their voltage.
VOLTAGE = Plausible(
    "an acceleration voltage", "kV", (10.0, 3500.0), (59.0, 305.0), (times("V", 1e-3), times("MV", 1000.0))
)
# The pixels and camera lengths of GEOMETRY; from 1 nm to the edge of a small detector, to 0.2 A of a large one.
PER_PX = Plausible("a pixel of a pattern", "1/A", (1e-6, 1.0), (2e-4, 0.05), (times("1/nm", 0.1), times("1/m", 1e-10)))

# The shortest axis of any crystal is a little above 2 A (beryllium: 2.29), the longest of proteins some 1000.
CELL_LENGTH = Plausible(
    "an axis of a unit cell", "A", (2.0, 2000.0), (2.0, 500.0), (times("nm", 10.0), times("pm", 0.01))
)
