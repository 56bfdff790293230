"""How long a call to the microscope's interface takes: mostly typical, sometimes much longer, always seeded."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from engine.clock import Clock

# Shape of the jitter, chosen here: +-8 % around the typical time, and one call in fifty up to several times as long.
BODY_SIGMA = 0.08
TAIL_SHARE = 0.02
TAIL_INDEX = 2.5
TAIL_LONGEST = 4.0
# Exceeded by one call in two hundred: TAIL_SHARE * WORST ** -TAIL_INDEX = 0.005, in units of the typical time.
WORST = 1.75


def generator(seed: int, name: str) -> np.random.Generator:
    """A random generator of its own for each part of the instrument, independent of the order of their making."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def worst_s(typical_s: float, jitter: float) -> float:
    """What one call in two hundred exceeds."""
    return typical_s * (1.0 + jitter * (WORST - 1.0))


class Interface:
    """The one connection to the microscope: calls queue up in order, each takes its time.

    typical_s: 0.035 for most calls of a JEOL interface. Taken over from the paper; the distribution's shape is not
    published. jitter: 1 for that shape, 0 for calls that all take the same, in between for less of it.
    """

    def __init__(self, clock: Clock, seed: int, typical_s: float, jitter: float = 1.0) -> None:
        self._clock = clock
        self._rng = generator(seed, "interface")
        self._lock = asyncio.Lock()
        self.typical_s = typical_s
        self._jitter = jitter

    def _duration_s(self, typical_s: float) -> float:
        body = float(self._rng.lognormal(0.0, BODY_SIGMA))
        tail = 1.0
        if self._rng.random() < TAIL_SHARE:
            tail = min(1.0 + float(self._rng.pareto(TAIL_INDEX)), TAIL_LONGEST)
        return typical_s * (1.0 + self._jitter * (body * tail - 1.0))

    @asynccontextmanager
    async def call(self, typical_s: float | None = None) -> AsyncIterator[tuple[int, int]]:
        """Occupy the connection for one call; the body runs when the answer arrives.

        Yields the instants at which the instrument received and answered the request.
        """
        async with self._lock:
            begin_ns = self._clock.now_ns()
            await self._clock.sleep_s(self._duration_s(typical_s or self.typical_s))
            yield begin_ns, self._clock.now_ns()
