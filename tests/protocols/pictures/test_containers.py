"""Every picture of every container is read; what is not read is said, with how many pictures that are."""

import builtins
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fabio
import h5py
import hdf5plugin
import mrcfile
import numpy as np
import pytest
from PIL import Image

from engine.errors import DataError, Refused
from protocols.pictures.container import Container
from protocols.pictures.hdf5 import PluginMissing
from protocols.pictures.opening import open_container, open_folder

PICTURE = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
STACK = np.stack([PICTURE + i for i in range(4)])


def pages(dtype: Any, **how: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        first, *rest = [Image.fromarray(picture.astype(dtype)) for picture in STACK]
        first.save(path, save_all=True, append_images=rest, **how)

    return write


def write_mrc(data: np.ndarray) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with mrcfile.new(path) as file:
            file.set_data(data)

    return write


def write_hdf5(name: str, data: np.ndarray, **how: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset(name, data=data, **how)

    return write


def write_edf(path: Path) -> None:
    image = fabio.edfimage.EdfImage(data=STACK[0])
    for picture in STACK[1:]:
        image.append_frame(data=picture)
    image.write(str(path))


def write_master(path: Path, parts: Sequence[slice] = (slice(0, 2), slice(2, 4)), told: int = 0) -> None:
    """As DECTRIS' file writer: data files beside a master that links to them."""
    with h5py.File(path, "w") as master:
        for number, part in enumerate(parts, 1):
            data = f"{path.stem.removesuffix('_master')}_data_{number:06}.h5"
            write_hdf5("entry/data/data", STACK[part], chunks=(1, 64, 48), **hdf5plugin.Bitshuffle())(
                path.parent / data
            )
            master[f"entry/data/data_{number:06}"] = h5py.ExternalLink(data, "/entry/data/data")
        if told:
            master["entry/instrument/detector/detectorSpecific/nimages"] = told


def write_virtual(path: Path) -> None:
    layout = h5py.VirtualLayout(STACK.shape, np.uint16)
    for number in (0, 1):
        data = path.with_name(f"{path.stem}_{number}.h5")
        part = slice(2 * number, 2 * number + 2)
        write_hdf5("data", STACK[part])(data)
        layout[part] = h5py.VirtualSource(data.name, "data", (2, 64, 48))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)


ONE: dict[str, Callable[[Path], None]] = {
    "p.tif": lambda path: fabio.tifimage.TifImage(data=PICTURE).write(str(path)),
    "p.cbf": lambda path: fabio.cbfimage.CbfImage(data=PICTURE.astype(np.int32)).write(str(path)),
    "p.edf": lambda path: fabio.edfimage.EdfImage(data=PICTURE).write(str(path)),
    "p.img": lambda path: fabio.dtrekimage.DtrekImage(data=PICTURE).write(str(path)),
    "p.mrc": write_mrc(PICTURE),
    "p.png": lambda path: Image.fromarray(PICTURE).save(path),
    "p.h5": write_hdf5("entry/data/data", PICTURE),
    "elsewhere.h5": write_hdf5("some/where", PICTURE),
}
MANY: dict[str, Callable[[Path], None]] = {
    "plain.tif": pages(np.uint16),
    "compressed.tif": pages(np.uint16, compression="tiff_deflate"),
    "float.tiff": pages(np.float32),
    "s.mrc": write_mrc(STACK),
    "s.mrcs": write_mrc(STACK.astype(np.int16)),
    "s.edf": write_edf,
    "s.h5": write_hdf5("entry/data/data", STACK),
    "scan.h5": write_hdf5("data", STACK.reshape(2, 2, 64, 48)),
    "bslz4.h5": write_hdf5("entry/data/data", STACK, chunks=(1, 64, 48), **hdf5plugin.Bitshuffle()),
    "elsewhere.nxs": write_hdf5("some/where", STACK),
    "s_master.h5": write_master,
    "virtual.h5": write_virtual,
}


@pytest.mark.parametrize("name", ONE)
def test_a_file_of_one_picture_is_one_picture_under_its_own_name(name: str, tmp_path: Path) -> None:
    ONE[name](tmp_path / name)
    container = open_container(tmp_path / name)
    assert container.names() == [str(tmp_path / name)]
    assert np.array_equal(container.picture(0), PICTURE)
    assert container.unread == ""


@pytest.mark.parametrize("name", MANY)
def test_every_picture_of_a_stack_is_one_of_its_own(name: str, tmp_path: Path) -> None:
    MANY[name](tmp_path / name)
    container = open_container(tmp_path / name)
    assert container.names() == [f"{tmp_path / name}#{i}" for i in range(4)]
    for i in (2, 0, 3, 1):
        assert np.array_equal(container.picture(i), STACK[i])
    assert container.unread == ""


@pytest.mark.parametrize("name", ["s_master.h5", "virtual.h5"])
def test_data_files_beside_their_master_are_not_read_twice(name: str, tmp_path: Path) -> None:
    MANY[name](tmp_path / name)
    containers, unread = open_folder(tmp_path)
    assert [container.path.name for container in containers] == [name]
    assert unread == ""


def lose(which: str) -> Callable[[Path], None]:
    return lambda folder: next(folder.glob(which)).unlink()


# (what is written, what is lost of it, what is still there, what is said)
LOST: dict[str, tuple[Callable[[Path], None], str, list[int], str]] = {
    "a data file of a master": (write_master, "*data_000001.h5", [2, 3], "an unknown number of pictures (s_data_0"),
    "one, and the master knows how many there were": (
        lambda path: write_master(path, told=4), "*data_000002.h5", [0, 1], "2 pictures (s_data_000002.h5 is missing)",
    ),
    "a source of a virtual dataset": (write_virtual, "s_0.h5", [2, 3], "2 pictures (s_0.h5 is missing)"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOST)
def test_what_of_a_stack_is_missing_is_said_and_not_read_as_zeros(case: str, tmp_path: Path) -> None:
    write, lost, there, said = LOST[case]
    write(tmp_path / "s.h5")
    lose(lost)(tmp_path)
    container = open_container(tmp_path / "s.h5")
    assert said in container.unread
    assert [int(container.picture(i)[0, 0]) for i in range(container.count)] == there
    _, unread = open_folder(tmp_path)
    assert f"of s.h5: {container.unread}" in unread


def test_a_master_without_any_of_its_data_says_which_files_are_missing(tmp_path: Path) -> None:
    write_master(tmp_path / "s.h5")
    lose("*data_000001.h5")(tmp_path)
    lose("*data_000002.h5")(tmp_path)
    with pytest.raises(DataError, match=r"s_data_000001\.h5 is missing, s_data_000002\.h5 is missing"):
        open_container(tmp_path / "s.h5")


def test_pixels_that_a_master_calls_bad_come_along(tmp_path: Path) -> None:
    write_master(tmp_path / "s.h5")
    mask = np.zeros(PICTURE.shape, dtype=np.uint32)
    mask[3, 4], mask[5, 6] = 1, 0x20  # a gap, and a bit that says nothing of the sort
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file["entry/instrument/detector/pixel_mask"] = mask
    bad = open_container(tmp_path / "s.h5").bad
    assert bad is not None
    assert np.argwhere(bad).tolist() == [[3, 4]]


def test_a_missing_plug_in_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "p.h5", "w") as file:
        data = file.create_dataset(
            "entry/data/data", (1, 64, 48), np.uint16, chunks=(1, 64, 48), compression=32999, allow_unknown_filter=True
        )
        data.id.write_direct_chunk((0, 0, 0), b"compressed by nobody knows what")
    imported = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "hdf5plugin":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for read in (open_container, lambda path: open_folder(path.parent)):
        with pytest.raises(PluginMissing, match=r"whole but compressed .*filter 32999.*pip install hdf5plugin"):
            read(tmp_path / "p.h5")


def test_a_stack_that_was_cut_off_gives_what_is_left_and_names_the_others(tmp_path: Path) -> None:
    write_hdf5("data", STACK, chunks=(1, 64, 48), compression="gzip")(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        at = file["data"].id.get_chunk_info(2).byte_offset
    content = bytearray((tmp_path / "s.h5").read_bytes())
    content[at : at + 40] = bytes(40)
    (tmp_path / "s.h5").write_bytes(content)
    container = open_container(tmp_path / "s.h5")
    assert np.array_equal(container.picture(3), STACK[3])
    with pytest.raises(DataError, match="picture 2 of it is damaged"):
        container.picture(2)


SPOILT: dict[str, bytes] = {"p.png": b"not a picture", "p.tif": b"", "q.tif": b"II*\0", "p.mrc": b"x", "p.cbf": b"x"}


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_file_is_a_picture_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SPOILT[name])
    container: Container = open_container(tmp_path / name)
    assert container.count == 1
    with pytest.raises(DataError, match="cannot be read as a picture") as raised:
        container.picture(0)
    assert "\n" not in str(raised.value)


def test_a_stack_that_imagej_wrote_without_a_list_says_what_is_not_read(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "s.tif", description="ImageJ=1.54f\nimages=40\nslices=40\n")
    assert open_container(tmp_path / "s.tif").unread.startswith("39 of 40 pictures")


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    Image.fromarray(PICTURE).save(path)
    container = open_container(path)
    assert container.picture(0)[0, 0] == 0
    Image.fromarray(np.full((20, 20), 7, dtype=np.uint16)).save(path)
    assert container.picture(0).tolist() == np.full((20, 20), 7).tolist()


def test_what_a_folder_holds_beside_pictures_is_counted(tmp_path: Path) -> None:
    MANY["plain.tif"](tmp_path / "s.tif")
    for name in ("a.dm4", "b.dm4", "notes"):
        (tmp_path / name).write_bytes(b"x")
    write_hdf5("numbers", np.arange(5))(tmp_path / "c.h5")
    (tmp_path / "run_001").mkdir()
    (tmp_path / "run_001" / "run.json").write_text("{}")
    write_hdf5("pictures", STACK)(tmp_path / "run_001" / "frames.h5")
    containers, unread = open_folder(tmp_path)
    assert [container.count for container in containers] == [4]
    assert unread == (
        "1 run of credline (to be given by itself); 2 files of an unknown kind (.dm4); "
        "1 file of an unknown kind (no ending); 1 file without pictures (.h5)"
    )


def test_an_unknown_kind_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"known are \.h5"):
        open_container(tmp_path / "p.dm4")
