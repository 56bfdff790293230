"""Labelled patterns as arrays, ready for a network: made by `generation`, prepared in several processes at once.

Frames are not kept, only the 150 x 150 pictures of them: 45 kB each. The same seed and numbers give the same examples,
whatever the number of processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.executor import Executor
from protocols.screening.evidence import NAMES, told
from protocols.screening.generation import CameraKind, generate
from protocols.screening.generation.specimen import PATTERNS_EACH
from protocols.screening.inspection import inspected
from protocols.screening.labels import Kind, Verdict
from protocols.screening.preprocessing import paper_input

KINDS, VERDICTS = tuple(Kind), tuple(Verdict)
AT_ONCE = 8 * PATTERNS_EACH
"""Patterns of one piece of work for a process: some seconds."""
UNKNOWN = np.full(len(NAMES), np.nan, dtype=np.float32)
NOT_WANTED = np.empty((0, 0), dtype=np.float16)
INTEGRATING_EACH = 3
"""Every third specimen is looked at with a camera that integrates."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """n labelled patterns. pictures, paper: (n, 150, 150) by `input_of` and by `paper_input`, in half precision; paper
    is (n, 0, 0) where it was not wanted.

    evidence: (n, len(NAMES)) of their spots; not a number where it was not wanted.
    kind, verdict: (n,) index into KINDS and VERDICTS. d_min_A: NaN where there is none. lattices, crystal: as `Label`.
    """

    pictures: NDArray[np.float16]
    paper: NDArray[np.float16]
    evidence: NDArray[np.float32]
    kind: NDArray[np.int8]
    verdict: NDArray[np.int8]
    d_min_A: NDArray[np.float32]
    lattices: NDArray[np.int16]
    crystal: NDArray[np.int32]

    def __len__(self) -> int:
        """Number of patterns."""
        return len(self.kind)

    @property
    def good(self) -> NDArray[np.bool_]:
        """(n,) those that are good."""
        return np.asarray(self.verdict == VERDICTS.index(Verdict.GOOD))

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(n,) those that are good or bad; borderline ones count neither way."""
        return np.asarray(self.verdict != VERDICTS.index(Verdict.BORDERLINE))

    def take(self, which: NDArray[Any]) -> "Examples":
        """Some of them."""
        return Examples(*(getattr(self, each.name)[which] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """One piece of work: patterns `first` and so on of a seed. camera: None = INTEGRATING_EACH decides.

    evidence, paper: whether that of the spots is wanted, and what the paper's network is shown; some milliseconds each.
    """

    seed: int
    first: int
    count: int
    camera: CameraKind | None = None
    shape: tuple[int, int] = (516, 516)
    evidence: bool = True
    paper: bool = False


def examples(
    executor: Executor,
    wanted: Sequence[Wanted],
    progress: Callable[[int], None] | None = None,
) -> Examples:
    """All that is wanted, in that order. 25 ms of a processor each."""
    work = [piece for one in wanted for piece in pieces(one)]
    found: dict[int, Examples] = {}
    done = 0
    for number, some in executor.each(_made, list(enumerate(work))):
        found[number] = some
        done += len(some)
        if progress is not None:
            progress(done)
    return together([found[number] for number in range(len(work))])


def together(parts: Sequence[Examples]) -> Examples:
    """All of them, one after the other."""
    return Examples(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Examples)))


def camera_of(wanted: Wanted, number: int) -> CameraKind:
    """The camera with which a pattern is looked at: one for all patterns of a specimen."""
    if wanted.camera is not None:
        return wanted.camera
    integrating = number // PATTERNS_EACH % INTEGRATING_EACH == INTEGRATING_EACH - 1
    return CameraKind.INTEGRATING if integrating else CameraKind.COUNTING


def pieces(wanted: Wanted) -> list[Wanted]:
    """The same in parts for a process each."""
    ends = range(wanted.first, wanted.first + wanted.count, AT_ONCE)
    last = wanted.first + wanted.count
    return [replace(wanted, first=first, count=min(AT_ONCE, last - first)) for first in ends]


def _made(numbered: tuple[int, Wanted]) -> tuple[int, Examples]:
    """In a process of its own."""
    place, wanted = numbered
    rows: list[tuple[Any, ...]] = []
    for number in range(wanted.first, wanted.first + wanted.count):
        (one,) = generate(wanted.seed, number, 1, camera_of(wanted, number), wanted.shape)
        frame, of = one.counts[None], one.label
        d_min_A = np.nan if of.d_min_A is None else of.d_min_A
        (look,) = inspected(frame, one.inverse_A_per_px)
        rows.append(
            (
                look.picture,
                paper_input(frame)[0] if wanted.paper else NOT_WANTED,
                told(look.spots) if wanted.evidence else UNKNOWN,
                KINDS.index(of.kind),
                VERDICTS.index(of.verdict),
                d_min_A,
                of.lattices,
                of.crystal,
            )
        )
    types = (np.float16, np.float16, np.float32, np.int8, np.int8, np.float32, np.int16, np.int32)
    columns = zip(*rows, strict=True)
    return place, Examples(*(np.array(column, dtype=kind) for column, kind in zip(columns, types, strict=True)))
