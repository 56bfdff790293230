"""`credline plan PROTOCOL --keys`: every key of a plan with its unit, default, range and meaning, of any protocol.

All of it is read from the plan's own pydantic model: a key's meaning is its `description` (or its docstring, where the
model asks for `use_attribute_docstrings`), its unit the end of its name, or `unit` in its `json_schema_extra`.
"""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.planfile import unit_of

INDENT = "    "


@dataclass(frozen=True, slots=True)
class PlanKey:
    """One key of a plan, in words: `unit` and `meaning` are empty where nobody said."""

    name: str
    unit: str
    default: str
    allowed: str
    meaning: str
    schema: JsonObject
    """As JSON has it, for a form."""


class _AnyPlan(GenerateJsonSchema):
    """The schema also of a plan with types that JSON has no words for: of those nothing is told."""

    def handle_invalid_for_json_schema(self, schema: object, error_info: str) -> JsonSchemaValue:
        return {}


def plan_keys(plan_type: type[BaseModel]) -> Iterator[PlanKey]:
    """The keys of a plan in its own order, those of tables as `table.key`."""
    whole = plan_type.model_json_schema(schema_generator=_AnyPlan)
    yield from _keys(whole, whole.get("$defs", {}), "")


def _keys(table: JsonObject, tables: JsonObject, prefix: str) -> Iterator[PlanKey]:
    required = table.get("required", ())
    for name, given in table.get("properties", {}).items():
        key = _resolved(given, tables)
        if "properties" in key:
            yield from _keys(key, tables, f"{prefix}{name}.")
            continue
        yield PlanKey(
            name=prefix + name,
            unit=str(key["unit"]) if "unit" in key else unit_of(name),
            default="" if name in required else _written(key.get("default")),
            allowed=_allowed(key, tables),
            meaning=" ".join(str(key.get("description", "")).split()),
            schema=key,
        )


def _resolved(key: JsonObject, tables: JsonObject) -> JsonDict:
    """A key with what it refers to; what stands at the key itself comes before that."""
    named = key.get("$ref")
    if named is None and len(key.get("allOf", ())) == 1:  # as some versions of pydantic write it
        named = key["allOf"][0].get("$ref")
    return {**(tables.get(str(named).rpartition("/")[2], {}) if named else {}), **key}


def _written(value: object) -> str:
    """A default as TOML writes it; none, where the key may be left out and has no value then."""
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _allowed(key: JsonObject, tables: JsonObject) -> str:
    """What may stand there: `number, more than 0, at most 60`."""
    key = _resolved(key, tables)
    if "enum" in key or "const" in key:
        return "one of " + ", ".join(_written(value) for value in key.get("enum", [key.get("const")]))
    if choices := key.get("anyOf"):
        words = [_allowed(choice, tables) for choice in choices if choice.get("type") != "null"]
        return " or ".join(word for word in words if word)
    kind = {
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "string": "file" if key.get("format") in ("path", "file-path") else "text",
        "object": "table",
    }.get(str(key.get("type")), "")
    if key.get("type") == "array":
        kind = _list(key, tables)
    low, high = key.get("minimum"), key.get("maximum")
    bounds = [f"{_number(low)} to {_number(high)}"] if low is not None and high is not None else []
    bounds += [
        f"{words} {_number(key[name])}"
        for name, words in (
            ("exclusiveMinimum", "more than"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "less than"),
            ("maximum", "at most"),
        )
        if name in key and not (bounds and name in ("minimum", "maximum"))
    ]
    bounds += [f"matching {key['pattern']}"] if "pattern" in key else []
    return ", ".join([kind, *bounds] if kind else bounds)


def _number(value: float) -> str:
    """As somebody writes it: limits may be whole numbers of 64 bits."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**63 else f"{value:g}"


def _list(key: JsonObject, tables: JsonObject) -> str:
    """A list, of what and how many."""
    items = key["items"] if isinstance(key.get("items"), dict) else {}
    each = [_allowed(item, tables) for item in key.get("prefixItems", ())]
    of = _allowed(items, tables) or " and ".join(each[:1] if len(set(each)) == 1 else each)
    low, high = key.get("minItems"), key.get("maxItems")
    if low == high:
        many = "" if low is None else f" of {low}"
    else:
        many = (f" of {low} or more" if low else "") + (f" of {high} at most" if high else "")
    return f"list{many}" + (f": {of}" if of else "")


def key_lines(plan_type: type[BaseModel], width: int) -> Iterator[str]:
    """The keys for a person, folded to a width in letters: key and default, then unit and range, then the meaning."""
    for key in plan_keys(plan_type):
        head = f"{key.name} = {key.default}" if key.default else f"{key.name} (has no default: give it)"
        yield from textwrap.wrap(head, width, subsequent_indent=INDENT, break_on_hyphens=False)
        unit = f"in {key.unit}: " if key.unit else ""
        for words in (f"{unit}{key.allowed}", key.meaning):
            yield from textwrap.wrap(
                words, width, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False
            )
