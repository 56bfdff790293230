"""Plans and devices files that somebody will write: each is refused before a run folder exists, in one line that names
the key, its value, and the unit that was likely meant. What is only unlikely is asked about once, and kept in run.json.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.conftest import Credline

GOLDEN = str(Path(__file__).parents[1] / "data" / "cred.jsonl")
TIMING = '[microscope]\ndriver = "simulated-timing"\n'
PICTURES = '[microscope]\ndriver = "simulated"\n'


@dataclass(frozen=True)
class Wrong:
    """A devices file, a plan file, settings of the plan, or the words of another command; and what the refusal says."""

    says: tuple[str, ...]
    devices: str = "simulated-timing"
    config: bytes = b""
    settings: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    not_said: tuple[str, ...] = ()
    plan_refuses: bool = field(default=True)


def geometry(line: str, *says: str, whole: str = TIMING) -> Wrong:
    return Wrong((f"geometry.{line}", *says), devices=f"{whole}[geometry]\n{line}\n")


def setting(word: str, *says: str) -> Wrong:
    key, _, value = word.partition("=")
    return Wrong((f"{key} = {value}", *says), settings=(word,))


WRONG = {
    # --- geometry
    "a camera length in metres": geometry("camera_length_mm = 0.25", "0.25 m was", "camera_length_mm = 250."),
    "a camera length of 2 m in metres": geometry("camera_length_mm = 2", "2 m was", "camera_length_mm = 2000."),
    "a camera length in micrometres": geometry("camera_length_mm = 250000", "250000 um", "camera_length_mm = 250."),
    "no camera length": geometry("camera_length_mm = 0", "10 to 50000 mm"),
    "a negative camera length": geometry("camera_length_mm = -250", "10 to 50000 mm"),
    "a camera length that is no number": Wrong(
        ("camera_length_mm = nan is not a number",), devices=f"{TIMING}[geometry]\ncamera_length_mm = nan\n"
    ),
    "a wavelength in pm": geometry("wavelength_A = 2.5", "2.5 pm", "wavelength_A = 0.025."),
    "a wavelength in nm": geometry("wavelength_A = 0.0025", "0.0025 nm", "wavelength_A = 0.025."),
    "the voltage in kV as wavelength": geometry("wavelength_A = 200", "200 kV", "wavelength_A = 0.02508."),
    "the voltage in V as wavelength": geometry("wavelength_A = 300000", "300000 V", "wavelength_A = 0.01969."),
    "a pixel in um": geometry("pixel_size_mm = 55", "55 um", "pixel_size_mm = 0.055."),
    "a pixel in m": geometry("pixel_size_mm = 5.5e-05", "5.5e-05 m", "pixel_size_mm = 0.055."),
    "a pixel of no size": geometry("pixel_size_mm = 0", "0.001 to 1 mm"),
    "a beam far from the detector": geometry("beam_fast_px = 99999", "516 pixels", whole=PICTURES),
    "a beam far on the other side": geometry("beam_slow_px = -5000", "516 pixels", whole=PICTURES),
    "a beam of small simulated pictures that only the table of figures knows": Wrong(
        ("picture of 64 x 64", "under its own table, [microscope.geometry]"),
        devices=f"{PICTURES}pictures.shape = [64, 64]\n[geometry]\nbeam_fast_px = 32\nbeam_slow_px = 32\n",
    ),
    "an axis of many turns": geometry("rotation_axis_deg = 4000", "-360 to 360 deg"),
    "a distortion of all": geometry("distortion_amplitude_percent = 102.4", "-50 to 50 %"),
    "a key of the geometry misspelt": Wrong(
        ("[geometry] has no key 'camera_length'", "camera_length_mm"),
        devices=f"{TIMING}[geometry]\ncamera_length = 250\n",
    ),
    # --- times and travel of the instrument
    "a call in ms": Wrong(
        ("timing.api_call_s = 35", "35 ms", "api_call_s = 0.035."), devices=f"{TIMING}[timing]\napi_call_s = 35\n"
    ),
    "a call in ms as option of the driver": Wrong(
        ("api_call_s = 35", "35 ms", "api_call_s = 0.035."), devices=f"{TIMING}api_call_s = 35\n"
    ),
    "a stage reading in ms": Wrong(
        ("timing.stage_read_s = 277", "277 ms", "stage_read_s = 0.277."),
        devices=f"{TIMING}[timing]\nstage_read_s = 277\n",
    ),
    "a typical call above the worst": Wrong(
        ("timing.api_call_s = 0.2", "timing.api_call_worst_s = 0.06", "Give both"),
        devices=f"{TIMING}[timing]\napi_call_s = 0.2\napi_call_worst_s = 0.06\n",
    ),
    "limits of the tilt the wrong way round": Wrong(
        ("limits_deg = [42, -42]", "[-42, 42]"), devices=f"{TIMING}stage.limits_deg = [42, -42]\n"
    ),
    "limits of the tilt in mdeg": Wrong(
        ("limits_deg = -42000", "-42000 mdeg", "limits_deg = -42."),
        devices=f"{TIMING}stage.limits_deg = [-42000, 42000]\n",
    ),
    "a backlash in mdeg": Wrong(
        ("backlash_deg = 50", "50 mdeg", "backlash_deg = 0.05."), devices=f"{TIMING}stage.backlash_deg = 50\n"
    ),
    "a readout in ms": Wrong(
        ("detector.readout_s = 80", "80 ms", "readout_s = 0.08."), devices=f"{TIMING}detector.readout_s = 80\n"
    ),
    # --- plans
    "an exposure in ms": setting("exposure_s=500", "500 ms", "exposure_s = 0.5."),
    "a short exposure in ms": setting("exposure_s=50", "for 0.001 to 10 s", "50 ms", "exposure_s = 0.05."),
    "an exposure with its unit": Wrong(("exposure_s = '500ms'", "number of seconds"), settings=("exposure_s=500ms",)),
    "a snapshot in ms": setting("snapshot_exposure_s=100", "100 ms", "snapshot_exposure_s = 0.1."),
    "a short snapshot in ms": Wrong(
        ("does not fit", "snapshot exposure", "10 ms was meant", "snapshot_exposure_s = 0.01."),
        settings=("snapshot_exposure_s=10",),
    ),
    "a speed in mdeg/s": setting("speed_deg_s=450", "450 mdeg/s", "speed_deg_s = 0.45."),
    "a speed in mdeg/s that some stage has": Wrong(
        ("holder's -80..80 deg", "50 mdeg/s", "speed_deg_s = 0.05."), settings=("speed_deg_s=50", "range_deg=100")
    ),
    "a defocus of no lens": setting("defocus=99999999", "a change of the diffraction lens"),
    "a start in mdeg": setting("start_deg=-30000", "-30000 mdeg", "start_deg = -30."),
    "a range in mdeg": setting("range_deg=60000", "60000 mdeg", "range_deg = 60."),
    "a range beyond the holder": Wrong(("range_deg", "-80..80 deg"), settings=("range_deg=170",)),
    "a wait of no time": setting("rotation_timeout_s=0.01", "0.1 to 86400 s"),
    "most of the range not recorded": Wrong(
        ("80 % of the range", "snapshot_interval = 80", "exposure_s = 0.49", "--accept-gaps"),
        settings=("exposure_s=0.05",),
        plan_refuses=False,
    ),
    "all slots snapshots": setting("snapshot_interval=1", "use 0 for none"),
    "a key misspelt": Wrong(("exposre_s", "Did you mean exposure_s?"), settings=("exposre_s=0.5",)),
    # --- files
    "a plan under a header": Wrong(
        ("[plan]", "Take out the line [plan]"), config=b"[plan]\nexposure_s = 0.5\n", not_said=("Keys are",)
    ),
    "a text without quotes": Wrong(("line 1", "Text values need quotes"), config=b"sample = mordenite\n"),
    "a number with its unit in a file": Wrong(
        ("line 1", "A number stands without its unit"), config=b"exposure_s = 0.5 s\n", not_said=("quotes",)
    ),
    "a key twice": Wrong(("line 2",), config=b"exposure_s = 0.5\nexposure_s = 0.3\n", not_said=("quotes",)),
    "a file that ends in a list": Wrong(("not valid TOML",), config=b"formats = [", not_said=("quotes",)),
    # --- devices
    "a camera alone": Wrong(
        ("--devices merlin", "only: detector", "no stage, no beam, no optics", "[detector] with this one"),
        devices="merlin",
        not_said=("reach",),
    ),
    "a microscope without its camera": Wrong(
        ("no detector", "a table [detector] with its driver"), devices='[microscope]\ndriver = "thermo"\n'
    ),
    "a stage from a camera": Wrong(("[stage]", "only: detector"), devices=f'{TIMING}[stage]\ndriver = "serval"\n'),
    "options of the stage in a table of another's": Wrong(
        ("[stage] has no driver", "[microscope.stage]"),
        devices=f"{TIMING}[stage]\nlimits_deg = [-42, 42]\n",
        not_said=("None",),
    ),
    "a microscope without a driver": Wrong(("[microscope] has no driver", "driver ="), devices="[microscope]\n"),
    "a plan in place of the devices": Wrong(
        ("lab.toml: has no table of a devices file", "with --config"), devices="exposure_s = 0.5\nrange_deg = 5\n"
    ),
    "the devices in place of a plan": Wrong(
        ("microscope: the plan has no such key", "name that file with --devices"), config=TIMING.encode()
    ),
    "no such driver": Wrong(("jeool", "no driver of that name"), devices="jeool"),
    # --- other commands
    "a latency in ms without its unit": Wrong(
        ("api_latency=80", "80ms"), words=("replay", GOLDEN, "--what-if", "api_latency=80")
    ),
    "a latency misspelt": Wrong(
        ("api_latncy: the plan has no such key", "there are api_latency, settling, dead_time"),
        words=("replay", GOLDEN, "--what-if", "api_latncy=80ms"),
    ),
    "a settling in ms without its unit": Wrong(
        ("settling=400", "400ms"), words=("replay", GOLDEN, "--what-if", "settling=400")
    ),
    "a cell in nm": Wrong(
        ("a = 1.811", "1.811 nm", "a = 18.11."), words=("zones", "simulate", "--cell", "1.811 2.053 0.7528 90 90 90")
    ),
    "a cell in pm": Wrong(
        ("a = 4050", "4050 pm", "a = 40.5."), words=("zones", "simulate", "--cell", "4050 4050 4050 90 90 90")
    ),
}  # fmt: skip


def words_of(case: Wrong, folder: Path) -> list[str]:
    devices = case.devices
    if "\n" in devices:
        devices = "lab.toml"
        (folder / devices).write_text(case.devices)
    words = ["--devices", devices]
    if case.config:
        (folder / "plan.toml").write_bytes(case.config)
        words += ["--config", "plan.toml"]
    return [*words, *(word for each in case.settings for word in ("--set", each))]


def check_refused(case: Wrong, status: int, err: str) -> None:
    assert status == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("credline: refused: ")
    for words in case.says:
        assert words in lines[0]
    for words in case.not_said:
        assert words not in lines[0]
    assert "Traceback" not in err


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plan_is_refused_before_there_is_a_folder(credline: Credline, tmp_path: Path, name: str) -> None:
    case = WRONG[name]
    words = case.words or ("run", "cred", "--clock", "virtual", "--out", "out", *words_of(case, tmp_path))
    status, _, err = credline(*words)
    check_refused(case, status, err)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "patterns.h5").exists()


@pytest.mark.parametrize("name", [name for name, case in WRONG.items() if not case.words and case.plan_refuses])
def test_plan_says_what_run_would_say(credline: Credline, tmp_path: Path, name: str) -> None:
    case = WRONG[name]
    status, _, err = credline("plan", "cred", *words_of(case, tmp_path))
    check_refused(case, status, err)


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(WRONG) >= 36


UNLIKELY = {
    "a camera length in cm": (f"{TIMING}[geometry]\ncamera_length_mm = 25\n", (), "camera_length_mm = 250."),
    "a camera length of 9 m": (f"{TIMING}[geometry]\ncamera_length_mm = 9000\n", (), "100 to 8000 mm"),
    "a pixel of 0.2 mm": (f"{TIMING}[geometry]\npixel_size_mm = 0.2\n", (), "0.005 to 0.15 mm"),
    "a voltage of 20 kV": (f"{TIMING}[geometry]\nwavelength_A = 0.0859\n", (), "usually 0.0195 to 0.0491 A"),
    "a beam beside the detector": (f"{PICTURES}[geometry]\nbeam_fast_px = -30\n", (), "beside it"),
    "a primary beam of the plan beside the detector": (
        PICTURES, ("beam=[700, 10]",), "beam = [700, 10]: fast = 700: the detector has 516 pixels there, so the beam is"
    ),
    "a readout of 3.5 s": (
        f"{TIMING}detector.readout_s = 3.5\n", ("speed_deg_s=0.1",), "3.5 ms was meant, write readout_s = 0.0035"
    ),
    "stage readings of 1.5 s": (f"{TIMING}[timing]\nstage_read_s = 1.5\n", (), "write stage_read_s = 0.0015"),
    "a fast rotation": (
        TIMING, ("speed_deg_s=35", "start_deg=-60", "range_deg=80", "snapshot_interval=0"), "0.005 to 30 deg/s"
    ),
    "a large defocus": (TIMING, ("defocus=70000", "snapshot_interval=20"), "-65535 to 65535"),
}  # fmt: skip


def words_of_unlikely(name: str, folder: Path) -> list[str]:
    devices, settings, _ = UNLIKELY[name]
    short = ("formats=[]", "range_deg=2", "relax_cycles=0")
    return words_of(Wrong((), devices=devices, settings=(*short, *settings)), folder)


@pytest.mark.parametrize("name", UNLIKELY)
def test_what_is_only_unlikely_is_asked_about_once(credline: Credline, tmp_path: Path, name: str) -> None:
    status, out, err = credline("plan", "cred", *words_of_unlikely(name, tmp_path))
    assert (status, err) == (0, "")
    notes = [line for line in out.splitlines() if line.startswith("Note: ")]
    assert sum(UNLIKELY[name][2] in line for line in notes) == 1, out


@pytest.mark.parametrize("name", ["a camera length in cm", "a fast rotation", "a large defocus"])
def test_what_a_run_was_asked_about_is_kept(credline: Credline, tmp_path: Path, name: str) -> None:
    says = UNLIKELY[name][2]
    words = words_of_unlikely(name, tmp_path)
    status, _, err = credline("run", "cred", "--clock", "virtual", "--out", "out", "--accept-gaps", *words)
    assert status == 0, err
    assert sum(says in line for line in err.splitlines()) == 1, err
    told = json.loads((tmp_path / "out" / "mordenite_001" / "run.json").read_text())
    assert sum(says in remark for remark in told["remarks"]) == 1


def test_a_usual_plan_has_no_remarks(credline: Credline, tmp_path: Path) -> None:
    words = ("--set", "range_deg=2", "--set", "snapshot_interval=8", "--set", "formats=[]")
    status, out, _ = credline("plan", "cred", *words)
    assert status == 0
    assert "Note:" not in out
    assert "Objection:" not in out
    for figure in ("0.02508 A (200 kV)", "250 mm, 0.008772 1/A per px", "0.448 A at the nearest edge, 0.309 A in the"):
        assert figure in out
    status, _, err = credline("run", "cred", "--clock", "virtual", "--out", "out", *words)
    assert status == 0
    assert "Note:" not in err
    assert "WARNING" not in err
    told = json.loads((tmp_path / "out" / "mordenite_001" / "run.json").read_text())
    assert "remarks" not in told
    assert told["pattern"]["high_tension_kV"] == pytest.approx(200.0, abs=0.1)
    assert told["pattern"]["per_px_A"] == pytest.approx(0.008772, abs=1e-6)
    assert told["pattern"]["edge_A"] == pytest.approx(0.448, abs=1e-3)
    assert told["pattern"]["corner_A"] == pytest.approx(0.309, abs=1e-3)


def test_a_plan_says_that_only_what_is_named_is_made(credline: Credline) -> None:
    def said(formats: str) -> str:
        return credline("plan", "cred", "--set", f"formats={formats}")[1]

    assert "autoed, and no report: name it in formats" in said('["autoed"]')
    assert "no report" not in said('["autoed", "report"]') + said("[]")


def test_gaps_are_an_objection_that_can_be_accepted(credline: Credline, tmp_path: Path) -> None:
    words = ("--devices", "simulated-timing", "--set", "exposure_s=0.05", "--set", "range_deg=5")
    status, out, _ = credline("plan", "cred", *words)
    assert status == 0
    assert "Objection: the plan does not record" in out
    assert "--accept-gaps" in out
    run = ("run", "cred", "--clock", "virtual", "--out", "out", *words)
    assert credline(*run)[0] == 2
    assert not (tmp_path / "out").exists()
    assert credline(*run, "--accept-gaps")[0] == 0
    told = json.loads((tmp_path / "out" / "mordenite_001" / "run.json").read_text())
    assert told["remarks"][0].startswith("the plan does not record")


def test_files_from_an_editor_that_marks_them_are_taken(credline: Credline, tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "lab.toml").write_bytes(mark + TIMING.encode())
    (tmp_path / "plan.toml").write_bytes(mark + b"range_deg = 5\n")
    assert credline("plan", "cred", "--devices", "lab.toml", "--config", "plan.toml")[0] == 0
