"""`credline devices list`: what is installed and what it takes, without connecting anything."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from drivers.check import listing
from drivers.check.command import devices_app
from drivers.check.listing import devices_files, driver_lines, file_line, listed_drivers
from drivers.declared import Declared
from drivers.facts import StageFacts
from drivers.options import Asked, Options, options_asked
from engine.errors import Refused
from engine.run.registry import registered


class Ours:
    """A driver of a lab's own, whose stage wants to know something."""

    def __init__(self, wanted: str = "") -> None:
        self._wanted = wanted

    def facts(self, given: Mapping[str, Any]) -> Declared:
        """Reads its options."""
        options = Options("ours", given)
        options.number("backlash_deg", 0.1, 0.0, 5.0)
        options.part("rotation").flag("fast", default=True)
        options.rising("steps")
        options.finish()
        if self._wanted == "broken":
            raise RuntimeError("a slip")
        if self._wanted:
            raise Refused(f"devices: ours: {self._wanted} is missing; nothing was started.")
        return Declared(stage=StageFacts((-60.0, 60.0), 0.1))

    def connect(self, *_: object) -> None:
        raise AssertionError("nothing may be connected")


class Silent:
    """A driver of before there were facts."""

    def connect(self, *_: object) -> None:
        raise AssertionError("nothing may be connected")


OURS, ASKING, BROKEN, SILENT = Ours(), Ours("serial"), Ours("broken"), Silent()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, EntryPoint]:
    points = {"ours": EntryPoint("ours", f"{__name__}:OURS", "")}
    monkeypatch.setattr(listing, "registered", lambda group: points)
    return points


def test_a_driver_tells_parts_options_and_what_it_is(installed: dict[str, EntryPoint]) -> None:
    (driver,) = listed_drivers()
    assert (driver.name, driver.parts, driver.problem) == ("ours", ("stage",), "")
    assert driver.what == "`credline devices list`: what is installed and what it takes, without connecting anything."
    assert driver.options == (
        Asked("backlash_deg", "0.1", "a number from 0 to 5"),
        Asked("rotation.fast", "true", "true or false"),
        Asked("steps", "", "a list of rising numbers above 0"),
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("nowhere:driver", "cannot be loaded (ModuleNotFoundError"),
        (f"{__name__}:SILENT", "does not tell its parts and options without being connected"),
        (f"{__name__}:ASKING", "needs options to tell its parts: devices: ours: serial is missing"),
        (f"{__name__}:BROKEN", "its parts cannot be told (RuntimeError: a slip)"),
    ],
)
def test_a_driver_that_cannot_be_told_does_not_end_the_list(
    installed: dict[str, EntryPoint], value: str, says: str
) -> None:
    installed["theirs"] = EntryPoint("theirs", value, "")
    ours, theirs = listed_drivers()
    assert ours.problem == ""
    assert says in theirs.problem
    assert "\n".join(driver_lines(theirs, 200, whole=False)).startswith("theirs\n")


def test_every_driver_of_the_house_tells_all_that_its_devices_file_may_hold() -> None:
    drivers = listed_drivers()
    assert [driver.name for driver in drivers] == sorted(registered("drivers"))
    assert [driver.name for driver in drivers if driver.problem or not (driver.parts and driver.options)] == []


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("whole", [True, False])
def test_lines_fit_the_terminal(width: int, whole: bool) -> None:
    lines = [line for driver in listed_drivers() for line in driver_lines(driver, width, whole=whole)]
    assert max(map(len, lines)) <= width


def test_outside_of_a_list_no_option_is_noted() -> None:
    with options_asked() as asked:
        pass
    OURS.facts({})
    assert asked == []


def devices(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(devices_app, ["list", *words], env={"COLUMNS": "60", **environment})


def test_the_devices_files_of_this_folder_are_told_and_the_one_of_the_variable(
    installed: dict[str, EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = '[microscope]\ndriver = "ours"\n[detector]\ndriver = "theirs"\n'
    (tmp_path / "lab.toml").write_text(text)
    (tmp_path / "plan.toml").write_text("exposure_s = 0.5\n")
    (tmp_path / "broken.toml").write_text("[microscope\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.toml").write_text(text)
    done = devices(CREDLINE_DEVICES="elsewhere/other.toml")
    assert done.exit_code == 0, done.exception
    assert done.stdout.splitlines()[-2:] == [
        "elsewhere/other.toml: microscope ours, detector theirs; CREDLINE_DEVICES names it",
        "lab.toml: microscope ours, detector theirs",
    ]
    assert [file_line(file) for file in devices_files(tmp_path / "elsewhere")] == [
        f"{tmp_path / 'elsewhere' / 'other.toml'}: microscope ours, detector theirs"
    ]


def test_one_driver_is_told_with_what_each_option_may_be(installed: dict[str, EntryPoint]) -> None:
    done = devices("ours")
    assert "    backlash_deg = 0.1: a number from 0 to 5\n" in done.stdout
    error = devices("theirs").exception
    assert isinstance(error, Refused)
    assert "installed are: ours." in str(error)
