"""The tables of a cRED plan: which crystal a simulation holds, and when looks at the crystal end the run."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


class CrystalPlan(BaseModel):
    """Which crystal the simulated microscope holds; real hardware has its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cif: Path | None = None
    """Simulation only: its structure; none for mordenite."""
    orientation_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Simulation only: how it lies, drawn from this seed."""


Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


def _no_percent(value: object) -> object:
    """A share that is written in percent."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
        raise ValueError(f"a share is at most 1; if {value:g} % was meant, write {value / 100:g}")
    return value


class StopAtPlan(BaseModel):
    """When the run has what it wanted; asked after each look at the crystal."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    completeness: Share | None = None
    """With live: end the run once so much of all reflections is measured, to the resolution seen; none to go on."""
    damage: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    """With live: end the run once the beam has taken so much of the intensity of the outer shell (the third of the
    reflections with the smallest spacings); none to go on."""

    _percent = field_validator("completeness", "damage", mode="before")(_no_percent)


class StopIfPlan(BaseModel):
    """When going on is of no use; asked after each look at the crystal."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    no_lattice_after_deg: Annotated[float, Field(gt=0, le=360, allow_inf_nan=False)] | None = None
    """With live: end the run if no lattice is determined after so much rotation; none to go on."""
    several_lattices: bool = False
    """With live: end the run if a second lattice is found."""
    shadow_deg: Annotated[float, Field(gt=0, le=360, allow_inf_nan=False)] | None = None
    """With live: end the run if a bar or the holder has come into the beam, and stood there for so much rotation; none
    to go on."""
