"""The optional parts of a microscope that a test knows to be there, and a stage waited for."""

from drivers.contract import Microscope, Parts
from drivers.parts import Deflectors, Illumination, Mode, StageXYZ
from engine.clock import RealClock


def stage_of(parts: Parts | Microscope) -> StageXYZ:
    assert parts.stagexyz is not None
    return parts.stagexyz


def mode_of(parts: Parts | Microscope) -> Mode:
    assert parts.mode is not None
    return parts.mode


def deflectors_of(parts: Parts | Microscope) -> Deflectors:
    assert parts.deflectors is not None
    return parts.deflectors


def illumination_of(parts: Parts | Microscope) -> Illumination:
    assert parts.illumination is not None
    return parts.illumination


async def at_rest(clock: RealClock, stage: StageXYZ) -> None:
    while await stage.is_moving():
        await clock.sleep_s(0.02)
