"""What a setup asks of an instrument, and the devices file and first values that follow from the answers."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import date
from importlib.metadata import version
from typing import Any

from drivers.assembling import NOBODY_KNOWS, middle_of
from drivers.calibration.calibratedvalue import CalibratedValue
from drivers.check.listing import ListedDriver, listed_drivers
from drivers.declared import Declared
from drivers.facts import Geometry
from drivers.geometry import high_tension_v, wavelength_A
from drivers.judged import impossible
from drivers.plausible import GEOMETRY
from engine.errors import Refused
from engine.run.registry import registered
from protocols.calibrate.missing import SETUP
from protocols.calibrate.setup.answers import Answers, Question

OWN = "the microscope's own"
COLUMN = ("stage", "beam", "optics")
WORTH_ASKING = {
    "host": "the computer on which its server runs (127.0.0.1 is this one)",
    "protocol": "how its server packs what it sends (as in its settings)",
    "motion_port": "port of a second server on the same computer: without one the stage blocks all else while it moves",
    "calibration": "name of the calibration in Instamatic's own configuration, none for none",
    "pictures": "how its pictures come: shared memory on one computer, socket from another",
    "binning": "so many pixels are one, 0 where the camera's server tells it",
    "rot90": "quarters by which its pictures are turned, as in Instamatic's configuration",
    "flipud": "whether they are mirrored from top to bottom, true or false",
    "limits_deg": "lowest and highest tilt that your holder allows, in deg, as [-60.0, 60.0]",
    "camera": "number of the camera",
    "rows": "rows of a picture",
    "columns": "columns of a picture",
    "pixel_size_mm": "size of a pixel in mm (0.055 of a Timepix)",
    "wide_cross": "whether the pixels in the middle are three times as wide: true or false",
}
"""Options of drivers whose default may be wrong for a lab. Every option may stand in an answers file."""
LENGTH_SIGMA = 0.05
"""How sure a nominal camera length is: to 5 %."""


@dataclass(frozen=True, slots=True)
class Described:
    """The instrument as the answers say. tables: of the devices file. values: for the instrument file: what is needed
    before it is calibrated, with an uncertainty that says so.
    """

    name: str
    tables: Mapping[str, Mapping[str, object]]
    values: tuple[CalibratedValue, ...]

    @property
    def devices_toml(self) -> str:
        """The text of the devices file."""
        lines = [f'instrument = "{self.name}.toml"  # what was calibrated; see credline calibrate list']
        for table, keys in self.tables.items():
            lines += ["", f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
        return "\n".join(lines) + "\n"


@dataclass(slots=True)
class _Driver:
    """One that was chosen, with the options that were answered and what it declares with them."""

    listed: ListedDriver
    options: dict[str, Any] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)


def described(answers: Answers, today: date) -> Described:
    """Ask all there is to ask. Raises Refused for an answer that cannot be; nothing was written."""
    name = str(answers.answer(Question("name", "a short name for this instrument, for its files", "microscope")))
    if not name.replace("-", "").replace("_", "").isalnum():
        raise Refused(f"setup: name = {name!r}: use letters, digits, - and _; nothing was written.")
    drivers = [driver for driver in listed_drivers() if not driver.problem or driver.options]
    columns = {driver.name: driver for driver in drivers if set(COLUMN) <= set(_parts(driver))}
    microscope = _chosen(answers, "microscope", "the driver of the microscope", columns)
    cameras = {driver.name: driver for driver in drivers if "detector" in _parts(driver) and driver.name not in columns}
    has_own = "detector" in _parts(microscope.listed)
    own = OWN if has_own else None
    camera = _chosen(answers, "detector", "the driver of the camera", cameras, own, _whole(columns))
    tables: dict[str, dict[str, object]] = {}
    for table, driver in (("microscope", microscope), ("detector", camera)):
        if driver is not None:
            plain = {key: value for key, value in driver.options.items() if not isinstance(value, Mapping)}
            tables[table] = {"driver": driver.listed.name, **plain}
            for key, value in driver.options.items():
                if isinstance(value, Mapping):
                    tables[f"{table}.{key}"] = dict(value)
    geometry, values = _geometry(answers, microscope, camera, today)
    if geometry:
        tables["geometry"] = geometry
    answers.finish()
    return Described(name, tables, tuple(values))


def _parts(driver: ListedDriver) -> tuple[str, ...]:
    """Of a driver that tells none without options, those that it names."""
    return driver.parts or tuple(getattr(registered("drivers")[driver.name].load(), "gives", ()))


def _whole(columns: Mapping[str, ListedDriver]) -> dict[str, str]:
    """What to do who names a microscope that brings a camera as the camera."""
    return {
        name: f"{name} is a microscope with its camera: name it as microscope.driver, and leave out detector.driver."
        for name, driver in columns.items()
        if "detector" in _parts(driver)
    }


def _chosen(
    answers: Answers,
    table: str,
    text: str,
    among: Mapping[str, ListedDriver],
    own: str | None = None,
    instead: Mapping[str, str] | None = None,
) -> Any:
    """A driver with its options; None for the microscope's own camera. instead: as of `Question`."""
    names = [*([own] if own else []), *among]
    chosen = answers.answer(Question(f"{table}.driver", text, own, names, instead or {}))
    if chosen == own:
        return None
    driver = _Driver(among[str(chosen)])
    entry: Any = registered("drivers")[driver.listed.name].load()
    for option in driver.listed.options:
        key = f"{table}.{option.key}"
        words = WORTH_ASKING.get(option.key)
        if words is None and key not in answers.given(table):
            continue
        default = json.loads(option.default) if option.default else ""
        question = Question(key, f"{driver.listed.name}: {words or option.wanted}", default)
        answer = answers.answer(question)
        if answer not in (default, ""):
            _put(driver.options, option.key, answer)
    driver.declared = entry.facts(driver.options)
    return driver


