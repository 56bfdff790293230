"""The worker's side of screening in a run: loading this module loads the network, so no run does it in its own process.

`protocols.screening.computation` names it; only a worker imports it.
"""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from protocols.screening.preprocessing import numbers
from protocols.screening.rawcross import shared_out
from protocols.screening.scoring import Scorer

_scorer = Scorer()


def screen_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """The score of a pattern, as `protocols.screening.computation.answered` reads it."""
    counts = numbers(np.asarray(picture(arguments["pattern"])))
    even = shared_out(counts) if arguments["wide_cross"] else counts
    (score,) = _scorer.score(even[None], arguments["inverse_nA_per_px"] / 1e9)
    return {**asdict(score), "note": _scorer.note}


def _warm() -> None:
    """Load the network: a worker that has loaded this is warm for its first pattern."""
    _scorer.score(np.zeros((1, 64, 64), np.uint16), 0.04)


_warm()
