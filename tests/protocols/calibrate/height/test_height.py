"""The eucentric height set on a simulated grid that lies off the tilt axis: z is moved, and what is left is said."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from drivers.facts import Facts
from drivers.simulated.crystalmotion import MotionSettings
from drivers.simulated.gridplace import GridPlace
from drivers.simulated.gridsettings import GridSettings
from engine.errors import Refused
from engine.record.trace import Record, read_trace
from engine.replay.replay import replay
from engine.run.perform import Report, Request, execute
from engine.run.planbasis import declared_basis
from engine.run.run import Run
from protocols.calibrate.height.kind import HEIGHT
from protocols.calibrate.height.plan import HeightPlan
from protocols.calibrate.height.tilted import tilted, told
from tests.protocols.serialed.runs import toml
from tests.quickly import quick

SMALL: dict[str, Any] = {
    "driver": "simulated",
    "pictures": {"rendered": "snapshots"},
    "grid": {"seed": 5, "film": "continuous", "torn": 0.0},
    "motion": {"height_nm": 1500.0},
    "stagexyz": {"reproducibility_nm": 20.0, "overshoot_nm": 0.0},
}


def performed(
    out: Path,
    plan: Mapping[str, Any] | None = None,
    *,
    on: Callable[[Record, Run], None] | None = None,
    faults: Sequence[str] = (),
    seed: int = 3,
    **tables: Mapping[str, Any],
) -> Report:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "devices.toml"
    microscope = {**SMALL, **{name: {**SMALL.get(name, {}), **table} for name, table in tables.items()}}
    file.write_text(toml({"microscope": microscope}), encoding="utf-8")

    def watch(run: Run, _: object) -> None:
        run.compute.inline = True
        if on is not None:
            run.trace.observe(lambda record: on(record, run))

    asked = Request(
        HEIGHT, HeightPlan(**(plan or {})), out, str(file), virtual=True, seed=seed, draw=False, faults=faults
    )
    return execute(asked, watch)


def calls(report: Report, name: str) -> list[Record]:
    return [r for r in read_trace(report.folder) if r["kind"] == "call" and r["name"] == name]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return performed(tmp_path_factory.mktemp("height"))


def test_z_is_moved_by_the_height_and_little_is_left(run: Report) -> None:
    result = run.document["result"]
    assert run.document["status"] == "done", run.document["reason"]
    assert result["z_nm"] == pytest.approx(1500.0, abs=3 * result["sigma_nm"])
    assert result["moved_nm"] == pytest.approx(-1500.0, abs=150.0)
    assert abs(result["left_over_nm"]) <= 300.0
    assert "nm over the tilt axis" in run.document["reason"]
    assert run.document["alarms"] == []


def test_what_is_left_is_what_is_truly_left(run: Report) -> None:
    """By the truth of the simulation: the film's height, and where the stage holds it."""
    positions = calls(run, "stagexyz.position")
    z_nm = positions[-1]["result"]["z_nm"]
    film_nm = GridPlace(GridSettings(seed=5), MotionSettings(height_nm=1500.0)).film_nm(0.0, 0.0)
    result = run.document["result"]
    assert result["left_over_nm"] == pytest.approx(film_nm + z_nm, abs=4 * result["sigma_nm"] + 60.0)


def test_the_tilt_goes_back_and_so_do_the_lenses(run: Report) -> None:
    tilts = [r["args"][0] for r in calls(run, "stage.rotate")]
    assert max(map(abs, tilts)) == 24.0
    assert tilts[-1] == pytest.approx(0.0, abs=0.01)
    assert calls(run, "mode.set_mode")[-1]["args"] == ["diffraction"]


def test_the_beam_is_on_for_exposures_alone(run: Report) -> None:
    names = [r["name"] for r in read_trace(run.folder) if r["kind"] == "call"]
    heard = [name for name in names if name in ("beam.unblank", "detector.start", "beam.blank")]
    exposed = heard[heard.index("beam.unblank") :]
    images = run.document["result"]["images"]
    assert exposed[: 3 * images] == ["beam.unblank", "detector.start", "beam.blank"] * images