def _put(options: dict[str, Any], key: str, value: object) -> None:
    *tables, last = key.split(".")
    for table in tables:
        options = options.setdefault(table, {})
    options[last] = value


def _geometry(
    answers: Answers, microscope: _Driver, camera: _Driver | None, today: date
) -> tuple[dict[str, object], list[CalibratedValue]]:
    """Figures that no driver tells: those that hold for good, and those that a calibration will measure."""
    declared = [microscope.declared, *([] if camera is None else [camera.declared])]
    told: set[str] = set()
    for each in declared:
        told |= set(each.geometry) | {name.partition(".")[2] for name in each.unknown if name.startswith("geometry.")}
    size = declared[-1].detector or declared[0].detector
    told |= {"beam_fast_px", "beam_slow_px"} if size is None or size.shape is None else set(middle_of(size))
    told |= set(NOBODY_KNOWS)
    missing = [item.name for item in fields(Geometry) if item.default is MISSING and item.name not in told]
    typed: dict[str, object] = {}
    tension_kV = None
    if "wavelength_A" in missing:
        tension_kV = _tension_kV(answers)
        typed["wavelength_A"] = round(wavelength_A(1000 * tension_kV), 7)
    elif "wavelength_A" in microscope.declared.geometry:
        tension_kV = high_tension_v(microscope.declared.geometry["wavelength_A"]) / 1000
    if "pixel_size_mm" in missing:
        typed["pixel_size_mm"] = _figure(answers, Question("pixel_size_mm", "size of a camera's pixel in mm"))
    if "camera_length_mm" not in missing:
        return typed, []
    length_mm = _figure(answers, Question("camera_length_mm", "camera length that the microscope shows now, in mm"))
    value = {
        "name": "camera_length_mm",
        "value": length_mm,
        "sigma": LENGTH_SIGMA * length_mm,
        "unit": "mm",
        "high_tension_kV": tension_kV or _tension_kV(answers),
        "camera_length_mm": length_mm,
        "date": today,
        "data": SETUP,
        "program": f"credline {version('credline')}",
    }
    return typed, [CalibratedValue.model_validate(value)]


def _tension_kV(answers: Answers) -> float:
    def unlikely(value_kV: float) -> str | None:
        known = GEOMETRY["wavelength_A"]
        wrong = impossible("wavelength_A", wavelength_A(1000 * value_kV) if value_kV > 0 else 0.0, known)
        return f"{value_kV:g} kV cannot be: {wrong}" if wrong else None

    return _number(answers, Question("high_tension_kV", "high tension in kV", 200.0), unlikely)


def _figure(answers: Answers, question: Question) -> float:
    """A figure of the geometry that can be one."""
    return _number(answers, question, lambda value: impossible(question.key, value, GEOMETRY[question.key]))


def _number(answers: Answers, question: Question, wrong: Callable[[float], str | None]) -> float:
    answer = answers.answer(question)
    if isinstance(answer, bool) or not isinstance(answer, int | float) or not math.isfinite(answer):
        raise Refused(f"setup: {question.key} = {answer!r} is not a number; nothing was written.")
    if why := wrong(float(answer)):
        raise Refused(f"setup: {why} Nothing was written.")
    return float(answer)


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
