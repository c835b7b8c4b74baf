"""What is no YAML, or YAML that we do not take, is said with its place."""

import pytest

from tdbwatch.daemon.config import ConfigError, parse

from .config_errors_kit import problem, problems, sink, thingsdb, with_


@pytest.mark.parametrize("quoted", ["“alerts”", "‘alerts’", "„alerts“", "«alerts»", "”alerts"])
def test_typographic_quotes_are_no_quotes(quoted: str):
    found = problem(with_(rooms=f"[{quoted}]"))
    assert "rooms[0]: this quote is a part of the text: YAML knows straight ones only" in found
    assert "write straight quotes" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "prod.yaml:1:1: the file is empty\n    begin with thingsdb:, rooms: and sinks:"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "the file must hold a mapping"),
        (
            "rooms:\n\t- a\n",
            "prod.yaml:2:1: rooms: this is not valid YAML: a tab stands where only spaces may",
        ),
        ("rooms:\n  - a\n \t- b\n", "a tab stands where only spaces may"),
        (
            "a:\u00a0[1]\nb: 1\n",
            "prod.yaml:1:3: this is not valid YAML: a space stands here that YAML does not",
        ),
        ("rooms: [a\nsinks: b\n", "prod.yaml:2:6: rooms[1]: this is not valid YAML: a bracket is not closed"),
        ("a: b: c\n", "prod.yaml:1:5: this is not valid YAML: a second `:` in one value"),
        ("a: 'x\n", "prod.yaml:1:4: a: this is not valid YAML: a quote is opened here and never closed"),
        ("a: [\n", "the file ends inside a bracket"),
        ("a: @x\n", "text cannot begin with this character\n    put the text in quotes"),
        ('a: "\\q"\n', "unknown escape in a quoted text"),
        ('a: "\\UFFFFFFFF"\n', "this is not valid YAML"),
        ("a: {b: ${C}}\n", 'a ${NAME} without quotes inside { }\n    write "${NAME}"'),
        ("a: x\x07y\n", "prod.yaml:1:5: this is not valid YAML: it holds a control character"),
        (b"a: \xff\n", "prod.yaml:1:4: this is not UTF-8 text\n    save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "this is not UTF-8 text"),
        ("a: 1\n---\nb: 2\n", "prod.yaml:2:1: a second YAML document begins here"),
        ("a: " + "[" * 40, "nested more than 32 levels deep"),
        ("a: !h!hunter2 x\n", "a YAML tag (!) is not allowed here"),
    ],
)
def test_what_is_not_yaml(text: str | bytes, expected: str):
    shown = problem(text)
    assert expected in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            with_(sinks="{c: {type: log}, c: {type: log}}"),
            "sinks.c: two sinks have this name; the first is on line 3",
        ),
        (with_() + "\nrooms: [b]", "prod.yaml:4:1: rooms: this key is written twice; the first is on line 2"),
        (with_(spool="{max_age: 1d, max_age: 2d}"), "spool.max_age: this key is written twice"),
        (
            with_(sinks="{1: {type: log}, c: {type: log}}"),
            'sinks: a key must be text\n    put it in quotes: "1"',
        ),
        (with_(sinks="{[a]: {type: log}, c: {type: log}}"), "sinks: a key must be text"),
        (with_(sinks='{"": {type: log}, c: {type: log}}'), "sinks: a key must be text"),
        (with_(sinks='{"\\0x": {type: log}, c: {type: log}}'), "sinks: a key must be text"),
        (with_(rooms="[&x alerts]"), "rooms[0]: an anchor (&) is not allowed here"),
        (
            thingsdb("scope: *hunter2"),
            "thingsdb.scope: an alias (*) is not allowed here\n    write the value out",
        ),
        (with_(sinks="{*hunter2 : {type: log}, c: {type: log}}"), "an alias (*) is not allowed here"),
        (sink("type: log, <<: {timeout: 1s}"), "a merge key (<<) is not allowed here"),
        (with_(rooms="[!!python/object/apply:os.system [hunter2]]"), "a YAML tag (!) is not allowed here"),
        (with_(rooms="[!hunter2 alerts]"), "a YAML tag (!) is not allowed here"),
        (with_(rooms='["\\ud800"]'), "rooms[0]: holds half a surrogate pair"),
    ],
)
def test_what_yaml_allows_but_we_do_not(text: str, expected: str):
    shown = "\n".join(map(str, problems(text)))
    assert expected in shown
    assert "hunter2" not in shown


def test_a_yaml_bomb_is_refused_before_it_grows():
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [
        f"{chr(i + 1)}: &{chr(i + 1)} [{', '.join(['*' + chr(i)] * 9)}]" for i in range(ord("a"), ord("h"))
    ]
    assert "an anchor (&) is not allowed here" in "\n".join(map(str, problems("\n".join(levels))))


def test_a_flood_of_problems_is_cut_short():
    with pytest.raises(ConfigError) as caught:
        parse(b"a:\n" + b"  - &x y\n" * 10_000, "prod.yaml", {})
    assert len(caught.value.problems) == 100
    assert str(caught.value).endswith("... and 40 more")


def test_a_key_that_begins_with_a_space_that_is_none_is_told() -> None:
    told = problems("thingsdb:\n\u00a0 nodes: [node01]\n")
    assert any(str(one).startswith("prod.yaml:2:1: a space stands here that YAML does not") for one in told)
