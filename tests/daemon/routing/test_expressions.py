"""Expressions over an event, in CEL."""

import re
from contextlib import suppress
from itertools import permutations
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tdbwatch.daemon.expressions import Expression, ExpressionError, Names
from tdbwatch.daemon.expressions.answers import MOST, Answers
from tdbwatch.daemon.expressions.bounds import EvaluationError
from tdbwatch.daemon.expressions.hints import OTHER_TYPE
from tdbwatch.daemon.expressions.paths import with_variables
from tdbwatch.plugin import Event
from tdbwatch.wire.codec import encode

EVENT = Event.create(
    "alerts", "disk-full", [{"severity": 5, "host": "db1", "raw": b"x"}], arg_names=["disk"], received_us=0
)


def value(source: str, event: Event = EVENT, wanted: Any = "value", **fields: Any) -> Any:
    expression = Expression(source, wanted)
    return expression.value_in(Names(event, fields))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("args[0].severity >= 5 && event.startsWith('disk')", True),
        ("data.disk.severity > 5.5", False),
        ("has(args[0].nothing)", False),
        ("room in ['alerts', 'deploys'] && scope == '//stuff' && kind == 'event'", True),
        ("'Disk of ' + args[0].host", "Disk of db1"),
        ("args[0]", {"severity": 5, "host": "db1", "raw": {"base64": "eA=="}}),
        ("event.matches('^disk-(a+)+$')", False),
        ("time", "1970-01-01T00:00:00.000000Z"),
        ("time < timestamp('2020-01-01T00:00:00Z')", True),
        ("duration('90s')", 90.0),
        ("event.upperAscii().split('-')", ["DISK", "FULL"]),
        ("math.greatest(args[0].severity, 3)", 5),
        ("fields.team == 'db'", True),
        ("size(id)", 36),
        ("{1: null}", {"1": None}),
        ("[1.5, 2u]", [1.5, 2]),
    ],
)
def test_an_expression_has_a_value_made_of_what_json_has(source: str, found: Any) -> None:
    assert value(source, team="db") == found


def test_details_are_those_of_other_kinds() -> None:
    gap = Event.create(event="gap", kind="gap", details={"dropped": 7})
    assert value("kind == 'gap' && details.dropped > 5", gap)


@pytest.mark.parametrize(
    ("source", "wanted", "message", "place", "hint"),
    [
        ("agrs[0].x", "condition", "there is no 'agrs' here", (1, 1), "did you mean args?"),
        (
            "event ==",
            "condition",
            "Syntax error: mismatched input the end of the expression",
            (1, 9),
            "event ==\n        ^ something is missing here",
        ),
        ("event\n  == 5", "condition", "== does not work with (string, int)", (2, 3), OTHER_TYPE),
        ("event", "condition", "this is text, not true or false", (1, 1), "compare it with something"),
        ("args", "condition", "this is a list, not true or false", (1, 1), "compare it with something"),
        ("shout(event)", "value", "there is no 'shout' here", (1, 6), "docs/routes.md names functions"),
        ("1 + 'a'", "value", "+ does not work with (int, string)", (1, 3), OTHER_TYPE),
        (
            "",
            "value",
            "Syntax error: mismatched input the end of the expression",
            (1, 1),
            "write what is to hold, such as args[0].severity >= 5",
        ),
        ("(" * 99, "value", "Expression recursion limit exceeded. limit: 32", (1, 1), ""),
    ],
)
def test_a_wrong_one_is_refused_with_its_place(
    source: str, wanted: Any, message: str, place: tuple[int, int], hint: str
) -> None:
    with pytest.raises(ExpressionError, match=re.escape(message)) as error:
        Expression(source, wanted)
    assert ((error.value.line, error.value.column), error.value.hint) == (place, hint)


