"""A camera with the response that was calibrated, in the place of what its driver knows of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.calibrationarrays import CameraArrays
from drivers.facts import DetectorFacts
from engine.frame import Frame

if TYPE_CHECKING:
    from drivers.contract import Detector


class CalibratedCamera:
    """Implements `drivers.contract.Detector` around another one; what that has beyond the contract stays reachable."""

    def __init__(self, camera: "Detector", arrays: CameraArrays) -> None:
        self._camera = camera
        self.flatfield: NDArray[np.float32] = arrays.response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    @property
    def facts(self) -> DetectorFacts:
        """See `Detector.facts`."""
        return with_flatfield(self._camera.facts)

    async def arm(self, exposures_s: Sequence[float]) -> None:
        """See `Detector.arm`."""
        await self._camera.arm(exposures_s)

    async def start(self, exposure_s: float) -> int:
        """See `Detector.start`."""
        return await self._camera.start(exposure_s)

    def frames(self) -> AsyncIterator[Frame]:
        """See `Detector.frames`."""
        return self._camera.frames()

    async def disarm(self) -> None:
        """See `Detector.disarm`."""
        await self._camera.disarm()


def with_flatfield(facts: DetectorFacts) -> DetectorFacts:
    """The facts of a camera whose response was calibrated."""
    return replace(facts, flatfield=True)
