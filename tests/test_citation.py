"""CITATION.cff names this version, and the two papers by their titles."""

import tomllib
from pathlib import Path

HOUSE = Path(__file__).parents[1]
TITLES = (
    "High-throughput continuous rotation electron diffraction data acquisition via software automation",
    "Machine learning for the classification of serial electron diffraction patterns: synthetic data",
)


def test_the_citation_is_of_this_version_and_of_the_papers() -> None:
    text = (HOUSE / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in text
    assert f"\nlicense: {project['license']}\n" in text
    assert [title for title in TITLES if f'title: "{title}"' not in text] == []
    readme = " ".join((HOUSE / "README.md").read_text(encoding="utf-8").split())
    assert [title for title in TITLES if title not in readme] == []