@pytest.mark.parametrize(
    ("source", "wanted", "said"),
    [
        ("args[0].nothing", "value", 'Key not found in map : "nothing"'),
        ("args[3]", "value", "index=3 size=1"),
        ("1 / (size(args) - 1)", "value", "divide by zero"),
        ("args[0].host > 5", "condition", "No matching overloads found : _>_(string, int64)"),
        ("args[0].severity", "condition", "it is a number for this event, not true or false"),
        ("event.matches('(')", "condition", "missing )"),
    ],
)
def test_one_without_a_value_for_an_event_says_why(source: str, wanted: Any, said: str) -> None:
    with pytest.raises(EvaluationError, match=re.escape(said)):
        value(source, wanted=wanted)


def test_a_failure_never_counts_as_true() -> None:
    with pytest.raises(EvaluationError):
        value("args[7].severity > 3", wanted="condition")
    assert value("args[7].severity > 3 || true", wanted="condition") is True


@pytest.mark.parametrize("source", ["args[0]", "size(args)", "args == args", "string(args[0]) == 'x'"])
@pytest.mark.parametrize(
    "hostile",
    [
        2**64 - 1,
        -(2**63),
        nan,
        inf,
        "\ud800",
        b"\xff" * 1000,
        {1: 2, "1": 3, None: 4, 2.5: 5},
        {b"k": 1},
        [[[]]] * 99,
    ],
)
def test_whatever_an_event_holds_there_is_a_value_or_an_error_of_ours(source: str, hostile: Any) -> None:
    event = Event.create(args=[None])
    payload = encode([hostile]) if hostile != "\ud800" else b"\x91\xa3\xed\xa0\x80"
    with suppress(EvaluationError):
        value(source, Event(event.id, "event", 0, "//stuff", "alerts", None, "x", payload))


def test_arguments_nested_as_deep_as_can_be_decoded_do_no_harm() -> None:
    for depth in (100, 500, 1000, 5000, 100_000):
        payload = b"\x91" * depth + b"\xc0"
        event = Event("i", "event", 0, "//stuff", "alerts", None, "x", payload)
        with suppress(EvaluationError):
            assert value("size(args) == 1 && args == args", event, "condition")


@pytest.mark.parametrize("args", [["admin\0x"], [{"a": ["admin\0x"]}], [{"admin\0x": 1}]])
def test_text_with_a_nul_is_not_taken_for_another(args: list[Any]) -> None:
    with pytest.raises(EvaluationError, match="NUL"):
        value("args[0] == 'admin'", Event.create(args=args))
    with pytest.raises(EvaluationError, match="NUL"):
        value("event == 'admin'", Event.create(event="admin\0x"))
    assert not value("args[0] == 'admin'", Event.create(args=[0, "\0"])), "it looks at clear text only"
    assert value("args[0] == 0", Event.create(args=[0]))


def test_bytes_with_a_nul_are_not_taken_for_others() -> None:
    """The library reads `bytes` up to the first NUL only."""
    event = Event.create(args=[b"a\0b", {"raw": [b"\0"]}, 0], arg_names=["raw"])
    assert not value("args[0] == b'a' || data.raw == b'a'", event)
    assert value("[args[0], args[1], size(data.raw)]", event) == [
        {"base64": "YQBi"},
        {"raw": [{"base64": "AA=="}]},
        3,
    ]


@given(*[st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))] * 2)
def test_text_is_the_same_text(event: str, text: str) -> None:
    assert value("[event, args[0]]", Event.create("alerts", event, [text])) == [event, text]


@pytest.mark.parametrize("kind", ["list", "map"])
@pytest.mark.parametrize("source", ["args", "[args, args]", "data.a"])
def test_what_nests_deeper_than_python_can_follow_is_a_failure(kind: str, source: str) -> None:
    for depth in (900, 2000):
        packed = b"\x91" + {"list": b"\x91", "map": b"\x81\xa1a"}[kind] * depth + b"\x01"
        event = replace(Event.create(arg_names=["a"]), payload=packed)
        with suppress(EvaluationError):  # beyond what can be decoded it is bytes
            event.with_fields({"x": value(source, event)}).json()


def test_a_time_beyond_the_calendar_is_a_failure() -> None:
    with pytest.raises(EvaluationError, match="date value out of range"):
        value("timestamp(args[0])", Event.create(args=["9999-12-31T23:59:59.9999999Z"]))


