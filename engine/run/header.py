"""What the header of a trace, and a parent's records of its children, say of a plan: its keys, and a short hash."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def digest_of(plan: Mapping[str, Any]) -> str:
    """A short hash of a plan's keys."""
    return sha256(repr(sorted(plan.items())).encode()).hexdigest()[:16]


def plan_in_trace(plan: BaseModel) -> dict[str, Any]:
    """The plan as a trace holds it: a file by its name, for its folder differs from machine to machine."""
    keys = plan.model_dump(mode="json")
    crystal = keys.get("crystal")
    if isinstance(crystal, dict) and crystal.get("cif"):
        return {**keys, "crystal": {**crystal, "cif": Path(crystal["cif"]).name}}
    return keys