def test_z_arrives_from_below(run: Report) -> None:
    targets = [r["args"][0] for r in calls(run, "stagexyz.move_z")]
    assert len(targets) % 2 == 0
    assert all(first < last for first, last in zip(targets[::2], targets[1::2], strict=True))


def test_a_replay_does_the_same(run: Report, assert_trace_matches: Callable[..., None]) -> None:
    records = list(read_trace(run.folder))
    assert_trace_matches(replay(records, run.folder), records)


def test_the_same_seed_writes_the_same_bytes(run: Report, tmp_path: Path) -> None:
    again = performed(tmp_path)
    assert (again.folder / "trace.jsonl").read_bytes() == (run.folder / "trace.jsonl").read_bytes()


def test_far_off_it_looks_at_small_tilts_before_it_moves(tmp_path: Path) -> None:
    report = performed(tmp_path, motion={"height_nm": -14_000.0})
    result = report.document["result"]
    assert report.document["status"] == "done", report.document["reason"]
    assert result["moved_nm"] == pytest.approx(14_000.0, abs=500.0)
    angles = [r["args"][0] for r in calls(report, "stage.rotate")]
    moved = next(k for k, r in enumerate(read_trace(report.folder)) if r["name"] == "stagexyz.move_z")
    before = [
        r["args"][0] for k, r in enumerate(read_trace(report.folder)) if r["name"] == "stage.rotate" and k < moved
    ]
    assert max(map(abs, before)) == 6.0
    assert max(map(abs, angles)) == 24.0


def test_a_height_that_is_right_moves_nothing(tmp_path: Path) -> None:
    report = performed(tmp_path, motion={"height_nm": 40.0})
    assert report.document["status"] == "done"
    assert report.document["result"]["moved_nm"] == 0.0
    assert not calls(report, "stagexyz.move_z")


def test_without_moves_it_is_only_measured(tmp_path: Path) -> None:
    report = performed(tmp_path, {"moves": 0})
    assert report.document["reason"].startswith("measured: ")
    assert not calls(report, "stagexyz.move_z")
    assert report.document["result"]["left_over_nm"] == report.document["result"]["z_nm"]


def test_a_stage_whose_z_lands_anywhere_is_given_up_in_words(tmp_path: Path) -> None:
    report = performed(tmp_path, {"moves": 1, "within_nm": 20.0}, stagexyz={"reproducibility_nm": 1500.0})
    assert report.document["status"] == "failed"
    assert (
        "z lands no better, or something else moves the image. The beam is off, z has been moved by"
        in (report.document["reason"])
    )
    assert [r["args"][0] for r in calls(report, "stage.rotate")][-1] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("y_nm", quick(2, [18_000.0, -20_500.0, 16_000.0, 20_500.0, -18_000.0]))
def test_a_bar_beside_the_film_stands_higher_and_is_not_looked_at(tmp_path: Path, y_nm: float) -> None:
    """Its edge is the strongest thing in the picture, and moves by its own height when the stage tilts."""
    report = performed(tmp_path, stagexyz={"start_nm": [0.0, y_nm, 0.0]}, grid={"bar_height_nm": 12_000.0})
    result = report.document["result"]
    assert report.document["status"] == "done", report.document["reason"]
    assert result["moved_nm"] == pytest.approx(-1500.0, abs=3 * result["sigma_nm"] + 100.0)


@pytest.mark.parametrize(
    "tables",
    [
        {"grid": {"crystals_um2": 0.0, "dirt_um2": 0.0, "unevenness": 0.0}},
        {"stagexyz": {"start_nm": [31_000.0, 31_000.0, 0.0]}},
    ],
)
def test_where_nothing_is_seen_to_move_it_says_so(tmp_path: Path, tables: dict[str, Any]) -> None:
    report = performed(tmp_path, **tables)
    assert report.document["status"] == "failed"
    assert "the height cannot be told. Look for a place that shows film and particles" in report.document["reason"]
    assert report.document["result"]["z_nm"] is None
    assert not calls(report, "stagexyz.move_z")


