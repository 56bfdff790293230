"""The simulated condenser begins as the operator left it, within what its panel has."""

import pytest

from drivers.simulated.illumination import Condenser, IlluminationSettings
from drivers.simulated.latency import Interface
from engine.clock.virtual import VirtualClock
from engine.errors import Refused
from tests.engine.virtually import virtual


def condenser_of(clock: VirtualClock, settings: IlluminationSettings) -> Condenser:
    return Condenser(Interface(clock, 1, 0.035), settings)


@virtual
async def test_it_begins_as_the_operator_left_it(clock: VirtualClock) -> None:
    condenser = condenser_of(clock, IlluminationSettings(spot_sizes=3, spot_size=2, brightness=123))
    assert condenser.facts.spot_sizes == (1, 2, 3)
    assert await condenser.spot_size() == 2
    assert await condenser.brightness() == 123


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (IlluminationSettings(spot_size=6), "spot size = 6 is none of 1, 2, 3, 4, 5"),
        (IlluminationSettings(brightness=70_000), r"brightness = 70000 is outside 0\.\.65535"),
        (IlluminationSettings(brightness_limits=(0.0, 100.0)), r"brightness = 40000 is outside 0\.\.100"),
    ],
)
@virtual
async def test_a_beginning_that_cannot_be_is_refused(
    clock: VirtualClock, settings: IlluminationSettings, says: str
) -> None:
    with pytest.raises(Refused, match=f"{says}; nothing was started"):
        condenser_of(clock, settings)
