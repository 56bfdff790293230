"""The form of a plan: every key with its unit, limits, default and meaning, from the plan's own model.

What a person types goes back as words of `--set`, so that page and command line understand the same and complain in
the same words.
"""

from collections.abc import Iterator
from pathlib import Path

from engine.commands.plankeys import PlanKey, plan_keys
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.contract import AnyExperiment

KINDS = {"integer": "integer", "number": "number", "boolean": "switch"}


def form_of(kind: AnyExperiment) -> JsonDict:
    """The form of an experiment, for the page."""
    return {
        "protocol": kind.name,
        "summary": kind.summary,
        "pauses": kind.pauses,
        "keys": list(_fields(kind)),
    }


def _fields(kind: AnyExperiment) -> Iterator[JsonDict]:
    for key in plan_keys(kind.plan_type):
        given = _without_null(key.schema)
        yield {
            "key": key.name,
            "unit": key.unit,
            "meaning": key.meaning,
            "allowed": key.allowed,
            "default": _jsonable(key.schema.get("default")),
            "needed": key.default == "",
            "optional": given is not key.schema,
            "input": _input(key, given),
            "choices": [str(value) for value in given.get("enum", ()) if isinstance(value, str)],
            **{name: given[name] for name in ("minimum", "maximum") if name in given},
        }


def _without_null(key: JsonObject) -> JsonObject:
    """What a key may be besides nothing."""
    choices = [choice for choice in key.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 and len(key.get("anyOf", ())) == 2 else key


def _input(key: PlanKey, given: JsonObject) -> str:
    """number, integer, switch, choice, text; `toml` for all that has a form of its own."""
    if "enum" in given and all(isinstance(value, str) for value in given["enum"]):
        return "choice"
    told = str(given.get("type"))
    if told in KINDS:
        return KINDS[told]
    return "text" if told == "string" else "toml"


def _jsonable(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
