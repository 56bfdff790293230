"""How sure a matrix is by the frames that there are, while the run goes on: computed in a worker, decided by in
`experiment`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.calibrate.moves.fit import fitted
from protocols.calibrate.moves.followed import Visited, followed, sure_to
from protocols.calibrate.moves.mover import MOVERS
from protocols.calibrate.moves.seen import camera_of


def sure(arguments: Mapping[str, Any], picture: Callable[[int], NDArray[np.generic]]) -> dict[str, Any]:
    """Of some visits (`visited`: x, y, side, expected fast and slow; `frames`: their pictures) of the `mover`: to which
    share of the matrix' size each of its numbers is sure (`share`), or why they tell none (`why`).
    """
    mover = next(each for each in MOVERS if each.name == arguments["mover"])
    told = np.array(arguments["visited"], np.float64)
    visited = Visited(told[:, :2], told[:, 2], told[:, 3:])
    frames = arguments["frames"]
    try:
        seen, _ = followed(mover, camera_of(arguments), visited, lambda row: picture(frames[row]))
        return {"share": sure_to(fitted(visited.at, visited.side, seen.at)), "why": ""}
    except DataError as error:
        return {"share": 0.0, "why": str(error).removesuffix("; nothing was stored")}
