"""The calibrations there are: which experiment each performs, and what makes its values of the run folder.

As light as the command line: what performs and analyses is imported when it is wanted.
"""

from collections.abc import Callable, Mapping, Sequence
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
    `--set` gives them, where they differ from the experiment's own; what --config or --set say goes before. hides:
    whether a simulated instrument is to hide what it is, which the experiment by itself does not ask for. analysis:
    `module:function`, from a run folder to `Analysed`; raises DataError, nothing is stored then. asks_plan: whether
    the analysis is given the plan of the command, too, which with `--from` need not be that of the run. help, example:
    of the command.
    """

    what: str
    protocol: str
    analysis: str
    help: str
    example: str
    settings: tuple[str, ...] = ()
    asks_plan: bool = False
    hides: bool = False

    def load_kind(self) -> "AnyExperiment":
        """The experiment."""
        from engine.run.registry import experiment_type

        kind = experiment_type(self.protocol)
        return _hiding(kind) if self.hides else kind

    def plan(self, kind: "AnyExperiment", config: Path | None, settings: Sequence[str]) -> "BaseModel":
        """The plan from a file and `--set` words. Raises Refused."""
        from engine.run.planfile import build_plan, read_toml

        said = read_toml(config, "--config") if config else {}
        own = [word for word in self.settings if word.partition("=")[0] not in said]
        plan: BaseModel = build_plan(kind, config, [*own, *settings])
        return plan

    def analyse(self, folder: Path, plan: "BaseModel") -> "Analysed":
        """What the run folder tells. plan: of the command."""
        module, _, function = self.analysis.partition(":")
        analysis: Callable[..., Analysed] = getattr(import_module(module), function)
        return analysis(folder, plan) if self.asks_plan else analysis(folder)


def _hiding(kind: "AnyExperiment") -> "AnyExperiment":
    """The same experiment, on a simulated instrument that hides what it is."""

    class Hiding(type(kind)):  # type: ignore[misc]  # the class is known when it runs
        """It differs in nothing else, so its runs are replayed as those of the experiment."""

        def device_options(self, plan: "BaseModel") -> Mapping[str, object]:
            """See `ExperimentType.device_options`."""
            return {**super().device_options(plan), "hidden": True}

    hiding: AnyExperiment = Hiding()
    return hiding


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
        "True camera length, beam centre and ellipse, from the rings of a powder (Au, Al, TlCl, any CIF); or "
        "from a cRED "
        "run of a crystal whose cell is known: --from RUN --set cell=[a,b,c,alpha,beta,gamma].\n\n" + STATUS,
        "credline calibrate camera-length --devices titan-devices.toml --set standard=Au",
        asks_plan=True,
    ),
    Calibration(
        "rotation-axis",
        "cred",
        "protocols.calibrate.rotationaxis.analysis:analyse",
        "The rotation axis in the picture with its sign, its lean out of it, and the beam, from a cRED run of any "
        "crystal: one that is performed, or --from RUN.\n\n" + STATUS,
        "credline calibrate rotation-axis --devices titan-devices.toml --set range_deg=60",
        settings=("sample=rotation-axis", "formats=[]", "truth=true"),
        hides=True,
    ),
)
