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

    measures: names of the values that it always makes (`drivers.calibration.calibratedvalue`), `flatfield` for the
    camera's arrays. serves: the experiments that want it. parts: of an instrument that it needs beside stage, beam,
    lens and camera. minutes: that it takes, with what the operator does.
    """

    what: str
    protocol: str
    analysis: str
    help: str
    example: str
    settings: tuple[str, ...] = ()
    asks_plan: bool = False
    hides: bool = False
    measures: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    minutes: float = 5.0

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
EXAMPLE = "credline calibrate {} --devices titan-devices.toml"
MOVES = "protocols.calibrate.moves.analysis:analyse"

# In the order in which they are best made: what a later one reads is measured by an earlier one.
CALIBRATIONS = (
    Calibration(
        "rotation",
        "rotation",
        "protocols.calibrate.rotation.analysis:analyse",
        "How fast the stage really turns, its run-in and backlash, and how old a reading is." + STATUS,
        EXAMPLE.format("rotation") + " --set speed_deg_s=0.45",
        measures=("rotation_speed_share", "run_in_s"),
        serves=("cRED",),
        minutes=5.0,
    ),
    Calibration(
        "flatfield",
        "flatfield",
        "protocols.calibrate.flatfield.analysis:analyse",
        "Response, dark counts, bad pixels and gain of the camera, from a beam that you have spread over it." + STATUS,
        EXAMPLE.format("flatfield") + " --set accuracy_percent=0.5",
        measures=("flatfield", "gain_counts_per_electron"),
        serves=("cRED", "tracking", "SerialED"),
        minutes=6.0,
    ),
    Calibration(
        "camera-length",
        "camera-length",
        "protocols.calibrate.cameralength.analysis:analyse",
        "True camera length, beam centre and ellipse, from the rings of a powder (Au, Al, TlCl, any CIF); or from a "
        "cRED run of a crystal whose cell is known: --from RUN --set cell=[a,b,c,alpha,beta,gamma]." + STATUS,
        EXAMPLE.format("camera-length") + " --set standard=Au",
        asks_plan=True,
        measures=("camera_length_mm", "distortion_amplitude_percent"),
        serves=("cRED", "SerialED"),
        minutes=4.0,
    ),
    Calibration(
        "rotation-axis",
        "cred",
        "protocols.calibrate.rotationaxis.analysis:analyse",
        "The rotation axis in the picture with its sign, its lean out of it, and the beam, from a cRED run of any "
        "crystal: one that is performed, or --from RUN." + STATUS,
        EXAMPLE.format("rotation-axis") + " --set range_deg=60",
        settings=("sample=rotation-axis", "formats=[]", "truth=true"),
        hides=True,
        measures=("rotation_axis_deg", "rotation_axis_tilt_deg"),
        serves=("cRED",),
        minutes=5.0,
    ),
    Calibration(
        "lens",
        "lens",
        "protocols.calibrate.lens.analysis:analyse",
        "How the diffraction lens settles and comes back, and the disc's radius against the defocus." + STATUS,
        EXAMPLE.format("lens") + " --set defocus=1500",
        measures=("disc_radius_px", "lens_settling_s"),
        serves=("tracking",),
        minutes=3.0,
    ),
    Calibration(
        "snapshot",
        "snapshot",
        "protocols.calibrate.disc.snapshot:analyse",
        "How nm of the stage become px of the defocused disc, with the diameter of the aperture; a crystal of a third "
        "of the disc lies in its middle." + STATUS,
        EXAMPLE.format("snapshot") + " --set defocus=1500",
        measures=("snapshot", "aperture_nm"),
        serves=("tracking",),
        parts=("stagexyz",),
        minutes=15.0,
    ),
    Calibration(
        "stage",
        "stage",
        MOVES,
        "What the stage moves in the image: size of a pixel, backlash and repeatability of the stage, and whether the "
        "camera's pictures are mirrored." + STATUS,
        EXAMPLE.format("stage"),
        measures=("stage", "pixel_size_nm", "camera_hand"),
        serves=("tracking", "SerialED"),
        parts=("stagexyz", "mode"),
        minutes=6.0,
    ),
    Calibration(
        "image-shift",
        "image-shift",
        MOVES,
        "What the image shift moves in the image, and its hysteresis." + STATUS,
        EXAMPLE.format("image-shift"),
        measures=("image_shift",),
        serves=("tracking",),
        parts=("deflectors", "mode"),
        minutes=4.0,
    ),
    Calibration(
        "diffraction-shift",
        "diffraction-shift",
        MOVES,
        "What the diffraction shift moves of the pattern, and its hysteresis, by the primary beam." + STATUS,
        EXAMPLE.format("diffraction-shift"),
        measures=("diffraction_shift",),
        serves=("tracking",),
        parts=("deflectors", "mode"),
        minutes=3.0,
    ),
    Calibration(
        "pattern-shift",
        "pattern-shift",
        MOVES,
        "What the image shift moves of the diffraction pattern, by the primary beam; tracking takes it back by the "
        "diffraction shift." + STATUS,
        EXAMPLE.format("pattern-shift"),
        measures=("pattern_shift",),
        serves=("tracking",),
        parts=("deflectors", "mode"),
        minutes=3.0,
    ),
    Calibration(
        "beam-shift",
        "beam-shift",
        MOVES,
        "What the beam shift moves in the image, and its hysteresis, by the edge of the lit disc." + STATUS,
        EXAMPLE.format("beam-shift"),
        measures=("beam_shift",),
        serves=("SerialED",),
        parts=("deflectors", "mode"),
        minutes=4.0,
    ),
    Calibration(
        "flux",
        "flux",
        "protocols.calibrate.disc.flux:analyse",
        "Electrons per A^2 and s at the specimen, for each spot size and brightness; a crystal of a third of the disc "
        "lies in its middle." + STATUS,
        EXAMPLE.format("flux") + ' --set "spot_sizes=[1, 2, 3]"',
        measures=("flux_e_A2_s",),
        serves=("SerialED",),
        parts=("stagexyz", "illumination"),
        minutes=5.0,
    ),
)
