"""The plan of a cRED run: frozen data with units in the names, checked before anything moves."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.errors import shown
from protocols.cred.givenpath import GivenPath, PathKey, PathsKey
from protocols.cred.plantables import CrystalPlan, StopAtPlan, StopIfPlan
from protocols.cred.prescanplan import MOST_IMAGES
from protocols.cred.trackedby import TrackBy

FORMATS = ("smv", "tiff", "mrc", "nexus", "xds", "dials", "redp", "pets", "report")
ON_REQUEST = ("autoed", "pyautoprocess")
"""Formats that are made only where they are named."""
"""What protocols.products can make (a test keeps the two lists equal; its import is too slow for every command)."""
RELAX_HALF_CYCLE_S = 0.5

# More slots than any run has (a day of 100 ms each): a plan that asks for more has a slip in it.
SLOTS_LIMIT = 1_000_000

LONGEST_S = 86_400.0

Positive = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)]
"""Seconds, a day at most, or degrees per second."""
BEAM_WORDS = ("found", "nominal")
BEAM_SAYS = 'say found, nominal, or a place in px, fast then slow, as --set "beam=[258.3, 260.1]"'
BeamPixel = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]


class CredPlan(BaseModel):
    """Continuous rotation electron diffraction of one crystal. The defaults are a short run on mordenite.

    The docstrings of the keys are what `credline plan cred --keys` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sample: str = "mordenite"
    """Names the run folder: up to 64 letters, digits, '.', '_' and '-'."""
    exposure_s: Positive = 0.5
    """Of a diffraction frame."""
    speed_deg_s: Positive = 0.45
    """Nominal speed of the rotation; the true one is measured."""
    start_deg: Angle = -30.0
    """Where the stage stands when the rotation begins."""
    range_deg: Angle = 60.0
    """The rotation that slots cover; its sign is the direction. Not 0."""
    rotation: Literal["pedal", "commanded"] = "pedal"
    """Who starts it: the operator by the pedal, or credline."""
    rotation_timeout_s: Positive = 120.0
    """Give up waiting for the rotation after this."""
    snapshot_interval: Annotated[int, Field(ge=0, le=SLOTS_LIMIT, json_schema_extra={"unit": "slots"})] = 10
    """Every n-th slot is a defocused picture of the crystal; 0 for none, not 1."""
    snapshot_when_unsure_nm: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = None
    """With tracking: the next snapshot comes as soon as the crystal may be so far off, snapshot_interval being the
    longest that it waits; none for every n-th slot."""
    snapshot_interval_least: Annotated[int, Field(ge=2, le=SLOTS_LIMIT, json_schema_extra={"unit": "slots"})] = 5
    """With snapshot_when_unsure_nm: from one snapshot to the next at least."""
    snapshot_exposure_s: Positive = 0.01
    """Of such a picture."""
    defocus: Annotated[int, Field(gt=-(2**31), lt=2**31, json_schema_extra={"unit": "lens units"})] = 1500
    """Added to the value of the lens in focus for a snapshot."""
    relax_cycles: Annotated[int, Field(ge=0, le=100)] = 5
    """How often focus and defocus are toggled before the run, against hysteresis of the lens, 2 x 0.5 s each."""
    unblank: bool = True
    """Keep the beam off until the rotation is seen; false leaves the beam as it is until the end, which blanks it."""
    formats: tuple[str, ...] = FORMATS
    """Files for other programs, written when the run is over (docs/products.md), as --set formats=smv,xds; [] for
    none."""
    truth: bool = False
    """Simulation only: write truth.h5, what really happened."""
    bad_frames: Literal["go on", "stop"] = "go on"
    """Once frames are found dark, saturated, all the same or without the primary beam: warn, or stop as well."""
    live: bool = False
    """Look for the crystal's cell while it turns, every few degrees, and tell it (docs/live.md)."""
    tracking: Literal["off", "show", "correct"] = "off"
    """Follow the crystal by the snapshots: only show where it is, or bring it back, too (docs/tracking.md)."""
    track_by: TrackBy = "image shift"
    """What brings it back: with a selected-area aperture the image shift (the diffraction shift holds the pattern where
    it is); where a small probe selects, the beam shift; or the stage, if it moves while it tilts."""
    beam_follows: bool = False
    """With the image shift: move the beam as well, where it lights little more than the aperture (docs/tracking.md)."""
    crystal_lost: Literal["go on", "stop", "search"] = "go on"
    """Once tracking has lost the crystal in three snapshots in a row; search: look around, and stop if that is in
    vain."""
    path: PathKey = None
    """With tracking: a CSV file that tells where the crystal goes, as a run leaves it in snapshots/path.csv
    (docs/tracking.md)."""
    other_paths: PathsKey = ()
    """With path: the paths of other crystals nearby, which the same rotation collects: they are exposed in turns, from
    snapshot to snapshot, as --set other_paths=B.csv,C.csv (docs/tracking.md)."""
    prescan_images: Annotated[int, Field(ge=0, le=MOST_IMAGES)] = 0
    """With tracking: look at the crystal at so many angles over the range before the rotation; 0 for none."""
    stop_at: StopAtPlan = StopAtPlan()
    stop_if: StopIfPlan = StopIfPlan()
    beam: Literal["found", "nominal"] | tuple[BeamPixel, BeamPixel] = "found"
    """The primary beam in the files: found in the frames where it is surely seen, else nominal; nominal (as behind a
    beam stop); or its place, [fast, slow] in px."""
    crystal: CrystalPlan = CrystalPlan()

    @field_validator("sample")
    @classmethod
    def _file_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
            raise ValueError("it names the run folder; use up to 64 letters, digits, '.', '_' and '-'")
        return value

    @field_validator("beam", mode="before")
    @classmethod
    def _word_or_place(cls, value: object) -> object:
        if value not in BEAM_WORDS and not (isinstance(value, list | tuple) and len(value) == 2):
            raise ValueError(BEAM_SAYS)
        return value

    @field_validator("formats", mode="before")
    @classmethod
    def _one_word_or_more(cls, value: object) -> object:
        """`smv,tiff` as `credline export --formats` takes it, for a list has quotes that a shell takes away."""
        return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = (*FORMATS, *ON_REQUEST)
        if unknown := sorted(set(value) - set(known)):
            raise ValueError(f"{shown(unknown[0])!r} is no format; choose from {', '.join(known)}, or [] for none")
        return value

    @field_validator("speed_deg_s", mode="before")
    @classmethod
    def _no_direction(cls, value: object) -> object:
        if isinstance(value, int | float) and value < 0:
            raise ValueError("a speed is more than 0; to rotate the other way, give a negative range_deg")
        return value

    @field_validator("range_deg")
    @classmethod
    def _some_range(cls, value: float) -> float:
        if value == 0:
            raise ValueError("a range of 0 deg has no frames; give degrees, negative to rotate the other way")
        return value

    @field_validator("snapshot_interval")
    @classmethod
    def _some_frames(cls, value: int) -> int:
        if value == 1:
            raise ValueError("with 1 every slot would be a snapshot and none a frame; use 0 for none, or 2 and more")
        return value

    @model_validator(mode="after")
    def _some_defocus(self) -> "CredPlan":
        if self.snapshot_interval and self.defocus == 0:
            raise ValueError("defocus: 0 shows no crystal in the snapshots; set it, or snapshot_interval = 0")
        return self

    @model_validator(mode="after")
    def _some_snapshots(self) -> "CredPlan":
        if self.tracking != "off" and not self.snapshot_interval:
            raise ValueError("tracking: it looks at snapshots, and snapshot_interval = 0 takes none; give 10, or off")
        if self.tracking != "correct" and self.track_by != "image shift":
            raise ValueError("track_by: only tracking = correct brings a crystal back; set that, or leave track_by out")
        if self.beam_follows and (self.tracking, self.track_by) != ("correct", "image shift"):
            raise ValueError(
                "beam_follows: it follows the image shift; set tracking = correct and track_by = image shift"
            )
        if self.tracking == "off" and self.crystal_lost != "go on":
            raise ValueError("crystal_lost: without tracking nobody sees that; set tracking = show or correct")
        if self.tracking == "show" and self.crystal_lost == "search":
            raise ValueError(
                "crystal_lost: to search, the image shift has to be moved; set tracking = correct, or stop"
            )
        return self

    @model_validator(mode="after")
    def _whose_turn(self) -> "CredPlan":
        if not self.other_paths:
            return self
        if self.path is None or self.tracking != "correct" or self.track_by == "stage":
            raise ValueError(
                "other_paths: crystals are brought back in turns along their paths; give the path of the first one, "
                "and set tracking = correct, track_by = image shift or beam shift"
            )
        for key, value in (("prescan_images", 0), ("snapshot_when_unsure_nm", None), ("live", False)):
            if getattr(self, key) != value:
                raise ValueError(f"{key}: looks at one crystal, and other_paths names more; leave {key} out")
        if self.crystal_lost == "search":
            raise ValueError("crystal_lost: of several crystals none is searched for; set go on, or stop")
        if self.ends_early:
            key = next(iter(self.ends_early))
            raise ValueError(f"{key}: is asked of one crystal, and other_paths names more; leave it out")
        return self

    @model_validator(mode="after")
    def _some_interval(self) -> "CredPlan":
        if self.snapshot_when_unsure_nm is None:
            return self
        if self.tracking == "off":
            raise ValueError("snapshot_when_unsure_nm: only tracking knows that; set tracking = show or correct")
        if self.snapshot_interval_least >= self.snapshot_interval:
            raise ValueError(
                f"snapshot_interval_least = {self.snapshot_interval_least}: with snapshot_when_unsure_nm it has to be "
                f"less than snapshot_interval = {self.snapshot_interval}, which is the longest"
            )
        return self

    @model_validator(mode="after")
    def _learned_before(self) -> "CredPlan":
        """What is known of the crystal's path before the rotation is of use to tracking alone."""
        if self.tracking == "off" and (self.path is not None or self.prescan_images):
            key = "prescan_images" if self.prescan_images else "path"
            raise ValueError(f"{key}: without tracking nobody uses it; set tracking = show or correct, or leave it out")
        if self.prescan_images and not self.unblank:
            raise ValueError(
                "prescan_images: the beam is off between these images, which unblank = false does not allow; set "
                "unblank = true, or prescan_images = 0"
            )
        return self

    @model_validator(mode="after")
    def _looked_at(self) -> "CredPlan":
        if self.ends_early and not self.live:
            raise ValueError(
                f"{next(iter(self.ends_early))}: only a look at the crystal can tell; set live = true as well, or "
                "leave it out"
            )
        return self

    @property
    def paths(self) -> tuple[GivenPath, ...]:
        """Of all crystals, in the order of their turns; none where no path is given."""
        return () if self.path is None else (self.path, *self.other_paths)

    @property
    def ends_early(self) -> dict[str, float | bool]:
        """What ends the run before its range is covered, by key: empty where it is only told."""
        parts = {"stop_at": self.stop_at, "stop_if": self.stop_if}
        wishes = {f"{part}.{key}": value for part, keys in parts.items() for key, value in keys}
        return {key: value for key, value in wishes.items() if value is not None and value is not False}

    @property
    def direction(self) -> float:
        """+1 or -1, the sign of the rotation."""
        return math.copysign(1.0, self.range_deg)

    def device_options(self) -> dict[str, Any]:
        """What a simulated microscope needs to know: where the operator left stage and beam, which crystal it holds."""
        options: dict[str, Any] = {"start_deg": self.start_deg if self.rotation == "pedal" else 0.0}
        options["beam_on"] = not self.unblank
        options["crystal"] = {"cif": self.crystal.cif, "orientation_seed": self.crystal.orientation_seed}
        return options
