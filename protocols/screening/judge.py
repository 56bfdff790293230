"""What decides: the evidence of the spots alone; or, where that leaves it open, weighed together with the numbers of
the network.

A few small networks of one hidden layer, whose answers are averaged; they need numpy alone. They learn on patterns that
the convolutional network was not trained on, so that they know how far it is to be trusted.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from protocols.learning.modelfile import Weights
from protocols.screening.evidence import NAMES

Array = NDArray[np.float64]

OUTPUTS = 3
"""As the small network has: logits of good and of several lattices, and the logarithm of d_min."""
MEMBERS, HIDDEN = 8, 16
CLIP, LOGIT_LIMIT = 4.0, 12.0
DECAY = 2e-4
"""Of the squares of the weights: what keeps them from learning single patterns."""
STEPS = 500
STREAM = 24
"""Beside the seed, of the first weights."""
LOSSES = (1.0, 2.0, 1.0)
"""Of the three outputs."""
PREFIX = "judge/"


def shapes(network: bool = True) -> dict[str, tuple[int, ...]]:
    """Of each array of numbers that it has, by name. network: whether it hears what a network says."""
    inputs = len(NAMES) + (OUTPUTS if network else 0)
    return {
        f"{PREFIX}middle": (inputs,),
        f"{PREFIX}width": (inputs,),
        f"{PREFIX}hidden": (MEMBERS, inputs, HIDDEN),
        f"{PREFIX}hidden_bias": (MEMBERS, HIDDEN),
        f"{PREFIX}answers": (MEMBERS, HIDDEN, OUTPUTS),
        f"{PREFIX}answers_bias": (MEMBERS, OUTPUTS),
    }


def judged(weights: Mapping[str, NDArray[np.float32]], network: Array | None, evidence: NDArray[np.floating]) -> Array:
    """(n, 3) numbers, as the network gives them, from its (n, 3) and the (n, len(NAMES)) evidence. None: without it."""
    x = _scaled(weights, _inputs(network, evidence))
    hidden = np.tanh(np.einsum("ni,mih->mnh", x, weights[f"{PREFIX}hidden"]) + weights[f"{PREFIX}hidden_bias"][:, None])
    members = np.einsum("mnh,mho->mno", hidden, weights[f"{PREFIX}answers"])
    return np.asarray((members + weights[f"{PREFIX}answers_bias"][:, None]).mean(axis=0), dtype=np.float64)


def learned(network: Array | None, evidence: NDArray[np.floating], value: Array, known: Array, seed: int) -> Weights:
    """Weights from patterns: value, known: (n, 3) what each output should be, and how much that counts.

    The same seed and patterns give the same weights. Half a minute of a processor for 12 000 patterns.
    """
    inputs = _inputs(network, evidence)
    width = np.maximum(inputs.std(axis=0), 1e-3)
    weights: Weights = {
        f"{PREFIX}middle": inputs.mean(axis=0).astype(np.float32),
        f"{PREFIX}width": width.astype(np.float32),
    }
    x = _scaled(weights, inputs)
    share = np.asarray(known, dtype=np.float64) / np.maximum(known.sum(axis=0), 1.0) * LOSSES
    rng = np.random.default_rng([seed, STREAM])
    members = [_member(x, np.asarray(value, dtype=np.float64), share, rng) for _ in range(MEMBERS)]
    for name, arrays in zip(list(shapes())[2:], zip(*members, strict=True), strict=True):
        weights[name] = np.stack(arrays).astype(np.float32)
    return weights


def _inputs(network: Array | None, evidence: NDArray[np.floating]) -> Array:
    if network is None:
        return np.asarray(evidence, dtype=np.float64)
    network = np.clip(np.asarray(network, dtype=np.float64), -LOGIT_LIMIT, LOGIT_LIMIT)
    return np.concatenate([network, np.asarray(evidence, dtype=np.float64)], axis=1)


def _scaled(weights: Mapping[str, NDArray[np.float32]], inputs: Array) -> Array:
    return np.clip((inputs - weights[f"{PREFIX}middle"]) / weights[f"{PREFIX}width"], -CLIP, CLIP)


def _member(x: Array, value: Array, share: Array, rng: np.random.Generator) -> list[Array]:
    """The four arrays of one network, by L-BFGS from a start of its own."""
    from scipy.optimize import minimize
    from scipy.special import expit

    sizes = [(x.shape[1], HIDDEN), (HIDDEN,), (HIDDEN, OUTPUTS), (OUTPUTS,)]
    ends = np.cumsum([int(np.prod(size)) for size in sizes])

    def arrays(flat: Array) -> list[Array]:
        return [part.reshape(size) for part, size in zip(np.split(flat, ends[:-1]), sizes, strict=True)]

    def loss(flat: Array) -> tuple[float, Array]:
        first, first_bias, second, second_bias = arrays(flat)
        hidden = np.tanh(x @ first + first_bias)
        out = hidden @ second + second_bias
        off = out - value
        each = np.logaddexp(0, out) - value * out
        slope = expit(out) - value
        each[:, 1], slope[:, 1] = np.logaddexp(off[:, 1], -off[:, 1]), np.tanh(off[:, 1])  # d_min: a soft |off|
        slope = share * slope
        back = (slope @ second.T) * (1 - hidden * hidden)
        decay = DECAY * (np.sum(first * first) + np.sum(second * second))
        first_slope, second_slope = x.T @ back + 2 * DECAY * first, hidden.T @ slope + 2 * DECAY * second
        slopes = [first_slope, back.sum(axis=0), second_slope, slope.sum(axis=0)]
        return float(np.sum(share * each) + decay), np.concatenate([part.reshape(-1) for part in slopes])

    start = [rng.standard_normal(size) / np.sqrt(size[0]) if len(size) == 2 else np.zeros(size) for size in sizes]
    flat = np.concatenate([part.reshape(-1) for part in start])
    return arrays(minimize(loss, flat, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x)
