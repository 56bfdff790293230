"""What kind of grid a simulated instrument has: its film, its crystals, and how a probe lights them.

Data only, so that a plan and the process that makes pictures can have it without loading what drawing needs.
"""

from dataclasses import dataclass

CONTINUOUS, HOLEY, LACEY = FILMS = ("continuous", "holey", "lacey")
PLATES, RODS, BLOCKS = SHAPES = ("plates", "rods", "blocks")
RANDOM, FLAT = LYING = ("random", "flat")
LARGEST_NM = 8000.0
"""No crystal is longer."""


@dataclass(frozen=True, slots=True)
class GridSettings:
    """A grid with thousands of crystals, drawn from `seed`; the options of the table `[grid]`.

    film: continuous, holey (round holes apart from each other) or lacey (a net of strands). hole_nm: how wide a hole is
    about; strand_nm: and the carbon between two. pitch_nm, bar_nm: from bar to bar, and how wide they are; 400 mesh,
    of which the paper's grid is (CF400-Cu-UL), is 62 um with windows of 42 um. torn: share of the windows in which the
    film is torn. unevenness: of the film, standard deviation of what it lets through, as a share.
    crystals_um2: particles per um^2 between the bars, on the mean. patchiness: how much that differs over tens of um
    (standard deviation of its logarithm). clustering: share of the particles that lie in heaps.
    shape: plates, rods or blocks. size_nm, size_spread: median of the longest edge, and standard deviation of its
    logarithm. thickness_nm: from and to, drawn evenly in its logarithm; (0, 0): as is usual for the shape.
    phase: of the crystals: the path of a CIF; mordenite, as nothing is, or chabazite; `random` for a cell drawn from
    the seed, or `cell A B C ALPHA BETA GAMMA`, both with intensities drawn after Wilson (`phases`). second_phase,
    second_share, third_phase, third_share: the same of other phases on the same grid, and the share of the crystals
    that are of each.
    lying: random, or flat: c* along the beam but for spread_deg (standard deviation), and a along the longest edge.
    bent_deg: by how much the lattice of a crystal is bent within the probe (standard deviation).
    amorphous: share of the particles that are no crystals. dirt_um2: specks per um^2, too small to be taken for one.
    path_nm: thickness of a crystal that lets through 1/e in an image. vignetting: how much darker the corners of a
    picture are than its middle; shading: and by how much its background is uneven besides, from edge to edge.
    height_nm: how much higher or lower than the tilt axis the film lies from place to place, over tens of um (standard
    deviation). bar_height_nm: how thick the bars are towards the source: so they come in when the grid is tilted.
    probe_nm: diameter of the probe that lights the specimen in diffraction; the beam shift moves it. A condenser that
    makes a narrower beam (`IlluminationSettings`) lights less, with as many electrons per area as it then has.
    diffracting_share: part of the light on a crystal that diffracts as kinematic theory says.
    """

    seed: int = 0
    film: str = LACEY
    hole_nm: float = 2200.0
    strand_nm: float = 350.0
    pitch_nm: float = 62_000.0
    bar_nm: float = 20_000.0
    torn: float = 0.05
    unevenness: float = 0.03
    crystals_um2: float = 0.23
    patchiness: float = 0.3
    clustering: float = 0.25
    shape: str = BLOCKS
    size_nm: float = 550.0
    size_spread: float = 0.45
    thickness_nm: tuple[float, float] = (0.0, 0.0)
    phase: str = ""
    second_phase: str = ""
    second_share: float = 0.0
    third_phase: str = ""
    third_share: float = 0.0
    lying: str = RANDOM
    spread_deg: float = 5.0
    bent_deg: float = 0.08
    amorphous: float = 0.1
    dirt_um2: float = 0.3
    path_nm: float = 160.0
    vignetting: float = 0.2
    shading: float = 0.1
    height_nm: float = 0.0
    bar_height_nm: float = 0.0
    probe_nm: float = 700.0
    diffracting_share: float = 1.0

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of the crystals in words, in the order of their numbers from 0."""
        others = (self.second_phase, self.second_share), (self.third_phase, self.third_share)
        most = max((number for number, (_, share) in enumerate(others, 1) if share > 0.0), default=0)
        return (self.phase, *(words for words, _ in others[:most]))

    @property
    def cannot_be(self) -> str | None:
        """In words, what no grid is like; None for a grid."""
        for name, value, words in (
            ("film", self.film, FILMS),
            ("shape", self.shape, SHAPES),
            ("lying", self.lying, LYING),
        ):
            if value not in words:
                return f"{name} = {value!r} is not one of {', '.join(words)}"
        shares = ("second_share", "third_share", "torn", "clustering", "amorphous", "vignetting", "shading")
        for name in (*shares, "diffracting_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                return f"{name} = {getattr(self, name):g} is no share from 0 to 1"
        if self.second_share + self.third_share > 1.0:
            return f"second_share + third_share = {self.second_share + self.third_share:g} is more than all crystals"
        for name in ("hole_nm", "strand_nm", "pitch_nm", "size_nm", "path_nm", "probe_nm"):
            if not getattr(self, name) > 0.0:
                return f"{name} = {getattr(self, name):g} is not above 0"
        for name in (
            "unevenness",
            "crystals_um2",
            "patchiness",
            "size_spread",
            "spread_deg",
            "bent_deg",
            "dirt_um2",
            "height_nm",
            "bar_height_nm",
        ):
            if getattr(self, name) < 0.0:
                return f"{name} = {getattr(self, name):g} is below 0"
        if self.seed < 0 or self.seed != int(self.seed):
            return f"seed = {self.seed:g} is no whole number from 0"
        if not 0.0 <= self.bar_nm < self.pitch_nm:
            return f"bar_nm = {self.bar_nm:g} is not from 0 to less than pitch_nm = {self.pitch_nm:g}"
        if self.size_nm > LARGEST_NM:
            return f"size_nm = {self.size_nm:g} is more than {LARGEST_NM:g}"
        low, high = self.thickness_nm
        if not (low == high == 0.0 or 0.0 < low <= high):
            return f"thickness_nm = [{low:g}, {high:g}] is no range of thicknesses"
        return None
