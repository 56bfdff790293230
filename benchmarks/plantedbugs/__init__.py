"""Bugs planted on purpose (`benchmarks/planted.py`), by what they harm."""

from benchmarks.plantedbugs import angles, disk, frames, instrument, operator, shown, tasks

__all__ = ["angles", "disk", "frames", "instrument", "operator", "shown", "tasks"]
