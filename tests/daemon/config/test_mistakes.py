"""Mistakes in expressions, templates, keys and routes: none survives, each has its place and a remedy."""

import pytest

from tdbwatch.daemon.config import ConfigError, Problem, parse
from tdbwatch.daemon.plugins import load_plugins

from .config_kit import has_remedy

TYPES = load_plugins().sink_types
HEAD = """\
thingsdb: {nodes: [node01], auth: {token: t}}
rooms: [{name: alerts, args: [disk]}, deploys]
sinks: {oncall: {type: webhook, url: "https://example.org/x"}, log: {type: log}}
"""
WHERE = 'routes:\n  - {where: "%s", to: oncall}'
BODY = "sinks:\n  hook: {type: webhook, url: 'https://example.org/x', %s}"


def problems(text: str) -> list[Problem]:
    head = HEAD if not text.startswith("sinks:") else HEAD.rpartition("sinks:")[0]
    with pytest.raises(ConfigError) as refused:
        parse((head + text).encode(), "p.yaml", {}).check(TYPES)
    return list(refused.value.problems)


WHERES = [
    ("args[0].severity = 5",
     "5:31", "Syntax error: token recognition error at: '= '", "write == to compare"),
    ("event === 'x'", "5:22", "Syntax error: token recognition error at: '= '", "write == to compare"),
    ("args[0] > 1 and event == 'x'", "5:26", "Syntax error: mismatched input 'and'", "write && for and"),
    ("event == 'x' or room == 'y'", "5:27", "Syntax error: mismatched input 'or'", "write || for or"),
    ("not (event == 'x')", "5:18", "there is no 'not' here", "write ! for not"),
    ("event == 'x' & room == 'y'",
     "5:27", "Syntax error: token recognition error at: '& '", "write && for and"),
    ("event == 'x' | room == 'y'",
     "5:27", "Syntax error: token recognition error at: '| '", "write || for or"),
    ("event == 'x", "5:23", "Syntax error: token recognition error at: ''x'", "close the quote"),
    ("(event == 'x'",
     "5:27", "Syntax error: missing ')' at the end of the expressi", "close the bracket: )"),
    ("event <> 'x'", "5:21", "Syntax error: extraneous input '>'", "write != for unequal"),
    ("event =~ 'x'",
     "5:20", "Syntax error: token recognition error at: '=~'", "for a pattern write event.matches('^disk-')"),
    ("event not in ['x']", "5:20", "Syntax error: mismatched input 'not'", "write !(event in ['a', 'b'])"),
    ("if event == 'x' then true else false",
     "5:14", "reserved identifier: if", "write CONDITION ? THIS : THAT"),
    ("{{ event }} == 'x'",
     "5:23", "Syntax error: mismatched input '}'", "write it without {{ }}: those are for template"),
    ("args[0] == None", "5:25", "there is no 'None' here", "write null"),
    ("len(args) > 1", "5:17", "there is no 'len' here", "write size(args)"),
    ("event.lower() == 'x'", "5:25", "there is no 'lower' here", "write event.lowerAscii()"),
    ("event.startswith('x')", "5:30", "there is no 'startswith' here", "did you mean startsWith?"),
    ("event == 'x' &&",
     "5:29", "Syntax error: mismatched input the end of the expres", "something is missing here"),
    ("size(args) > '5'", "5:25", "> does not work with", "both sides must be of one type"),
    ("agrs[0].x == 1", "5:14", "there is no 'agrs' here", "did you mean args?"),
    ("args[0].severity + 1", "5:14", "this is a number, not true or false", "compare it with something"),
    ("event", "5:14", "this is text, not true or false", "compare it with something"),
]  # fmt: skip
BODIES = [
    ("body: '{{ rom }}'", "4:61", "there is no 'rom' here; did you mean room?", ""),
    ("body: '{{ args[0 }}'",
     "4:61", "unexpected `}`, expected `]`", "docs/templates.md shows how templates"),
    ("body: '{{ event | uper }}'", "4:61", "there is no filter 'uper'; docs/templates.md lists t", ""),
    ("body: '{% if event %}x'",
     "4:61", "unexpected end of input, expected end of block", "docs/templates.md shows how templates"),
    ("body: '{{ event }'",
     "4:61", "unexpected `}`, expected end of variable block", "docs/templates.md shows how templates"),
    ("body: {text: '{{ evnt }}'}", "4:61", "text: there is no 'evnt' here; did you mean event?", ""),
    ("body: {'{{ room }}': 1}",
     "4:61", "{{ room }}: a key cannot be a template, only a value", "docs/templates.md shows how templates"),
    ("headers: {X-A: '{{ nope }}'}",
     "4:64", "the header X-A: there is no 'nope' here; did you mean scope?", ""),
    ("headers: {X-A: '{{ room }'}",
     "4:64", "this secret is no template", "the reason is not shown, since it may repeat a"),
    ("body: '{% include \"x\" %}'",
     "4:61", "include does not work here: a template stands alone", "docs/templates.md shows how templates"),
    ("format: cloudevents, body: '{{ event }}'",
     "4:9", "body says what to send, and so does format", "leave one of them out"),
    ("body: '{{ args.0.host', content_type: application/json",
     "4:61", "unexpected end of input, expected end of variable bl", "docs/templates.md shows how templates"),
    ("body: '{{ event|tojson }} \"{{ room }}\"', content_type: application/json",
     "4:61", "this makes no JSON (Extra data: line 1 column 4 (cha", ""),
]  # fmt: skip
ROUTES = [
    ("routes: [{mach: {room: alerts}, to: oncall}]",
     "4:11", "unknown key", "did you mean match? the keys here are: dedupe,"),
    ("routes: [{match: {rooms: alerts}, to: oncall}]",
     "4:19", "unknown key", "did you mean room? the keys here are: event, f"),
    ("routes: [{match: {kind: gaps}, to: oncall}]",
     "4:25", "must be one of event, gap, room, node, dead_letter,", "did you mean gap?"),
    ("routes: [{to: on-call}]",
     "4:15", "there is no sink of this name", "did you mean oncall? the sinks are: log, oncal"),
    ("routes: [{match: {room: '[a'}, to: oncall}]",
     "4:25", "a [ that is never closed", "write [abc] for one of these characters, or [["),
    ("routes: [{match: {room: alerts}}]", "4:10", "a route to no sink does nothing", "name sinks"),
    ("routes: [{to: oncall, throttle: {count: 10}}]", "4:23", "is missing", "add per"),
    ("routes: [{to: oncall, throttle: {count: 0, per: 1m}}]", "4:41", "must be at least 1", ""),
    ("routes: [{to: oncall, throttle: {count: 1, per: 60}}]",
     "4:49", "a number without a unit", "write for instance 500ms, 10s, 5m or 7d"),
    ("routes: [{to: oncall, dedupe: {window: 1m}}]", "4:23", "is missing", "add key"),
    ("routes: [{to: oncall, throttle: {count: 1, per: 1m, key: 'args[0].'}}]",
     "4:67", "Syntax error: no viable alternative at input '.'", "something is missing here"),
    ("routes: [{to: oncall, set: {'bad-name': event}}]",
     "4:41", "this cannot be a field's name", "use letters, digits and _, so that expressions"),
    ("routes: [{to: oncall, set: {a: 'evnt'}}]", "4:33", "there is no 'evnt' here", "did you mean event?"),
    ("routes: [{to: [oncall, oncall]}]", "4:10", "items 1 and 2 are the same", "remove one"),
    ("routes: [{to: oncall, on_error: match}]",
     "4:10", "on_error is about `where`, and there is none", "remove on_error"),
    ("routes: [{to: oncall, where: true}]", "4:30", "must be an expression, as text", "put it in quotes"),
    ("routes: {to: oncall}", "4:9", "must be a list, not a mapping", ""),
    ("routes: [{to: oncall, stop: yes}]", "4:29", "must be true or false, not text", "write true"),
    ("routes: [{to: oncall, on_error: ignore, where: 'true'}]", "4:33", "must be one of skip, match", ""),
    ("routes: [{to: oncall, match: {event: ''}}]",
     "4:38", "a glob must not be empty", "write \"*\" for everything"),
]  # fmt: skip
CASES = [
    *((WHERE % source, *rest) for source, *rest in WHERES),
    *((BODY % options, *rest) for options, *rest in BODIES),
    *((text, *rest) for text, *rest in ROUTES),
]


@pytest.mark.parametrize(("text", "place", "words", "remedy"), CASES, ids=[case[0][-60:] for case in CASES])
def test_a_mistake_is_refused_with_its_place_its_words_and_a_remedy(
    text: str, place: str, words: str, remedy: str
) -> None:
    problem = problems(text)[0]
    assert problem.place == f"p.yaml:{place}"
    assert words in problem.message
    assert remedy in problem.hint
    assert has_remedy(problem)


def test_a_mistake_in_an_expression_is_shown_with_a_mark_below_it() -> None:
    [problem] = problems(WHERE % "args[0].severity >= 5 and event == 'x'")
    assert str(problem) == (
        "p.yaml:5:36: routes[0].where: Syntax error: mismatched input 'and'\n"
        "    args[0].severity >= 5 and event == 'x'\n"
        "                          ^ write && for and"
    )


def test_of_a_long_expression_what_is_around_the_mistake_is_shown() -> None:
    hint = problems(WHERE % ("event == 'x' || " * 50 + "event = 'x'"))[0].hint
    first, mark = hint.splitlines()
    assert len(first) <= 72
    assert first[mark.index("^")] == "="
