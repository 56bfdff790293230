"""`credline plan PROTOCOL --keys`: unit, default, range and meaning of every key, from the plan's own model."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typer.testing import CliRunner

from engine.commands.main import app
from engine.commands.plankeys import key_lines, plan_keys
from engine.run.registry import experiment_type, registered


class Mode(StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Foreign:
    """A type that JSON has no words for."""


class Holder(BaseModel):
    tilt_deg: Annotated[float, Field(ge=-70, le=70)] = 0.0


class OursPlan(BaseModel):
    """A plan of somebody else, with all kinds of keys."""

    model_config = ConfigDict(use_attribute_docstrings=True, arbitrary_types_allowed=True)

    where: str
    exposure_s: Annotated[float, Field(gt=0)] = 0.5
    """How long
    each one is exposed."""
    fields: int = Field(3, ge=1, lt=1_000_000, description="How many.", json_schema_extra={"unit": "fields"})
    speed_deg_s: float | None = None
    mode: Mode = Mode.FAST
    kind: Literal["a", "b"] = "a"
    wet: bool = False
    table: Path | None = None
    tilts_deg: tuple[float, ...] = Field((0.0, 1.0), min_length=1)
    places_nm: tuple[tuple[float, float], ...] = ()
    name: Annotated[str, Field(pattern="[a-z]+")] = "x"
    foreign: Foreign | None = None
    holder: Holder = Holder()


@pytest.mark.parametrize(
    ("name", "unit", "default", "allowed", "meaning"),
    [
        ("where", "", "", "text", ""),
        ("exposure_s", "s", "0.5", "number, more than 0", "How long each one is exposed."),
        ("fields", "fields", "3", "whole number, at least 1, less than 1000000", "How many."),
        ("speed_deg_s", "deg/s", "none", "number", ""),
        ("mode", "", '"fast"', 'one of "fast", "slow"', ""),
        ("kind", "", '"a"', 'one of "a", "b"', ""),
        ("wet", "", "false", "true or false", ""),
        ("table", "", "none", "file", ""),
        ("tilts_deg", "deg", "[0.0, 1.0]", "list of 1 or more: number", ""),
        ("places_nm", "nm", "[]", "list: list of 2: number", ""),
        ("name", "", '"x"', "text, matching [a-z]+", ""),
        ("foreign", "", "none", "", ""),
        ("holder.tilt_deg", "deg", "0.0", "number, -70 to 70", ""),
    ],
)
def test_a_key_says_its_unit_default_range_and_meaning(
    name: str, unit: str, default: str, allowed: str, meaning: str
) -> None:
    (key,) = [key for key in plan_keys(OursPlan) if key.name == name]
    assert (key.unit, key.default, key.allowed, key.meaning) == (unit, default, allowed, meaning)


def test_every_key_of_the_plan_is_told() -> None:
    assert [key.name.partition(".")[0] for key in plan_keys(OursPlan)] == list(OursPlan.model_fields)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = list(key_lines(OursPlan, width))
    assert max(map(len, lines)) <= width
    assert lines[0] == "where (has no default: give it)"


@pytest.mark.parametrize("protocol", sorted(registered("protocols")))
def test_every_key_of_our_own_protocols_has_a_meaning(protocol: str) -> None:
    keys = list(plan_keys(experiment_type(protocol).plan_type))
    assert [key.name for key in keys if not key.meaning] == []


def asked(*words: str) -> Any:
    return CliRunner().invoke(app, words, env={"COLUMNS": "60"})


@pytest.mark.parametrize("words", [("plan", "cred", "--keys"), ("plan", "cred", "--keys", "--set", "exposure_s=-1")])
def test_the_command_shows_them_and_looks_at_no_plan(words: Sequence[str]) -> None:
    done = asked(*words)
    assert done.exit_code == 0, done.output
    assert "exposure_s = 0.5\n    in s: number, more than 0, at most 86400\n" in done.stdout
    assert "crystal.cif = none" in done.stdout
