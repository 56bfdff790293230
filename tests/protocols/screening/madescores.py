"""Stand-ins for tests of screening: examples with made-up truths, and a network with random numbers."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from protocols.learning.modelfile import Weights
from protocols.screening import judge
from protocols.screening.evidence import NAMES
from protocols.screening.examples import KINDS, VERDICTS, Examples
from protocols.screening.geometric import SpotJudge
from protocols.screening.labels import Kind, Verdict
from protocols.screening.model import Model
from protocols.screening.networks import NETWORKS, Which
from tests.gaussians import gaussians


def made_examples(kinds: list[Kind], borderline: int = 0) -> Examples:
    """One example of each kind named, one lattice being good; the first `borderline` of them are neither."""
    n = len(kinds)
    rng = np.random.default_rng(n)
    verdicts = [Verdict.GOOD if kind is Kind.ONE_LATTICE else Verdict.BAD for kind in kinds]
    verdicts[:borderline] = [Verdict.BORDERLINE] * borderline
    pictures = rng.random((n, 150, 150)).astype(np.float16)
    return Examples(
        pictures=pictures,
        paper=pictures,
        evidence=rng.random((n, len(NAMES))).astype(np.float32),
        kind=np.array([KINDS.index(kind) for kind in kinds], np.int8),
        verdict=np.array([VERDICTS.index(verdict) for verdict in verdicts], np.int8),
        d_min_A=np.where([kind is Kind.ONE_LATTICE for kind in kinds], 1.0, np.nan).astype(np.float32),
        lattices=np.array([{Kind.ONE_LATTICE: 1, Kind.SEVERAL_CRYSTALS: 2}.get(kind, 0) for kind in kinds], np.int16),
        crystal=np.arange(n, dtype=np.int32),
    )


@cache
def random_model(which: Which = Which.SMALL) -> Model:
    """Untrained: it knows nothing, and always the same."""
    rng = np.random.default_rng(5)
    card = {"calibration": {"scale": 1.0, "offset": 0.0}}
    if which is Which.PAPER:
        return Model(which, random_weights(NETWORKS[which].shapes(), rng), card)
    weights = random_weights(NETWORKS[which].shapes() | judge.shapes(), rng)
    return Model(which, weights, card, SpotJudge(random_weights(judge.shapes(network=False), rng), card))


def random_weights(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> Weights:
    """Of these shapes; variances and widths are positive."""
    weights: Weights = {}
    for name, shape in shapes.items():
        drawn = rng.standard_normal(shape) * np.sqrt(2 / max(1, int(np.prod(shape[:-1]))))
        positive = name.endswith(("variance", "gamma", "judge/width"))
        weights[name] = (np.abs(drawn) if positive else drawn).astype(np.float32)
    return weights


def lattice_frame(size_px: int = 516, spacing_px: float = 30.0, counts: float = 200.0) -> np.ndarray:
    """(size, size) counts: a square net of spots on a halo about the middle."""
    y, x = np.mgrid[:size_px, :size_px] - size_px / 2
    frame = 300.0 * np.exp(-np.hypot(x, y) / (0.08 * size_px)) + 2000.0 * np.exp(-(x**2 + y**2) / 20)
    reach = int(0.4 * size_px / spacing_px)
    net = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    frame += gaussians((size_px, size_px), size_px / 2 + 0.5 + spacing_px * net, np.sqrt(2), counts)
    return np.asarray(np.random.default_rng(1).poisson(frame), dtype=np.uint16)
