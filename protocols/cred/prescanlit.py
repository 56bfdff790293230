"""Where a rotation begins whose first angle lies in the dark, because a bar of the grid stands in the beam there.

Frames in the dark show nothing, and a crystal that shows nothing for 30 deg is given up for one without a lattice. The
way between the last angle that is dark and the first that is lit is halved by further looks; the rotation begins at the
lit one. Pure decisions, from what was seen.
"""

KNOWN_TO_DEG = 4.0
"""So near the two lie to each other at last: a look takes as long as some degrees of rotation."""


class FirstLit:
    """Of one pre-scan. start_deg: where the plan begins. direction: of the rotation, 1 or -1."""

    def __init__(self, start_deg: float, direction: float) -> None:
        self._start_deg, self._direction = start_deg, direction
        self._saw: dict[float, bool] = {}

    def saw(self, angle_deg: float, *, dark: bool) -> None:
        """What a look has shown: whether there was no light."""
        self._saw[(angle_deg - self._start_deg) * self._direction] = dark

    @property
    def _edge(self) -> tuple[float, float] | None:
        """Of the dark that the plan begins in: how far the last dark look was from there, and the first lit one. None
        where it begins in the light, or all is dark.
        """
        if not self._saw.get(0.0, False):
            return None
        lit_deg = min((far for far, dark in self._saw.items() if not dark), default=None)
        if lit_deg is None:
            return None
        return max(far for far, dark in self._saw.items() if dark and far < lit_deg), lit_deg

    @property
    def next_deg(self) -> float | None:
        """The angle at which it has to be looked next; None where it is known."""
        if self._edge is None or self._edge[1] - self._edge[0] <= KNOWN_TO_DEG:
            return None
        return round(self._start_deg + self._direction * sum(self._edge) / 2, 3)

    @property
    def begin_deg(self) -> float:
        """Where the rotation begins: at the first light; where that is not known so well, at the last dark angle, so
        that no light is lost.
        """
        if self._edge is None:
            return self._start_deg
        dark_deg, lit_deg = self._edge
        return self._start_deg + self._direction * (lit_deg if self.next_deg is None else dark_deg)
