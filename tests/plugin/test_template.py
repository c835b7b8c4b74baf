"""Templates say what an event has, and an event never changes their shape."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tdbwatch.plugin import Event, JsonTemplate, Options, Template, TemplateError
from tdbwatch.plugin.json_template import check_json
from tdbwatch.plugin.template import NAMES

EVENT = Event.create("alerts", "disk-full", [{"host": "db1", "used": 97}], arg_names=["disk"])
DOCS = Path(__file__).parents[2] / "docs" / "templates.md"
HOSTILE = [
    "\"}{'",
    "\r\nX-Evil: 1",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "%0d%0a",
    "../../x",
    "a/b?c=d&e#f",
    "\u202e\x00\ud7ff",
]


def rendered(source: str, event: Event = EVENT) -> str:
    return Template(source).render(event)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("no tag", "no tag"),
        ("{{ event }} in {{ scope }}/{{ room }}", "disk-full in //stuff/alerts"),
        ("{{ args[0].host }} {{ data.disk.used }}", "db1 97"),
        ("{{ (event ~ ' on ' ~ args[0].host)[:8] }}", "disk-ful"),
        ("{{ kind }} {{ id == record.id }} {{ time == record.time }}", "event True True"),
        ("{{ record.args[0].used + 1 }}", "98"),
        ("{{ args[0].nothing.at.all }}{{ args[7].x }}", ""),
        ("{{ args[0].nothing | default('?') }}", "?"),
        ("{% if args[0].used > 90 %}high{% else %}low{% endif %}\n", "high\n"),
        ("{% for key, value in args[0] | items %}{{ key }}={{ value }} {% endfor %}", "host=db1 used=97 "),
        ("{{ '}}|nofilter' }}", "}}|nofilter"),
        ("{# {{ nobody | nothing }} #}x", "x"),
        ("{% raw %}{{ nobody | nothing }}{% endraw %}", "{{ nobody | nothing }}"),
    ],
)
def test_a_template_says_what_the_event_has(source: str, text: str) -> None:
    assert rendered(source) == text


def test_details_are_those_of_other_kinds() -> None:
    gap = Event.create(event="gap", kind="gap", details={"reason": "lost"})
    assert rendered("{{ details.reason }}{{ args }}", gap) == "lost[]"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ evnt }}", "there is no 'evnt' here; did you mean event?"),
        ("{{ (nobody ~ 'x')[:3] }}", "there is no 'nobody' here; there are event, room,"),
        ("{% if false %}{{ nobody }}{% endif %}", "there is no 'nobody' here"),
        ("{{ debug() }}", "there is no 'debug' here"),
        ("{{ event | shout }}", "there is no filter 'shout'; docs/templates.md lists them"),
        ("{% if false %}{{ event | shout }}{% endif %}", "there is no filter 'shout'"),
        ("{% filter shout %}{% endfilter %}", "there is no filter 'shout'"),
        ("{{ event is shouted }}", "test shouted is unknown"),
        ("{{ event", "unexpected end of input, expected end of variable block"),
        ("one\ntwo {{ a b }}", "line 2: unexpected identifier"),
        ("{% include 'other' %}", "include does not work here: a template stands alone"),
        ("{% extends 'other' %}", "extends does not work here: a template stands alone"),
        ("{% endfilter %}", "unknown statement endfilter"),
    ],
)
def test_one_that_is_wrong_is_refused_at_once(source: str, said: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(said)):
        Template(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", "ran out of fuel"),
        ("{{ event * 1000000000 }}", "ran out of fuel"),
        ("{{ args[0].host + 1 }}", "tried to use + operator on unsupported types string and number"),
        ("{{ args.nothing() }}", "no attribute 'nothing'"),
        ("{{ args.__class__() }}", "insecure method call"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion limit exceeded"),
    ],
)
def test_what_cannot_be_done_for_an_event_is_an_error_of_its_own(source: str, said: str) -> None:
    template = Template(source)
    with pytest.raises(TemplateError, match=re.escape(said)):
        template.render(EVENT)


def test_a_text_that_is_too_long_is_an_error() -> None:
    with pytest.raises(
        TemplateError, match="it makes 5,000,000 characters of this event; 4,000,000 are allowed"
    ):
        Template("{{ args[0] }}").render(Event.create(args=["x" * 5_000_000]))


texts = st.one_of(st.sampled_from(HOSTILE), st.text())
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)


@given(texts, values)
def test_json_stays_json_whatever_an_event_says(name: str, value: Any) -> None:
    event = Event.create("alerts", name, [value])
    made = json.loads(
        JsonTemplate(
            {
                "text": "{{ event }} of {{ room }}",
                "value": "{{ args[0] }}",
                "record": "{{ record }}",
                "n": [1, None],
            }
        ).render(event)
    )
    assert made == {
        "text": f"{name} of alerts",
        "value": event.record()["args"][0],
        "record": event.record(),
        "n": [1, None],
    }


@given(texts, values)
def test_a_text_that_is_json_stays_json_with_the_same_keys(name: str, value: Any) -> None:
    template = check_json(Template('{"text": {{ event }}, "value": {{ args[0] }}}', "json"))
    event = Event.create("alerts", name, [value])
    assert json.loads(template.render(event)) == {"text": name, "value": event.record()["args"][0]}


@given(texts)
def test_a_url_keeps_its_parts_whatever_an_event_says(name: str) -> None:
    template = Template("https://x.org/a/{{ event }}/b?q={{ event }}&r=1", "url")
    if name in {".", ".."}:
        with pytest.raises(TemplateError, match="would lead elsewhere"):
            template.render(Event.create("alerts", name))
        return
    url = urlsplit(template.render(Event.create("alerts", name)))
    assert (url.netloc, url.path.count("/"), url.fragment) == ("x.org", 3, "")
    assert parse_qs(url.query, keep_blank_values=True) == {"q": [name], "r": ["1"]}


@given(texts)
def test_a_line_stays_one_line(name: str) -> None:
    line = Template("X {{ event }}").render_line(Event.create("alerts", name))
    assert not re.search(r"[\x00-\x1f\x7f]", line)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": ["x", {"b": "{{ nobody }}"}]}, "a[1].b: there is no 'nobody' here"),
        ({"a": "{% endfilter %}{{ 1 }}{% filter tojson %}"}, "a: unknown statement endfilter"),
        ({"a": {"{{ room }}": 1}}, "a.{{ room }}: a key cannot be a template, only a value"),
        (["{{"], "[0]: unexpected end of input"),
    ],
)
def test_a_mistake_in_json_is_named_by_its_place(value: Any, said: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(said)):
        JsonTemplate(value)


def test_quotes_around_a_value_in_json_text_are_refused_with_the_remedy() -> None:
    with pytest.raises(TemplateError, match="values bring their own quotes"):
        check_json(Template('{"text": "{{ room }}"}', "json"))


def test_an_option_may_be_a_template() -> None:
    class Mine(Options):
        title: Template

    assert Mine.model_validate_json('{"title": "{{ room }}"}').title.render(EVENT) == "alerts"
    with pytest.raises(ValidationError, match="did you mean room"):
        Mine.model_validate_json('{"title": "{{ rom }}"}')
    with pytest.raises(ValidationError, match="must be text"):
        Mine.model_validate_json('{"title": 7}')
    assert Mine.model_json_schema()["properties"]["title"]["type"] == "string"


def test_every_name_and_filter_is_in_the_document() -> None:
    text = DOCS.read_text()
    assert re.findall(r"^\| `(\w+)` \| ", text[text.index("## What a template") :], re.MULTILINE) == list(
        NAMES
    )
    listed = text[text.index("## Filters") : text.index("{% if %}")]
    for name in re.findall(r"`(\w+)`", listed):
        Template(f"{{% if false %}}{{{{ event | {name} }}}}{{% endif %}}")
