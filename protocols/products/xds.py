"""XDS.INP for the SMV pictures beside it. Keywords as in the XDS documentation (Kabsch, 2010).

XDS counts pixels from 1 with a pixel's centre on the whole number, so ORGX is the beam's position (pixel i covers
[i, i + 1)) plus one half. An axis (x, y) of DIALS is (x, -y) here. Frame numbers are slot numbers: gaps are
excluded, not renumbered.

XDS reads keywords wherever they stand; the programs around it read lines. So that edtools and AutoLEI change what they
are told to, and nothing else (tests/protocols/products/test_edtools.py):

* keywords begin their lines, and only those share one that are always set together: NX NY, QX QY, ORGX ORGY;
* the two numbers of a range begin after column 20, without a comment behind them;
* what they may set has a line already, commented out where XDS' own default holds;
* all is ASCII: edtools reads the file as cp1252 and writes it back in the system's encoding.
"""

from collections.abc import Sequence

from protocols.lattice.cell import Cell
from protocols.products.cross import wide_range
from protocols.products.foundcrystal import FoundCrystal
from protocols.products.metadata import RunHeader
from protocols.products.source import RunInfo, ranges

D_MAX_A, D_MIN_A = 20.0, 0.8
BACKGROUND_FRAMES = 10
TRUSTED_VALUES = 10, 30000
"""In the table of what each pixel sees, that XDS makes of the background."""
RANGE_COLUMN = 20
LOWEST = {
    "aP": 1, "mP": 3, "mC": 5, "mI": 5, "oP": 16, "oC": 21, "oF": 22, "oI": 23, "tP": 75, "tI": 79, "hP": 143,
    "hR": 146, "cP": 195, "cF": 196, "cI": 197,
}  # fmt: skip
"""The space group of lowest symmetry of each Bravais type, as XDS lists them."""


def xds_inp(info: RunInfo, run: RunHeader, corrected_distortion: bool, crystal: FoundCrystal | None = None) -> str:
    """The text of XDS.INP. corrected_distortion: whether XCORR.cbf and YCORR.cbf lie beside it. crystal: what was
    found of it, where somebody has looked.
    """
    rotation = run.rotation
    rows, columns = run.shape
    first, last = info.first_slot, info.last_slot
    without_data = run.without_data(info)
    kept = ranges(run.measured(info))
    axis = " ".join(f"{c:.6f}" for c in rotation.xds_axis)
    lines = [
        f"! {run.program}: run {run.run_id}, sample {run.sample}",
        f"! {len(info.slot)} frames in slots {first} to {last}; stage angle of slot k: "
        f"{info.start_deg:.5f} + (k-1) * {info.oscillation_deg:.7f} deg",
        "JOB= XYCORR INIT COLSPOT IDXREF DEFPIX INTEGRATE CORRECT",
        "MAXIMUM_NUMBER_OF_JOBS= 1",
        "MAXIMUM_NUMBER_OF_PROCESSORS= 4",
        "",
        "NAME_TEMPLATE_OF_DATA_FRAMES= data/?????.img  SMV",
        _range("DATA_RANGE", first, last),
        _range("BACKGROUND_RANGE", kept[0][0], min(kept[0][1], kept[0][0] + BACKGROUND_FRAMES - 1)),
        _range("SPOT_RANGE", first, last),
        *(f"EXCLUDE_DATA_RANGE= {begin} {end}" for begin, end in ranges(without_data)),
        "",
        "! the rotation: about an axis that makes every step positive",
        f"STARTING_FRAME= {first}",
        f"STARTING_ANGLE= {rotation.slot_start_deg(first):.6f}",
        f"OSCILLATION_RANGE= {rotation.width_deg:.8f}",
        f"ROTATION_AXIS= {axis}",
        f"X-RAY_WAVELENGTH= {run.wavelength_A:.7f}",
        "INCIDENT_BEAM_DIRECTION= 0 0 1",
        "",
        f"NX= {columns} NY= {rows}",
        f"QX= {run.pixel_size_mm:.6g} QY= {run.pixel_size_mm:.6g}",
        f"DETECTOR_DISTANCE= {run.camera_length_mm:.4f}",
        f"ORGX= {run.beam_fast_px + 0.5:.4f} ORGY= {run.beam_slow_px + 0.5:.4f}",
        "DIRECTION_OF_DETECTOR_X-AXIS= 1 0 0",
        "DIRECTION_OF_DETECTOR_Y-AXIS= 0 1 0",
        *_detector(corrected_distortion),
        "SENSOR_THICKNESS= 0.0   ! electrons stop near the surface",
        "AIR= 0",
        f"OVERLOAD= {info.overload - 1}",  # the largest count that is right
        "MINIMUM_VALID_PIXEL_VALUE= 0",
        "TRUSTED_REGION= 0.0 1.05",
        "VALUE_RANGE_FOR_TRUSTED_DETECTOR_PIXELS= {} {}".format(*TRUSTED_VALUES),
        *_untrusted(info),
        "",
        f"INCLUDE_RESOLUTION_RANGE= {D_MAX_A:g} {D_MIN_A:g}",
        "TEST_RESOLUTION_RANGE= 10 1",
        "FRIEDEL'S_LAW= TRUE",
        *_cell(run, crystal),
        "MAX_CELL_AXIS_ERROR= 0.05",
        "MAX_CELL_ANGLE_ERROR= 3.0",
        "",
        "! defaults of XDS, to be changed here",
        "!STRONG_PIXEL= 3",
        "!MINIMUM_FRACTION_OF_INDEXED_SPOTS= 0.5",
        "!WFAC1= 1",
        "!REIDX= 1 0 0 0  0 1 0 0  0 0 1 0",
        "",
        "! the camera length is calibrated, and correlates with the cell: it is not refined",
        "REFINE(IDXREF)= BEAM AXIS ORIENTATION CELL",
        "REFINE(INTEGRATE)= ORIENTATION CELL",
        "REFINE(CORRECT)= BEAM AXIS ORIENTATION CELL",
    ]
    return ("\n".join(lines) + "\n").encode("ascii", "replace").decode("ascii")