@pytest.mark.parametrize("fault", ["stage.rotate 2 error", "stagexyz.move_z 1 hang", "detector.frames 3 drop"])
def test_troubles_end_safely(tmp_path: Path, fault: str) -> None:
    report = performed(tmp_path, faults=[fault])
    assert report.document["status"] == "failed"
    assert calls(report, "beam.blank")
    assert report.document["reason"]


def test_an_operator_who_stops_gets_a_blanked_beam(tmp_path: Path) -> None:
    def stop(record: Record, run: Run) -> None:
        if record["kind"] == "frame" and record["index"] >= 3:
            run.commands.stop("enough")

    report = performed(tmp_path, on=stop)
    assert report.document["status"] == "stopped"
    assert calls(report, "beam.blank")


def facts_of(tmp_path: Path, text: str) -> Facts:
    path = tmp_path / "devices.toml"
    path.write_text(text)
    facts = declared_basis(str(path), {}).facts
    assert isinstance(facts, Facts)
    return facts


GRID = '[microscope]\ndriver = "simulated"\n[microscope.grid]\nseed = 1\n'


@pytest.mark.parametrize(
    ("plan", "devices", "said"),
    [
        ({}, '[microscope]\ndriver = "simulated"\n', "never calibrated at 2500x; nothing was started. Calibrate it"),
        ({"magnification": 2501.0}, GRID, "magnification: "),
        ({"first_tilt_deg": 30.0}, GRID, "first_tilt_deg = 30 is more than tilt_deg = 24"),
        ({"tilt_deg": 40.0}, GRID + "[microscope.stage]\nlimits_deg = [-30.0, 30.0]\n", "past the limits of the stage"),
        ({}, GRID.replace('"simulated"', '"simulated-timing"'), "makes no pictures"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_moves(
    tmp_path: Path, plan: dict[str, Any], devices: str, said: str
) -> None:
    with pytest.raises(Refused, match=said):
        HEIGHT.prepare(HeightPlan(**plan), facts_of(tmp_path, devices))


def test_foreshortening_is_taken_back_and_the_rest_is_told_along_the_stage() -> None:
    """A made picture seen again from 30 deg, in a picture that is turned, moved by 90 and -150 nm."""
    rng = np.random.default_rng(4)
    from scipy.ndimage import affine_transform, gaussian_filter

    specimen = 400.0 + 900.0 * gaussian_filter(rng.standard_normal((256, 256)), 2.0)
    cos, sin = np.cos(0.4), np.sin(0.4)
    stage_px = np.array([[cos, -sin], [sin, cos]]) @ np.diag([1.0, -1.0]) / 20.0  # 20 nm a pixel
    shorter = stage_px @ np.diag([1.0, np.cos(np.deg2rad(30.0))]) @ np.linalg.inv(stage_px)
    moved_px = stage_px @ np.array([90.0, -150.0])
    back = np.linalg.inv(shorter)[::-1, ::-1]
    middle = np.full(2, 127.5)
    again = affine_transform(specimen, back, middle - back @ (middle + moved_px[::-1]), order=3, cval=400.0)
    (a, b), (c, d) = stage_px.tolist()
    asked = told(
        0,
        1,
        cosine=float(np.cos(np.deg2rad(30.0))),
        stage_px=(a, b, c, d),
        guess_nm=0.0,
        wide_cross=False,
        saturation=None,
    )
    found = tilted(json.loads(json.dumps(asked)), lambda index: (specimen, again)[index])
    assert found["sure"]
    assert (found["x_nm"], found["y_nm"]) == pytest.approx((90.0, -150.0), abs=6.0)


def test_the_frames_say_where_they_were_taken(run: Report) -> None:
    with h5py.File(run.folder / "frames.h5") as file:
        angles_deg = file["tilted/frames"]["angle_deg"]
    assert set(np.round(angles_deg).astype(int)) == {0, -6, -3, 3, 6, -24, -12, 12, 24}
