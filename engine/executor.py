"""Where many things are computed at once: in processes of this machine, or on a cluster of Dask."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, Protocol, TypeVar
from unittest.mock import patch

from engine.errors import Refused, shown
from engine.worker import WORKERS, begin_worker

Given = TypeVar("Given")
Got = TypeVar("Got")

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Each process has a processor to itself: more threads for its small matrices would only wait for each other."""
CONNECT_S = "10s"


class Executor(Protocol):
    """Computes a function of many things, in any order."""

    def each(self, work: Callable[[Given], Got], given: Sequence[Given]) -> Iterator[Got]:
        """The results as they come in. work: of a module, so that another process finds it; it does not raise."""
        ...


class LocalExecutor:
    """So many processes of this machine; 0 = one for each processor."""

    def __init__(self, jobs: int = 0) -> None:
        self._jobs = jobs or os.cpu_count() or 1

    def each(self, work: Callable[[Given], Got], given: Sequence[Given]) -> Iterator[Got]:
        """See `Executor.each`."""
        with patch.dict(os.environ, ONE_THREAD):  # a process that begins takes them over
            pool = ProcessPoolExecutor(min(self._jobs, len(given)) or 1, WORKERS, initializer=begin_worker)
            under_way = [pool.submit(work, each) for each in given]
            try:
                for future in as_completed(under_way):
                    yield future.result()
            except BaseException:  # Ctrl-C: what is under way is not waited for
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            pool.shutdown()


class DaskExecutor:
    """On the workers of a scheduler of Dask, which have this version of credline. address: as tcp://HOST:PORT."""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise Refused(
                f"--scheduler: Dask cannot be used ({error}); nothing was computed. Install it: pip install -e "
                "'.[dask]', or leave out --scheduler to compute on this machine."
            ) from error
        try:
            self._client: Any = Client(address, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise Refused(
                f"--scheduler {shown(address)}: no scheduler of Dask answers there ({error}); nothing was computed. "
                "Start one (dask scheduler) and workers (dask worker ADDRESS --nthreads 1)."
            ) from error

    def each(self, work: Callable[[Given], Got], given: Sequence[Given]) -> Iterator[Got]:
        """See `Executor.each`."""
        from distributed import as_completed as completed

        try:
            for future in completed(self._client.map(work, given, pure=False)):
                yield future.result()
        finally:
            self._client.close()
