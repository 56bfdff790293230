"""What the page's own files may hold: nothing from elsewhere, and no way for text to become markup."""

import re
from pathlib import Path

import pytest

import engine.console

PAGE = Path(engine.console.__file__).with_name("page")
FILES = sorted(PAGE.iterdir())
FORBIDDEN = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc",
    r"https?://(?!www\.w3\.org/2000/svg)",  # the name of a kind of drawing, not a place
    r"@import|url\(",
    r"\son[a-z]+=|javascript:|style=\"",  # what the page's own policy would not let through
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_of_the_page_is_its_own(file):
    text = file.read_text(encoding="utf-8")
    for pattern in FORBIDDEN:
        assert not re.search(pattern, text), (file.name, pattern)
    assert len(text.splitlines()) < 400


def test_every_file_that_is_named_is_there():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        named = re.findall(r'"/page/([^"]+)"', text) + re.findall(r'from "\./([^"]+)"', text)
        assert all((PAGE / name).is_file() for name in named), file.name


def test_every_part_that_is_asked_for_by_its_name_is_in_the_page():
    parts = set(re.findall(r'\bid="([^"]+)"', (PAGE / "index.html").read_text(encoding="utf-8")))
    for file in FILES:
        asked = set(re.findall(r'byId\("([^"]+)"\)', file.read_text(encoding="utf-8")))
        assert asked <= parts, (file.name, asked - parts)
