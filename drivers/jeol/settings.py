"""The options of a JEOL microscope behind TEMCOM, and what follows from them without asking it.

Read by `drivers.jeol.microscope`; docs/drivers/jeol.md explains each option.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from drivers.calibration.rotationspeed import RotationSpeeds, rotation_speeds, stage_facts
from drivers.declared import Declared
from drivers.facts import OpticsFacts, StageFacts, Timing
from drivers.jeol.deflectors import deflector_facts
from drivers.jeol.illumination import illumination_facts
from drivers.jeol.lensmode import ModeOptions
from drivers.jeol.stagexyz import StageXYZOptions
from drivers.options import Options
from drivers.parts import DeflectorFacts, IlluminationFacts

LENS_MAX = 65535
# Stage3.Setf1OverRateTxNum, the rates of the tilt axis in deg/s as PyJEM documents them.
RATES = RotationSpeeds(levels={0: 10.0, 1: 2.0, 2: 1.0, 3: 0.5})
# Cichocka et al. (2018): about 35 ms a call. Instamatic's notes: a stage reading takes 277 ms on some.
TIMING = Timing(api_call_s=0.035, api_call_worst_s=0.060, stage_read_s=0.277)


@dataclasses.dataclass(frozen=True, slots=True)
class JeolSettings:
    """The options, checked.

    settling_time_constant_s, still: the lens is said to be at rest when it is within `still` units of its value, and
    to approach it with this time constant: 350 ms for 1500 units, as the paper has it.
    """

    limits_deg: tuple[float, float]
    backlash_deg: float
    settling_time_constant_s: float
    still: float
    fixed_speed_deg_s: float
    call_limit_s: float
    ready_s: float
    speeds: RotationSpeeds
    stagexyz: StageXYZOptions
    deflectors: DeflectorFacts
    mode: ModeOptions
    illumination: IlluminationFacts

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "JeolSettings":
        """Checked. Raises Refused."""
        table = Options("jeol", options)
        settings = cls(
            limits_deg=table.pair("limits_deg", (-60.0, 60.0), -180.0, 180.0),
            backlash_deg=table.number("backlash_deg", 0.1, 0.0, 5.0),
            settling_time_constant_s=table.number("settling_time_constant_s", 0.168, 0.0, 2.0),
            still=table.number("still", 187.0, 1.0, LENS_MAX),
            fixed_speed_deg_s=table.number("fixed_speed_deg_s", 0.0, 0.0, 100.0),
            call_limit_s=table.number("call_limit_s", 5.0, 0.1, 600.0),
            ready_s=table.number("ready_s", 30.0, 0.0, 3600.0),
            speeds=rotation_speeds(table.table("rotation") or {}, RATES),
            stagexyz=StageXYZOptions.read(table.part("stagexyz")),
            deflectors=deflector_facts(table.part("deflectors")),
            mode=ModeOptions.read(table.part("mode")),
            illumination=illumination_facts(table.part("illumination")),
        )
        table.finish()
        return settings

    def stage(self, speeds: RotationSpeeds | None) -> StageFacts:
        """The facts of the stage. speeds: the rates of the tilt axis; None where the interface cannot set it."""
        facts = stage_facts(self.limits_deg, self.backlash_deg, speeds)
        if speeds is None and self.fixed_speed_deg_s:
            return dataclasses.replace(facts, can_rotate=True, speeds_deg_s=(self.fixed_speed_deg_s,))
        return facts

    @property
    def optics(self) -> OpticsFacts:
        """The facts of the lens."""
        return OpticsFacts(0.0, self.settling_time_constant_s, self.still)

    @property
    def declared(self) -> Declared:
        """What these options say of the microscope.

        Of the speeds what holds for most: with `fixed_speed_deg_s` that one, else the rates of the tilt axis.
        """
        no_rates = "without rates only the pedal rotates, or fixed_speed_deg_s"
        return Declared(
            stage=self.stage(None if self.fixed_speed_deg_s else self.speeds),
            beam=True,
            optics=self.optics,
            timing=TIMING,
            stagexyz=self.stagexyz.facts,
            deflectors=self.deflectors,
            mode=self.mode.facts,
            illumination=self.illumination,
            unknown={
                "stage.can_rotate": f"this microscope's TEMCOM tells whether it has rates; {no_rates}",
                "stage.speeds_deg_s": "only a TEMCOM that has rates can set them",
                "geometry.wavelength_A": "the microscope's high tension tells it",
                "geometry.camera_length_mm": "the microscope tells the nominal one, in diffraction mode",
            },
        )
