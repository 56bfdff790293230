"""The options of a DECTRIS detector, and what follows from them without asking it.

Read by `drivers.dectris.driver`; `drivers.dectris.detector` adds what the detector tells.
"""

from dataclasses import dataclass

from drivers.dectris.asked import NARROW_MARKER, SUM_MARKER
from drivers.facts import DetectorFacts, PacedFacts

MODES = {"triggered": "inte", "paced": "ints", "external": "exts"}
COUNT_TIME_S = (1e-6, 3600.0)
"""Shortest and longest exposure, of a detector that does not tell its own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of the devices file.

    port, stream_port: of the HTTP interface and of the ZeroMQ stream. series: triggered, paced or external.
    overhead_s: what an exposure takes beyond itself: request, readout, reply and transfer, worst case.
    subframe_s: length of the images of a paced series; exposures become multiples of it. longest_series_s: after so
    long a paced series ends by itself. initialize: initialise a detector that was just switched on.
    flatfield_correction, countrate_correction: whether the detector corrects. depth_bits: of the counts delivered, 16
    (more than 65534 read as overloaded) or 32.
    """

    host: str = "127.0.0.1"
    port: int = 80
    stream_port: int = 9999
    series: str = "triggered"
    overhead_s: float = 0.03
    subframe_s: float = 0.01
    longest_series_s: float = 7200.0
    initialize: bool = False
    flatfield_correction: bool = True
    countrate_correction: bool = True
    depth_bits: int = 16

    @property
    def paced(self) -> PacedFacts | None:
        """Of a series that paces itself. Up to one more image passes until the first of an exposure begins."""
        return None if self.series == "triggered" else PacedFacts(self.subframe_s, self.subframe_s, spare=1)

    @property
    def saturation(self) -> int | None:
        """Of sums, which count as far as their marker; None for single images, of which the detector has a depth."""
        if self.paced is None:
            return None
        return NARROW_MARKER if self.depth_bits == 16 else SUM_MARKER

    def facts(
        self,
        shape: tuple[int, int] | None = None,
        saturation: int | None = None,
        count_time_s: tuple[float, float] = COUNT_TIME_S,
    ) -> DetectorFacts:
        """The facts of a detector, from these options and from what it has told.

        A paced series makes nothing shorter than one of its images. With depth_bits = 32, images that are not summed
        have the detector's own depth. count_time_s: shortest and longest exposure.
        """
        shortest_s, longest_s = count_time_s
        if self.paced is not None:
            shortest_s = max(shortest_s, self.subframe_s)
        return DetectorFacts(
            shape,
            "<u2" if self.depth_bits == 16 else "" if self.paced is None else "<u4",
            self.saturation if saturation is None else saturation,
            (shortest_s, longest_s),
            overhead_s=self.overhead_s,
            paced=self.paced,
        )
