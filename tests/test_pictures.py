"""The pictures of the docs show what config/services.yaml sends, and stand by themselves."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def test_the_pictures_are_those_that_the_bodies_make() -> None:
    drawn = runpy.run_path(str(ROOT / "packaging" / "pictures.py"))["pictures"]()
    kept = {path.name: path.read_text(encoding="utf-8") for path in PICTURES}
    assert kept == drawn, "run: python packaging/pictures.py docs/pictures"


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_says_what_it_is_and_loads_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    picture = ET.fromstring(text)
    assert picture.findtext(f"{SVG}title")
    assert picture.findtext(f"{SVG}desc")
    assert {each.tag.removeprefix(SVG) for each in picture.iter()} <= {
        "svg", "title", "desc", "style", "rect", "text",
    }  # fmt: skip
    assert not re.search(r"url\(|@import|href|\son\w+=", text)
    assert len(text) < 8_000


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_the_docs_show_each_picture_in_words_too(path: Path) -> None:
    page = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
    assert re.search(rf"!\[[^\]]{{20,}}\]\(pictures/{path.name}\)", page)
