"""What the finder of crystals is told: lengths on the specimen, never pixels of one camera."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FinderSettings:
    """Of one search.

    smallest_nm, largest_nm: longest edge of the crystals that are looked for. Larger things are told as neighbours.
    contrast: `dark` where crystals are darker than the film (bright field), `bright` for a negative or dark field.
    least_contrast: of a crystal to what is around it, as ln of the light; a film's own unevenness must lie below it.
    isolated_nm, border_nm: a crystal is alone that is this far from the next thing, and from what ends the field.
    open_counts: what a pixel counts where nothing is in the beam; 0 where nobody knows. Only this tells a field all of
    hole from one all of film, and one behind a bar from one that is weakly lit.
    saturation: counts from which a pixel is full; 0 where nobody knows.
    """

    smallest_nm: float = 90.0
    largest_nm: float = 3000.0
    contrast: Literal["dark", "bright"] = "dark"
    least_contrast: float = 0.05
    isolated_nm: float = 1500.0
    border_nm: float = 500.0
    open_counts: float = 0.0
    saturation: float = 0.0
