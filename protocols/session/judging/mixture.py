"""How many cells there are among many that were measured, each with its own uncertainty: a mixture of points.

Each cell of a phase is the phase's, and an error of known covariance. One phase is taken as long as it explains all;
two where they explain it so much better that chance makes it in one of some hundred nights (`GAIN`, tried with errors
alone). Expectation and maximisation (Dempster, Laird & Rubin 1977), begun from the two halves along the direction of
the largest spread, and from each point that stands out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GAIN = 24.0
"""Twice the logarithm of the likelihood that one more point has to bring."""
MOST = 8
ROUNDS = 60
OUTERMOST = 3
"""Points that stand out most, each tried as one of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """mean: (k, 6). covariance: (k, 6, 6) of these means. member: (n, k) chances that a cell is of each; rows sum to 1.
    likelihood: twice its logarithm, without what is the same for all.
    """

    mean: Array
    covariance: Array
    member: Array
    likelihood: float

    @property
    def of(self) -> NDArray[np.intp]:
        """(n,) the likeliest."""
        return np.asarray(self.member.argmax(axis=1), dtype=np.intp)


def mixture(value: Array, covariance: Array) -> Mixture:
    """Of (n, 6) numbers with their (n, 6, 6) covariances."""
    precision = _inverse(covariance)
    best = _risen(value, precision, np.ones((len(value), 1)))
    while best.mean.shape[0] < min(MOST, len(value)):
        tried = [_risen(value, precision, begin) for begin in _splits(value, precision, best)]
        more = max(tried, key=lambda each: each.likelihood, default=None)
        if more is None or more.likelihood - best.likelihood < GAIN:
            break
        best = more
    return best


def second_brings(value: Array, covariance: Array) -> float:
    """By how much two points would explain better than one what is taken for one."""
    precision = _inverse(covariance)
    one = _risen(value, precision, np.ones((len(value), 1)))
    return max(
        (_risen(value, precision, begin).likelihood - one.likelihood for begin in _splits(value, precision, one)),
        default=0.0,
    )


def _risen(value: Array, precision: Array, member: Array) -> Mixture:
    likelihood = -np.inf
    for _ in range(ROUNDS):
        weight = np.einsum("nk,nij->kij", member, precision)
        weight += 1e-9 * np.eye(6)  # nobody is left in it
        right = np.einsum("nk,nij,nj->ki", member, precision, value)
        mean = np.linalg.solve(weight, right[:, :, None])[:, :, 0]
        share = np.maximum(member.mean(axis=0), 1e-12)
        off = value[:, None] - mean
        log = -0.5 * np.einsum("nki,nij,nkj->nk", off, precision, off) + np.log(share)
        top = log.max(axis=1, keepdims=True)
        whole = top + np.log(np.exp(log - top).sum(axis=1, keepdims=True))
        member = np.exp(log - whole)
        before, likelihood = likelihood, float(2 * whole.sum())
        if likelihood - before < 1e-6:
            break
    return Mixture(mean, _inverse(weight), member, likelihood)


def _splits(value: Array, precision: Array, now: Mixture) -> list[Array]:
    """(n, k + 1) memberships to begin with."""
    of, begins = now.of, []
    for number in range(now.mean.shape[0]):
        mine = np.flatnonzero(of == number)
        if len(mine) < 2:
            continue
        off = value[mine] - now.mean[number]
        root = np.linalg.cholesky(precision[mine].mean(axis=0))
        white = off @ root
        _, _, directions = np.linalg.svd(white - white.mean(axis=0), full_matrices=False)
        along = white @ directions[0]
        halves = [mine[along > cut] for cut in (float(np.median(along)), _gap(along))]
        far = np.einsum("ni,nij,nj->n", off, precision[mine], off)
        halves += [mine[[one]] for one in np.argsort(-far)[:OUTERMOST]]
        for half in halves:
            if 0 < len(half) < len(mine):
                member = np.column_stack([now.member, np.zeros(len(value))])
                member[half] = 0.0
                member[half, -1] = 1.0
                begins.append(member)
    return begins


def _gap(along: Array) -> float:
    """Middle of the widest gap."""
    ordered = np.sort(along)
    widest = int(np.diff(ordered).argmax())
    return float(ordered[widest : widest + 2].mean())


def _inverse(matrices: Array) -> Array:
    return np.asarray(np.linalg.inv(matrices), dtype=np.float64)