def test_a_long_loop_has_a_bound() -> None:
    with pytest.raises(EvaluationError, match="Iteration budget exceeded"):
        value("args[0].all(a, args[0].all(b, a + b >= 0))", Event.create(args=[[1] * 5000]), "condition")


@pytest.mark.parametrize("source", ["args[0].exists(a, a in args[1])", "args[0].exists(a, a == args[2])"])
def test_a_loop_that_could_look_at_much_for_minutes_is_not_begun(source: str) -> None:
    much = Event.create(args=[list(range(9_000)), list(range(9_000, 200_000)), ""])
    with pytest.raises(EvaluationError, match="is too large for loops"):
        value(source, much)
    assert value("200000 in args[1] || size(args[1]) == 191000", much), "what does not loop is not bound"


def test_loops_may_look_at_few_large_values_and_at_many_small_ones() -> None:
    trace = Event.create(args=["x" * 1_000_000 + "timeout", 5])
    assert value("args.exists(a, type(a) == string && a.contains('timeout'))", trace)
    hosts = Event.create(args=[[{"host": f"db{number}", "severity": number} for number in range(3_000)]])
    assert value("args[0].exists(h, h.severity >= 2999)", hosts)


PATHS = [
    "args[0]",
    "args[1].host",
    "args[1]['host']",
    "data.one",
    "data.two.host",
    "fields.team",
    "args[1].tags[0]",
]
ATOMS = [
    *(f"{path} {end}" for path in PATHS for end in ("== 'db1'", ">= 5", "== 1.0", "!= null", "in [1, 'x']")),
    *(f"{path}.startsWith('d')" for path in PATHS),
    "has(args[1].host)", "size(args) == 2", "event.startsWith('disk')", "event == 'args[0] > 1'",
    "args.exists(args, args[0] == 1)", "'\"' + \"'args[0]\" == event", "kind == 'event' // && args[0] == 1",
    "[data.two].exists(a, a.host == 'db1')", "data .one == 1", "string(args[0]) == '5'",
]  # fmt: skip
SCALARS = st.sampled_from(
    [None, True, 1, 1.0, 5, -1, 2**63 - 1, 2**64 - 1, nan, inf, "db1", "x", "", "a\0b", b"db1", []]
)
DISKS = st.dictionaries(
    st.sampled_from(["host", "tags", "a\0b"]), SCALARS | st.lists(SCALARS, max_size=2), max_size=2
)


@given(
    st.lists(st.sampled_from(ATOMS), min_size=1, max_size=3, unique=True),
    st.sampled_from([" && ", " || "]),
    st.lists(SCALARS | DISKS, max_size=2),
    st.sampled_from(["disk-full", "disk\0", ""]),
    st.dictionaries(
        st.just("team"), SCALARS.filter(lambda value: value == value and not isinstance(value, bytes))
    ),
)
def test_what_a_path_leads_to_is_what_the_library_would_find(
    atoms: list[str], by: str, args: list[Any], name: str, fields: dict[str, Any]
) -> None:
    event = Event.create(event=name, args=args, arg_names=["one", "two"])
    source = by.join(atoms) if not any("//" in one for one in atoms) else atoms[0]

    def outcome(expression: Expression) -> Any:
        try:
            return expression.value_in(Names(event, fields))
        except EvaluationError as error:
            return "no value" if "NUL" in str(error) else str(error)

    try:
        short, whole = Expression(source, "condition"), Expression(source, "condition")
    except ExpressionError:
        return
    whole._short = None
    expected = outcome(whole)
    if expected == "no value":
        assert isinstance(outcome(short), bool | str), (
            "a path that is clear of the NUL may be read all the same"
        )
    else:
        assert outcome(short) == expected


ALIKE = [None, True, False, 1, 0, -1, 2**63 - 1, "1", "", "x" * 80, 1.0, 0.0, -0.0, inf, nan]


