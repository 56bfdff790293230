"""The plan of a session: frozen data with units in the names. What its children are asked is in tables of their own.

The tables `screening`, `recall`, `height` and `cred` hold keys of the plans of these experiments; they are checked by
them (`protocols.session.children`), before anything moves.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Um = Annotated[float, Field(gt=0, le=3000, allow_inf_nan=False)]
Place = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Hours = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Table = dict[str, Any]


class GoalPlan(BaseModel):
    """When it is enough. What comes first ends the session; a crystal that was begun is finished."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_hours: Hours = 8.0
    """Of the session, screening included: no crystal is begun that would not be over by then."""
    max_beam_on_h: Hours | None = None
    """Of the beam on the grid, in all; none: no limit."""
    max_dose_e_A2: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    """Electrons per A^2 on one crystal, by `flux_e_A2_s`: a rotation that would give it more is made shorter."""
    flux_e_A2_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    """Electrons per A^2 and s on the crystal in the beam of the rotation; none: the dose is not told."""
    data_sets: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """So many that can be indexed."""
    completeness: Share | None = None
    """Of every phase that was found, all its data sets together, to `d_min_A`."""
    phases: Annotated[int, Field(ge=1, le=100)] = 1
    """For `completeness`: so many phases there have to be at least."""
    d_min_A: Annotated[float, Field(gt=0.1, le=20, allow_inf_nan=False)] = 1.0
    """To which completeness is counted."""


class ChoosePlan(BaseModel):
    """Which of the screened crystals are worth a rotation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    score_least: Share = 0.5
    """Of the pattern, by the screening; 0: also crystals without a score (`screening.score = false`)."""
    several_most: Share = 0.5
    """Chance of more than one lattice in it."""
    d_min_most_A: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    """It has to diffract so far; none: anyhow."""
    isolated: bool = True
    """Only crystals that nothing is near to."""
    smallest_nm: Annotated[float, Field(ge=0, le=1e5, allow_inf_nan=False)] = 0.0
    """Shorter ones are left."""
    largest_nm: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    """Longer ones are left; 0: none are."""
    free_deg: Annotated[float, Field(ge=0, le=90, allow_inf_nan=False)] = 0.0
    """It has to stay free of the bars of the mesh to so much tilt to both sides; 0: not asked."""
    bar_height_um: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 15.0
    """Of the bars above the film: what they shade comes after what stays free."""
    crystals: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """So many at most are tried."""


class SessionPlan(BaseModel):
    """A region of a grid is screened, and the best crystals are rotated, one after the other.

    The docstrings of the keys are what `credline plan session --keys` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sample: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "session"
    """Names the run folder."""
    width_um: Um = 200.0
    """Of the region, along x of the stage."""
    height_um: Um = 200.0
    """Of the region, along y of the stage."""
    centre_nm: tuple[Place, Place] | None = None
    """Of the region, x and y of the stage; where the stage stands at the beginning, if nothing is said."""
    block_um: Annotated[float, Field(ge=0, le=3000, allow_inf_nan=False)] = 0.0
    """The region is screened block by block of this size, the next one when no crystal is left; 0: all at once."""
    goal: GoalPlan = GoalPlan()
    choose: ChoosePlan = ChoosePlan()
    set_height: bool = True
    """Whether the height of each crystal is measured and set, where the instrument can."""
    height_within_um: Annotated[float, Field(ge=0, le=3000, allow_inf_nan=False)] = 15.0
    """A height that was measured so near to a crystal is set for it as well; 0: each is measured."""
    beam_brightness: float | None = None
    """Of the condenser for the rotation; as it is at the beginning, if nothing is said: as for images."""
    level_speed_deg_s: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 10.0
    """At which the stage is tilted back to 0 after a rotation; the next lower one that the stage has."""
    device_fault: Literal["end", "wait"] = "wait"
    """When a device does not answer: end, safe, or wait for it."""
    wait_for_device_min: Annotated[float, Field(gt=0, le=1440, allow_inf_nan=False)] = 15.0
    """So long; then the session ends."""
    failures_in_a_row: Annotated[int, Field(ge=1, le=1000)] = 4
    """So many crystals one after the other by the same device count as a device that does not answer."""
    merge: bool = True
    """Whether the intensities of each phase are merged after each data set, beside the next crystal."""
    dials: bool = False
    """Whether DIALS processes each data set and scales those of each phase, too, beside the next crystals; it has to be
    installed, and `merge` on.
    """
    report: bool = True
    """Whether a page of the session is made at its end."""
    screening: Table = {}
    """Keys of the plan of serialed."""
    recall: Table = {}
    """Keys of the plan of serialed-recall."""
    height: Table = {}
    """Keys of the plan of eucentric-height."""
    cred: Table = {}
    """Keys of the plan of cred."""
