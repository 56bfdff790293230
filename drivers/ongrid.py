"""Where a simulated instrument truly looked on a grid of crystals, and what it lit there: for results to be judged."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeenOnGrid:
    """Where an exposure truly looked on a simulated grid of crystals, in nm along the axes of the stage at tilt 0.

    What is at (x, y) of the grid is on the axis of the column when the stage stands at (-x, -y).

    is_image: of the image modes; else a diffraction pattern. beam_nm: where the middle of the beam was. field_nm: what
    was in the middle of an image; nm_per_px: x of a pixel along fast, x along slow, y along fast, y along slow; both
    NaN of a pattern. shape_px: rows and columns of equal pixels, before the camera's turn. beam_share: of the exposure
    with the beam on. beam_radius_nm: how far around that the beam lights in diffraction, at tilt 0.
    """

    begin_ns: int
    end_ns: int
    is_image: bool
    tilt_deg: float
    beam_nm: tuple[float, float]
    field_nm: tuple[float, float]
    nm_per_px: tuple[float, float, float, float]
    shape_px: tuple[int, int]
    beam_share: float
    beam_radius_nm: float

    def place_nm(self, fast_px: float, slow_px: float) -> tuple[float, float]:
        """What an image shows at a place, in equal pixels from the corner of the first."""
        fast, slow = fast_px - self.shape_px[1] / 2.0, slow_px - self.shape_px[0] / 2.0
        a, b, c, d = self.nm_per_px
        return self.field_nm[0] + a * fast + b * slow, self.field_nm[1] + c * fast + d * slow

    def place_px(self, x_nm: float, y_nm: float) -> tuple[float, float]:
        """Where an image shows what is at a place."""
        x, y = x_nm - self.field_nm[0], y_nm - self.field_nm[1]
        a, b, c, d = self.nm_per_px
        whole = a * d - b * c
        return (d * x - b * y) / whole + self.shape_px[1] / 2.0, (a * y - c * x) / whole + self.shape_px[0] / 2.0


@dataclass(frozen=True, slots=True)
class LitOnGrid:
    """What a probe lit of a simulated grid, each (n,): numbers of the particles, share of the probe on each, share of
    each that was lit, which phase it is (-1: no crystal), and how far its middle was from that of the probe, in nm.
    """

    numbers: tuple[int, ...]
    of_beam: tuple[float, ...]
    of_crystal: tuple[float, ...]
    phases: tuple[int, ...]
    away_nm: tuple[float, ...]
