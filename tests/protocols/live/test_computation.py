"""What a worker remembers saves work and changes no outcome; what was searched comes back from its bytes."""

from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.simulated.settings import InstrumentSettings
from engine.run.compute import Bulk
from engine.run.computeworker import Earlier
from protocols.live import computation
from protocols.live.batch import unpacked
from protocols.live.computation import look_at, search
from protocols.spots.shadow import shadowed

SETTINGS = InstrumentSettings.read("simulated", True, {})
WIDTH_DEG, FRAME_NS = 0.3, 500_000_000
COUNT = 20


@pytest.fixture(scope="module")
def pictures() -> list[Any]:
    """The flatfield, and frames of mordenite."""
    from drivers.simulated.pictures import PictureMaker

    maker = PictureMaker(SETTINGS.source.load(), SETTINGS.geometry, SETTINGS.pictures)
    begin = [k * WIDTH_DEG for k in range(COUNT)]
    return [maker.flatfield, *(maker.diffraction(b, b + WIDTH_DEG, 0.5, noise_seed=int(10 * b)) for b in begin)]


def arguments(*slots: int, **changes: Any) -> dict[str, Any]:
    """Of a search in these slots; a frame's index is its slot."""
    return {
        "frames": [[slot, slot, slot * FRAME_NS, (slot + 1) * FRAME_NS] for slot in slots],
        "flatfield": 0,
        "geometry": asdict(SETTINGS.geometry),
        "wide_cross": True,
        "saturation": SETTINGS.pictures.saturation,
        "beam_px": None,
        "look_for_beam": False,
        **changes,
    }


def asked(fit: Any = None) -> dict[str, Any]:
    """Of a look."""
    return {
        "stage": [0.0, FRAME_NS, WIDTH_DEG * 2],
        "rate_deg_s": WIDTH_DEG * 2,
        "geometry": asdict(SETTINGS.geometry),
        "beam_px": None,
        "fit": fit,
    }


def forget() -> None:
    """As a worker that has just begun."""
    computation._prepared.clear()
    computation._joined.clear()


def kept(folder: Path, *data: bytes) -> list[Earlier]:
    """As the engine keeps and hands out the bytes of outcomes."""
    from hashlib import sha256

    (folder / "found.bin").write_bytes(b"".join(data))
    begins = np.cumsum([0, *map(len, data)]).tolist()
    return [
        Earlier(folder, Bulk("found.bin", sha256(each).hexdigest(), len(each), begin))
        for each, begin in zip(data, begins, strict=False)
    ]


def test_a_search_tells_of_each_frame_and_its_bytes_hold_the_spots(pictures: list[Any]) -> None:
    told, data = search(arguments(3, 4, look_for_beam=True), pictures.__getitem__)
    batch = unpacked(data)
    assert [values["slot"] for values in told["frames"]] == batch.slot.tolist() == [3, 4]
    assert [values["spots"] for values in told["frames"]] == [len(spots) for spots in batch.spots]
    counts = [round(float(spots.intensity.sum())) for spots in batch.spots]
    assert [values["spot_counts"] for values in told["frames"]] == pytest.approx(counts, abs=1)
    assert (batch.start_ns.tolist(), batch.shape, batch.profile.frames) == ([3 * FRAME_NS, 4 * FRAME_NS], (516, 516), 2)
    geometry = SETTINGS.geometry
    assert np.abs(np.array(told["beam_px"]) - (geometry.beam_fast_px, geometry.beam_slow_px)).max() < 0.5


