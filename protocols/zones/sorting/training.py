"""Training of the network on simulated patterns, drawn anew for every step.

First a pool of spot lists of many random cells is made; pictures are drawn from it for each batch, turned, mirrored,
zoomed and half of them spoilt, so no picture is seen twice. Half of each batch is zonal; of all orientations 3 to 7 %
are. Labels are worked out after zooming and spoiling, from the reflections that are left: zoomed in, a pattern may lose
the spots that made it three-dimensional; zoomed out, a zone may get such spots.

Hybrids are trained as not zonal, at HYBRIDS of a batch: some seven times their natural share, so that the network looks
for the single spot off the net, but few enough that zonal patterns are not lost for their sake. Spots that no
reflection made are not added: by definition one of them makes a zone a hybrid (`protocols.zones.patterns.noise`), but
it lies anywhere. Trained on these, the network still took half of them for zones, and was sure of no zone any more.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.clock import RealClock
from engine.errors import Refused
from protocols.lattice.cell import Cell
from protocols.learning.framework import repeatable
from protocols.learning.modelfile import halved
from protocols.zones.patterns.noise import displaced, miscentred, thinned
from protocols.zones.patterns.randomcells import random_cell
from protocols.zones.patterns.render import render
from protocols.zones.patterns.simulation import Geometry, Patterns, joined, simulate
from protocols.zones.sorting.labels import HYBRID, INTERSECTIONS, LABELS, SEVERAL, ZONE
from protocols.zones.sorting.metrics import figures
from protocols.zones.sorting.network import INSTEAD, Model, binned, build, folded, tensorflow

if TYPE_CHECKING:
    from protocols.zones.sorting.semisynthetic import Redrawn

STEPS = {"credline": 2500, "paper": 1000, "several": 700}
"""The paper's ten epochs of 3200 patterns in batches of 32 are 1000 steps."""
CELLS, ORIENTATIONS = 240, 1000
HELD_OUT = 0.1
"""As many cells more, for the threshold: never trained on."""

VOLUMES_A3 = (400.0, 1100.0)
SMALL_ANISOTROPY, LARGE_ANISOTROPY = 1.5, 6.0
OTHERS_KEPT = 100
"""Three-dimensional patterns of each cell in the pool: there are 900, but one cell's are much alike."""

ZONES, HYBRIDS, OTHERS = 32, 4, 28
"""Of one batch."""

LEARNING_RATE = 1.5e-3
WARM_UP = 100
"""Steps in which the learning rate rises from 0, before it falls along a cosine."""

ZOOM = (0.87, 1.2)
ZOOMED_SHARE = 0.6
D_STAR_MAX_PER_A = 1.0
MISPLACED_PER_A, MISCENTRED_PER_A, MISSING_SHARE = 0.003, 0.003, 0.15
"""The most by which the spoilt half of a batch is spoilt (standard deviations and shares)."""

RECALL = 0.995
"""Of the zonal patterns of held-out cells, at the threshold. That is logit 0, where the network finds zonal more likely
than not in a world in which half of the patterns are, unless it must be lower for this recall: the geometric check
rejects what is not zonal, but nothing brings back what the network has lost."""

STREAM = 2025
"""Beside the seed, so that cells made elsewhere from the same seed, to judge the network, are others."""

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class Pool:
    """Spot lists by class, reaching beyond the resolution so that there is something to zoom out to."""

    zones: Patterns
    hybrids: Patterns
    others: Patterns


def training_cell(rng: np.random.Generator) -> tuple[Cell, str]:
    """A random cell and its space group: mostly triclinic, half of them nearly isotropic, with and without absences."""
    volume_A3 = float(rng.uniform(*VOLUMES_A3))
    anisotropy = SMALL_ANISOTROPY if rng.random() < 0.5 else LARGE_ANISOTROPY
    kind = rng.random()
    if kind < 0.6:
        return random_cell(rng, "triclinic", volume_A3, anisotropy), "P 1"
    if kind < 0.85:
        return random_cell(rng, "monoclinic", volume_A3, anisotropy), str(rng.choice(["P 1 21 1", "P 1 21/c 1", "P 1"]))
    system = str(rng.choice(["orthorhombic", "tetragonal", "hexagonal", "cubic"]))
    return random_cell(rng, system, volume_A3, anisotropy), "P 1"


def make_pool(rng: np.random.Generator, cells: int, orientations: int = ORIENTATIONS) -> Pool:
    """Patterns of random cells up to the resolution that the smallest zoom needs."""
    geometry = Geometry(d_star_max_per_A=D_STAR_MAX_PER_A / ZOOM[0])
    parts: tuple[list[Patterns], ...] = ([], [], [])
    for _ in range(cells):
        cell, space_group = training_cell(rng)
        patterns = simulate(cell, orientations, rng, geometry, space_group, half_sphere=True)
        label = _within_resolution(patterns).label
        for kind, kept in zip((ZONE, HYBRID, INTERSECTIONS), (None, None, OTHERS_KEPT), strict=True):
            parts[kind].append(patterns.take(np.flatnonzero(label == kind)[:kept]))
    return Pool(*(joined(part) for part in parts))


