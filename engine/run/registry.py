"""What is installed: protocols, drivers, importers and commands, found through entry points.

A lab adds its own camera or experiment from its own package, under `credline.drivers` or `credline.protocols`.
"""

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from engine.errors import Refused, shown
from engine.run.contract import ExperimentType


def registered(group: str) -> dict[str, EntryPoint]:
    """Entry points of `credline.<group>` by name."""
    return _registered(group, tuple(sys.path))


@cache
def _registered(group: str, where: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Remembered for as long as packages are looked for in the same places: reading their metadata takes 7 ms."""
    return {point.name: point for point in entry_points(group=f"credline.{group}")}


def experiment_type(name: str) -> ExperimentType:
    """The registered protocol of this name. Raises Refused with the names there are."""
    points = registered("protocols")
    if name not in points:
        raise Refused(
            f"protocol {shown(repr(name))} is not known; registered are: {', '.join(sorted(points)) or 'none'}."
        )
    loaded: ExperimentType = points[name].load()
    return loaded
