"""The live view on virtual time, with an operator who tells it things."""

import json
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import fabio
import pytest

from engine.errors import Refused
from engine.record.document import RunDocument
from engine.record.shownframe import read_shown
from engine.replay.replay import replay
from engine.run.recovery import recover_run
from protocols.view.view import VIEW

SMALL: dict[str, Any] = {
    "microscope": {
        "driver": "simulated",
        "pictures": {"shape": [64, 64], "wide_cross": False},
        "geometry": {"beam_fast_px": 30.0, "beam_slow_px": 33.0},
    },
}
HALF_MINUTE = {"lasts_min": 0.5}
MOVES = ("beam.unblank", "optics.set_focus", "stagexyz.move_z", "stage.rotate", "mode.set_mode")


class Operator:
    """Tells words when so many pictures have been shown."""

    def __init__(self, words: Mapping[int, str]) -> None:
        self.words, self.shown = words, 0

    def __call__(self, record: Any, run: Any) -> None:
        if record["kind"] in ("refused", "frame"):
            self.shown += 1
            if (told := self.words.get(self.shown)) is not None:
                if told == "stop":
                    run.commands.stop("enough")
                else:
                    run.commands.tell(told, by="the test")


def calls(run: Any, name: str) -> list[Any]:
    return [record["args"] for record in run.of("call", name)]


@pytest.fixture
def view(record_run: Callable[..., Any]) -> Callable[..., Any]:
    def play(said: Mapping[int, str] | Callable[..., None] | None = None, **plan: Any) -> Any:
        on = said if callable(said) else Operator(said or {})
        return record_run("view", on=on, **{**HALF_MINUTE, **plan})

    return play


def test_pictures_are_shown_twice_a_second_and_none_is_kept(view, assert_trace_matches):
    run = view()
    shown = run.of("refused")
    assert 55 <= len(shown) <= 61
    assert {record["reason"] for record in shown} == {"shown, not kept"}
    assert run.result == {"images": 0, "shown": len(shown)}
    assert run.document["status"] == "done"
    assert sorted(file.name for file in run.folder.iterdir() if file.is_file()) == [
        "journal.jsonl", "run.json", "trace.jsonl",
    ]  # fmt: skip
    assert_trace_matches(replay(run.trace), run)


def test_the_newest_picture_lies_in_the_folder_while_the_view_goes(view):
    seen: list[Any] = []

    def looking(record: Any, run: Any) -> None:
        if record["kind"] == "call" and record["name"] == "detector.start":
            run.writer.submit_observation(lambda: seen.append(read_shown(run.folder)))  # after what was written before

    view(looking, lasts_min=0.1)
    infos = [shown[0] for shown in seen[1:]]
    assert {info.kind for info in infos} == {"live"}
    assert [info.index for info in infos] == sorted(info.index for info in infos)
    assert infos[-1].index > 5


def test_the_beam_is_off_at_first_and_goes_off_first_at_the_end(view):
    run = view({4: "unblank", 20: "stop"})
    beam = [record["name"] for record in run.of("call") if record["name"] in ("beam.blank", "beam.unblank")]
    assert beam == ["beam.blank", "beam.unblank", "beam.blank", "beam.blank"]
    after = run.trace[next(k for k, record in enumerate(run.trace) if record["name"] == "stopped") :]
    assert next(record["name"] for record in after if record["kind"] == "call") == "beam.blank"
    assert run.document["status"] == "stopped"


@pytest.mark.parametrize("words", ["unblank", "defocus 700", "move z 1", "tilt 20", "mode imaging"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("command", "stopped"),
        ("state", "finalize"),
        ("call", "beam.blank"),
        ("call", "stage.stop"),
        ("call", "beam.is_blanked"),
    ],
)
def test_what_is_told_to_a_view_that_is_ending_is_not_done_and_that_is_said(
    view, assert_trace_matches, words: str, kind: str, name: str
):
    ending: list[bool] = []

    def late(record: Any, run: Any) -> None:
        if (record["kind"], record["name"]) == ("frame", "live") or record["kind"] == "refused":
            if not ending:
                ending.append(False)
                run.commands.stop("enough")
        elif ending == [False] and (record["kind"], record["name"]) == (kind, name):
            ending[:] = [True]
            run.commands.tell(words, by="the test")

    run = view(late)
    assert ending == [True]
    assert not [call for call in run.of("call") if call["name"] in MOVES]
    (said,) = [note["text"] for note in run.of("note", "operator")]
    assert said == f"{words}: the run is ending; nothing was done."
    assert run.document["status"] == "stopped"
    assert_trace_matches(replay(run.trace), run)


def test_what_is_told_is_done_and_stands_in_the_trace_with_who_said_it(view, assert_trace_matches):
    words = {3: "unblank", 6: "defocus 700", 9: "focus", 12: "tilt 12.5", 20: "stop stage", 24: "blank"}
    run = view(words)
    told = [(record["reason"], record["by"]) for record in run.of("command", "told")]
    assert told == [(each, "the test") for each in words.values()]
    (away,), (back,) = calls(run, "optics.set_focus")
    assert away - back == 700
    assert calls(run, "stage.rotate") == [[12.5, 2.0]]
    assert len(calls(run, "stage.stop")) == 2  # the second makes safe
    assert_trace_matches(replay(run.trace), run)


