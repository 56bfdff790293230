"""All that the data sets so far come to, as JSON: phases, how complete each is and can become, what is of none."""

from collections.abc import Sequence

from engine.record.jsonobject import JsonDict
from protocols.session.judging.coverage import Reach
from protocols.session.judging.dataset import DataSet
from protocols.session.judging.phases import unplaced


def judgement(data_sets: Sequence[DataSet], phases: Sequence[Reach]) -> JsonDict:
    """phases: those of the data sets (`protocols.session.judging.phases.phases_of`), with what they reach.

    `phases`: of each its `number`, `words`, `lattice`, `cell` (conventional, six numbers), `data_sets` (their
    numbers), `completeness` of all together and `attainable` (0 to 1, to their d_min_A), `attainable_words`, `doubts`.
    `unplaced`: number and why of data sets of no phase. Up to 0.3 s a phase.
    """
    alone = unplaced(data_sets, [reach.phase for reach in phases])
    return {
        "phases": [_told(reach) for reach in phases],
        "unplaced": [{"number": number, "why": why} for number, why in alone.items()],
    }


def _told(reach: Reach) -> JsonDict:
    phase, attainable = reach.phase, reach.attainable
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