def _cell(run: RunHeader, crystal: FoundCrystal | None) -> list[str]:
    """The lattice where it is determined, as the triclinic one that it is in any case: that forces no symmetry.

    With a number of 0 XDS does not look at a cell. edtools takes any line with the keywords for theirs, so comments do
    without them.
    """
    if crystal is None or not crystal.determined:
        return [
            "! not known yet: XDS finds the cell. Both together where they are known",
            "SPACE_GROUP_NUMBER= 0",
            "!UNIT_CELL_CONSTANTS= 10 20 30 90 90 90",
        ]
    primitive = Cell(*crystal.scaled_to(run.camera_length_mm, crystal.primitive)).reduced().parameters
    lines = [
        f"! the reduced cell of the lattice, as {crystal.deg:.1f} deg of this run's frames have it (crystal.json),",
        f"! {' '.join(f'{x:.4f}' for x in crystal.primitive_sigma)} uncertain, with the camera length of this file",
    ]
    if crystal.bravais is not None and (number := LOWEST.get(crystal.bravais)) is not None and number > 1:
        cell = crystal.scaled_to(run.camera_length_mm, crystal.cell)
        lines += [
            f"! by its lengths and angles of type {crystal.bravais}: {_numbers(cell)}, space group {number} or higher.",
            "! What intensities say of the symmetry: set the space group to 0 and do the job CORRECT once more",
        ]
    return [*lines, "SPACE_GROUP_NUMBER= 1", f"UNIT_CELL_CONSTANTS= {_numbers(primitive)}"]


def _numbers(cell: Sequence[float]) -> str:
    return " ".join(f"{x:.3f}" for x in cell)


def _range(keyword: str, first: int, last: int) -> str:
    return f"{keyword + '=':<{RANGE_COLUMN}} {first} {last}"


def _detector(corrected_distortion: bool) -> list[str]:
    if not corrected_distortion:
        return ["DETECTOR= ADSC"]
    return [
        "DETECTOR= PILATUS   ! XDS applies the tables to this kind only",
        "X-GEO_CORR= XCORR.cbf",
        "Y-GEO_CORR= YCORR.cbf",
    ]


def _untrusted(info: RunInfo) -> list[str]:
    """The cross as rectangles x1 x2 y1 y2, whose borders are outside of them, counted from 1."""
    if not info.wide_cross:
        return []
    rows, columns = info.shape
    (top, below), (left, right) = wide_range(info.raw_shape[0]), wide_range(info.raw_shape[1])
    return [
        f"UNTRUSTED_RECTANGLE= {left} {right + 1} 0 {rows + 1}",
        f"UNTRUSTED_RECTANGLE= 0 {columns + 1} {top} {below + 1}",
    ]