@pytest.mark.parametrize(
    "source",
    [
        "args[0] == 1 && event != ''",
        "args[0] > 0 || event == 'up'",
        "1.0 / args[0] > 0.0",
        "string(args[0]) == '1'",
        "type(args[0]) == bool",
        "args[0]",
    ],
)
def test_a_condition_that_is_asked_again_says_what_the_library_says(source: str) -> None:
    short, whole = Expression(source, "condition"), Expression(source, "condition")
    assert short._short is not None
    whole._short = None

    def outcome(expression: Expression, event: Event) -> Any:
        try:
            return expression.value_in(Names(event, {}))
        except EvaluationError as error:
            return str(error)

    heard = [Event.create(event=name, args=[value]) for value in ALIKE for name in ("up", "down")]
    expected = {event: outcome(whole, event) for event in heard}
    for first, second in permutations(heard, 2):
        short._short._answers = Answers()
        for event in (first, second, first):
            assert outcome(short, event) == expected[event]


def test_answers_are_kept_for_few_and_small_values_only() -> None:
    for last in (MOST, "x" * 65, 0.5):
        answers = Answers()
        assert all(answers.keep({"path": value}, value % 2 == 0) for value in range(MOST - 1))
        assert answers.keep({"path": last}, True) is (last == MOST)
        assert (answers.of({"path": 4}), answers.of({"path": 5})) == (True, False)
        assert answers.of({"path": MOST - 1}) is None
    full = Answers()
    assert [full.keep({"path": value}, True) for value in range(MOST + 1)] == [True] * MOST + [False]


def test_a_condition_that_met_many_values_keeps_no_answers() -> None:
    expression = Expression("args[0] >= 5", "condition")
    assert expression._short is not None
    for value in range(MOST):
        assert expression.value_in(Names(Event.create(args=[value]), {})) is (value >= 5)
    assert expression._short._answers is not None
    for value in range(MOST, 2 * MOST):
        assert expression.value_in(Names(Event.create(args=[value]), {})) is True
    assert expression._short._answers is None


def test_paths_are_looked_up_where_the_text_is_clear() -> None:
    made = {
        "args[0].severity >= 5 && event.startsWith('disk')": "path_0_ >= 5 && event.startsWith('disk')",
        "args[0].s.contains('args[0]') || args[0].s == ''": "path_0_.contains('args[0]') || path_0_ == ''",
        "data.args[0].x + fields.y": "path_0_ + path_1_",
        "args[0].contains ('x')": "path_0_.contains ('x')",
    }
    for source, expected in made.items():
        found = with_variables(source)
        assert found is not None
        assert found[0] == expected
    for source in (
        "args.size() > 2",
        "args[0].x // note",
        "args.all(args, args[0])",
        "r'args[0]' == args[0]",
        "x.args[0]",
    ):
        assert with_variables(source) is None


@pytest.mark.parametrize(
    ("source", "args", "said"),
    [
        ("args[0].replace('x', args[1])", ["x" * 20_000, "y" * 20_000], "too large for replace"),
        ("args[0].replace(args[1], args[2])", ["x" * 20_000, "x", "y" * 20_000], "too large for replace"),
        ("args[0].join(args[1])", [["x"] * 20_000, "y" * 20_000], "too large for replace"),
        ("args[0] + args[0]", ["x" * 2_500_000], "it makes 5,000,000 characters of this event"),
        ("[args[0], args[0]]", ["x" * 2_500_000], "4,000,000 are allowed"),
    ],
)
def test_what_would_make_far_more_than_was_heard_has_no_value(
    source: str, args: list[Any], said: str
) -> None:
    with pytest.raises(EvaluationError, match=said):
        value(source, Event.create(args=args))


def test_what_is_put_in_each_place_may_be_short() -> None:
    event = Event.create(args=["a\n" * 20_000, ["x"] * 20_000])
    assert value("args[0].replace('\\n', ' ')", event) == "a " * 20_000
    assert value("args[1].join(', ')", event) == ", ".join(["x"] * 20_000)
    assert value("args[1].join()", event) == "x" * 20_000
