"""Labelled pictures of a person as examples to learn from: they teach good and bad, nothing of d_min or lattices."""

import numpy as np

from engine.errors import Refused
from protocols.screening.evidence import told
from protocols.screening.examples import KINDS, VERDICTS, Examples
from protocols.screening.inspection import inspected
from protocols.screening.labelled import UserPatterns
from protocols.screening.labels import Kind, Verdict
from protocols.screening.preprocessing import paper_input
from protocols.screening.scoredfiles import scale_of


def own_examples(of: UserPatterns) -> Examples:
    """All of them, read and prepared. Where the scale of a picture is not known, it is taken to reach 1.26 1/A.

    Refused for fewer than two or without both kinds; DataError for a picture that cannot be read.
    """
    if not {Verdict.GOOD, Verdict.BAD} <= set(of.verdicts):
        raise Refused("--labelled: good and bad pictures are needed, and one kind is missing. Nothing was trained.")
    pictures, paper, evidence = [], [], []
    for one in of:
        counts = one.counts if one.mask is None else np.where(one.mask, np.nan, one.counts.astype(np.float32))
        (look,) = inspected(counts[None], scale_of(one.inverse_A_per_px, counts))
        pictures.append(look.picture)
        evidence.append(told(look.spots))
        paper.append(paper_input(counts[None])[0])
    count = len(of)
    return Examples(
        np.array(pictures, dtype=np.float16),
        np.array(paper, dtype=np.float16),
        np.array(evidence, dtype=np.float32),
        np.full(count, KINDS.index(Kind.ONE_LATTICE), dtype=np.int8),
        np.array([VERDICTS.index(verdict) for verdict in of.verdicts], dtype=np.int8),
        np.full(count, np.nan, dtype=np.float32),
        np.zeros(count, dtype=np.int16),
        np.array(of.crystals, dtype=np.int32),
    )
