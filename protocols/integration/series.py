"""The frames of a rotation as integration takes them, wherever they are from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """(n,) frames in the order in which they were taken.

    counts: (rows, columns) of the frame with an index. bad: (rows, columns) True where counts mean nothing. slot:
    ascending; where a number is left out there is no frame. saturation: counts from which a pixel is saturated; None
    where nobody knows it.
    """

    counts: Callable[[int], NDArray[Any]]
    bad: NDArray[np.bool_]
    slot: NDArray[np.integer]
    start_deg: Array
    end_deg: Array
    saturation: float | None

    def some(self, rows: NDArray[np.intp]) -> "Series":
        """The frames with these indices, (m,) ascending; the slots of the others have none."""

        def counts(index: int) -> NDArray[Any]:
            return self.counts(int(rows[index]))

        return replace(
            self, counts=counts, slot=self.slot[rows], start_deg=self.start_deg[rows], end_deg=self.end_deg[rows]
        )

    def __len__(self) -> int:
        """How many frames."""
        return len(self.slot)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bad.shape[0], self.bad.shape[1]
