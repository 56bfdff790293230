"""Who says what a pattern is. In a file of its own, so that the command line knows the words without loading numpy."""

from enum import StrEnum


class Method(StrEnum):
    """The network, checked by the geometry of the spots, or one of them alone."""

    BOTH = "both"
    NETWORK = "network"
    GEOMETRY = "geometry"
