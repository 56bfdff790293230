"""Whether the beam damages the crystal, how fast, and told apart from a crystal that leaves the beam.

Damage takes the fine detail first: intensities fall as exp(-dose / D) with a D that is the smaller the finer the
spacing. In a crystal that leaves the beam, or gets thinner in it, all intensities fall alike. What is compared is every
reflection that passed, found or not, with what is usual at its spacing, and with its equivalents where these passed at
another time (`protocols.live.passages`, `protocols.live.fall`).

The dose is counted in degrees of rotation: the beam is on from the first frame on, during snapshots as well, and the
crystal turns at a constant speed. `protocols.live.words` says it in seconds or in electrons per A^2 where these are
known.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationfit import RotationFit
from protocols.lattice.symmetry import Bravais
from protocols.live.coverage import Coverage
from protocols.live.fall import DIRECTION_SIGMA, Fall, fitted_fall
from protocols.live.passages import Passages, passages
from protocols.spots.joining import Reflections
from protocols.spots.shadow import Part

Array = NDArray[np.float64]

LEAST_DEG = 5.0
"""Less rotation tells nothing of the time."""
POWERS = (1.0, 2.0)
"""The fall grows with |g| (Howells et al., 2009: the dose that a detail stands is in proportion to its size) or with
its square (a Debye-Waller factor that grows with the dose)."""
SURE = 3.5
"""Standard deviations from which something is said."""
AGREES = 2.5
KNOWN_TO = 0.09
"""Standard deviation of a half-dose that is told, as a share of it."""
NO_DAMAGE_LOST = 0.25
"""No damage is said where the outer shell cannot have lost more than that."""
SHELLS = 3
LONGEST_TIMES = 100.0
"""Half-doses of more times the rotation so far are none."""


def damage(
    reflections: Reflections,
    fit: RotationFit,
    covered: Coverage,
    whole: Part,
    parts: Sequence[Part],
    frame_deg: float,
    d_min_A: float | None,
    bravais: Bravais,
) -> dict[str, Any] | None:
    """What there is to say, as JSON; None where too few reflections say anything. 10 to 50 ms.

    covered: all reflections of the lattice of the fit, whose type is `bravais`. whole: the rotation so far; parts: of
    it, those in no shadow. d_min_A: finer ones are not looked at. Told: `verdict`, one of `none`, `damage`, `leaves the
    beam`, `cannot tell`; `lost`, share of the intensity that the beam has taken of the outer shell so far (0 but for
    `damage`), with `lost_sigma`; `lost_at_most`, what it can be with two standard deviations, where `none` is told;
    `fallen`, share that the mean intensity has fallen by, of whatever cause; `half_deg`, the rotation after which half
    of all intensity is lost, with its sigma, and `shells` with one each at the spacing `at_A` (None where it is not
    known to a tenth of itself).
    """
    if d_min_A is None or abs(whole[1] - whole[0]) < LEAST_DEG:
        return None
    passed = passages(reflections, fit, covered, whole, parts, frame_deg, d_min_A, bravais)
    if passed is None:
        return None
    return judged(passed, abs(whole[1] - whole[0]))


def judged(passed: Passages, total_deg: float) -> dict[str, Any]:
    """The verdict on passages of a rotation of so many degrees; see `damage`."""
    g = passed.d_star / passed.d_star.max()
    way = passed.way
    across = np.stack([
        *(way[:, 0] ** 2 - way[:, 1] ** 2, way[:, 0] ** 2 - way[:, 2] ** 2),
        *(2 * way[:, 0] * way[:, 1], 2 * way[:, 0] * way[:, 2], 2 * way[:, 1] * way[:, 2]),
    ], axis=1) * (g**2)[:, None]  # fmt: skip
    base = np.hstack([np.stack([np.ones_like(g), g**2, g**4], axis=1), across])
    precision = np.array([1e-6, 1e-3, 1e-3, *(np.full(5, DIRECTION_SIGMA**-2))])
    edges = np.quantile(g, np.linspace(0, 1, SHELLS + 1))
    middles = np.array([g[(g >= low) & (g <= high)].mean() for low, high in pairwise(edges)])
    told: dict[str, Any] = {"verdict": "cannot tell", "lost": 0.0, "lost_sigma": None, "lost_at_most": None}
    told |= {"fallen": None, "half_deg": None, "half_sigma_deg": None, "shells": []}
    typical = float(g.mean())
    free, alone = [], []
    for power in POWERS:
        grown = g**power
        both = fitted_fall(passed, np.stack([passed.turned, passed.turned * grown], axis=1), base, precision)
        only = fitted_fall(passed, (passed.turned * grown)[:, None], base, precision)
        if both is None or only is None:
            return told
        free.append(both)
        alone.append(only)
    fallen, fallen_sigma = free[0].of(np.array([1.0, typical]))
    told["fallen"] = round(1 - float(np.exp(-fallen)), 4)
    grows = [fit.of(np.array([0.0, 1.0])) for fit in free]
    common = [fit.of(np.array([1.0, 0.0])) for fit in free]
    grows_sigmas = [value / sigma for value, sigma in grows]
    common_sigmas = np.array([value / sigma for value, sigma in common])
    least = int(np.abs(common_sigmas).argmin())
    # The fall of the outer shell if all of it is damage, of both powers by how well they explain it.
    weight = np.exp(-0.5 * (common_sigmas**2 - common_sigmas[least] ** 2))
    weight /= weight.sum()
    rates = [_rate(alone, weight, middle) for middle in middles.tolist()]
    outer, outer_sigma = rates[-1]
    at_most = 1 - float(np.exp(-max(outer, 0.0) - 2 * outer_sigma))
    agrees = abs(common_sigmas[least]) < AGREES
    if grows_sigmas[least] > SURE and agrees and outer > SURE * outer_sigma:
        told["verdict"] = "damage"
        told["lost"] = round(1 - float(np.exp(-outer)), 4)
        told["lost_sigma"] = round(float(np.exp(-outer)) * outer_sigma, 4)
        told["shells"] = _shells(edges * passed.d_star.max(), middles * passed.d_star.max(), rates, total_deg)
        told |= _overall(passed, g, alone, weight, total_deg)
    elif fallen > SURE * fallen_sigma and common_sigmas.min() > SURE and max(grows_sigmas) < SURE:
        told["verdict"] = "leaves the beam"
    elif abs(fallen) < SURE * fallen_sigma and max(grows_sigmas) < SURE and at_most < NO_DAMAGE_LOST:
        told["verdict"] = "none"
        told["lost_at_most"] = round(at_most, 4)
    return told


def _rate(fits: list[Fall], weight: Array, g: float) -> tuple[float, float]:
    """What the logarithm of an intensity has fallen by so far, at a share of the finest spacing, and its sigma."""
    value = np.array([fit.of(np.array([g**power]))[0] for fit, power in zip(fits, POWERS, strict=True)])
    sigma = np.array([fit.of(np.array([g**power]))[1] for fit, power in zip(fits, POWERS, strict=True)])
    mean = float(weight @ value)
    return mean, float(np.sqrt(weight @ (sigma**2 + (value - mean) ** 2)))


def _half(rate: float, sigma: float, total_deg: float) -> tuple[float | None, float | None]:
    """Degrees after which half is lost, and sigma; None where that is not known well enough."""
    if rate * LONGEST_TIMES < np.log(2) or sigma > KNOWN_TO * rate:
        return None, None
    half_deg = float(np.log(2)) * total_deg / rate
    return round(half_deg, 2), round(half_deg * sigma / rate, 2)


def _shells(edges: Array, middles: Array, rates: list[tuple[float, float]], total_deg: float) -> list[dict[str, Any]]:
    told = []
    for (low, high), middle, (rate, sigma) in zip(pairwise(edges.tolist()), middles.tolist(), rates, strict=True):
        half_deg, half_sigma_deg = _half(rate, sigma, total_deg)
        told.append(
            {
                "from_A": round(1 / low, 3),
                "to_A": round(1 / high, 3),
                "at_A": round(1 / middle, 3),
                "half_deg": half_deg,
                "half_sigma_deg": half_sigma_deg,
                "lost": round(1 - float(np.exp(-rate)), 4),
            }
        )
    return told


def _overall(passed: Passages, g: Array, fits: list[Fall], weight: Array, total_deg: float) -> dict[str, Any]:
    """When the sum of all intensities is half of what it was; as well known as the fall at the middle spacing, and as
    the reflections that passed stand for all.
    """
    counts = np.where(passed.found, np.nan_to_num(passed.intensity), passed.limit / 3) / passed.lorentz
    fall = np.array([_rate(fits, weight, value)[0] for value in np.linspace(0, 1, 21).tolist()])
    rate = np.interp(g, np.linspace(0, 1, 21), fall)
    first = counts * np.exp(rate * passed.turned)
    low, high = 1e-3, LONGEST_TIMES
    for _ in range(40):
        middle = math.sqrt(low * high)
        left = float((first * np.exp(-rate * middle)).sum() / first.sum())
        low, high = (middle, high) if left > 0.5 else (low, middle)
    weight_of = first / first.sum()
    value, sigma = _rate(fits, weight, float((weight_of * g).sum()))
    # A few strong reflections make most of the intensity, and others would have made it at other spacings.
    spread = float(np.sqrt((weight_of * (rate - weight_of @ rate) ** 2).sum() * (weight_of**2).sum()))
    sigma = math.hypot(sigma, spread)
    if high >= LONGEST_TIMES or sigma > KNOWN_TO * value:
        return {}
    half_deg = low * total_deg
    return {"half_deg": round(half_deg, 2), "half_sigma_deg": round(half_deg * sigma / value, 2)}
