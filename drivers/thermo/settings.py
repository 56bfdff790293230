"""The options of a microscope behind temscript's server, and what follows from them without asking it.

Read by `drivers.thermo.microscope`; docs/drivers/thermo.md explains each option.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.calibration.lenssettling import lens_settling
from drivers.calibration.rotationspeed import RotationSpeeds, rotation_speeds, stage_facts
from drivers.declared import Declared
from drivers.facts import OpticsFacts, StageFacts, Timing
from drivers.options import Options
from drivers.parts import DeflectorFacts, IlluminationFacts
from drivers.thermo.deflectors import deflector_facts
from drivers.thermo.illumination import illumination_facts
from drivers.thermo.lensmode import ModeOptions
from drivers.thermo.stagexyz import StageXYZOptions

PORT = 8080  # the default of temscript-server

# No published figures for these calls; as for other vendors' until `credline devices check` has measured them.
TIMING = Timing(api_call_s=0.05, api_call_worst_s=0.1, stage_read_s=0.05)

# Speeds are fractions of the stage's own, which must be measured: GotoWithSpeed takes 1.0 down to about a thousandth.
UNCALIBRATED = RotationSpeeds(limits=(1e-4, 1.0))


@dataclass(frozen=True, slots=True)
class ThermoSettings:
    """The options of the devices file, checked. speeds: None where they were not measured."""

    host: str
    port: int
    motion_port: int
    timeout_s: float
    limits_deg: tuple[float, float]
    backlash_deg: float
    focus_step: float
    speeds: RotationSpeeds | None
    optics: OpticsFacts
    stagexyz: StageXYZOptions
    deflectors: DeflectorFacts
    mode: ModeOptions
    illumination: IlluminationFacts

    @classmethod
    def read(cls, driver: str, given: Mapping[str, Any]) -> "ThermoSettings":
        """Raises Refused for what is not known or cannot be."""
        table = Options(driver, given)
        host, port = table.server(PORT)
        rotation = table.table("rotation")
        settings = cls(
            host=host,
            port=port,
            motion_port=table.whole("motion_port", port, 1, 65535),
            timeout_s=table.number("timeout_s", 5.0, 0.1, 60.0),
            limits_deg=table.pair("limits_deg", (-60.0, 60.0), -90.0, 90.0),
            backlash_deg=table.number("backlash_deg", 0.1, 0.0, 4.9),
            focus_step=table.number("focus_step", 1e-6, 1e-12, 1.0),
            speeds=None if rotation is None else rotation_speeds(rotation, UNCALIBRATED),
            optics=lens_settling(table.number("settling_s", 0.4, 0.0, 5.0)),
            stagexyz=StageXYZOptions.read(table.part("stagexyz")),
            deflectors=deflector_facts(table.part("deflectors")),
            mode=ModeOptions.read(table.part("mode")),
            illumination=illumination_facts(table.part("illumination")),
        )
        table.finish()
        return settings

    def stage(self, limits_deg: tuple[float, float] | None = None) -> StageFacts:
        """The facts of the stage. limits_deg: narrower ones, that the microscope has told."""
        return stage_facts(limits_deg or self.limits_deg, self.backlash_deg, self.speeds)

    @property
    def declared(self) -> Declared:
        """What these options say of the microscope."""
        return Declared(
            stage=self.stage(),
            beam=True,
            optics=self.optics,
            timing=TIMING,
            stagexyz=self.stagexyz.facts,
            deflectors=self.deflectors,
            mode=self.mode.facts,
            illumination=self.illumination,
            unknown={
                "stage.limits_deg": "the microscope's own limits may be narrower",
                "stagexyz.limits_nm": "the microscope's own limits may be narrower",
                "geometry.wavelength_A": "the microscope's high tension tells it",
                "geometry.camera_length_mm": "the microscope tells the nominal one, in diffraction mode",
            },
        )
