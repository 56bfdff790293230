"""The options of a microscope behind Instamatic's TEM server, and what follows from them without asking it.

Read by `drivers.instamatic.microscope`; docs/drivers/instamatic.md explains each option.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.calibration.lenssettling import lens_settling
from drivers.calibration.rotationspeed import RotationSpeeds, rotation_speeds, stage_facts
from drivers.declared import Declared
from drivers.facts import OpticsFacts, StageFacts, Timing
from drivers.instamatic.codec import CODECS
from drivers.instamatic.deflectors import deflector_facts
from drivers.instamatic.illumination import illumination_facts
from drivers.instamatic.lensmode import ModeOptions
from drivers.instamatic.stagexyz import StageXYZOptions
from drivers.options import Options
from drivers.parts import DeflectorFacts, IlluminationFacts

PORT = 8088  # tem_server_port in Instamatic's settings.yaml

# As its authors note in `controller.py` and `jeol_microscope.py`: 40-60 ms a call on a JEOL, 265-277 ms to read the
# stage (78 ms on some). Measure yours with `credline devices check` and write it into [timing].
TIMING = Timing(api_call_s=0.05, api_call_worst_s=0.1, stage_read_s=0.27)

# A JEOL's goniometer has twelve speeds (setRotationSpeed takes 1 to 12); what they are in deg/s must be measured.
NO_CALIBRATION = "none"
UNCALIBRATED = RotationSpeeds(levels={setting: float(setting) for setting in range(1, 13)})


@dataclass(frozen=True, slots=True)
class InstamaticSettings:
    """The options of the devices file, checked.

    speeds: None where they were not measured. stop_by_moving: whether a stage that ignores a stop may be driven to
    where it stands. calibration: Instamatic's file of that, empty without one.
    """

    host: str
    port: int
    protocol: str
    timeout_s: float
    stage: StageFacts
    speeds: RotationSpeeds | None
    optics: OpticsFacts
    stop_by_moving: bool
    calibration: str
    stagexyz: StageXYZOptions
    deflectors: DeflectorFacts
    mode: ModeOptions
    illumination: IlluminationFacts

    @classmethod
    def read(cls, driver: str, given: Mapping[str, Any]) -> "InstamaticSettings":
        """Raises Refused for what is not known or cannot be."""
        table = Options(driver, given)
        host, port = table.server(PORT)
        protocol = table.text("protocol", "json", tuple(CODECS))
        timeout_s = table.number("timeout_s", 5.0, 0.1, 60.0)
        limits_deg = table.pair("limits_deg", (-60.0, 60.0), -90.0, 90.0)
        backlash_deg = table.number("backlash_deg", 0.1, 0.0, 4.9)
        settling_s = table.number("settling_s", 0.4, 0.0, 5.0)
        calibration = table.text("calibration", NO_CALIBRATION)
        rotation = table.table("rotation")
        speeds = None if rotation is None else rotation_speeds(rotation, UNCALIBRATED)
        settings = cls(
            host=host,
            port=port,
            protocol=protocol,
            timeout_s=timeout_s,
            stage=stage_facts(limits_deg, backlash_deg, speeds),
            speeds=speeds,
            optics=lens_settling(settling_s),
            stop_by_moving=table.flag("stop_by_moving", default=False),
            calibration=calibration if calibration != NO_CALIBRATION else "",
            stagexyz=StageXYZOptions.read(table.part("stagexyz")),
            deflectors=deflector_facts(table.part("deflectors")),
            mode=ModeOptions.read(table.part("mode")),
            illumination=illumination_facts(table.part("illumination")),
        )
        table.finish()
        return settings

    @property
    def declared(self) -> Declared:
        """What these options say of the microscope: all but its high tension."""
        return Declared(
            stage=self.stage,
            beam=True,
            optics=self.optics,
            timing=TIMING,
            stagexyz=self.stagexyz.facts,
            deflectors=self.deflectors,
            mode=self.mode.facts,
            illumination=self.illumination,
            unknown={"geometry.wavelength_A": "the microscope's high tension tells it"},
        )
