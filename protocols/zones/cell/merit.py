"""How far a cell is to be believed: a figure of merit from 0 to 1, and the reason where it is low.

Two things make a cell credible. Evidence beyond the nets that any lattice explains that is made of them (`surplus`);
every zone that it leaves unexplained takes some of it away. And the margin over the next different lattice, multiples
and fractions of the cell among them. Both are logarithms of odds, so each is turned into a share by an exponential or
a logistic. Their scales were set on simulated cells, triclinic of 500 to 1000 A^3, from 3, 4, 5, 6 and 8 zones, with
noise, with half as many false zones as true ones or as many, with an elliptical distortion not taken out, and from
false zones alone, such that wrong cells stay low; the tests repeat a part of that.
"""

from dataclasses import dataclass

import numpy as np

HIGH = 0.9
"""A cell with a figure of merit at least this is called determined."""

LEAST_SURPLUS, SURPLUS_SCALE = 14.0, 2.0
"""Surplus at which a cell is as likely wrong as right, and e-fold of the odds; 10^6 trials reach 14 by chance."""

MARGIN_SCALE = 3.0
UNEXPLAINED = 1.5
"""Evidence taken off for each zone that is not a plane of the lattice."""

LEAST_SPARE = 8
"""Equations, three for each distinct net, beyond the free numbers of the lattice: five nets for a triclinic one."""

LARGEST_SIGMA = 0.003
"""Relative standard deviation of a length above which a cell is not known well enough."""

LEAST_SHARE = 0.3
CAPPED = 0.8
"""The most that a cell gets which fails one of the conditions."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a candidate's figure of merit rests on.

    surplus, margin: natural logarithms of odds, see above; the surplus without what symmetry brings.
    zones, explained: zones altogether and those that are
    planes of the lattice.  nets: distinct nets explained.  free_parameters: of the lattice's symmetry.
    length_sigma: largest relative standard deviation of a, b, c.  one_row: all explained zones share a row.
    """

    surplus: float
    margin: float
    zones: int
    explained: int
    nets: int
    free_parameters: int
    length_sigma: float
    one_row: bool

    @property
    def share(self) -> float:
        """Of the zones that are explained."""
        return self.explained / max(self.zones, 1)

    @property
    def spare(self) -> int:
        """Equations beyond the unknowns."""
        return 3 * self.nets - self.free_parameters


def figure_of_merit(g: Grounds) -> float:
    """0..1; at least HIGH where the cell is to be believed."""
    surplus = g.surplus - UNEXPLAINED * (g.zones - g.explained)
    merit = (1 - np.exp(-max(g.margin, 0.0) / MARGIN_SCALE)) / (1 + np.exp(-(surplus - LEAST_SURPLUS) / SURPLUS_SCALE))
    failed = g.spare < LEAST_SPARE or g.length_sigma > LARGEST_SIGMA or g.share < LEAST_SHARE
    return float(min(merit, CAPPED) if failed else merit)


def reason(g: Grounds, distinct: int) -> str:
    """Why a cell with a low figure of merit is not determined, in words; distinct: different nets among all zones."""
    needed = "at least 5 are needed"
    if g.spare < LEAST_SPARE:
        if distinct < 5:
            return f"{distinct} distinct zones; {needed}"
        if g.nets <= 2:
            return f"no cell fits more than two of {distinct} distinct zones"
        if g.one_row:
            return f"all {g.nets} distinct zones that fit together share one row, and the others fit no cell with them"
        return f"only {g.nets} of {distinct} distinct zones fit one cell; {needed}"
    if g.share < LEAST_SHARE:
        return f"the best cell explains only {g.explained} of {g.zones} zones"
    if g.length_sigma > LARGEST_SIGMA:
        return f"the zones leave a length of the cell uncertain by {100 * g.length_sigma:.1f} %"
    if 1 - np.exp(-max(g.margin, 0.0) / MARGIN_SCALE) < HIGH:
        return "two cells explain the zones about equally well; more zones would decide"
    return f"so few zones are explained by chance as well ({g.nets} distinct of {distinct}); more zones would decide"
