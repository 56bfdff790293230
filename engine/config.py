"""From files and command-line words to a checked plan and connected devices; every mistake becomes one line.

Protocols and drivers are found through the entry points `credline.protocols` and `credline.drivers`, so a lab can
add its own from its own package.
"""

import difflib
import json
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from engine.clock import Clock
from engine.errors import DataError, Refused, shown
from engine.experiment import ExperimentType
from engine.lock import instruments_locked

UNITS = {"_s": "seconds", "_deg": "degrees", "_deg_s": "degrees per second", "_nm": "nanometres", "_mm": "millimetres"}
PARTS = ("stage", "beam", "optics", "detector")
FACTS = ("geometry", "timing")


def registered(group: str) -> dict[str, EntryPoint]:
    """Entry points of `credline.<group>` by name."""
    return _registered(group, tuple(sys.path))


@cache
def _registered(group: str, where: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Remembered for as long as packages are looked for in the same places: reading their metadata takes 7 ms."""
    return {point.name: point for point in entry_points(group=f"credline.{group}")}


def experiment_type(name: str) -> ExperimentType:
    """The registered protocol of this name. Raises Refused with the names there are."""
    points = registered("protocols")
    if name not in points:
        raise Refused(
            f"protocol {shown(repr(name))} is not known; registered are: {', '.join(sorted(points)) or 'none'}."
        )
    loaded: ExperimentType = points[name].load()
    return loaded


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises Refused naming file and line."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        if _holds_endless(tables):
            raise ValueError("a whole number has more than 64 bits")
    except OSError as error:
        raise Refused(f"{what} {path}: cannot be read ({error.strerror}). Check the name.") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{what} {path}: is not a text file in UTF-8.") from error
    except (ValueError, RecursionError) as error:  # brackets without end, a number of thousands of digits
        raise Refused(f"{what} {path}: is not valid TOML: {error}. Text values need quotes.") from error
    return tables


def _holds_endless(value: Any) -> bool:
    """Whether a whole number of more than 64 bits is in it, which TOML does not have.

    Python reads it all the same; it is too large for a float, and may be too long to be shown.
    """
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict | list):
            left += item.values() if isinstance(item, dict) else item
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            return True
    return False


def read_run_document(folder: Path) -> dict[str, Any]:
    """The run.json of a run folder. Raises DataError when there is none, or it is no run's."""
    path = folder / "run.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the folder of a run.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is damaged ({error}); the other files of the run are untouched.") from error
    if not isinstance(document, dict) or not isinstance(document.get("protocol"), str):
        raise DataError(f"{path}: is not the run.json of credline.")
    return document


