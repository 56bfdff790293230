"""How two zones that share a row are turned about it: the dihedral angle, voted for by all other zones.

Two planes of a lattice meet in a row. So where zone A has a row as long as a row of zone B, the two may be planes of
the lattice that meet in this row g, and only the angle phi between them is unknown. A third zone C knows it: where C
has a row as long as a row a of A, and another as long as a row b of B, and they are the same
rows, then a.b can be read in C,

    a.b = a_g b_g + a_n b_n cos(phi)      (g: component along the row g, n: across it)

and phi follows. Where C shares the row g as well, the lines of its net parallel to g are m a + n b with small m, n, and

    c_n^2 = m^2 a_n^2 + n^2 b_n^2 + 2 m n a_n b_n cos(phi),    c_g = m a_g + n b_g  up to multiples of g,

a, b, c being the first lines beside g in each: so a cell is found even where all zones share one row, as those of a
cell with one long axis do. Wrong matches vote for angles at random; right ones agree. (Derived here; the published GM
algorithm and PIEP serve the same end, but only their abstracts were to be had.)

A net may stand for several planes of equal shape, as symmetry makes them: A, B and C need not be different nets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from protocols.zones.cell.merging import Net

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

ROWS = 14
"""Shortest rows of a net that are matched with those of others."""

SIGMAS, SLACK, LARGEST_TOLERANCE = 3.0, 0.0012, 0.012
"""Rows are equal within so many standard deviations plus this relative slack, but never beyond the largest."""

BIN_DEG = 0.5
BINS = round(180 / BIN_DEG)
SMALLEST_ANGLE_DEG = 4.0
"""Planes nearer to each other than this are not told from the same plane."""

LONGEST_LEVER = 8.0
"""Votes whose angle would be this much less certain than the row lengths are not counted."""

PENCIL = np.array([(m, n) for n in (1, 2, 3) for m in (-3, -2, -1, 1, 2, 3) if gcd(m, n) == 1])
"""Lines m a + n b that a third net through the same row is tried as."""

SMALL = np.array(sorted(((x, y) for x in range(-6, 7) for y in range(-6, 7)), key=lambda c: abs(c[0]) + abs(c[1])))
"""Among these x, y, the nearest to 0 first, is a solution of m y - n x = 1 for every row m, n that is used."""

OFFSET_SLACK = 0.003
"""How well its offset along the row must agree, relative to the lengths that it is a sum of."""

AXES_AT_MOST = 3000
"""Shared rows that are voted on, shortest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Primitive rows of all nets, n altogether, shortest first within a net.

    net: (n,) which net.  index: (n, 2) in terms of its first two sides.  vector: (n, 2) in the net's own frame
    (first side along x), 1/A.  length: (n,) 1/A.  sigma: (n,) relative standard deviation of the length.
    """

    net: Indices
    index: Indices
    vector: Array
    length: Array
    sigma: Array


@dataclass(frozen=True, slots=True, eq=False)
class Hinges:
    """Matched rows about which two nets may turn, m of them; row_a, row_b (m,) are numbers of rows."""

    row_a: Indices
    row_b: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """votes: (m, BINS) number of distinct nets that vote for an angle in bins of BIN_DEG from 0 to 180, per hinge."""

    hinges: Hinges
    votes: NDArray[np.int16]


def frame(net: Net) -> Array:
    """(2, 2) rows: the first two sides of a net as plane vectors, the first along x."""
    a, b, c = net.squares
    along = (a + b - c) / 2 / np.sqrt(a)
    return np.array([[np.sqrt(a), 0.0], [along, np.sqrt(max(b - along**2, 0.0))]])


def rows_of(nets: Sequence[Net], count: int = ROWS) -> Rows:
    """The `count` shortest primitive rows of every net."""
    span = range(-5, 6)
    half = np.array([(m, n) for m in span for n in span if gcd(m, n) == 1 and (m, n) > (0, 0)])
    m, n = half.T
    # |m v + n w|^2 in terms of the squared sides |v|^2, |w|^2, |v - w|^2
    by_square = np.stack([m * m + m * n, n * n + m * n, -m * n], axis=1)
    parts: list[tuple[Indices, Indices, Array, Array, Array]] = []
    for number, net in enumerate(nets):
        squared = by_square @ net.squares
        short = np.argsort(squared, kind="stable")[:count]
        variance = np.einsum("ri,ij,rj->r", by_square[short], net.covariance, by_square[short])
        length = np.sqrt(squared[short])
        sigma = np.sqrt(variance) / (2 * squared[short])
        parts.append((np.full(len(short), number), half[short], half[short] @ frame(net), length, sigma))
    net_of, index, vector, lengths, sigmas = zip(*parts, strict=True)
    lengths_and_sigmas = np.concatenate(lengths), np.concatenate(sigmas)
    return Rows(np.concatenate(net_of), np.concatenate(index), np.concatenate(vector), *lengths_and_sigmas)


def matches(rows: Rows) -> NDArray[np.bool_]:
    """(n, n) which rows have equal length; a row matches itself."""
    logs = np.log(rows.length)
    allowed = np.minimum(SIGMAS * np.hypot(rows.sigma[:, None], rows.sigma[None]) + SLACK, LARGEST_TOLERANCE)
    return np.asarray(np.abs(logs[:, None] - logs[None]) < allowed)


def hinges_of(rows: Rows, equal: NDArray[np.bool_]) -> Hinges:
    """Every pair of equal rows in two nets (or twice in the same net), shortest first."""
    a, b = np.nonzero(equal & (rows.net[:, None] <= rows.net[None]))
    once = (rows.net[a] < rows.net[b]) | (a <= b)
    a, b = a[once], b[once]
    short = np.argsort(rows.length[a], kind="stable")[:AXES_AT_MOST]
    return Hinges(a[short], b[short])


def vote(nets: Sequence[Net], rows: Rows, equal: NDArray[np.bool_], hinges: Hinges) -> Votes:
    """The angles that third nets vote for."""
    count = int(rows.net.max()) + 1
    first, second, product, voter = _known_products(rows, equal)
    # Which products concern which pair of nets: sorted by pair, each hinge takes one slice.
    pair = rows.net[first] * count + rows.net[second]
    by_pair = np.argsort(pair, kind="stable")
    pair, product, voter = pair[by_pair], product[by_pair], voter[by_pair]
    first, second = first[by_pair], second[by_pair]
    wanted = rows.net[hinges.row_a] * count + rows.net[hinges.row_b]
    begin, end = np.searchsorted(pair, wanted, "left"), np.searchsorted(pair, wanted, "right")
    direction = rows.vector / rows.length[:, None]
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    beside = _lines_beside(nets, rows)
    votes = np.zeros((len(wanted), BINS), dtype=np.int16)
    for number in range(len(wanted)):
        chosen = slice(begin[number], end[number])
        a, b = rows.vector[first[chosen]], rows.vector[second[chosen]]
        ga, gb = int(hinges.row_a[number]), int(hinges.row_b[number])
        across = (a @ normal[ga]) * (b @ normal[gb])
        along = (a @ direction[ga]) * (b @ direction[gb])
        size = rows.length[first[chosen]] * rows.length[second[chosen]]
        usable = np.abs(across) * LONGEST_LEVER > size
        across, along, dot, by = across[usable], along[usable], product[chosen][usable], voter[chosen][usable]
        pencil, pencil_by = _pencil(rows, equal, beside, ga, gb)
        # The sign of a row is free, so a.b is known but for its sign.
        cosine = np.concatenate([(dot - along) / across, (-dot - along) / across, pencil])
        by = np.concatenate([by, by, pencil_by])
        real = np.abs(cosine) < np.cos(np.radians(SMALLEST_ANGLE_DEG))
        bins = (np.degrees(np.arccos(cosine[real])) / BIN_DEG).astype(np.int64)
        seen = np.zeros((BINS + 2, count), dtype=bool)
        seen[bins + 1, by[real]] = True
        votes[number] = (seen[:-2] | seen[1:-1] | seen[2:]).sum(axis=1)
    return Votes(hinges, votes)


def _lines_beside(nets: Sequence[Net], rows: Rows, which: Sequence[int] | slice = slice(None)) -> Array:
    """(n, 2) for every row: shift along it, and distance, of the next parallel line of its net, 1/A."""
    m, n = rows.index[which].T
    other = SMALL[np.argmax(m[:, None] * SMALL[:, 1] - n[:, None] * SMALL[:, 0] == 1, axis=1)]
    of_net = {int(number): frame(nets[int(number)]) for number in np.unique(rows.net[which])}
    frames = np.stack([of_net[int(number)] for number in rows.net[which]])
    vector = np.einsum("ri,rij->rj", other.astype(np.float64), frames)
    length = rows.length[which]
    direction = rows.vector[which] / length[:, None]
    along = np.einsum("ij,ij->i", vector, direction)
    along -= np.rint(along / length) * length
    return np.stack([along, direction[:, 0] * vector[:, 1] - direction[:, 1] * vector[:, 0]], axis=1)


def _pencil(rows: Rows, equal: NDArray[np.bool_], beside: Array, ga: int, gb: int) -> tuple[Array, Indices]:
    """Cosines of the angle from third nets that share the row ga = gb too, and these nets."""
    third = np.flatnonzero(equal[ga] & equal[gb] & (rows.net != rows.net[ga]) & (rows.net != rows.net[gb]))
    (a_along, a_across), (b_along, b_across) = beside[ga], beside[gb]
    m, n = PENCIL.T
    along, across = beside[third].T
    shift = (m * a_along + n * b_along)[:, None]
    size = (np.abs(m) * np.hypot(a_along, a_across) + n * np.hypot(b_along, b_across))[:, None] + np.hypot(
        along, across
    )
    period = rows.length[ga]
    off = np.minimum(*(np.abs((shift + sign * along + period / 2) % period - period / 2) for sign in (1, -1)))
    line, net = np.nonzero(off < OFFSET_SLACK * size)
    m, n = m[line], n[line]
    cosine = (across[net] ** 2 - (m * a_across) ** 2 - (n * b_across) ** 2) / (2 * m * n * a_across * b_across)
    return cosine, rows.net[third[net]]


def _known_products(rows: Rows, equal: NDArray[np.bool_]) -> tuple[Indices, Indices, Array, Indices]:
    """Scalar products of rows of two nets (the first not after the second) as read in a third: rows, product, net."""
    parts = []
    for number in range(int(rows.net.max()) + 1):
        own = np.flatnonzero(rows.net == number)
        row, column = np.nonzero(equal[:, own])
        foreign_or_self = (rows.net[row] != number) | (row == own[column])
        row, column = row[foreign_or_self], column[foreign_or_self]
        vector = rows.vector[own[column]]
        i, j = np.nonzero((column[:, None] != column[None]) & (rows.net[row][:, None] <= rows.net[row][None]))
        third = (rows.net[row[i]] != number) | (rows.net[row[j]] != number)
        i, j = i[third], j[third]
        parts.append((row[i], row[j], np.einsum("ij,ij->i", vector[i], vector[j]), np.full(len(i), number)))
    first, second, product, voter = zip(*parts, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(product), np.concatenate(voter)


def peaks(votes: Votes, per_hinge: int = 6, at_most: int = 400) -> tuple[Indices, Array, Indices]:
    """The angles with most votes: (hinge, angle in deg, votes), best first, few for each hinge."""
    v = votes.votes
    if not v.size:
        return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
    padded = np.pad(v, ((0, 0), (1, 1)))
    summit = (v >= padded[:, :-2]) & (v > padded[:, 2:]) & (v > 0)
    hinge, place = np.nonzero(summit)
    count = v[hinge, place].astype(np.int64)
    best = np.lexsort((place, hinge, -count))
    hinge, place, count = hinge[best], place[best], count[best]
    # The n-th best of its hinge, n < per_hinge.
    by_hinge = np.argsort(hinge, kind="stable")
    ordered = hinge[by_hinge]
    rank = np.empty(len(hinge), dtype=np.int64)
    rank[by_hinge] = np.arange(len(hinge)) - np.searchsorted(ordered, ordered, "left")
    keep = np.flatnonzero(rank < per_hinge)[:at_most]
    # A peak three bins wide has a flat top: its middle.
    hinge, place, count = hinge[keep], place[keep], count[keep]
    left = np.maximum(place - 1, 0)
    flat = v[hinge, left] == v[hinge, place]
    angle = np.asarray((place + 0.5 - np.where(flat, 0.5, 0.0)) * BIN_DEG, dtype=np.float64)
    return hinge.astype(np.int64), angle, count


def lattice_of(nets: Sequence[Net], rows: Rows, row_a: int, row_b: int, angle_deg: float) -> Array:
    """(3, 3) reciprocal metric in 1/A^2 of the lattice of two nets that share a row, at this dihedral angle."""
    a, b = _lines_beside(nets, rows, [row_a, row_b])
    g = np.sqrt(rows.length[row_a] * rows.length[row_b])
    phi = np.radians(angle_deg)
    vectors = np.array([[g, 0, 0], [a[0], a[1], 0], [b[0], b[1] * np.cos(phi), b[1] * np.sin(phi)]])
    return np.asarray(vectors @ vectors.T)
