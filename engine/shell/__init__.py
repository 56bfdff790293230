"""An instrument in the hands of a person who types: `credline shell`, or a notebook (docs/shell.md).

The instrument has a loop in a thread of its own, so that nothing that is typed stands in its way; what is awaited in a
cell is carried out there. A shell is a run of the engine like any other: watchdog, trace, safe state at its end.
"""

from engine.shell.opened import OpenInstrument, open_instrument

__all__ = ["OpenInstrument", "open_instrument"]
