"""Journal, trace and spool cut off, zero-filled or damaged at any byte: recovery gives every whole frame and says what
is missing, and never ends in anything but a message.
"""

from pathlib import Path
from random import Random

import pytest

from engine.errors import CredlineError
from engine.record.spoolformat import HEAD, MAGIC, head_at
from engine.run.recovery import recover_run
from tests.protocols.cred.wrecks import Held, contents, copy_of, cut_off_run, held, recovered, spooled

LAST_SLOT = 14


@pytest.fixture(scope="module")
def wreck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run cut off at slot 14, with snapshots at 5 and 10."""
    return cut_off_run(tmp_path_factory.mktemp("runs"), LAST_SLOT)


@pytest.fixture(scope="module")
def whole(wreck: Path) -> Held:
    return spooled(wreck / "frames.spool")


def edges_of(spool: Path) -> list[int]:
    """Where each record of a spool begins, and where the last one ends."""
    edges, size = [len(MAGIC)], spool.stat().st_size
    with spool.open("rb") as file:
        while edges[-1] < size:
            head = head_at(file, edges[-1])
            assert head is not None
            edges.append(head.end)
    return edges


def first(whole: Held, number: int) -> Held:
    return dict(list(whole.items())[:number])


def ends(data: bytes, last: int) -> list[int]:
    """Every length at which a file could have been cut off within its last so many bytes."""
    return list(range(max(0, len(data) - last), len(data)))


@pytest.mark.long
@pytest.mark.parametrize("zeros", [False, True], ids=["cut off", "filled with zeros"])
def test_a_spool_that_ends_anywhere_gives_the_frames_before(
    wreck: Path, whole: Held, tmp_path: Path, zeros: bool
) -> None:
    data = (wreck / "frames.spool").read_bytes()
    begins = edges_of(wreck / "frames.spool")
    assert len(begins) == len(whole) + 1
    # Every byte of the last two headers and of what surrounds them; within the counts every 50th.
    edges = set(begins[-3:])
    lengths = [
        n
        for n in ends(data, len(data) - begins[-3])
        if n % 50 == 0 or any(-5 < n - edge < HEAD.size + 200 for edge in edges)
    ]
    for length in [0, 1, 7, 8, 9, *lengths]:
        folder = copy_of(wreck, tmp_path / "cut")
        (folder / "frames.spool").write_bytes(data[:length].ljust(len(data) if zeros else 0, b"\0"))
        document, told = recovered(folder)
        # A picture that ends in zeros may be whole although its last bytes were lost.
        number = max(0, sum(begin <= length for begin in begins) - 1)
        kept = held(folder)
        assert kept == first(whole, number) or (zeros and kept == first(whole, number + 1)), length
        lost = {slot for _, slot in whole} - {slot for _, slot in kept}
        assert lost <= {gap["slot"] for gap in document["recovered"]["missing"]}
        assert not lost or "Missing: slot" in told


# Every so manieth of the places that are tried.
EVERY = pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.long)])


@EVERY
def test_a_damaged_bit_of_the_spool_costs_its_frame_alone(wreck: Path, whole: Held, tmp_path: Path, every: int) -> None:
    data = (wreck / "frames.spool").read_bytes()
    random = Random(1)
    begins = edges_of(wreck / "frames.spool")
    header_bytes = [begins[3] + k for k in range(HEAD.size + 150)]
    places = [*range(len(MAGIC)), *header_bytes, *random.sample(range(len(MAGIC), len(data)), 60)]
    for at in places[::every]:
        folder = copy_of(wreck, tmp_path / "cut")
        damaged = bytearray(data)
        damaged[at] ^= 1 << random.randrange(8)
        (folder / "frames.spool").write_bytes(damaged)
        document, _ = recovered(folder)
        struck = sum(begin <= at for begin in begins) - 1
        expected = {key: crc for k, (key, crc) in enumerate(whole.items()) if k != struck}
        assert held(folder) == expected, at
        kept_as_it_was = folder / "frames.damaged.spool"
        if 0 <= struck < len(whole) - 1:
            assert kept_as_it_was.read_bytes() == bytes(damaged)
            assert list(whole)[struck][1] in [gap["slot"] for gap in document["recovered"]["missing"]]
            assert "damaged" in "".join(document["recovered"]["lost_records"])


@pytest.mark.long
@pytest.mark.parametrize("name", ["trace.jsonl", "journal.jsonl"])
@pytest.mark.parametrize("zeros", [False, True], ids=["cut off", "filled with zeros"])
def test_a_trace_or_journal_that_ends_anywhere_costs_no_frame(
    wreck: Path, whole: Held, tmp_path: Path, name: str, zeros: bool
) -> None:
    data = (wreck / name).read_bytes()
    header_end = data.index(b"\n") + 1
    beginning = range(0, header_end + 3, 97 if name == "trace.jsonl" else 3)
    lengths = {*beginning, header_end - 1, header_end, header_end + 1, *ends(data, 300)[:: 4 if zeros else 1]}
    for length in sorted(lengths):
        folder = copy_of(wreck, tmp_path / "cut")
        (folder / name).write_bytes(data[:length].ljust(len(data) if zeros else 0, b"\0"))
        document, told = recovered(folder)
        assert held(folder) == whole, length
        header_lost = name == "trace.jsonl" and length < header_end
        assert (document["result"]["oscillation_deg"] is None) == (
            header_lost or (length <= header_end + 1 and name == "trace.jsonl")
        )
        assert ("have no angles" in told) == (document["result"]["oscillation_deg"] is None)
        assert ("its header is lost" in told or "is empty" in told) == header_lost
        assert "MAY STILL BE ON THE CRYSTAL" in document["reason"]  # whatever is left, it is not called safe


@EVERY
@pytest.mark.parametrize("name", ["trace.jsonl", "journal.jsonl", "run.json"])
def test_a_damaged_bit_elsewhere_costs_no_frame(
    wreck: Path, whole: Held, tmp_path: Path, name: str, every: int
) -> None:
    data = (wreck / name).read_bytes()
    random = Random(2)
    refused = 0
    for at in random.sample(range(len(data)), 150 // every):
        folder = copy_of(wreck, tmp_path / "cut")
        damaged = bytearray(data)
        damaged[at] ^= 1 << random.randrange(8)
        (folder / name).write_bytes(damaged)
        before = contents(folder)
        try:
            recover_run(folder)
        except CredlineError:  # a schema of another version, a plan of another protocol: said, and nothing touched
            refused += 1
            assert contents(folder) == before
            continue
        assert held(folder) == whole, at
    assert refused <= 5


@pytest.mark.parametrize("name", ["trace.jsonl", "journal.jsonl", "run.json", "frames.spool"])
def test_without_one_of_the_files_all_that_is_left_is_recovered(
    wreck: Path, whole: Held, tmp_path: Path, name: str
) -> None:
    folder = copy_of(wreck, tmp_path / "cut")
    (folder / name).unlink()
    document, told = recovered(folder)
    assert held(folder) == ({} if name == "frames.spool" else whole)
    assert name in told
    if name == "trace.jsonl":
        assert document["result"]["frames"] == sum(kind == "diffraction" for kind, _ in whole)
        assert document["result"]["start_deg"] is None
        assert "have no angles" in told
    if name == "run.json":
        assert document["plan"]["range_deg"] == 4.5
        assert document["created_at"] is not None  # when its trace was last written, less what the trace lasted
        assert "trace was last written" in told


def test_without_run_json_and_header_the_pictures_stay_where_they_are(wreck: Path, tmp_path: Path) -> None:
    folder = copy_of(wreck, tmp_path / "cut")
    (folder / "run.json").unlink()
    (folder / "trace.jsonl").write_bytes(b"")
    before = contents(folder)
    with pytest.raises(CredlineError, match=r"stay in frames\.spool"):
        recover_run(folder)
    assert contents(folder) == before