def test_what_a_worker_remembers_of_a_camera_changes_nothing(pictures: list[Any]) -> None:
    other = [pictures[0] * np.linspace(0.5, 1.5, 512, dtype=np.float32), *pictures[1:]]
    scenes: list[tuple[dict[str, Any], list[Any]]] = [
        (arguments(1), pictures),
        (arguments(1), other),
        (arguments(1, beam_px=[250.0, 270.0]), other),
        (arguments(1, flatfield=None), other),
        (arguments(1, flatfield=None, wide_cross=False), other),
        (arguments(1, flatfield=None, saturation=None), other),
    ]
    fresh = []
    for asked_for, shown in scenes:
        forget()
        fresh.append(search(asked_for, shown.__getitem__))
    assert len({data for _, data in fresh}) >= 5
    for _ in range(2):
        for (asked_for, shown), expected in zip(scenes, fresh, strict=True):
            assert search(asked_for, shown.__getitem__) == expected
            assert search(asked_for, shown.__getitem__) == expected


@pytest.mark.long
def test_a_look_after_a_look_is_the_same_as_by_a_new_worker(pictures: list[Any], tmp_path: Path) -> None:
    data = [search(arguments(*range(k, k + 4)), pictures.__getitem__)[1] for k in range(1, COUNT, 4)]
    earlier = kept(tmp_path, *data)
    forget()
    # The last two as of other runs, whose first frames are the same.
    scenes = [earlier[:2], earlier[:3], earlier[:3], earlier, [*earlier[:2], earlier[4]], [earlier[0], *earlier[2:]]]
    looks = [look_at(asked(), pictures.__getitem__, scene) for scene in scenes]
    for scene, expected in zip(scenes, looks, strict=True):
        forget()
        assert str(look_at(asked(), pictures.__getitem__, scene)) == str(expected)
    assert [look["frames"] for look in looks] == [8, 12, 12, 20, 12, 16]


def test_a_look_goes_on_from_the_fit_before(pictures: list[Any], tmp_path: Path) -> None:
    earlier = kept(tmp_path, search(arguments(*range(1, 17)), pictures.__getitem__)[1])
    first = look_at(asked(), pictures.__getitem__, earlier)
    assert first["fit"] is not None, first["reasons"]
    fit = {"ub": first["fit"]["ub"].tolist(), "geometry": first["fit"]["geometry"]}
    again = look_at(asked(fit), pictures.__getitem__, earlier)
    # No other lattice; of those axes that a lattice can have, the same ones.
    assert abs(np.linalg.det(again["fit"]["ub"]) / np.linalg.det(first["fit"]["ub"])) == pytest.approx(1, rel=0.03)
    assert again["indexed"] >= first["indexed"] - 0.02


def test_in_a_shadow_nothing_counts_as_measured(pictures: list[Any], tmp_path: Path) -> None:
    first = kept(tmp_path, search(arguments(*range(1, 15)), pictures.__getitem__)[1])
    before = look_at(asked(), pictures.__getitem__, first)
    dark = [*pictures[:15], *(picture // 50 for picture in pictures[15:])]
    forget()
    after = look_at(asked(), dark.__getitem__, kept(tmp_path, search(arguments(*range(1, 21)), dark.__getitem__)[1]))
    assert "shadowed_deg" not in before
    assert after["shadowed_deg"] == [[pytest.approx(14 * WIDTH_DEG), pytest.approx(20 * WIDTH_DEG)]]
    assert after["in_shadow_deg"] == pytest.approx(6 * WIDTH_DEG)
    assert after["deg"] == pytest.approx(20 * WIDTH_DEG)
    assert after["determined"], after["reasons"]
    assert after["completeness"] == pytest.approx(before["completeness"], abs=0.02)
    assert after["completeness_after"]["10"] < before["completeness_after"]["20"]


def test_bytes_of_an_earlier_version_have_no_light_and_no_shadow(pictures: list[Any]) -> None:
    _, data = search(arguments(3, 4), pictures.__getitem__)
    with np.load(BytesIO(data)) as told:
        earlier = {name: told[name] for name in told.files if name != "light"}
    file = BytesIO()
    np.savez(file, allow_pickle=False, **earlier)
    assert not shadowed(unpacked(file.getvalue()).light).any()
    assert unpacked(data).light.min() > 1000
