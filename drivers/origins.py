"""Where a figure of the instrument is from, and which one holds where several sources know it.

One precedence for all: typed into the devices file, calibrated, told by the instrument's own programs, default. Used
where parts become a microscope (`drivers.contract`). What holds is shown with its origin, and where two sources say
different things that is said: the operator knows which is right.
"""

from collections.abc import Mapping

TYPED, CALIBRATED, TOLD, DEFAULT = ORDER = ("typed", "calibrated", "told", "default")

Layers = Mapping[str, Mapping[str, float]]
"""What each origin knows, by the names of the figures."""

# Two sources of one figure agree within this: a share of it, or (angles) degrees. Camera lengths that a microscope
# tells are nominal, and off by as much as that.
SHARE_APART = {"wavelength_A": 0.01, "pixel_size_mm": 0.01, "camera_length_mm": 0.05}
NOMINAL_SHARE_APART = 0.5
DEG_APART = {"rotation_axis_deg": 3.0}


def by_precedence(layers: Layers) -> tuple[dict[str, float], dict[str, str]]:
    """The figures that hold, and the origin of each."""
    origins: dict[str, str] = {}
    values: dict[str, float] = {}
    for origin in ORDER:
        for name, value in layers.get(origin, {}).items():
            if name not in values:
                values[name], origins[name] = value, origin
    return values, origins


def disagreements(layers: Layers) -> list[str]:
    """In words, where one source says something else than the one that holds."""
    values, origins = by_precedence(layers)
    found = []
    for origin in (CALIBRATED, TOLD):
        for name, value in layers.get(origin, {}).items():
            if origins[name] != origin and _apart(name, values[name], value, origin):
                found.append(f"{name} is {values[name]:g} ({origins[name]}) and {value:g} ({origin})")
    return found


def _apart(name: str, one: float, other: float, origin: str) -> bool:
    if name in DEG_APART:
        return abs((one - other + 180.0) % 360.0 - 180.0) > DEG_APART[name]
    share = NOMINAL_SHARE_APART if (name, origin) == ("camera_length_mm", TOLD) else SHARE_APART.get(name)
    return share is not None and abs(one - other) > share * abs(one)
