"""Draws scenes for snapshots from a seed and words: the crystals, films and grids that an operator meets.

What a scene may hold is that of submicrometre powders on a carbon film as in Cichocka et al. (2018); where nothing is
published the figures are assumed here. Pure functions.
"""

import math
import re

import numpy as np

from drivers.simulated.crystal import Crystal, random_orientation
from drivers.simulated.latency import generator
from drivers.simulated.snapshotscene import Array, Body, HalfPlane, SnapshotScene, turn
from drivers.simulated.specimengrid import CRYSTAL_NM, CRYSTAL_SPREAD
from engine.errors import Refused, shown

KINDS = ("any", "plate", "needle", "brick", "agglomerate", "empty")
FEATURES = ("low contrast", "neighbours", "film edge", "bars", "even film")

SIZES_NM, BRICKS_NM = (200.0, 2000.0), (200.0, 1200.0)
"""Longest edges, about `specimengrid.CRYSTAL_NM` with its spread; larger bricks would fill the whole aperture."""
SHAPES = {
    "plate": ((0.5, 1.0), (0.05, 0.2)),
    "needle": ((0.1, 0.25), (0.08, 0.2)),
    "brick": ((0.5, 0.9), (0.3, 0.7)),
}
"""Second and third edge, shares of the longest; a third edge is never longer than the second."""
LEAST_NM = 30.0
LIES_FLAT_DEG = {"plate": 12.0, "needle": 12.0, "brick": 180.0}
"""How far a crystal's flat side leans from the film (standard deviation)."""
DARK, PALE = (0.25, 0.75), (0.06, 0.15)
"""What a crystal of clear and of low contrast takes from the beam at tilt 0."""
VARIES = (0.05, 0.25)
FILM, UNEVENNESS = (0.82, 0.92), (0.01, 0.04)
PITCHES_NM = ((62_000.0, 25_000.0), (84_000.0, 23_000.0), (127_000.0, 35_000.0))
"""Pitch and bar of meshes of 400, 300 and 200 to the inch."""
BAR_HEIGHTS_NM = (10_000.0, 20_000.0)
OFF_MIDDLE = 0.6
"""An operator takes crystals up to this share of the way from the middle of a window to its bars."""
NEIGHBOURS_NM = (300.0, 1800.0)
"""From the crystal's middle to those of its neighbours, beyond half the edges of both."""
EDGE_NM = (100.0, 800.0)
"""From the crystal's side to where the film ends."""
BRICK_EDGES, BRICK_PATH_NM = (1.0, 0.6, 0.4), 200.0
SHARES = {"low contrast": 0.15, "neighbours": 0.35, "film edge": 0.15, "bars": 1.0, "even film": 0.0}
"""How often `any` scene has what."""


def draw_scene(words: str, seed: int) -> SnapshotScene:
    """The scene of a seed: one of KINDS, then any of FEATURES and `NUMBER nm` for the longest edge, by commas.

    `any` draws kind and features; a word more makes it certain. Raises Refused for other words.
    """
    kind, features, size_nm = _read(words)
    rng = generator(seed, "snapshot scene")
    drawn_nm = _size_nm(rng)
    kinds, happens = [*SHAPES, "agglomerate"], {name: float(rng.random()) < share for name, share in SHARES.items()}
    drawn_kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "any":
        kind = drawn_kind
        features |= {name for name, does in happens.items() if does}
    size_nm = size_nm or float(np.clip(drawn_nm, *(BRICKS_NM if kind in ("brick", "agglomerate") else SIZES_NM)))
    contrast = PALE if "low contrast" in features else DARK
    crystal, touching = _crystal(kind, size_nm, contrast, rng)
    reach_nm = max(body.reach_nm + float(np.linalg.norm(body.middle_nm)) for body in [*crystal, *touching])
    neighbours = [_neighbour(reach_nm, rng) for _ in range(int(rng.integers(1, 4)))]
    edge, bars = _edge(reach_nm, rng), _bars(rng)
    is_empty = kind == "empty"
    bodies = [] if is_empty else [*crystal, *touching]
    return SnapshotScene(
        bodies=tuple(bodies + (neighbours if "neighbours" in features else [])),
        film=rng.uniform(*FILM),
        unevenness=rng.uniform(*UNEVENNESS) if "even film" not in features else 0.0,
        seed=seed,
        holes=(edge,) if "film edge" in features else (),
        bars=bars if "bars" in features else (),
        is_empty=is_empty,
    )


def brick_scene(crystal: Crystal) -> SnapshotScene:
    """The plain brick that lies in the aperture where no scene is asked for."""
    half_nm = 0.5 * crystal.size_nm * np.array(BRICK_EDGES)
    return SnapshotScene((Body(np.zeros(3), crystal.orientation, half_nm, BRICK_PATH_NM),))


def _read(words: str) -> tuple[str, set[str], float]:
    kind, *others = [word.strip() for word in words.split(",")]
    size_nm, features = 0.0, set()
    for word in others:
        if match := re.fullmatch(r"(\d+(?:\.\d*)?) nm", word):
            size_nm = float(match[1])
        else:
            features.add(word)
    if kind not in KINDS or (features - set(FEATURES)) or not (size_nm == 0.0 or 50.0 <= size_nm <= 10_000.0):
        raise Refused(
            f"crystal.scene = {shown(repr(words))}: nothing was started. Write one of {', '.join(KINDS)}, then, each "
            f"after a comma, any of {', '.join(FEATURES)}, and the longest edge, 50 to 10000, as in '500 nm'."
        )
    return kind, features, size_nm


