"""All that the data sets so far come to, as JSON: phases, how complete each is and can become, what is of none."""

from collections.abc import Sequence

from engine.record.jsonobject import JsonDict
from protocols.session.judging.coverage import Reach, Stage
from protocols.session.judging.dataset import DataSet
from protocols.session.judging.phases import Phase, phases_of, unplaced


def judgement(data_sets: Sequence[DataSet], stage: Stage, d_min_A: float) -> JsonDict:
    """`phases`: of each its `number`, `words`, `lattice`, `cell` (conventional, six numbers), `data_sets` (their
    numbers), `completeness` of all together and `attainable` (0 to 1, to d_min_A), `attainable_words`, `doubts`.
    `unplaced`: number and why of data sets of no phase. 1 to 3 s a phase.
    """
    phases = phases_of(data_sets)
    return {
        "phases": [_told(phase, Reach(phase, stage, d_min_A)) for phase in phases],
        "unplaced": [{"number": number, "why": why} for number, why in unplaced(data_sets, phases).items()],
    }


def _told(phase: Phase, reach: Reach) -> JsonDict:
    attainable = reach.attainable
    return {
        "number": phase.number,
        "words": phase.words,
        "lattice": phase.bravais.symbol,
        "cell": [round(value, 4) for value in phase.bravais.cell.parameters],
        "data_sets": [each.number for each in phase.data_sets],
        "completeness": round(reach.share(reach.together), 4),
        "attainable": round(attainable.share, 4),
        "attainable_words": attainable.words,
        "doubts": list(phase.doubts),
    }
