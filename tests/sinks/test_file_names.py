"""Whatever rooms and events are called, no path leaves its folder and no two names meet."""

import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tdbwatch.plugin import Event
from tdbwatch.sinks.file.names import PathTemplate, safe_name, safe_scope

NASTY = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "nul\0byte",
    "new\nline",
    "x" * 500,
    "ü" * 100,
    "\ud800",
    ".hidden",
    "~",
    "a~b",
    "~e3b0c44298fc1c149afbf4c8",
    "a.jsonl.20261123T072400Z",
    "20261123T072400Z",
    "-rf",
    " ",
    "\u202egpj.exe",
]
anything = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=()), max_size=80),
    st.text("./~_a\\", max_size=6),
)


@given(anything)
def test_a_safe_name_is_one_short_component_of_printable_characters(value: str) -> None:
    name = safe_name(value)
    assert 0 < len(name.encode()) <= 60
    assert name not in (".", "..")
    assert not name.startswith(".")
    assert "/" not in name
    assert name.isprintable()


@given(anything, anything)
@example("a/b", "a_b")
@example("x" * 500, "x" * 501)
@example("a", safe_name("a/"))
@example("", safe_name(""))
def test_different_values_have_different_names(one: str, other: str) -> None:
    if one != other:
        assert safe_name(one) != safe_name(other)


@given(anything, anything)
@example("//stuff", "stuff")
@example("//stuff", "/stuff")
@example("///stuff", "/stuff")
def test_different_scopes_have_different_names(one: str, other: str) -> None:
    if one != other:
        assert safe_scope(one) != safe_scope(other)


@pytest.mark.parametrize(
    "value", ["alerts", "disk-full", "db_01.stuff", "überlauf", "2026-11-23", "a@b=c+d,e"]
)
def test_a_harmless_value_stands_for_itself(value: str) -> None:
    assert safe_name(value) == value


def test_a_harmful_value_can_still_be_recognised() -> None:
    assert re.fullmatch(r"deploys_web~[0-9a-f]{24}", safe_name("deploys/web"))


@given(room=anything, event=anything, scope=anything)
def test_no_path_leaves_its_folder(room: str, event: str, scope: str) -> None:
    template = PathTemplate("/var/log/tdbwatch/{scope}/{room}/{event}-{kind}-{date}.jsonl")
    made = Event("id", "event", 1_795_418_640_000_000, scope, room, None, event, b"\x90")
    path = template.render(made)
    assert os.path.normpath(path) == path
    assert path.startswith("/var/log/tdbwatch/")
    assert path.count("/") == "/var/log/tdbwatch/s/r/e".count("/")
    assert all(len(part.encode()) < 240 for part in path.split("/"))
    assert path.endswith("-event-2026-11-23.jsonl")
    assert template.render(made) == path


def test_a_template_without_fields_is_one_path() -> None:
    assert PathTemplate("all.jsonl").render(Event.create("a")) == "all.jsonl"


def test_double_braces_stand_for_braces() -> None:
    assert PathTemplate("{{x}}-{room}").render(Event.create("a")) == "{x}-a"


def test_more_paths_than_are_remembered_are_still_right() -> None:
    template = PathTemplate("{event}.jsonl")
    for n in range(10_000):
        assert template.render(Event.create("a", f"e{n}")) == f"e{n}.jsonl"
    assert len(template._cache) < 5000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{rom}.jsonl", "{rom} is not a field; known are {room}"),
        ("{}.jsonl", "{} is not a field"),
        ("{room.__class__}", "is not a field"),
        ("{room!r}", "is not a field"),
        ("{date:%Y}", "is not a field"),
        ("{room", "expected '}'"),
        ("room}", "Single '}'"),
        ("/var/log/", "names a folder"),
        ("", "names a folder"),
        ("..", "names a folder"),
        ("{room}{event}{room}{event}.jsonl", "longer than file systems take"),
        ("x" * 221, "longer than file systems take"),
        ("{{ room }}.jsonl", "{{ room }} is of templates, and this is none; write {room}"),
        ("{{args[0].host}}", "{{args[0].host}} is of templates, and this is none; known are {room}"),
        ("a\0b", "NUL"),
    ],
)
def test_a_template_that_cannot_name_a_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        PathTemplate(text)
