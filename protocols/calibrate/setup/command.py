"""From nothing to an instrument: its devices file and instrument file, checked, and the calibrations still missing.

The command `credline setup`; docs/setup.md.
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.clock import RealClock, utc_now
from engine.commands.options import ClockKind, Json
from engine.errors import CredlineError, Refused, StorageError
from engine.interrupts import remember_interrupts

if TYPE_CHECKING:
    from engine.clock import Clock
    from protocols.calibrate.setup.describing import Described

setup_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@setup_app.command(epilog="Example: credline setup")
def setup(
    answers: Annotated[
        Path | None, typer.Option("--answers", help="Answers as a TOML file, instead of being asked; docs/setup.md.")
    ] = None,
    devices: Annotated[
        Path | None,
        typer.Option("--devices", help="Ask nothing: connect, check and list for this devices file, made before."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the two files are made.")] = Path(),
    check: Annotated[bool, typer.Option("--check/--no-check", help="Run `devices check` when it answers.")] = True,
    clock: Annotated[
        ClockKind, typer.Option("--clock", help="Virtual: for simulated devices, takes moments.")
    ] = ClockKind.REAL,
    as_json: Json = False,
) -> None:
    """Ask which microscope and camera there are, write their files, see that they answer, and say which calibrations
    are missing. Nothing moves, the beam stays blanked. Files that are there are never replaced.

    Exit status: 0 the instrument answers; 1 it does not, or a plan would not work with it (the files are written);
    2 refused, nothing was written.
    """
    remember_interrupts()
    virtual = clock is ClockKind.VIRTUAL
    path = _written(answers, out, as_json) if devices is None else devices
    result: dict[str, Any] = {"devices": str(path), "instrument": None, "answers": False, "works": None, "missing": {}}
    try:
        _connect(path, virtual, as_json)
        result["answers"] = True
        if check:
            result["works"] = _check(path, virtual, as_json)
        result |= _list_missing(path, as_json)
    except CredlineError as error:
        typer.echo(f"{error} Correct it in {path}, then: credline setup --devices {path}", err=True)
    finally:
        if as_json:
            typer.echo(json.dumps(result))
    raise typer.Exit(0 if result["answers"] and result["works"] is not False else 1)


def _written(answers: Path | None, out: Path, as_json: bool) -> Path:
    """Ask, and write both files; the devices file. Raises Refused, nothing was written."""
    from protocols.calibrate.setup.answers import AnswersFile, AnswersOfPerson
    from protocols.calibrate.setup.describing import described

    found = described(AnswersOfPerson() if answers is None else AnswersFile(answers), utc_now().date())
    path, instrument = out / f"{found.name}-devices.toml", out / f"{found.name}.toml"
    for there in (path, instrument):
        if there.exists():
            raise Refused(
                f"setup: {there} is there already, and may hold what was measured; nothing was written. Choose another "
                f"name, or go on with it: credline setup --devices {path}"
            )
    _write(found, path, instrument)
    typer.echo(f"{path}: written.", err=as_json)
    return path


def _write(found: "Described", path: Path, instrument: Path) -> None:
    """Both files, after the devices file was read as a run reads it. Raises Refused for what cannot be."""
    from drivers.calibration.instrumentfile import store
    from engine.record.folder import write_atomically
    from engine.run.planbasis import declared_basis

    with tempfile.TemporaryDirectory() as trial:
        (Path(trial) / path.name).write_text(found.devices_toml, encoding="utf-8")
        store(Path(trial) / instrument.name, found.values)
        declared_basis(str(Path(trial) / path.name), {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, found.devices_toml.encode())
    except OSError as error:
        raise StorageError(f"setup: {path} cannot be written ({error.strerror or error}); nothing was.") from error
    if found.values:
        store(instrument, found.values)


def _connect(path: Path, virtual: bool, as_json: bool) -> None:
    from engine.clock.virtual import VirtualClock, VirtualLoop
    from protocols.calibrate.setup.connecting import answers_of

    async def asked() -> list[tuple[str, str]]:
        loop = asyncio.get_running_loop()
        real_or_not: Clock = VirtualClock(loop) if isinstance(loop, VirtualLoop) else RealClock()
        return await answers_of(str(path), real_or_not)

    with asyncio.Runner(loop_factory=VirtualLoop if virtual else None) as runner:
        for part, words in runner.run(asked()):
            typer.echo(f"{part}: {words}", err=as_json)


def _check(path: Path, virtual: bool, as_json: bool) -> bool:
    """Whether the usual plan works with it, as `credline devices check` says."""
    from drivers.check.command import Request, check_and_tell
    from engine.run.planfile import build_plan
    from engine.run.registry import experiment_type

    kind = experiment_type("cred")
    request = Request(str(path), kind, build_plan(kind, None, []), seed=0, move=False, frames=30, beam=False)
    return not check_and_tell(request, virtual=virtual, write=True, to_stderr=as_json)["problems"]


def _list_missing(path: Path, as_json: bool) -> dict[str, Any]:
    """Say what is not calibrated yet, in the order in which it is best done; the same for the result."""
    from engine.run.devicesfile import instrument_file
    from protocols.calibrate.missing import EXPERIMENTS, command_of, lines_of, standings

    found = standings(str(path), utc_now().date())
    for line in lines_of(found, str(path)):
        typer.echo(line, err=as_json)
    file = instrument_file(str(path))

    def wanted(experiment: str) -> list[str]:
        return [command_of(each, str(path)) for each in found if each.is_wanted and experiment in each.experiments]

    return {
        "instrument": None if file is None else str(file),
        "missing": {experiment: wanted(experiment) for experiment in EXPERIMENTS},
    }