def _size_nm(rng: np.random.Generator) -> float:
    return CRYSTAL_NM * math.exp(CRYSTAL_SPREAD * rng.standard_normal())


def _crystal(
    kind: str, size_nm: float, contrast: tuple[float, float], rng: np.random.Generator
) -> tuple[list[Body], list[Body]]:
    """The crystal, and what it has grown together with; the middle of all of them is at the origin."""
    if kind != "agglomerate":
        shape = kind if kind in SHAPES else "brick"
        return [_brick(shape, size_nm, contrast, np.zeros(3), rng)], []
    first = _brick("brick", 0.7 * size_nm, contrast, np.zeros(3), rng)
    bodies = [first]
    for _ in range(int(rng.integers(1, 4))):
        smaller_nm = size_nm * rng.uniform(0.3, 0.6)
        away_nm, azimuth = rng.uniform(0.25, 0.45) * (0.7 * size_nm + smaller_nm), rng.uniform(-math.pi, math.pi)
        at_nm = np.array([away_nm * math.cos(azimuth), away_nm * math.sin(azimuth), 0.1 * size_nm * rng.uniform(-1, 1)])
        bodies.append(_brick("brick", smaller_nm, contrast, at_nm, rng))
    volumes = np.array([body.volume_nm3 for body in bodies])
    middle = volumes @ np.array([body.middle_nm for body in bodies]) / volumes.sum()
    moved = [_moved(body, -middle) for body in bodies]
    return moved[:1], moved[1:]


def _moved(body: Body, by_nm: Array) -> Body:
    return Body(body.middle_nm + by_nm, body.axes, body.half_nm, body.path_nm, body.varies, body.phases)


def _brick(
    shape: str, size_nm: float, contrast: tuple[float, float], middle_nm: Array, rng: np.random.Generator
) -> Body:
    second, third = (rng.uniform(*share) for share in SHAPES[shape])
    edges = np.maximum(size_nm * np.array([1.0, second, min(third, second)]), LEAST_NM)
    if LIES_FLAT_DEG[shape] >= 90.0:
        axes = random_orientation(int(rng.integers(2**31)))
    else:
        azimuth, lean = rng.uniform(-180.0, 180.0), LIES_FLAT_DEG[shape] * rng.standard_normal()
        about_z, leant = np.radians(azimuth), turn(lean)
        cos, sin = math.cos(about_z), math.sin(about_z)
        axes = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]) @ leant
    # What it takes at tilt 0 is taken by its mean thickness along the beam: volume over the area of its outline.
    faces = np.array([edges[1] * edges[2], edges[0] * edges[2], edges[0] * edges[1]])
    thickness_nm = float(np.prod(edges) / (faces @ np.abs(axes[2])))
    path_nm = thickness_nm / -math.log(1.0 - rng.uniform(*contrast))
    phases = tuple(rng.uniform(-math.pi, math.pi, 3).tolist())
    return Body(middle_nm, axes, edges / 2.0, path_nm, rng.uniform(*VARIES), phases)


def _neighbour(reach_nm: float, rng: np.random.Generator) -> Body:
    size_nm = float(np.clip(_size_nm(rng), *BRICKS_NM))
    shape = list(SHAPES)[int(rng.integers(len(SHAPES)))]
    away_nm, azimuth = reach_nm + 0.5 * size_nm + rng.uniform(*NEIGHBOURS_NM), rng.uniform(-math.pi, math.pi)
    at_nm = np.array([away_nm * math.cos(azimuth), away_nm * math.sin(azimuth), rng.uniform(-0.3, 0.3) * size_nm])
    return _brick(shape, size_nm, DARK, at_nm, rng)


def _edge(reach_nm: float, rng: np.random.Generator) -> HalfPlane:
    azimuth = rng.uniform(-math.pi, math.pi)
    return HalfPlane((math.cos(azimuth), math.sin(azimuth)), reach_nm + rng.uniform(*EDGE_NM))


def _bars(rng: np.random.Generator) -> tuple[HalfPlane, ...]:
    """The four bars around a square window, turned by any angle, on one side of the film."""
    pitch_nm, bar_nm = PITCHES_NM[int(rng.integers(len(PITCHES_NM)))]
    half_nm, turned = (pitch_nm - bar_nm) / 2.0, rng.uniform(0.0, math.pi / 2.0)
    height_nm = rng.uniform(*BAR_HEIGHTS_NM) * rng.choice((-1.0, 1.0))
    off_nm = half_nm * rng.uniform(-OFF_MIDDLE, OFF_MIDDLE, 2)
    bars = []
    for quarter, off in enumerate((off_nm[0], off_nm[1], -off_nm[0], -off_nm[1])):
        angle = turned + quarter * math.pi / 2.0
        bars.append(HalfPlane((math.cos(angle), math.sin(angle)), half_nm - float(off), height_nm))
    return tuple(bars)
