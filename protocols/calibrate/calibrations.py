"""The calibrations there are: which experiment each performs, and what makes its values of the run folder.

As light as the command line: what performs and analyses is imported when it is wanted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.run.contract import AnyExperiment
    from protocols.calibrate.measured import Analysed


@dataclass(frozen=True, slots=True)
class Calibration:
    """what: the name of its command. protocol: the experiment, by its name in the register. settings: of its plan, as
    `--set` gives them, where they differ from the experiment's own. analysis: `module:function`, from a run folder to
    `Analysed`; raises DataError, nothing is stored then. help, example: of the command.
    """

    what: str
    protocol: str
    analysis: str
    help: str
    example: str
    settings: tuple[str, ...] = ()

    def load_kind(self) -> "AnyExperiment":
        """The experiment."""
        from engine.run.registry import experiment_type

        return experiment_type(self.protocol)

    def load_analysis(self) -> "Callable[[Path], Analysed]":
        """The analysis."""
        module, _, function = self.analysis.partition(":")
        analysis: Callable[[Path], Analysed] = getattr(import_module(module), function)
        return analysis


STATUS = (
    "\n\nExit status: 0 stored, or measured where no instrument file is named; 1 nothing could be made of the run, "
    "nothing was stored; 2 refused, nothing was begun."
)

CALIBRATIONS = (
    Calibration(
        "flatfield",
        "flatfield",
        "protocols.calibrate.flatfield.analysis:analyse",
        "Response, dark counts, bad pixels and gain of the camera, from a beam that you have spread over it.\n\n"
        + STATUS,
        "credline calibrate flatfield --devices titan-devices.toml --set accuracy_percent=0.5",
    ),
    Calibration(
        "snapshot",
        "snapshot",
        "protocols.calibrate.disc.snapshot:analyse",
        "How nm of the stage become px of the defocused disc, with the diameter of the aperture; a crystal of a third "
        "of the disc lies in its middle.\n\n" + STATUS,
        "credline calibrate snapshot --devices titan-devices.toml --set defocus=1500",
    ),
    Calibration(
        "flux",
        "flux",
        "protocols.calibrate.disc.flux:analyse",
        "Electrons per A^2 and s at the specimen, for each spot size and brightness; a crystal of a third of the disc "
        "lies in its middle.\n\n" + STATUS,
        'credline calibrate flux --devices titan-devices.toml --set "spot_sizes=[1, 2, 3]"',
    ),
    Calibration(
        "lens",
        "lens",
        "protocols.calibrate.lens.analysis:analyse",
        "How the diffraction lens settles and comes back, and the disc's radius against the defocus.\n\n" + STATUS,
        "credline calibrate lens --devices titan-devices.toml --set defocus=1500",
    ),
    Calibration(
        "rotation",
        "rotation",
        "protocols.calibrate.rotation.analysis:analyse",
        "How fast the stage really turns, its run-in and backlash, and how old a reading is.\n\n" + STATUS,
        "credline calibrate rotation --devices titan-devices.toml --set speed_deg_s=0.45",
    ),
)
