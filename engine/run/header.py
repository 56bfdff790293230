"""What the header of a trace, and a parent's records of its children, say of a plan: its keys, and a short hash."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel

from engine.record.jsonobject import JsonDict, JsonObject


def digest_of(plan: JsonObject) -> str:
    """A short hash of a plan's keys."""
    return sha256(repr(sorted(plan.items())).encode()).hexdigest()[:16]


def carried_over_by(continued: JsonObject | None) -> JsonObject | None:
    """What the earlier run had done, of what the header says of it; None for a run that begins anew."""
    done = None if continued is None else continued.get("done")
    return done if isinstance(done, Mapping) else None


def plan_in_trace(plan: BaseModel, path_keys: Sequence[str]) -> JsonDict:
    """The plan as a trace holds it: a file by its name, for its folder differs from machine to machine.

    path_keys: which keys are files, those in tables with dots (`ExperimentType.path_keys`).
    """
    keys = plan.model_dump(mode="json")
    for key in path_keys:
        *tables, last = key.split(".")
        table = keys
        for name in tables:
            table = table.get(name) or {}
        if table.get(last):
            table[last] = Path(table[last]).name
    return keys