def test_the_lens_goes_back_in_focus_when_a_view_ends_out_of_it(view):
    run = view({6: "defocus", 12: "stop"})
    (away,), (back,) = calls(run, "optics.set_focus")
    assert away - back == 1500
    assert not view({6: "focus", 12: "stop"}).of("call", "optics.set_focus")


def test_relaxing_is_five_times_out_of_focus_and_back_and_pictures_go_on(view, assert_trace_matches):
    run = view({6: "relax", 30: "stop"})
    values = [value for (value,) in calls(run, "optics.set_focus")]
    assert [value - values[1] for value in values] == [1500, 0] * 5 + [0]
    begin, end = (run.of("call", "optics.set_focus")[k]["begin_ns"] for k in (0, -1))
    assert 9 <= sum(begin < record["start_ns"] < end for record in run.of("refused")) <= 12
    assert_trace_matches(replay(run.trace), run)


def test_blank_waits_behind_no_exposure(view):
    def impatient(record: Any, run: Any) -> None:
        if record["kind"] == "call" and record["name"] == "detector.start":
            run.commands.tell("blank")

    run = view(impatient, exposure_s=10.0)
    told_ns = run.of("command", "told")[0]["t_ns"]
    blanked = next(record for record in run.of("call", "beam.blank") if record["begin_ns"] >= told_ns)
    assert blanked["end_ns"] - told_ns < 0.5e9


def test_another_exposure_arms_the_camera_again(view, assert_trace_matches):
    run = view({6: "exposure 0.05", 20: "exposure 20", 30: "stop"})
    assert run.states() == ["arm", "view", "arm", "view", "finalize", "stopped"]
    lasting = [round((record["end_ns"] - record["start_ns"]) / 1e9, 3) for record in run.of("refused")]
    assert lasting[:6] == [0.2] * 6
    assert lasting[7:] == [0.05] * (len(lasting) - 7)
    assert "the camera cannot expose for 20 s" in run.of("note", "operator")[0]["text"]
    assert_trace_matches(replay(run.trace), run)


def test_a_saved_image_is_a_tiff_with_its_geometry(record_run, assert_trace_matches):
    operator = Operator({3: "unblank", 6: "save", 8: "save", 14: "stop"})
    run = record_run("view", devices=SMALL, on=operator, **HALF_MINUTE)
    assert run.result["images"] == 2
    kept = run.of("frame", "saved")
    assert [record["exposure_s"] for record in kept] == [0.2, 0.2]
    files = sorted((run.folder / "images").iterdir())
    assert [file.name for file in files] == ["0001.tiff", "0002.tiff"]
    with fabio.open(str(files[0])) as image:
        assert image.data.shape == (64, 64)
        assert image.data.sum() > 1000
        told = json.loads(image.header["imageDescription"])
    assert told["mode"] == "diffraction"
    assert (told["camera_length_mm"], told["pixel_size_mm"]) == (250.0, 0.055)
    assert told["tilt_deg"] == pytest.approx(0, abs=0.01)
    assert told["per_px_A"] == pytest.approx(0.055 / (250 * 0.02508), rel=1e-6)
    assert told["started_at"] is not None
    assert_trace_matches(replay(run.trace), run)


def test_a_view_that_is_cut_off_keeps_its_images(record_run, tmp_path):
    """The program dies: the folder as it was then, of which one file never reached the disk."""
    tell, cut = Operator({3: "unblank", 6: "save", 8: "save", 14: "stop"}), tmp_path / "cut_off"

    def operator(record: Any, run: Any) -> None:
        tell(record, run)
        if tell.shown == 12 and record["kind"] == "refused":
            run.write_trace()
            # The writer has one queue: what this job finds on disk is what a kill here would have left.
            run.writer.submit_observation(lambda: shutil.copytree(run.folder, cut))

    run = record_run("view", devices=SMALL, on=operator, **HALF_MINUTE)
    (cut / "run.lock").unlink(missing_ok=True)
    (cut / "images" / "0002.tiff").unlink()
    told = " ".join(recover_run(cut))
    assert "2 saved images" in told
    assert [(cut / "images" / name).read_bytes() for name in ("0001.tiff", "0002.tiff")] == [
        (run.folder / "images" / name).read_bytes() for name in ("0001.tiff", "0002.tiff")
    ]


def test_what_is_not_understood_is_refused_where_it_is_said(view):
    document = RunDocument(protocol="view")
    assert VIEW.understood("  Tilt   0 ", document) == "tilt 0"
    for words in ("fly", "tilt", "tilt far", "tilt nan", "exposure 0", "exposure -1", "defocus 1.5", "blank 3", ""):
        with pytest.raises(Refused, match="nothing was done"):
            VIEW.understood(words, document)


def test_a_part_that_is_not_there_or_does_not_answer_ends_no_view(view):
    run = view({6: "tilt 500", 20: "stop"})
    assert "tilt 500" not in [record["name"] for record in run.of("call")]
    assert run.document["status"] == "stopped"
    texts = [record["text"] for record in run.of("note", "operator")]
    assert len(texts) == 1
