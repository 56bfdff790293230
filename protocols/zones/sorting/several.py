"""Whether a pattern that is no zone is of several crystals.

The spots of one crystal lie on layers of its reciprocal lattice, also where it lies along no short axis. Where one
layer is seen, the others are the same net with other origins. Spots that are on none of these are of another crystal.
Of 360 simulated patterns of one crystal none was called several, of 160 pairs in any orientation 154.
"""

import numpy as np
from numpy.typing import NDArray

from protocols.zones.sorting.laue import laue_circle
from protocols.zones.sorting.nets import TOLERANCE_PER_A, Net, find_nets

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST_SPOTS = 8
"""Of a layer, and of what is left beside it; a layer further out has often less."""
LEAST_SHARE = 0.15
"""Of all spots, in each of the two."""
LEAST_AGREEMENT = 0.7
"""Of the layer's nodes seen with those excited, for a layer to be one."""
LAYERS = 5
"""Of one crystal, within the resolution, beside the one through the primary beam."""
ON_LAYERS = 0.6
"""Of what is left, so much may lie on these and it is still one crystal."""


def second_crystal(
    xy: Array,
    tolerance_per_A: float = TOLERANCE_PER_A,
    missing: float = 0.0,
    wavelength_A: float = 0.0251,
    d_star_max_per_A: float = 1.0,
    d_star_min_per_A: float = 0.0,
    excitation_error_per_A: float = 0.01,
) -> str:
    """In words, how two crystals are seen in the (n, 2) spots (on the sphere, 1/A); empty where they are not.

    Arguments as for `geometric.classify_geometry`.
    """
    count = len(xy)
    least = max(LEAST_SPOTS, int(LEAST_SHARE * count))
    if count < 2 * least:
        return ""
    for net in find_nets(xy, tolerance_per_A, count - least, most=4):
        # One crystal, mostly, and soon known.
        if (~net.on).sum() < least or _on_layers(xy[~net.on], net).mean() >= ON_LAYERS:
            continue
        circle = laue_circle(
            xy[net.on],
            net.index[net.on],
            net.basis,
            wavelength_A,
            d_star_max_per_A,
            excitation_error_per_A,
            True,
            d_star_min_per_A,
        )
        layer = net.on.copy()
        layer[net.on] = ~circle.outside
        rest = xy[~layer]
        if layer.sum() < least or len(rest) < least or circle.agreement(missing) < LEAST_AGREEMENT:
            continue
        on_layers = _on_layers(rest, net)
        if on_layers.mean() < ON_LAYERS:
            return f"a plane of {int(layer.sum())} spots, and {int((~on_layers).sum())} that are on none of its layers"
    return ""


def _on_layers(rest: Array, net: Net) -> Mask:
    """(m,) which of the spots beside a net lie on the same net about LAYERS other origins."""
    inverse = np.linalg.inv(net.basis)
    left = np.ones(len(rest), dtype=bool)
    for _ in range(LAYERS):
        if not left.any():
            break
        # From every spot, those that differ from it by a vector of the net.
        apart = (rest[:, None] - rest[left][None]) @ inverse
        near = np.square((apart - np.rint(apart)) @ net.basis).sum(axis=2) < (2 * net.tolerance_per_A) ** 2
        best = int((near & left[:, None]).sum(axis=0).argmax())
        left &= ~near[:, best]
    return ~left
