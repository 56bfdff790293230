"""JSON objects: just read from a file, or made to be written into one.

Their values are `Any` here and nowhere else in the engine. Whoever reads a record has had it checked
(`engine.record.schema`, `engine.record.document`), and what a protocol's plan or result holds the protocol knows.
What is only passed on or shown is `object`.
"""

from collections.abc import Mapping
from typing import Any

JsonDict = dict[str, Any]

JsonObject = Mapping[str, Any]
"""To be read only."""
