"""The calibrations there are: which experiment each performs, and what makes its values of the run folder.

As light as the command line: what performs and analyses is imported when it is wanted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from engine.run.contract import AnyExperiment
    from protocols.calibrate.measured import Analysed


@dataclass(frozen=True, slots=True)
class Calibration:
    """what: the name of its command. protocol: the experiment, by its name in the register. settings: of its plan, as
    `--set` gives them, where they differ from the experiment's own. analysis: `module:function`, from a run folder to
    `Analysed`; raises DataError, nothing is stored then. asks_plan: whether the analysis is given the plan of the
    command, too, which with `--from` need not be that of the run. help, example: of the command.
    """

    what: str
    protocol: str
    analysis: str
    help: str
    example: str
    settings: tuple[str, ...] = ()
    asks_plan: bool = False

    def load_kind(self) -> "AnyExperiment":
        """The experiment."""
        from engine.run.registry import experiment_type

        return experiment_type(self.protocol)

    def analyse(self, folder: Path, plan: "BaseModel") -> "Analysed":
        """What the run folder tells. plan: of the command."""
        module, _, function = self.analysis.partition(":")
        analysis: Callable[..., Analysed] = getattr(import_module(module), function)
        return analysis(folder, plan) if self.asks_plan else analysis(folder)


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
        "camera-length",
        "camera-length",
        "protocols.calibrate.cameralength.analysis:analyse",
        "True camera length, beam centre and ellipse, from the rings of a powder (Au, Al, TlCl, any CIF); or from a cRED "
        "run of a crystal whose cell is known: --from RUN --set cell=[a,b,c,alpha,beta,gamma].\n\n" + STATUS,
        "credline calibrate camera-length --devices titan-devices.toml --set standard=Au",
        asks_plan=True,
    ),
)
