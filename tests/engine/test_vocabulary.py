"""The engine carries experiments out and knows no vendor and no crystallography: no such word is in it, comments and
docstrings included.

What an experiment or an instrument brings, the engine gets from a protocol or a driver, by the contract. A word of
theirs in here is the first sign that it has begun to know one of them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "engine"

ANYWHERE = (
    # vendors, their cameras, microscopes and programs
    "amsterdam scientific", "cheetah", "dectris", "direct electron", "eiger", "fei ", "gatan", "instamatic", "jeol",
    "medipix", "merlin", "orius", "quantum detectors", "serialem", "serval", "simplon", "temcom", "temscript",
    "thermo fisher", "thermofisher", "timepix", "tvips",
    # what only some experiments have
    "bragg", "camera length", "camera_length", "crystal", "defocus", "diffraction", "ewald", "goniometer", "lattice",
    "laue", "mordenite", "mosaicity", "rocking curve", "snapshot", "space group", "unit cell", "unit_cell", "zone axis",
    # programs and formats that products are made for
    "nexus", "redp", "shelx",
)  # fmt: skip
"""Also within longer words."""
AS_WORDS = ("cred", "dials", "hkl", "microed", "pets", "serialed", "smv", "xds", "zonal", "zones")
"""Only where they stand alone or between underscores: `credline` is no cRED."""

FORBIDDEN = re.compile(
    "|".join([*map(re.escape, ANYWHERE), rf"(?<![a-z])(?:{'|'.join(AS_WORDS)})(?![a-z])"]), re.IGNORECASE
)
EXAMPLE = re.compile(r'"Example: credline [^"]*"')
"""Help shows commands as somebody would type them, and so with some experiment's name."""

STILL = {
    "record/agreement.py": "knows two kinds of frames and where each is kept; kinds become the protocol's",
    "record/frametable.py": "reads files of schema 1, which held the frames of one experiment without saying so",
    "record/spoolformat.py": "reads spools of format 1, whose marks name the kinds of frames of one experiment",
}
"""Files that are still to be cleaned, each with what has to come first. A file that is clean leaves this list."""


def found_in(file: Path) -> Iterator[str]:
    """`line: word` for each word of the list in a file."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        for match in FORBIDDEN.finditer(EXAMPLE.sub("", line)):
            yield f"{number}: {match[0]}"


FILES = {path.relative_to(ENGINE).as_posix(): path for path in sorted(ENGINE.rglob("*.py"))}


@pytest.mark.parametrize("name", sorted(FILES.keys() - STILL.keys()))
def test_no_word_of_a_vendor_or_an_experiment_is_in_the_engine(name: str) -> None:
    assert list(found_in(FILES[name])) == [], f"engine/{name}"


@pytest.mark.parametrize("name", sorted(STILL))
def test_what_is_still_to_be_cleaned_is_there_and_not_clean(name: str) -> None:
    assert name in FILES, f"engine/{name} is gone: take it out of STILL"
    assert list(found_in(FILES[name])), f"engine/{name} is clean: take it out of STILL"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from protocols.cred import CRED", ["cred", "CRED"]),
        ("credline = accredited + credit", []),
        ('cred_log = "SNAPSHOTS of Timepix"', ["cred", "SNAPSHOT", "Timepix"]),
        ('@app.command(epilog="Example: credline run cred --set snapshot_interval=0")', []),
        ("# the unit cell, hkl and a thkl", ["unit cell", "hkl"]),
    ],
)
def test_words_are_found_in_names_and_in_any_case(tmp_path: Path, line: str, words: list[str]) -> None:
    file = tmp_path / "file.py"
    file.write_text(line)
    assert [each.partition(": ")[2] for each in found_in(file)] == words