def paper_patterns(rng: np.random.Generator) -> tuple[Patterns, Patterns]:
    """Four cells of 1000 A^3 in 1000 orientations, 80 % of the patterns and 20 %: the paper's training and validation.

    As there, the split is by pattern, so both parts hold the same cells.
    """
    cells = [random_cell(rng, "triclinic", 1000.0, limit) for limit in (SMALL_ANISOTROPY, LARGE_ANISOTROPY) * 2]
    patterns = joined([simulate(cell, 1000, rng) for cell in cells])
    order = rng.permutation(len(patterns))
    cut = len(order) * 4 // 5
    return patterns.take(order[:cut]), patterns.take(order[cut:])


def turned(patterns: Patterns, rng: np.random.Generator) -> Patterns:
    """Every pattern turned by a random angle about its centre, and half of them mirrored."""
    angle = rng.uniform(0.0, 2 * np.pi, len(patterns))
    mirror = np.where(rng.random(len(patterns)) < 0.5, -1.0, 1.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.stack([np.stack([cosine, -sine], 1), np.stack([sine * mirror, cosine * mirror], 1)], 1)
    return replace(patterns, xy=np.einsum("mij,mj->mi", matrix[patterns.owner], patterns.xy))


def zoomed(patterns: Patterns, rng: np.random.Generator) -> Patterns:
    """Some patterns larger or smaller; spots beyond the resolution are dropped from all of them."""
    zoom = np.where(rng.random(len(patterns)) < ZOOMED_SHARE, rng.uniform(*ZOOM, len(patterns)), 1.0)
    return _within_resolution(replace(patterns, xy=patterns.xy * zoom[patterns.owner, None]))


def spoilt(patterns: Patterns, rng: np.random.Generator) -> Patterns:
    """Spots misplaced and missing, and patterns off their centre, to an extent drawn anew each time."""
    part = displaced(patterns, rng, rng.uniform(0, MISPLACED_PER_A))
    part = miscentred(part, rng, rng.uniform(0, MISCENTRED_PER_A))
    return thinned(part, rng, rng.uniform(0, MISSING_SHARE))


def two_crystals(zones: Patterns, rng: np.random.Generator, count: int = 2) -> Patterns:
    """Some patterns with two different zones in each: what looks most like one zone and is none."""
    first = rng.integers(len(zones), size=count)
    second = (first + rng.integers(1, len(zones), size=count)) % len(zones)
    pairs = zones.take(np.stack([first, second], axis=1).ravel())
    hkl = np.where((pairs.owner % 2 == 0)[:, None], pairs.hkl, 0)
    return replace(pairs, hkl=hkl, start=pairs.start[::2], orientation=pairs.orientation[::2], crystals=None)


def draw(pool: Pool, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One batch: (64, 127, 127, 1) input of the network and (64,) 1 for zonal, 0 for others.

    More candidates are drawn than needed, as zooming and spoiling may change the label.
    """
    missing = {ZONE: ZONES, HYBRID: HYBRIDS, INTERSECTIONS: OTHERS}
    parts: list[Patterns] = []
    labels: list[NDArray[np.int8]] = []
    while any(missing.values()):
        candidates = joined(
            [
                pool.zones.take(rng.integers(len(pool.zones), size=2 * missing[ZONE])),
                pool.hybrids.take(rng.integers(len(pool.hybrids), size=missing[HYBRID] + 1)),
                pool.others.take(rng.integers(len(pool.others), size=missing[INTERSECTIONS] + 1)),
            ]
        )
        candidates = turned(zoomed(joined([candidates, two_crystals(pool.zones, rng)]), rng), rng)
        order = rng.permutation(len(candidates))
        half = len(order) // 2
        mixed = joined([candidates.take(order[:half]), spoilt(candidates.take(order[half:]), rng)])
        for kind, number in missing.items():
            # Of the clean and the spoilt ones alike, hence in random order.
            found = rng.permutation(np.flatnonzero(mixed.label == kind))[:number]
            parts.append(mixed.take(found))
            labels.append(np.full(len(found), kind, dtype=np.int8))
            missing[kind] -= len(found)
    return binned(render(joined(parts))), (np.concatenate(labels) == ZONE).astype(np.float32)


def paper_draw(patterns: Patterns, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A batch in which each class has the same chance, turned and mirrored, but neither zoomed nor spoilt."""
    zonal = patterns.label == ZONE
    chosen = [rng.choice(np.flatnonzero(zonal == kind), ZONES) for kind in (True, False)]
    target = np.repeat([1.0, 0.0], ZONES).astype(np.float32)
    return binned(render(turned(patterns.take(np.concatenate(chosen)), rng))), target


def train(
    seed: int,
    *,
    steps: int | None = None,
    protocol: str = "credline",
    cells: int = CELLS,
    progress: Progress | None = None,
    real: "Redrawn | None" = None,
) -> tuple[Model, dict[str, Any]]:
    """Train a network from this seed; returns it and its record (also `Model.record`).

    protocol: "credline"; "paper" for a reference trained as in Gorelik and co-workers (2025): four cells, threshold at
    logit 0; or "several" for the network that tells several crystals from one (`severaltraining`).
    real: patterns redrawn from real frames (`semisynthetic`), which make half of each batch; of "credline" only.
    progress(step, steps, loss) is called after each step. On one machine the same seed gives the same weights; for
    this, TensorFlow's deterministic operations are switched on for the whole process.
    Refused without TensorFlow, and for an unknown protocol, no steps or no cells.
    """
    if protocol not in STEPS:
        raise Refused(f"protocol {protocol!r} is not one of {', '.join(STEPS)}. Nothing was trained.")
    steps = STEPS[protocol] if steps is None else steps
    if steps < 1 or cells < 1:
        raise Refused(f"{steps} steps on {cells} cells train nothing; give 1 or more. Nothing was trained.")
    tf = repeatable(seed, INSTEAD)
    clock = RealClock()
    rng = np.random.default_rng([seed, STREAM])
    if protocol == "paper":
        patterns, held_out = paper_patterns(rng)
        weights = _fit(lambda: paper_draw(patterns, rng), steps, progress)
        origin: dict[str, Any] = {
            "cells": 4,
            "volumes_A3": [1000, 1000],
            "orientations": 1000,
            "batch": {"zones": ZONES, "others": ZONES},
        }
    elif protocol == "several":
        from protocols.zones.sorting import severaltraining

        pairs = severaltraining.make_pairs(rng, severaltraining.CELLS)
        held_out = severaltraining.held_out(rng)
        weights = _fit(lambda: severaltraining.draw(pairs, rng), steps, progress)
        origin = {"cells": severaltraining.CELLS, "volumes_A3": list(VOLUMES_A3)}
        origin["batch"] = {"one": severaltraining.HALF, "several": severaltraining.HALF}
    else:
        held_out = held_out_patterns(rng, max(1, round(cells * HELD_OUT)))
        pool = make_pool(rng, cells)
        weights = _fit(lambda: draw(pool, rng) if real is None else real.mixed(draw(pool, rng), rng), steps, progress)
        origin = {"cells": cells, "volumes_A3": list(VOLUMES_A3), "orientations": ORIENTATIONS}
        origin["batch"] = {"zones": ZONES, "hybrids": HYBRIDS, "others": OTHERS}
    model = Model(weights)
    logits, label = pattern_logits(model, held_out), held_out.label
    if protocol == "several":
        # The figures are of what is looked for; the class is told by `target`.
        label = np.where(label == SEVERAL, ZONE, INTERSECTIONS)
        threshold = float(np.quantile(logits[label != ZONE], severaltraining.SPECIFICITY))
    else:
        threshold = 0.0 if protocol == "paper" else min(0.0, float(np.quantile(logits[label == ZONE], 1 - RECALL)))
    record: dict[str, Any] = {
        "protocol": protocol,
        "seed": seed,
        "steps": steps,
        **origin,
        "target": LABELS[SEVERAL if protocol == "several" else ZONE],
        "held_out": dict(zip(LABELS, np.bincount(held_out.label, minlength=len(LABELS)).tolist(), strict=True)),
        "held_out_figures": figures(label, logits >= threshold, logits).record(),
        "threshold": threshold,
        "tensorflow": tf.__version__,
        "wall_s": round(clock.now_ns() / 1e9, 1),
    }
    if real is not None:
        record["frames"] = real.record(lambda patterns: pattern_logits(model, patterns) >= threshold)
    return Model(weights, record), record


def pattern_logits(model: Model, patterns: Patterns) -> NDArray[np.float32]:
    """(n,) logits of patterns, drawn and classified a thousand at a time."""
    parts = np.array_split(np.arange(len(patterns)), max(1, len(patterns) // 1000))
    return np.concatenate([model.logits(render(patterns.take(part))) for part in parts])


def held_out_patterns(rng: np.random.Generator, cells: int) -> Patterns:
    """All patterns of some more cells, unspoilt."""
    return joined(
        [
            simulate(cell, ORIENTATIONS, rng, space_group=space_group, half_sphere=True)
            for cell, space_group in (training_cell(rng) for _ in range(cells))
        ]
    )


def _fit(
    batch: Callable[[], tuple[NDArray[np.float32], NDArray[np.float32]]], steps: int, progress: Progress | None
) -> dict[str, NDArray[np.float32]]:
    """Weights after so many steps of Adam on batches, in the precision in which they are kept."""
    tf = tensorflow()
    net = build()
    rate = tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - WARM_UP), warmup_target=LEARNING_RATE, warmup_steps=min(WARM_UP, steps)
    )
    adam = tf.keras.optimizers.Adam(rate)

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            logit = net(x, training=True)[:, 0]
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logit))
        adam.apply_gradients(zip(tape.gradient(loss, net.trainable_variables), net.trainable_variables, strict=True))
        return loss

    for number in range(1, steps + 1):
        x, target = batch()
        loss = step(tf.constant(x), tf.constant(target))
        if progress:
            progress(number, steps, float(loss))
    return halved(folded(net))


def _within_resolution(patterns: Patterns) -> Patterns:
    return patterns.only(np.hypot(*patterns.xy.T) <= D_STAR_MAX_PER_A)