def parse_setting(word: str) -> tuple[list[str], Any]:
    """`key=value` or `table.key=value` as (keys, value); the value is TOML if it can be, else text."""
    key, equals, text = word.partition("=")
    if not equals or not key.strip():
        raise Refused(f"--set {shown(repr(word))}: write key=value, for example --set exposure_s=0.3.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    if _holds_endless(value):
        raise Refused(f"--set {shown(repr(word))}: no whole number has more than 64 bits. Give a smaller one.")
    return [part.strip() for part in key.split(".")], value


def build_plan(kind: ExperimentType, config: Path | None, settings: Sequence[str]) -> Any:
    """The plan from a file and `--set` words, later words winning. Raises Refused naming the key and the remedy."""
    values = read_toml(config, "--config") if config else {}
    for word in settings:
        keys, value = parse_setting(word)
        table = values
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise Refused(f"--set {shown(repr(word))}: {shown(key)} is a value, not a table.")
        table[keys[-1]] = value
    return build_plan_from(kind, values)


def build_plan_from(kind: ExperimentType, values: Mapping[str, Any]) -> Any:
    """The plan from its keys. Raises Refused naming the key and the remedy."""
    try:
        return kind.plan_type.model_validate(values)
    except ValidationError as error:
        raise Refused(_first_mistake(error, kind.plan_type)) from error


def _first_mistake(error: ValidationError, plan_type: type[BaseModel]) -> str:
    details = error.errors(include_url=False)
    first = details[0]
    key = ".".join(str(part) for part in first["loc"])
    more = f" ({len(details) - 1} more after this one)" if len(details) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys(plan_type)
        key = shown(key)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Keys are: {', '.join(known)}."
        return f"{key}: the plan has no such key. {hint}{more}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    label = f"{shown(key)} = {shown(repr(first['input']))}" if key else "plan"
    unit = next((name for end, name in sorted(UNITS.items(), key=lambda u: -len(u[0])) if key.endswith(end)), "")
    if unit and first["type"] in ("float_parsing", "float_type", "int_parsing"):
        message = f"give a plain number of {unit}, for example {key}={_example(plan_type, key)}"
    return f"{label}: {message}.{more}"


def _keys(plan_type: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in plan_type.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _keys(field.annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _example(plan_type: type[BaseModel], key: str) -> object:
    field = plan_type.model_fields.get(key)
    return field.default if field else 1.0


@asynccontextmanager
async def connect_devices(
    name: str, clock: Clock, seed: int, options: Mapping[str, Any], faults: Sequence[str] = ()
) -> AsyncIterator[Any]:
    """The microscope of a registered driver, or of a devices file that mixes drivers.

    options: what the plan tells simulated devices. A devices file (TOML) has a table `[microscope]` with `driver`
    and its options, `[detector]`, `[stage]`, `[beam]`, `[optics]` for parts taken from other drivers, and
    `[geometry]` and `[timing]` for what is known of the instrument and its drivers do not tell. faults: what is to
    befall it (`drivers.faults`).
    Raises Refused for names and keys that are not known and for an instrument that another program drives,
    DeviceError when a device cannot be reached.
    """
    drivers = registered("drivers")
    tables: dict[str, Any] = {"microscope": {"driver": name}}
    if name not in drivers:
        if not name.endswith(".toml"):
            raise Refused(
                f"--devices {name}: no driver of that name; registered are: {', '.join(sorted(drivers))}. "
                "Or give a devices file (.toml)."
            )
        tables = read_toml(Path(name), "--devices")
    if unknown := sorted(set(tables) - {"microscope", *PARTS, *FACTS}):
        known = "], [".join(("microscope", *PARTS, *FACTS))
        raise Refused(f"--devices {name}: table [{shown(unknown[0])}] is not known; use [{known}].")
    if "microscope" not in tables:
        raise Refused(f"--devices {name}: the table [microscope] with its driver is missing.")
    entries: dict[str, tuple[Any, dict[str, Any]]] = {}
    facts: dict[str, Any] = {}
    for part, table in tables.items():
        if not isinstance(table, dict):
            written = shown(repr(table))
            raise Refused(f"--devices {name}: {part} = {written} is not a table; write [{part}] and its keys below.")
        table = dict(table)
        if part in FACTS:
            facts[part] = table
            continue
        driver = table.pop("driver", None)
        if not isinstance(driver, str) or driver not in drivers:
            raise Refused(
                f"--devices {name}: [{part}] driver = {shown(repr(driver))} is not one of: "
                f"{', '.join(sorted(drivers))}."
            )
        entry = drivers[driver].load()
        entries[part] = entry, {**options, **table} if getattr(entry, "takes_plan_options", False) else table
    addresses = [entry.address(given) for entry, given in entries.values() if hasattr(entry, "address")]
    async with AsyncExitStack() as stack:
        stack.enter_context(instruments_locked([address for address in addresses if address is not None]))
        connected: dict[str, Any] = {}
        for part, (entry, given) in entries.items():
            connected[part] = await stack.enter_async_context(entry.connect(clock, seed, given))
        whole = connected.pop("microscope")
        microscope = whole.assembled(connected, **facts)
        yield registered("faults")["inject"].load()(microscope, clock, faults) if faults else microscope
