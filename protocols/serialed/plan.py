"""The plan of a serial run: frozen data with units in the names, checked before anything moves."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Format = Literal["csv", "cxi", "nexus", "overview", "report"]
FORMATS: tuple[Format, ...] = ("csv", "cxi", "nexus", "overview", "report")

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Um = Annotated[float, Field(gt=0, le=3000, allow_inf_nan=False)]
Nm = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Place = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]


class FinderPlan(BaseModel):
    """Which of the things that are found are crystals to visit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    smallest_nm: Annotated[float, Field(ge=0, le=1e5, allow_inf_nan=False)] = 150.0
    """Shorter ones are dirt; 0: as short as can be seen."""
    largest_nm: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    """Longer ones are not visited; 0: as the finder likes, 3 um."""


class SerialedPlan(BaseModel):
    """A raster over a region of the grid, and a pattern of each crystal in it. The defaults are those of the paper.

    The docstrings of the keys are what `credline plan serialed --keys` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sample: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "grid"
    """Names the run folder."""
    width_um: Um = 200.0
    """Of the region, along x of the stage."""
    height_um: Um = 200.0
    """Of the region, along y of the stage."""
    step_um: Um = 13.0
    """From one field to the next, along x and along y."""
    centre_nm: tuple[Place, Place] | None = None
    """Of the region, x and y of the stage; where the stage stands at the beginning, if nothing is said."""
    magnification: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] = 2500.0
    """Of the images, as the panel names it; stage and beam shift are to be calibrated there."""
    image_exposure_s: Seconds = 0.5
    """Of an image."""
    image_brightness: float | None = None
    """Of the condenser for images; as it is at the beginning, if nothing is said."""
    pattern_exposure_s: Seconds = 0.1
    """Of a diffraction pattern, and of a look at the probe."""
    probe_brightness: float = 30400.0
    """Of the condenser for patterns, which makes the small probe."""
    probe_nm: Nm = 400.0
    """Diameter of that probe on the specimen; it is measured at the beginning."""
    crystals: Literal["all", "isolated"] = "all"
    """Which of those found are visited."""
    neighbour_um: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 1.5
    """A crystal is isolated if the next thing is at least so far."""
    border_um: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.5
    """And the edge of the picture."""
    crystals_per_field: Annotated[int, Field(ge=1, le=300)] = 100
    """Visited at most."""
    finder: FinderPlan = FinderPlan()
    """What is taken for a crystal."""
    condenser_settling_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.1
    """After a change of the brightness, until the beam stands."""
    stage_settling_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.6
    """After the stage says that it stands, until it does."""
    probe_looks: bool = True
    """Whether it is looked in the image where the probe lies. false: it is taken to lie in the middle of the image, and
    the beam shift to be as it was calibrated."""
    beam_check_fields: Annotated[int, Field(ge=0, le=10000)] = 20
    """After so many fields at most it is looked where the probe lies, sooner where it moves. 0: at the beginning."""
    grid_pitch_um: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 62.0
    """From one window of the mesh to the next: fields behind its bars are skipped by what earlier ones showed. 0: none
    are."""
    score: bool = True
    """Whether each pattern is scored while the run goes on."""
    formats: tuple[Format, ...] = FORMATS
    """Files that are made at the end."""
    tell_crystals: bool = False
    """Whether the result holds the table of crystals and fields, for who goes on with the best of them."""
    truth: bool = True
    """Of the simulated instrument: whether the truth is written beside the data."""

    @model_validator(mode="after")
    def _has_room(self) -> "SerialedPlan":
        if self.step_um > max(self.width_um, self.height_um):
            raise ValueError("step_um is larger than the region: there is one field. Make the region larger")
        return self
