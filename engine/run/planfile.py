"""From files and command-line words to a checked plan; every mistake becomes one line."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from pydantic import BaseModel, ValidationError

from engine.errors import Refused, shown
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.contract import ExperimentType, PlanT

UNITS = {
    "_s": ("s", "seconds"),
    "_h": ("h", "hours"),
    "_ms": ("ms", "milliseconds"),
    "_deg": ("deg", "degrees"),
    "_deg_s": ("deg/s", "degrees per second"),
    "_mrad": ("mrad", "milliradians"),
    "_nm": ("nm", "nanometres"),
    "_um": ("um", "micrometres"),
    "_mm": ("mm", "millimetres"),
    "_px": ("px", "pixels"),
    "_percent": ("%", "percent"),
    "_kV": ("kV", "kilovolts"),
    "_A": ("A", "angstroms"),
    "_e_A2": ("e/A^2", "electrons per square angstrom"),
    "_e_A2_s": ("e/A^2/s", "electrons per square angstrom and second"),
}
"""Ends of a key's name, and what is counted then: as a symbol, and as a word."""


PLAIN_WORDS = {
    "tuple_type": 'give a list, for example ["a", "b"], or [] for none',
    "list_type": 'give a list, for example ["a", "b"], or [] for none',
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
}
"""What is to be written instead, by pydantic's name for a mistake whose own words speak of Python's types."""


def unit_of(key: str, *, as_word: bool = False) -> str:
    """The unit that the end of a key's name tells, `deg/s`; empty where it tells none."""
    ends = [end for end in UNITS if key.endswith(end)]
    return UNITS[max(ends, key=len)][as_word] if ends else ""


def read_toml(path: Path, what: str) -> JsonDict:
    """A TOML file as a dictionary. Raises Refused naming file and line."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows put a mark of three bytes before the text
        tables = tomllib.loads(text)
        if _holds_endless(tables):
            raise ValueError("a whole number has more than 64 bits")
    except OSError as error:
        if path.is_dir():
            raise Refused(f"{what} {path}: is a folder. Name a TOML file in it.") from error
        raise Refused(f"{what} {path}: cannot be read ({error.strerror}). Check the name.") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{what} {path}: is not a text file in UTF-8.") from error
    except (ValueError, RecursionError) as error:  # brackets without end, a number of thousands of digits
        raise Refused(f"{what} {path}: is not valid TOML: {error}.{_hint(text, str(error))}") from error
    return tables


def _hint(text: str, error: str) -> str:
    """What is likely wrong in the line that the TOML reader names: a text without quotes, or a number with its unit."""
    place = re.search(r"at line (\d+)", error)
    lines = text.splitlines()
    line = lines[int(place[1]) - 1] if place and int(place[1]) <= len(lines) else ""
    value = line.partition("=")[2].strip()
    if re.match(r"[+-]?[\d.]+(e[+-]?\d+)?\s*[a-zA-Z%\u00b0\u00b5\u03bc]", value):
        return " A number stands without its unit."
    return " Text values need quotes." if value[:1].isalpha() or value[:1] in ("/", "\\", "~", "_") else ""


def _holds_endless(value: object) -> bool:
    """Whether a whole number of more than 64 bits is in it, which TOML does not have.

    Python reads it all the same; it is too large for a float, and may be too long to be shown.
    """
    left: list[object] = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict | list):
            left += item.values() if isinstance(item, dict) else item
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            return True
    return False


def parse_setting(word: str) -> tuple[list[str], object]:
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


def build_plan(
    kind: ExperimentType[PlanT], config: Path | None, settings: Sequence[str], before: JsonObject | None = None
) -> PlanT:
    """The plan from a file and `--set` words, later words winning. Raises Refused naming the key and the remedy.

    before: keys that hold where there is no file, of an earlier run.
    """
    values = read_toml(config, "--config") if config else deepcopy(dict(before or {}))
    for word in settings:
        keys, value = parse_setting(word)
        table = values
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise Refused(f"--set {shown(repr(word))}: {shown(key)} is a value, not a table.")
        table[keys[-1]] = value
    return build_plan_from(kind, values)


def build_plan_from(kind: ExperimentType[PlanT], values: JsonObject) -> PlanT:
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
        if (header := key) and isinstance(first["input"], dict) and set(first["input"]) & set(known):
            return (
                f"[{shown(header)}]: the keys of a plan stand without a header above them. Take out the line "
                f"[{shown(header)}].{more}"
            )
        is_table = isinstance(first["input"], dict)
        key = shown(key)
        near = difflib.get_close_matches(key, [name for name in known if "." in name or not is_table], n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Keys are: {', '.join(known)}."
        if is_table and not near:
            hint = "A table such as [microscope] or [geometry] stands in a devices file; name that file with --devices."
        return f"{key}: the plan has no such key. {hint}{more}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    label = f"{shown(key)} = {shown(repr(first['input']))}" if key else "plan"
    unit = unit_of(key, as_word=True)
    if unit and first["type"] in ("float_parsing", "float_type", "int_parsing"):
        message = f"give a plain number of {unit}, for example {key}={_example(plan_type, key)}"
    elif first["type"] in PLAIN_WORDS:
        message = PLAIN_WORDS[first["type"]]
    elif first["type"] in ("model_type", "model_attributes_type"):
        below = [name for name in _keys(plan_type) if name.startswith(f"{key}.")]
        message = f"it has keys of its own: {', '.join(below)}. Give one of these, for example --set {below[0]}=VALUE"
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
