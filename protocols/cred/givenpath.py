"""The path of a crystal that a plan names by its file: read where the plan is made, and part of the plan from then on.

So it stands in the header of the trace and in run.json, and a replay needs no file. What is wrong with a file is said
before anything moves (`protocols.tracking.pathfile`).
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from engine.errors import Refused

if TYPE_CHECKING:
    from protocols.tracking.path import PathPoint
    from protocols.tracking.regression import PathPrior

COPY = "path_given.csv"
"""Its name in the run folder, beside the snapshots."""
PLACED_NM = 150.0
"""By so much an operator who centres the crystal anew may leave it elsewhere than the path says: standard deviation."""
SLACK_NM = 100.0
"""Most of the goniometer's play is in the path already."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Row = tuple[Number, Number, Number, Number, Annotated[float, Field(gt=0, allow_inf_nan=False)]]


class GivenPath(BaseModel):
    """file: its name, without the folder. rows: angle_deg, x_nm, y_nm, z_nm, sigma_nm, angles rising."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    rows: Annotated[tuple[Row, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _rising(self) -> "GivenPath":
        angles = [row[0] for row in self.rows]
        if any(after <= before for before, after in pairwise(angles)):
            raise ValueError("the angles of a path rise from row to row")
        return self

    @property
    def points(self) -> "tuple[PathPoint, ...]":
        """The same for `CrystalPath`."""
        from protocols.tracking.path import PathPoint

        return tuple(PathPoint(*row) for row in self.rows)

    @property
    def prior(self) -> "PathPrior":
        """What is left open by it: the crystal keeps to this path as well as the file says (the median of its
        sigma_nm), but may lie beside it as a whole.
        """
        from protocols.tracking.regression import PathPrior

        sigma_nm = sorted(row[4] for row in self.rows)[len(self.rows) // 2]
        return PathPrior(
            place_nm=max(PLACED_NM, sigma_nm),
            across_nm=sigma_nm,
            height_nm=sigma_nm,
            runout_nm=sigma_nm,
            slack_nm=SLACK_NM,
        )

    def check_range(self, first_deg: float, last_deg: float, beyond_deg: float) -> None:
        """Raises Refused where it does not hold for a rotation; see `pathfile.check_range`."""
        from protocols.tracking.pathfile import check_range

        check_range(Path(self.file), self.points, first_deg, last_deg, beyond_deg)


def _read(value: object) -> object:
    """A name of a file as what stands in it; what was read before stays as it is."""
    if value is None or isinstance(value, Mapping | GivenPath):
        return value
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("name the file of a path, as --set path=FILE.csv, or leave it out")
    from protocols.tracking.pathfile import read_path

    try:
        points = read_path(Path(value))
    except Refused as refused:
        raise ValueError(str(refused).rstrip(".")) from refused
    rows = tuple((each.angle_deg, each.x_nm, each.y_nm, each.z_nm, each.sigma_nm) for each in points)
    return GivenPath(file=Path(value).name, rows=rows)


def _read_all(value: object) -> object:
    """Names of files; as words with commas between, too, for a list has quotes that a shell takes away."""
    several = value.split(",") if isinstance(value, str) else value
    return tuple(_read(each) for each in several) if isinstance(several, list | tuple) else (_read(several),)


PathsKey = Annotated[
    tuple[GivenPath, ...],
    BeforeValidator(_read_all),
    WithJsonSchema({"type": "array", "items": {"type": "string", "format": "file-path"}}),
]
"""The key of a plan that names several."""
PathKey = Annotated[
    GivenPath | None,
    BeforeValidator(_read),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "file-path"}, {"type": "null"}]}),
]
"""The key of a plan."""
