"""What is installed: protocols, drivers, importers and commands, found through entry points.

A lab adds its own camera or experiment from its own package, under `credline.drivers` or `credline.protocols`.
"""

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from engine.errors import Refused, shown

if TYPE_CHECKING:  # the command line asks for names on its way to its help, and needs no experiment for that
    from engine.run.contract import AnyExperiment
    from engine.run.entries import Inject, Latencies, Pictures, RecordedMicroscope, WhatIfMicroscope


def registered(group: str) -> dict[str, EntryPoint]:
    """Entry points of `credline.<group>` by name."""
    return _registered(tuple(sys.path)).get(f"credline.{group}", {})


@cache
def _registered(where: tuple[str, ...]) -> dict[str, dict[str, EntryPoint]]:
    """All that is registered, by group; remembered for as long as packages are looked for in the same places, for
    reading the metadata of all packages takes 7 ms and more.
    """
    everything = entry_points()
    groups = [group for group in everything.groups if group.startswith("credline.")]
    return {group: {point.name: point for point in everything.select(group=group)} for group in groups}


def experiment_type(name: str) -> "AnyExperiment":
    """The registered protocol of this name. Raises Refused with the names there are."""
    points = registered("protocols")
    if name not in points:
        from difflib import get_close_matches

        near = get_close_matches(name, list(points), n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise Refused(
            f"protocol {shown(repr(name))} is not known; registered are: {', '.join(sorted(points)) or 'none'}.{meant}"
        )
    loaded: AnyExperiment = points[name].load()
    return loaded


def inject() -> "Inject":
    """What puts faults around a microscope."""
    loaded: Inject = registered("faults")["inject"].load()
    return loaded


def recorded_microscope() -> "RecordedMicroscope":
    """What answers as a recorded instrument did."""
    loaded: RecordedMicroscope = registered("recorded")["microscope"].load()
    return loaded


def what_if_microscope() -> "WhatIfMicroscope":
    """What answers as a recorded instrument did, and takes another time over it."""
    loaded: WhatIfMicroscope = registered("recorded")["what_if"].load()
    return loaded


def latencies() -> "Latencies":
    """The class that reads latencies."""
    loaded: Latencies = registered("recorded")["latency"].load()
    return loaded


def stored_pictures() -> "Pictures":
    """What finds the pictures of a run folder."""
    loaded: Pictures = registered("recorded")["pictures"].load()
    return loaded
