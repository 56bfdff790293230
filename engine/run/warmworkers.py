"""Worker processes between two runs: one that has loaded what it computes is kept for the next run that wants the same.

Such a process takes 1-3 s to begin and to import what it needs, and a session performs hundreds of runs. A worker's
answer depends on nothing but its question (else one that died could not be replaced), so it may serve many runs.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from threading import Lock

from engine.run.computeworker import let_go_of_run

MOST = 12
"""So many are kept, of some 100-200 MB each; then the one that has waited longest ends."""


@dataclass(frozen=True, slots=True)
class Warm:
    """A process with nothing to do. function: what it has loaded, as `engine.run.compute.Computation` names it."""

    function: str
    niceness: int
    pool: ProcessPoolExecutor
    process: BaseProcess | None


class WarmWorkers:
    """Those of an instrument, from run to run. Called from any thread."""

    def __init__(self) -> None:
        self._kept: list[Warm] = []
        self._lock = Lock()
        self._closed = False

    def take(self, function: str, niceness: int) -> Warm | None:
        """One that has loaded this function, or None. It may have died meanwhile."""
        with self._lock:
            for kept in self._kept:
                if (kept.function, kept.niceness) == (function, niceness):
                    self._kept.remove(kept)
                    return kept
        return None

    def keep(self, warm: Warm) -> None:
        """For the next run; of each function the newest. What is not kept ends, which takes some 10 ms."""
        try:
            warm.pool.submit(let_go_of_run)  # else it would hold the pictures of a run open that may be deleted
        except RuntimeError:  # it died
            warm.pool.shutdown(wait=True)
            return
        with self._lock:
            same = [each for each in self._kept if (each.function, each.niceness) == (warm.function, warm.niceness)]
            others = [each for each in self._kept if each not in same]
            most = 0 if self._closed else MOST
            self._kept = [*others, warm][-most:] if most else []
            ends = [each for each in (*same, *others, warm) if each not in self._kept]
        for each in ends:
            each.pool.shutdown(wait=True)

    def close(self) -> None:
        """End those that are kept; what comes later ends at once."""
        with self._lock:
            self._closed = True
            ends, self._kept = self._kept, []
        for each in ends:
            each.pool.shutdown(wait=True)
