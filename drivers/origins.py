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
# Where it is known how sure a calibrated figure is, that counts instead.
SIGMAS_APART = 3.0
PERIODS = {"rotation_axis_deg": 360.0, "distortion_azimuth_deg": 180.0}


def by_precedence(layers: Layers) -> tuple[dict[str, float], dict[str, str]]:
    """The figures that hold, and the origin of each."""
    origins: dict[str, str] = {}
    values: dict[str, float] = {}
    for origin in ORDER:
        for name, value in layers.get(origin, {}).items():
            if name not in values:
                values[name], origins[name] = value, origin
    return values, origins


def disagreements(layers: Layers, sigmas: Mapping[str, float] | None = None) -> list[str]:
    """In words, where one source says something else than the one that holds.

    sigmas: standard uncertainties of those that are calibrated, where they are known.
    """
    sigmas = sigmas or {}
    values, origins = by_precedence(layers)
    found = []
    for origin in (CALIBRATED, TOLD):
        for name, value in layers.get(origin, {}).items():
            pair = {origins[name], origin}
            sigma = sigmas.get(name) if CALIBRATED in pair else None
            if len(pair) == 2 and _apart(name, values[name], value, origin, sigma):
                calibrated = f"{CALIBRATED} to {sigma:.2g}" if sigma is not None else CALIBRATED
                who = [calibrated if each == CALIBRATED else each for each in (origins[name], origin)]
                found.append(f"{name} is {values[name]:g} ({who[0]}) and {value:g} ({who[1]})")
    return found


def _apart(name: str, one: float, other: float, origin: str, sigma: float | None) -> bool:
    """Whether two sources disagree. sigma: of the one that is calibrated; then more than three of them are too many."""
    nominal = (name, origin) == ("camera_length_mm", TOLD)
    if sigma is not None and not nominal:
        period = PERIODS.get(name)
        away = abs(one - other) if period is None else abs((one - other + period / 2) % period - period / 2)
        return away > SIGMAS_APART * sigma
    if name in DEG_APART:
        return abs((one - other + 180.0) % 360.0 - 180.0) > DEG_APART[name]
    share = NOMINAL_SHARE_APART if nominal else SHARE_APART.get(name)
    return share is not None and abs(one - other) > share * abs(one)
